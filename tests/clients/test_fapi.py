"""`profile: fapi2` and client certificates in metadata: what is implied, what contradicts, and what to change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_server import config
from auth_server.clients import client as clients
from auth_server.clients import metadata, registration, subject
from auth_server.errors import InvalidClientMetadata, InvalidRedirectUri, ProtocolError
from tests.support import assertion, factories
from tests.support import certificate as certs
from tests.support.certificate import DN

CALLBACK = "https://app.example.org/cb"
ES256, RSA = assertion.signer("ES256"), assertion.signer("RS256")
BY_KEY = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [ES256.jwk()]}}
FAPI: dict[str, Any] = {"profile": "fapi2", "redirect_uris": [CALLBACK], **BY_KEY}
BOUND = "tls_client_certificate_bound_access_tokens"
ISSUED = {"token_endpoint_auth_method": "tls_client_auth"}
OWN = {"token_endpoint_auth_method": "self_signed_tls_client_auth"}


@pytest.fixture(autouse=True)
def app(make_app: Callable[..., Flask], tmp_path: Path) -> Flask:
    """An application that can see certificates."""
    return make_app(**certs.SETTINGS, mtls_ca_file=certs.ca_file(tmp_path, certs.authority()))


def refusal(raw: dict[str, Any]) -> str:
    with pytest.raises(ProtocolError) as caught:
        metadata.validate(raw)
    assert isinstance(caught.value, InvalidClientMetadata | InvalidRedirectUri)
    return caught.value.description


@pytest.mark.parametrize(
    ("changed", "by_dpop"), [({}, True), ({BOUND: True}, False), ({BOUND: False}, True)], ids=["dpop", "mtls", "false"]
)
def test_the_profile_implies_what_need_not_be_named(app: Flask, changed: dict[str, Any], by_dpop: bool) -> None:
    """PAR, PKCE, bound tokens, no rotation, ES256; the row holds what was named, the answer what holds."""
    client, secret = factories.client(app, **{**FAPI, **changed})
    assert secret == ""
    assert (client.require_par, client.require_pkce, client.rotates) == (True, True, False)
    assert (client.dpop_bound, client.certificate_bound) == (by_dpop, not by_dpop)
    assert (client.id_token_alg, client.authorization_alg) == ("ES256", "ES256")
    assert "require_pushed_authorization_requests" not in client.details
    shown = registration.information(client, None)
    assert shown["require_pushed_authorization_requests"] is True
    assert shown["dpop_bound_access_tokens"] is by_dpop
    assert (shown["refresh_token_rotation"], shown["id_token_signed_response_alg"]) == (False, "ES256")


def test_without_the_profile_nothing_is_implied(app: Flask) -> None:
    """Its twin."""
    client, _ = factories.client(app, redirect_uris=[CALLBACK], **BY_KEY)
    assert (client.require_par, client.dpop_bound, client.rotates, client.id_token_alg) == (False, False, True, "RS256")
    assert "dpop_bound_access_tokens" not in registration.information(client, None)


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    *(
        ({"token_endpoint_auth_method": method, "jwks": None}, "token_endpoint_auth_method: profile fapi2 needs")
        for method in (None, "client_secret_basic", "client_secret_post", "client_secret_jwt", "none")
    ),
    ({"require_pushed_authorization_requests": False}, "require_pushed_authorization_requests: leave it out"),
    ({"require_pkce": False}, "require_pkce: leave it out"),
    ({"refresh_token_rotation": True}, "refresh_token_rotation: leave it out: profile fapi2 means false"),
    ({"dpop_bound_access_tokens": False}, "dpop_bound_access_tokens: leave it out, or bind tokens to certificates"),
    ({"dpop_bound_access_tokens": True, BOUND: True}, f"{BOUND}: give it or dpop_bound_access_tokens, not both"),
    *(
        ({name: "RS256", "jwks": {"keys": [RSA.jwk(alg=None)]}}, f"{name}: profile fapi2 takes PS256, ES256 or EdDSA")
        for name in (
            *("token_endpoint_auth_signing_alg", "request_object_signing_alg"),
            *("id_token_signed_response_alg", "authorization_signed_response_alg"),
        )
    ),
    ({"jwks": {"keys": [RSA.jwk()]}}, "jwks: no key is for a signature that the client may use"),
    ({"jwks": None}, "jwks: private_key_jwt needs jwks or jwks_uri"),
    ({"grant_types": ["authorization_code", metadata.DEVICE_CODE]}, "grant_types: profile fapi2 is for"),
    *(
        ({"redirect_uris": [CALLBACK, uri]}, "redirect_uris: profile fapi2 takes https addresses only")
        for uri in ("http://localhost:9999/cb", "http://127.0.0.1/cb", "com.example.app:/cb")
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "says"), CONTRADICTIONS, ids=lambda value: "-".join(value) if isinstance(value, dict) else value[:40]
)
def test_what_contradicts_the_profile_is_refused(changed: dict[str, Any], says: str) -> None:
    """With a sentence that names the field and what to do; without the field, or the profile, it is taken."""
    assert refusal({**FAPI, **changed}).startswith(says)
    assert metadata.validate(FAPI)["profile"] == "fapi2"


@pytest.mark.parametrize(
    "changed",
    [
        {"refresh_token_rotation": False},
        {"require_pkce": True, "require_pushed_authorization_requests": True, "dpop_bound_access_tokens": True},
        {"dpop_bound_access_tokens": False, BOUND: True},
        {"id_token_signed_response_alg": "EdDSA", "authorization_signed_response_alg": "ES256"},
        {"token_endpoint_auth_signing_alg": "PS256", "jwks": {"keys": [RSA.jwk(alg=None)]}},
        {"jwks": {"keys": [RSA.jwk(alg=None)]}},
        {"jwks": None, "jwks_uri": "https://app.example.org/jwks"},
        {"grant_types": ["client_credentials"], "redirect_uris": []},
        {**ISSUED, "jwks": None, "tls_client_auth_subject_dn": DN},
        {**OWN, "jwks": {"keys": [RSA.jwk()]}},
    ],
)
def test_what_the_profile_means_may_be_said(changed: dict[str, Any]) -> None:
    """And what it leaves open is the operator's; it is accepted again as it was kept."""
    found = metadata.validate({**FAPI, **changed})
    assert metadata.validate(found) == found


