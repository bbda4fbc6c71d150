"""Client metadata: what every door accepts and what it refuses, by name."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_server import config
from auth_server.clients import metadata
from auth_server.config import Settings
from auth_server.errors import InvalidClientMetadata, InvalidRedirectUri, ProtocolError
from tests.support import assertion
from tests.support.examples import STEADY

CALLBACK = "https://app.example.org/cb"
GOOD: dict[str, Any] = {"client_name": "App", "redirect_uris": [CALLBACK]}


@pytest.fixture(scope="module", autouse=True)
def settings() -> None:
    """What a server can do decides some of it; this one can do nothing special."""
    config.use(Settings(secret_key="x"))


URI_FIELDS = ("client_uri", "logo_uri", "tos_uri", "policy_uri", "sector_identifier_uri")
DANGEROUS = (
    *("javascript:alert(1)", "javascript://app.example.org/%0aalert(1)", "data:text/html,x", "vbscript:x", "file:///etc"),
    *("http://app.example.org/cb", "http://127.0.0.1.evil.test/cb", "http://10.0.0.1/cb", "ftp://app.example.org/"),
    *("https://app.example.org/cb#", "https://app.example.org/cb#x", "https://user@app.example.org/cb"),
    *("https://user:pw@app.example.org/cb", "https://a@b@app.example.org/cb", "https://*.example.org/cb"),
    *("https://app.example.org/*", "*", "https://", "https:///cb", "https:app.example.org/cb", "//app.example.org/cb"),
    *("/cb", "app.example.org/cb", "", " ", "https://app.example.org/c b", "https://app.example.org/cb\n"),
    "https://é.org/",
    *("https://app.example.org\\cb", "HTTPS://app.example.org/cb", "https://APP.example.org/cb", "https://[::1/cb"),
    *("https://app.example.org:99999/cb", "https://app.example.org:x/cb", "myapp:/cb", "myapp://cb", "urn:x:y"),
    *('https://app.example.org/"', "https://app.example.org/<x>", "https://app.example.org/\x00"),
    *("about:blank", "https://" + "a" * 2000),
)  # fmt: skip
SAFE = (
    *(CALLBACK, "https://app.example.org", "https://app.example.org:8443/cb?a=b&c=d", "https://app.example.org/a%20b"),
    *("http://127.0.0.1/cb", "http://127.0.0.1:9000/cb", "http://[::1]/cb", "http://localhost:3000/cb"),
    *("com.example.app:/cb", "com.example.app://cb", "org.example.my-app:/oauth?x=1"),
)


def refusal(raw: dict[str, Any]) -> str:
    """Return why metadata is refused; its description is fit for a header and for HTML."""
    with pytest.raises(ProtocolError) as caught:
        metadata.validate(raw)
    assert isinstance(caught.value, InvalidClientMetadata | InvalidRedirectUri)
    assert caught.value.description.isascii()
    assert not set('"\\<>\n') & set(caught.value.description)
    return caught.value.code


def test_defaults_are_filled_in() -> None:
    """What a client gets that names nothing."""
    found = metadata.validate(GOOD)
    assert found["grant_types"] == ["authorization_code", "refresh_token"]
    assert found["scope"] == "openid profile email offline_access"
    assert found["response_types"] == ["code"]
    assert "token_endpoint_auth_method" not in found


def test_a_service_needs_neither_addresses_nor_scopes() -> None:
    """Clients that act for themselves get no identity scopes by default."""
    found = metadata.validate({"grant_types": ["client_credentials"]})
    assert (found["scope"], found["redirect_uris"], found["response_types"]) == ("", [], [])


@pytest.mark.parametrize("name", ["redirect_uris", "post_logout_redirect_uris"])
def test_addresses_that_lead_elsewhere_are_refused(name: str) -> None:
    """Fragments, user names, wildcards, dangerous schemes, plain http off loopback (RFC 7591 §5, CVE-2024-21637)."""
    for uri in DANGEROUS:
        assert refusal({**GOOD, name: [CALLBACK, uri]}) == "invalid_redirect_uri", uri
    for wrong in ([5], [None], [[CALLBACK]], CALLBACK, 5, {"uri": CALLBACK}, [CALLBACK] * 51, [True]):
        assert refusal({**GOOD, name: wrong}) == "invalid_redirect_uri", wrong
    assert metadata.validate({**GOOD, name: list(SAFE)})[name] == list(SAFE)


@pytest.mark.parametrize("name", URI_FIELDS)
def test_addresses_of_pages_follow_their_own_rule(name: str) -> None:
    """https, or http on loopback; no private schemes."""
    for uri in (*DANGEROUS, "com.example.app:/page"):
        assert refusal({**GOOD, name: uri}) in ("invalid_client_metadata", "invalid_redirect_uri"), uri
    for wrong in (5, [CALLBACK], {}, True):
        assert refusal({**GOOD, name: wrong}) in ("invalid_client_metadata", "invalid_redirect_uri")
    for uri in ("https://app.example.org/about", "http://localhost:3000/about"):
        assert metadata.validate({**GOOD, name: uri})[name] == uri


def test_an_interactive_client_needs_an_address() -> None:
    """Otherwise nobody could come back."""
    for raw in ({}, {"redirect_uris": []}, {"redirect_uris": None}):
        assert refusal(raw) == "invalid_redirect_uri"
    assert metadata.validate(GOOD)["redirect_uris"] == [CALLBACK]


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("client_name", ["x" * 501, "a\x00b", "a\nb", 5, [], {}], ["Ünïcode 🙂", "x" * 500]),
        ("application_type", ["Web", "", 5, ["web"]], ["web", "native"]),
        ("response_types", [["token"], ["code", "id_token"], "code", [5]], [["code"], []]),
        ("grant_types", [["password"], ["implicit"], "refresh_token", [5], ["urn:x"]], [["refresh_token"]]),
        ("token_endpoint_auth_method", ["private_key_jwt", "tls_client_auth", "", 5, None or []], ["none"]),
        ("id_token_signed_response_alg", ["none", "HS256", "RS512", "rs256", 5], ["RS256", "ES256", "EdDSA"]),
        ("scope", ['a"b', "a\\b", "é", "a\x00", "x" * 101, 5, ["a"], "x " * 2001], ["", "a:b c/d", "openid"]),
        ("default_max_age", [-1, 1.5, "60", True, 10**10], [0, 3600]),
        ("access_token_ttl", [0, 29, 3601, "900", True, 900.0, 10**9], [30, 900, 3600]),
        ("refresh_token_ttl", [0, 59, 367 * 86400, "1d"], [60, 366 * 86400]),
        ("refresh_token_idle_ttl", [0, 59, 367 * 86400], [60, 86400]),
        ("refresh_token_grace", [-1, 61, "10"], [0, 60]),
        ("require_pkce", ["false", 0, 1, []], [True, False]),
        ("first_party", ["true", 1, []], [True, False]),
        ("refresh_token_rotation", [False, "true"], [True]),
        ("id_token_claims", ["all", 5], ["scopes", "minimal"]),
        ("optional_scopes", ['a"', 5, [5], {}], ["email profile", ["email"]]),
        ("profile", ["fapi", "", 5, ["fapi2"]], ["oauth21", "oidc"]),
        ("subject_type", ["Pairwise", "", 5, ["public"]], ["public", "pairwise"]),
        ("userinfo_signed_response_alg", ["none", "HS256", "", 5], ["RS256", "ES256", "EdDSA"]),
        ("id_token_encrypted_response_alg", ["RSA1_5", "RSA-OAEP", "dir", 5, "ECDH-ES"], []),
        ("userinfo_encrypted_response_enc", ["A128GCM", "", 5, "A256GCM"], []),
        ("contacts", ["ada@example.org", [5], ["x"] * 51], [["ada@example.org"]]),
        ("require_auth_time", ["yes", 1], [True]),
        ("software_id", [5, "x" * 501], ["abc"]),
        ("software_version", [1.0, []], ["1.0"]),
    ],
)
def test_each_field_has_its_values(name: str, wrong: list[Any], right: list[Any]) -> None:
    """Wrong types and values are refused by name; right ones are kept."""
    for value in wrong:
        assert refusal({**GOOD, name: value}) == "invalid_client_metadata", value
    for value in right:
        assert name in metadata.validate({**GOOD, name: value})


def test_unknown_fields_are_refused_by_name() -> None:
    """A misspelt name must not be lost silently; it is quoted harmlessly."""
    with pytest.raises(InvalidClientMetadata) as caught:
        metadata.validate({**GOOD, 'redirect_uri"<b>': CALLBACK, "request_uris": []})
    assert caught.value.description == "unknown metadata: redirect_uri??b?, request_uris"


def test_public_clients_cannot_have_what_needs_a_secret() -> None:
    """PKCE is theirs always, and they cannot act for themselves (ASVS 10.4.6)."""
    public = {**GOOD, "token_endpoint_auth_method": "none"}
    assert refusal({**public, "require_pkce": False}) == "invalid_client_metadata"
    assert refusal({**public, "grant_types": ["client_credentials"]}) == "invalid_client_metadata"
    assert refusal({**public, "grant_types": [metadata.TOKEN_EXCHANGE]}) == "invalid_client_metadata"
    assert metadata.validate({**GOOD, "require_pkce": False})["require_pkce"] is False
    assert metadata.validate(public)["token_endpoint_auth_method"] == "none"


def test_repeated_values_are_kept_once() -> None:
    """Order stays: the first address is the one examples show."""
    found = metadata.validate({**GOOD, "redirect_uris": [CALLBACK, SAFE[1], CALLBACK], "scope": "b a b"})
    assert found["redirect_uris"] == [CALLBACK, SAFE[1]]
    assert found["scope"] == "b a"


def test_null_counts_as_not_given() -> None:
    """As JSON clients send it for what they leave open."""
    assert "client_uri" not in metadata.validate({**GOOD, "client_uri": None})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)


@STEADY
@given(st.dictionaries(st.sampled_from(sorted(metadata.FIELDS)) | st.text(max_size=12), JSON, max_size=5))
def test_any_json_is_accepted_or_refused(raw: dict[str, Any]) -> None:
    """Never a crash; what is accepted is accepted again."""
    try:
        found = metadata.validate({**GOOD, **raw})
    except (InvalidClientMetadata, InvalidRedirectUri):
        return
    assert metadata.validate(found) == found


@STEADY
@given(st.text(max_size=60) | st.from_regex(r"[a-z.]{1,12}:/{0,3}[a-z@:\[\]#?%*\\.]{0,20}", fullmatch=True))
def test_an_accepted_address_is_harmless(uri: str) -> None:
    """Whatever is typed: a lower-case scheme that we allow, no fragment, no user name, no wildcard."""
    try:
        metadata.redirect_uri("redirect_uris", uri)
    except InvalidRedirectUri:
        return
    scheme = uri.partition(":")[0]
    assert scheme in ("https", "http") or "." in scheme
    assert not set(uri) & set('#*\\"<> \t\r\n\x00')
    assert "@" not in uri.partition("//")[2].partition("/")[0]


RSA, P256 = assertion.signer("RS256"), assertion.signer("ES256")
SET = {"keys": [P256.jwk()]}
BY_KEY = {"token_endpoint_auth_method": "private_key_jwt"}


@pytest.mark.parametrize(
    "changed",
    [
        {**BY_KEY, "jwks": SET},
        {**BY_KEY, "jwks_uri": "https://app.example.org/jwks"},
        {**BY_KEY, "jwks": SET, "token_endpoint_auth_signing_alg": "ES256"},
        {**BY_KEY, "jwks": {"keys": [P256.jwk(), RSA.jwk(use="enc")]}},
        {"token_endpoint_auth_method": "client_secret_jwt", "token_endpoint_auth_signing_alg": "HS256"},
        {"jwks": SET},
    ],
)
def test_keys_that_are_taken(changed: dict[str, Any]) -> None:
    """They are given back as they were (RFC 7591 §3.2.1)."""
    assert metadata.validate({**GOOD, **changed}).items() >= changed.items()


@pytest.mark.parametrize(
    "changed",
    [
        BY_KEY,
        {**BY_KEY, "jwks": SET, "jwks_uri": "https://app.example.org/jwks"},
        {**BY_KEY, "jwks": {"keys": []}},
        {**BY_KEY, "jwks": {"keys": [RSA.jwk(use="enc")]}},
        {**BY_KEY, "jwks": SET, "token_endpoint_auth_signing_alg": "RS256"},
        {**BY_KEY, "jwks": SET, "token_endpoint_auth_signing_alg": "HS256"},
        {**BY_KEY, "jwks": SET, "token_endpoint_auth_signing_alg": "none"},
        {"token_endpoint_auth_method": "client_secret_jwt", "token_endpoint_auth_signing_alg": "ES256"},
        {"token_endpoint_auth_signing_alg": "ES256"},
        {"jwks_uri": "http://app.example.org/jwks"},
        {"jwks_uri": "ftp://app.example.org/jwks"},
        {"jwks_uri": 1},
        *(
            {"jwks": value}
            for value in ([], "x", 1, {"keys": {}}, {"keys": ["x"]}, {"keys": [{"kty": "oct", "k": "x"}]})
        ),
        {"jwks": {"keys": [{**P256.jwk(), "d": "x"}]}},
        {"jwks": {"keys": [{**P256.jwk(), "x5c": ["A" * 20_000]}]}},
        {"jwks": {"keys": [P256.jwk()] * 21}},
        {"jwks": {"keys": [{**P256.jwk(), "more": {1, 2}}]}},
    ],
)
def test_keys_that_are_refused(changed: dict[str, Any]) -> None:
    """Private, shared, too many, in two places, or none that the client could sign with."""
    assert refusal({**GOOD, **changed}) in ("invalid_client_metadata", "invalid_redirect_uri")
