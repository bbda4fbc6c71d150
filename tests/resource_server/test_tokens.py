"""`resource_server`: which tokens an API accepts, what it answers to the others, and how often it asks the issuer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auth_server.keys import jose
from tests.support.issuer import AUDIENCE, JWKS, METADATA, Issuer
from tests.support.protected import CREDENTIALS, REALM, an_api, get, is_refused, status, strange

_NAMES = ("access_token", "certificate", "confirmation", "dpop", "foreign", "jose", "status_list")
KEYS = tuple(f"keys.{name}" for name in _NAMES)


@pytest.mark.parametrize("alg", jose.ALGORITHMS)
def test_a_good_token_is_let_in(issuer: Issuer, alg: str) -> None:
    """Each advertised algorithm is verified with nothing but the issuer's URL (RFC 8414, RFC 9068 §4)."""
    answer = get(an_api(issuer), issuer.token(alg))
    assert answer.status_code == 200
    assert answer.json == {"sub": "a-person"}
    assert [asked.path for asked in issuer.asked] == [METADATA, JWKS]


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def with_header(issuer: Issuer, **header: str) -> str:
    """Return a good token's claims under another header, without a signature."""
    return encoded(json.dumps({"typ": "at+jwt", **header}).encode()) + "." + issuer.token().split(".")[1]


def hs256(issuer: Issuer, secret: bytes) -> str:
    """Return a token that is signed with what everybody may read (RFC 8725 §2.1)."""
    head = with_header(issuer, alg="HS256", kid=issuer.key("RS256").kid)
    return head + "." + encoded(hmac.new(secret, head.encode(), hashlib.sha256).digest())


def pem(issuer: Issuer) -> bytes:
    return issuer.natives["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def altered(token: str) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"


BAD: dict[str, Callable[[Issuer], str]] = {
    "wrong audience": lambda i: i.token(aud="https://other.example.org"),
    "no audience": lambda i: i.token(aud=None),
    "wrong issuer": lambda i: i.token(iss="https://evil.example.org"),
    "expired": lambda i: i.token(exp=int(time.time()) - 61),
    "no expiry": lambda i: i.token(exp=None),
    "from the future": lambda i: i.token(iat=int(time.time()) + 120),
    "not yet valid": lambda i: i.token(nbf=int(time.time()) + 120),
    "no jti": lambda i: i.token(jti=None),
    "an ID token": lambda i: i.token(typ="JWT"),
    "alg none": lambda i: with_header(i, alg="none") + ".",
    "alg none with a known kid": lambda i: with_header(i, alg="none", kid=i.key("ES256").kid) + ".",
    "HS256 with the public key as PEM": lambda i: hs256(i, pem(i)),
    "HS256 with the public key as JWK": lambda i: hs256(i, json.dumps(jose.public_jwk(i.natives["RS256"], "RS256")).encode()),  # noqa: E501
    "unknown kid": lambda i: strange(i, "unknown"),
    "known kid, other key": lambda i: strange(i, i.key("ES256").kid),
    "altered signature": lambda i: altered(i.token()),
    "no JWT": lambda i: "garbage",
    "two words": lambda i: i.token() + " " + i.token(),
    "too long": lambda i: "a" * 20_000,
    "not ASCII": lambda i: i.token() + "ü",
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_refused(issuer: Issuer, kind: str) -> None:
    """401 `invalid_token` with a challenge (RFC 6750 §3.1); the good twin is let in by the same API."""
    api = an_api(issuer)
    is_refused(get(api, BAD[kind](issuer)))
    assert status(api, issuer.token()) == 200


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -50), ("iat", 50), ("nbf", 50)])
def test_clocks_may_differ_by_a_minute(issuer: Issuer, claim: str, seconds: int) -> None:
    """Issuer and API do not share one."""
    assert status(an_api(issuer), issuer.token(**{claim: int(time.time()) + seconds})) == 200


def test_a_token_may_be_for_several_apis(issuer: Issuer) -> None:
    """`aud` may be a list (RFC 7519 §4.1.3)."""
    assert status(an_api(issuer), issuer.token(aud=["https://other.example.org", AUDIENCE])) == 200


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic YTpi"}, {"Authorization": "Bearer"}])
def test_a_request_without_a_token_gets_a_bare_challenge(issuer: Issuer, headers: dict[str, str]) -> None:
    """No bearer token, no error code (RFC 6750 §3.1); the scheme's case does not matter (RFC 9110 §11.1)."""
    api = an_api(issuer)
    answer = api.get("/orders", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == REALM
    assert answer.data == b""
    assert api.get("/orders", headers={"Authorization": f"bearer {issuer.token()}"}).status_code == 200


def test_a_token_counts_in_the_header_only(issuer: Issuer) -> None:
    """Never in the query, where logs keep it (OAuth 2.1 §5.1)."""
    api = an_api(issuer)
    assert api.get(f"/orders?access_token={issuer.token()}").status_code == 401
    assert status(api, issuer.token()) == 200


@pytest.mark.parametrize("scope", ["openid", "", None, "orders:readwrite", ["orders:read"]])
def test_a_missing_scope_is_named(issuer: Issuer, scope: Any) -> None:
    """403 `insufficient_scope` says what would be enough (RFC 6750 §3.1)."""
    api = an_api(issuer)
    answer = get(api, issuer.token(scope=scope))
    assert answer.status_code == 403
    assert answer.json["error"] == "insufficient_scope"
    assert answer.headers["WWW-Authenticate"] == f'{REALM}, error="insufficient_scope", scope="orders:read"'
    assert status(api, issuer.token(scope="orders:read")) == 200


def test_every_named_scope_is_demanded(issuer: Issuer) -> None:
    """`protect("a", "b")` means both, and the challenge names both."""
    api = an_api(issuer)
    answer = get(api, issuer.token(), "/both")
    assert answer.status_code == 403
    assert 'scope="orders:read orders:write"' in answer.headers["WWW-Authenticate"]
    assert get(api, issuer.token(scope="orders:write orders:read"), "/both").status_code == 200


SIGN_INS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "both, just now": ({"acr": "aal2", "auth_time": 0}, {"/refund", "/strong", "/recent"}),
    "both, five minutes ago by a clock that differs": (
        {"acr": "aal2", "auth_time": -350},
        {"/refund", "/strong", "/recent"},
    ),
    "both, too long ago": ({"acr": "aal2", "auth_time": -365}, {"/strong"}),
    "a password": ({"acr": "aal1", "auth_time": 0}, {"/recent"}),
    "a strength of somebody else's": ({"acr": "urn:example:gold", "auth_time": 0}, {"/recent"}),
    "a service": ({}, set()),
    "nonsense": ({"acr": ["aal2"], "auth_time": True}, set()),
    "more nonsense": ({"acr": {"aal2": 1}, "auth_time": "now"}, set()),
}
CHALLENGES = {
    "/refund": ', acr_values="aal2", max_age="300"',
    "/strong": ', acr_values="aal2"',
    "/recent": ', max_age="300"',
}


