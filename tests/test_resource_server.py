"""`resource_server`: which tokens an API accepts, and what it answers to the others."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from flask import Flask, jsonify
from flask.testing import FlaskClient

from auth_server import resource_server
from auth_server.keys import jose
from auth_server.resource_server import Answer

ISSUER = "https://id.example.org"
AUDIENCE = "https://orders.example.org"
CREDENTIALS = ("orders-api", "the-secret")


class FakeNetwork:
    """The issuer's documents as an API would fetch them; counts the fetches and can be cut."""

    def __init__(self) -> None:
        self.native = {alg: jose.generate(alg) for alg in jose.ALGORITHMS}
        self.published = {alg: jose.public_jwk(native, alg) for alg, native in self.native.items()}
        self.fetched: list[str] = []
        self.is_down = False
        self.issuer = ISSUER
        self.introspection: dict[str, Any] = {"active": False}
        self.sent: list[tuple[Mapping[str, str], bytes | None]] = []

    def __call__(self, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if self.is_down:
            raise OSError("connection refused")
        self.fetched.append(url)
        self.sent.append((headers, body))
        documents: dict[str, Any] = {
            ISSUER + resource_server.METADATA_PATH: {
                "issuer": self.issuer,
                "jwks_uri": ISSUER + "/jwks",
                "introspection_endpoint": ISSUER + "/introspect",
            },
            ISSUER + "/jwks": {"keys": list(self.published.values())},
            ISSUER + "/introspect": self.introspection,
        }
        return Answer(200, {"cache-control": "max-age=900"}, json.dumps(documents[url]).encode())

    def key(self, alg: str = "RS256") -> jose.Key:
        return jose.Key(self.published[alg]["kid"], alg, jose.wrap(self.native[alg]))

    def token(self, alg: str = "RS256", typ: str = "at+jwt", **changed: Any) -> str:
        """Return a good access token; a value of None removes a claim."""
        claims = {
            "iss": ISSUER,
            "sub": "a-person",
            "aud": AUDIENCE,
            "exp": int(time.time()) + 900,
            "iat": int(time.time()),
            "jti": "1",
            "client_id": "wiki",
            "scope": "openid orders:read",
            **changed,
        }
        return jose.sign({name: value for name, value in claims.items() if value is not None}, self.key(alg), typ)


@pytest.fixture
def network() -> FakeNetwork:
    return FakeNetwork()


def an_api(network: FakeNetwork, **options: Any) -> FlaskClient:
    """Return a client of a small API that is protected by `orders:read`."""
    app = Flask("orders")
    protect = resource_server.protector(ISSUER, AUDIENCE, fetch=network, **options)

    @app.get("/orders")
    @protect("orders:read")
    def orders() -> Any:
        return jsonify(sub=resource_server.current_token["sub"])

    @app.get("/both")
    @protect("orders:read", "orders:write")
    def both() -> Any:
        return jsonify(ok=True)

    @app.get("/statistics")
    @protect("orders:read")
    def statistics() -> Any:
        resource_server.require_role("administrator")
        return jsonify(ok=True)

    return app.test_client()


def get(api: FlaskClient, token: str | None, path: str = "/orders") -> Any:
    return api.get(path, headers={"Authorization": f"Bearer {token}"} if token is not None else {})


@pytest.mark.parametrize("alg", jose.ALGORITHMS)
def test_a_good_token_is_let_in(network: FakeNetwork, alg: str) -> None:
    """Each advertised algorithm is verified with nothing but the issuer's URL (RFC 9068 §4)."""
    answer = get(an_api(network), network.token(alg))
    assert answer.status_code == 200
    assert answer.json == {"sub": "a-person"}


def _altered(token: str) -> str:
    head, body, signature = token.split(".")
    return f"{head}.{body}.{signature[:-6]}AAAAAA"


def _unsigned(network: FakeNetwork) -> str:
    header = base64.urlsafe_b64encode(b'{"alg":"none","typ":"at+jwt"}').rstrip(b"=").decode()
    return f"{header}.{network.token().split('.')[1]}."


def _hs256_with_the_public_key(network: FakeNetwork) -> str:
    jwk = network.published["RS256"]
    header = json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": jwk["kid"]}).encode()
    head = base64.urlsafe_b64encode(header).rstrip(b"=").decode() + "." + network.token().split(".")[1]
    signature = hmac.new(json.dumps(jwk).encode(), head.encode(), hashlib.sha256).digest()
    return head + "." + base64.urlsafe_b64encode(signature).rstrip(b"=").decode()


def _unknown_key(network: FakeNetwork) -> str:
    native = jose.generate("ES256")
    key = jose.Key("unknown", "ES256", jose.wrap(native))
    return jose.sign({"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 900, "iat": 0}, key, "at+jwt")


BAD: dict[str, Callable[[FakeNetwork], str]] = {
    "wrong audience": lambda n: n.token(aud="https://other.example.org"),
    "wrong issuer": lambda n: n.token(iss="https://evil.example.org"),
    "expired": lambda n: n.token(exp=int(time.time()) - 61),
    "from the future": lambda n: n.token(iat=int(time.time()) + 120),
    "not yet valid": lambda n: n.token(nbf=int(time.time()) + 120),
    "an ID token": lambda n: n.token(typ="JWT"),
    "no jti": lambda n: n.token(jti=None),
    "no expiry": lambda n: n.token(exp=None),
    "alg none": _unsigned,
    "HS256 with the public key": _hs256_with_the_public_key,
    "unknown kid": _unknown_key,
    "altered signature": lambda n: _altered(n.token()),
    "no token at all": lambda n: "garbage",
    "too long": lambda n: "a" * 20_000,
    "not ASCII": lambda n: n.token() + "ü",
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_refused(network: FakeNetwork, kind: str) -> None:
    """401 `invalid_token` with a challenge (RFC 6750 §3.1); the good twin is let in by the same API."""
    api = an_api(network)
    answer = get(api, BAD[kind](network))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'
    assert answer.json["error"] == "invalid_token"
    assert get(api, network.token()).status_code == 200


def test_clocks_may_differ_by_a_minute(network: FakeNetwork) -> None:
    """A token that expired 50 seconds ago is still good (CONTRACT 6)."""
    assert get(an_api(network), network.token(exp=int(time.time()) - 50)).status_code == 200


def test_a_request_without_a_token_gets_a_bare_challenge(network: FakeNetwork) -> None:
    """No credentials, no error code (RFC 6750 §3.1)."""
    answer = get(an_api(network), None)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.data == b""


def test_another_scheme_is_refused(network: FakeNetwork) -> None:
    """Basic credentials are no token; a lower-case bearer scheme is (RFC 9110 §11.1)."""
    api = an_api(network)
    assert api.get("/orders", headers={"Authorization": "Basic abc"}).status_code == 401
    assert api.get("/orders", headers={"Authorization": f"bearer {network.token()}"}).status_code == 200


def test_a_missing_scope_is_named(network: FakeNetwork) -> None:
    """403 `insufficient_scope` says what would be enough (RFC 6750 §3.1), and every named scope is demanded."""
    api = an_api(network)
    answer = get(api, network.token(scope="openid"))
    assert answer.status_code == 403
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="orders:read"'
    assert get(api, network.token(), "/both").status_code == 403
    assert get(api, network.token(scope="orders:read orders:write"), "/both").status_code == 200


def test_a_missing_role_is_refused(network: FakeNetwork) -> None:
    """The scope lets the app ask; the role says whether the person may."""
    api = an_api(network)
    assert get(api, network.token(), "/statistics").status_code == 403
    assert get(api, network.token(roles=["auditor"]), "/statistics").status_code == 403
    assert get(api, network.token(roles=["administrator"]), "/statistics").status_code == 200


def test_keys_are_fetched_once_and_again_for_a_new_kid(network: FakeNetwork, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation is followed without a restart, and unknown kids do not make the API a hammer."""
    monkeypatch.setattr(resource_server, "_COOL_DOWN_SECONDS", 0)
    api = an_api(network)
    for _ in range(3):
        assert get(api, network.token()).status_code == 200
    assert network.fetched.count(ISSUER + "/jwks") == 1
    network.native["RS256"] = jose.generate("RS256")
    network.published["RS256"] = jose.public_jwk(network.native["RS256"], "RS256")
    assert get(api, network.token()).status_code == 200
    assert network.fetched.count(ISSUER + "/jwks") == 2
    monkeypatch.setattr(resource_server, "_COOL_DOWN_SECONDS", 60)
    for _ in range(5):
        assert get(api, _unknown_key(network)).status_code == 401
    assert network.fetched.count(ISSUER + "/jwks") == 2


def test_an_issuer_that_is_down_is_a_503(network: FakeNetwork) -> None:
    """Without keys nothing can be said: neither yes nor 401, and never a crash."""
    api = an_api(network)
    network.is_down = True
    answer = get(api, network.token())
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    network.is_down = False
    assert get(api, network.token()).status_code == 200


def test_metadata_of_another_issuer_is_not_believed(network: FakeNetwork) -> None:
    """RFC 8414 §3.3: `issuer` must be the one that was asked."""
    network.issuer = "https://evil.example.org"
    assert get(an_api(network), network.token()).status_code == 503


def test_introspection_asks_about_every_token(network: FakeNetwork) -> None:
    """A revocation shows at the next request (RFC 7662)."""
    api = an_api(network, introspection=CREDENTIALS)
    network.introspection = {
        "active": True, "iss": ISSUER, "sub": "a-person", "aud": [AUDIENCE],
        "scope": "orders:read", "token_type": "Bearer",
    }  # fmt: skip
    assert get(api, "opaque+/=token").json == {"sub": "a-person"}
    headers, body = network.sent[-1]
    assert headers["Authorization"] == "Basic " + base64.b64encode(b"orders-api:the-secret").decode()
    assert body == b"token=opaque%2B%2F%3Dtoken"
    network.introspection = {"active": False}
    assert get(api, "opaque+/=token").status_code == 401


@pytest.mark.parametrize(
    "changed",
    [{"active": "true"}, {"aud": "https://other.example.org"}, {"iss": "https://evil.example.org"},
     {"token_type": "refresh_token"}],
)  # fmt: skip
def test_an_introspection_that_is_not_about_a_token_for_us_is_a_no(
    network: FakeNetwork, changed: dict[str, Any]
) -> None:
    """`active` must be true, and audience, issuer and kind must fit."""
    network.introspection = {
        "active": True, "iss": ISSUER, "sub": "x", "aud": AUDIENCE, "scope": "orders:read", "token_type": "Bearer",
    } | changed  # fmt: skip
    assert get(an_api(network, introspection=CREDENTIALS), "token").status_code == 401


def test_importing_it_brings_nothing_of_the_server_along() -> None:
    """An API that only checks tokens needs no database and no settings."""
    program = "import sys, auth_server.resource_server; print(' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "auth_server.keys.access_token" in loaded
    assert not loaded & {"sqlalchemy", "auth_server.config", "auth_server.database", "httpx2", "granian"}