def test_a_client_that_takes_on_the_profile_is_checked_whole(app: Flask) -> None:
    """`clients set`: what it had that contradicts is named; afterwards the profile holds at once, and can be left."""
    client, _ = factories.client(app, redirect_uris=[CALLBACK], id_token_signed_response_alg="RS256", **BY_KEY)
    with pytest.raises(InvalidClientMetadata):
        factories.within(app, lambda: clients.change(client, {"profile": "fapi2"}))
    wanted = {"profile": "fapi2", "id_token_signed_response_alg": None}
    changed = factories.within(app, lambda: clients.change(client, wanted))
    assert (changed.require_par, changed.dpop_bound) == (True, True)
    left = factories.within(app, lambda: clients.change(changed, {"profile": None}))
    assert (left.require_par, left.dpop_bound) == (False, False)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (ISSUED, "tls_client_auth: give exactly one of tls_client_auth_subject_dn"),
        ({**ISSUED, "tls_client_auth_subject_dn": DN, "tls_client_auth_san_ip": certs.IP}, "tls_client_auth: give"),
        ({"tls_client_auth_san_dns": certs.HOST}, "tls_client_auth_san_dns: is for token_endpoint_auth_method"),
        ({**OWN, "jwks": {"keys": [ES256.jwk()]}, "tls_client_auth_san_ip": certs.IP}, "tls_client_auth_san_ip: is"),
        (OWN, "jwks: self_signed_tls_client_auth needs jwks or jwks_uri"),
        ({**OWN, "jwks": {"keys": []}}, "jwks: no key"),
        ({**OWN, "jwks": {"keys": [ES256.jwk()]}, "token_endpoint_auth_signing_alg": "ES256"}, "token_endpoint_auth_s"),
    ],
)  # fmt: skip
def test_certificates_are_registered_in_one_way(raw: dict[str, Any], says: str) -> None:
    """RFC 8705 §2.1.2 and §2.2.2: exactly one name, or keys, and nothing beside that looks as if it counted."""
    assert refusal({"redirect_uris": [CALLBACK], **raw}).startswith(says)


GOOD_NAMES = {
    "tls_client_auth_subject_dn": [DN, "CN=a", "DC=example,DC=org", "CN=a\\, b", "CN=a+OU=b", "emailAddress=a@b,CN=c"],
    "tls_client_auth_san_dns": ["report.example.org", "localhost", "Report.Example.ORG", "_x.example.org"],
    "tls_client_auth_san_uri": [certs.URI, "https://report.example.org/x"],
    "tls_client_auth_san_ip": ["192.0.2.1", "2001:db8::7"],
    "tls_client_auth_san_email": [certs.EMAIL],
}
BAD_NAMES = {
    "tls_client_auth_subject_dn": ["", "report", "CN=", "CN=a, O=b", "XX=a", "CN=a,", "/CN=a/O=b", "CN=" + "a" * 1000],
    "tls_client_auth_san_dns": ["", "*.example.org", "a b", "a..b", ".a", "é.example", "a\n", "https://a"],
    "tls_client_auth_san_uri": ["", "report", "spiffe:", "spiffe://a b", "spiffe://é"],
    "tls_client_auth_san_ip": ["", "192.0.2", "192.0.2.0/24", "host", "192.0.2.1 "],
    "tls_client_auth_san_email": ["", "report", "@example.org", "a@", "a b@example.org", "a@b@c"],
}


@pytest.mark.parametrize("field", subject.FIELDS)
def test_names_have_a_form(field: str) -> None:
    """A name that no certificate could bear is refused when it is registered, not when it is needed."""
    for value in GOOD_NAMES[field]:
        assert metadata.validate({"redirect_uris": [CALLBACK], **ISSUED, field: value})[field] == value
    for value in (*BAD_NAMES[field], 7, [], {}, True):
        refused = refusal({"redirect_uris": [CALLBACK], **ISSUED, field: value})
        assert refused.startswith(f"{field}: expected "), value


def test_self_registered_clients_may_use_certificates_but_not_the_profile(app: Flask) -> None:
    """What proves them is theirs; the profile is an operator's (CONTRACT 3)."""
    assert "profile" not in registration.TAKEN
    assert {*subject.FIELDS, BOUND, "jwks"} <= registration.TAKEN
    assert config.current().mtls_cert_header == certs.HEADER