@pytest.mark.parametrize("way", ["locally", "by introspection"])
@pytest.mark.parametrize("kind", SIGN_INS)
def test_a_weak_or_old_sign_in_is_told_what_to_ask_for(issuer: Issuer, kind: str, way: str) -> None:
    """401 `insufficient_user_authentication` with `acr_values` and `max_age` (RFC 9470 §3), either way."""
    about, good_for = SIGN_INS[kind]
    if type(about.get("auth_time")) is int:
        about = {**about, "auth_time": int(time.time()) + about["auth_time"]}
    issuer.introspection(**about)
    options = {"introspection": CREDENTIALS} if way == "by introspection" else {}
    api, token = an_api(issuer, **options), issuer.token(**about)
    for path, demanded in CHALLENGES.items():
        answer = get(api, token, path)
        assert answer.status_code == (200 if path in good_for else 401), path
        if path not in good_for:
            challenge = f'{REALM}, error="insufficient_user_authentication"{demanded}'
            assert answer.headers["WWW-Authenticate"] == challenge
            assert answer.json["error"] == "insufficient_user_authentication"
    assert status(api, token) == 200


def test_a_missing_scope_comes_before_a_weak_sign_in(issuer: Issuer) -> None:
    """Nobody signs in again for what the app may not ask anyway; a token that is no good is `invalid_token`."""
    answer = get(an_api(issuer), issuer.token(scope="openid", acr="aal1"), "/strong")
    assert answer.status_code == 403
    is_refused(get(an_api(issuer), "nonsense", "/strong"))


@pytest.mark.parametrize("roles", [None, [], ["auditor"], "administrators", {"administrator": True}])
def test_a_missing_role_is_refused(issuer: Issuer, roles: Any) -> None:
    """The scope lets the app ask; the role says whether the person may. No other token would help: no challenge."""
    api = an_api(issuer)
    answer = get(api, issuer.token(roles=roles), "/statistics")
    assert answer.status_code == 403
    assert answer.json["error"] == "access_denied"
    assert "WWW-Authenticate" not in answer.headers
    assert get(api, issuer.token(roles=["auditor", "administrator"]), "/statistics").status_code == 200


def test_importing_it_brings_nothing_of_the_server_along() -> None:
    """An API that only checks tokens needs no database and no settings; httpx2 comes with the first fetch."""
    program = "import sys, auth_server.resource_server; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    ours = {name for name in loaded if name.startswith("auth_server.")}
    resource = (f"resource_{part}" for part in ("server", "dpop", "mtls", "issuer", "metadata", "status"))
    parts = (*resource, "errors", "keys", *KEYS)
    assert ours == {f"auth_server.{part}" for part in parts}
    assert not loaded & {"sqlalchemy", "alembic", "httpx2", "granian", "flask_login", "flask_wtf"}


CHAIN = {"sub": "files-backend", "act": {"sub": "orders-backend", "act": {"sub": "web"}}}


@pytest.mark.parametrize("introspects", [False, True])
@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (None, []),
        (CHAIN, ["files-backend", "orders-backend", "web"]),
        ({"sub": "a", "act": "b"}, ["a"]),
        *((strange_one, []) for strange_one in ("a", ["a"], {}, {"sub": 5}, {"act": {"sub": "a"}})),
    ],
)
def test_the_actors_are_told(issuer: Issuer, introspects: bool, act: Any, expected: list[str]) -> None:
    """RFC 8693 §4.1: the present one first, and `sub` stays the person; whichever way the token is checked."""
    api = an_api(issuer, introspection=CREDENTIALS if introspects else None)
    issuer.introspection(act=act)
    answer = get(api, "opaque" if introspects else issuer.token(act=act), "/actors")
    assert answer.json == {"sub": "a-person", "actors": expected}


def test_an_endless_chain_of_actors_has_an_end(issuer: Issuer) -> None:
    """Twenty are read, and no more."""
    act: dict[str, Any] = {"sub": "a"}
    for _step in range(50):
        act = {"sub": "a", "act": act}
    assert get(an_api(issuer), issuer.token(act=act), "/actors").json["actors"] == ["a"] * 20
