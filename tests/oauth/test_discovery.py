"""The metadata documents and the key set as documents: content, caching, keys."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from authlib.oidc.discovery import OpenIDProviderMetadata
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.access import apis
from auth_server.keys import keyring
from tests.support import asserts, factories
from tests.support.factories import ORDERS
from tests.support.rp import RelyingParty

OPENID = "/.well-known/openid-configuration"
OAUTH = "/.well-known/oauth-authorization-server"
JWKS = "/.well-known/jwks.json"


def get(app: Flask, path: str, **options: Any) -> TestResponse:
    return app.test_client(use_cookies=False).get(path, **options)


@pytest.mark.parametrize("kind", [AuthorizationServerMetadata, OpenIDProviderMetadata])
def test_the_document_is_valid(make_app: Callable[..., Flask], kind: type[Any]) -> None:
    """By Authlib's own rules for RFC 8414 and OpenID Connect Discovery; they want https."""
    app = make_app(issuer="https://auth.example.org")
    for path in (OPENID, OAUTH):
        document = get(app, path).json
        kind(document).validate()
        assert document["issuer"] == "https://auth.example.org"
        assert all(
            value.startswith("https://auth.example.org/") for name, value in document.items() if _is_address(name)
        )
    broken = dict(document)
    del broken["issuer"]
    with pytest.raises(ValueError, match="issuer"):
        kind(broken).validate()


def _is_address(name: str) -> bool:
    return name.endswith(("_endpoint", "_uri"))


def test_both_addresses_give_the_same(app: Flask) -> None:
    """OpenID Connect Discovery §4 and RFC 8414 §3."""
    assert get(app, OPENID).data == get(app, OAUTH).data


@pytest.mark.parametrize("path", [OPENID, OAUTH, JWKS])
def test_documents_are_cached_by_etag(app: Flask, path: str) -> None:
    """Public, at most an hour old, with ETag and 304, without a cookie."""
    first = get(app, path)
    assert first.content_type == "application/json"
    control = first.headers["Cache-Control"]
    assert control.startswith("public, max-age=")
    assert 0 < int(control.rpartition("=")[2]) <= 3600
    assert "Set-Cookie" not in first.headers
    assert "Vary" not in first.headers or "Cookie" not in first.headers["Vary"]
    again = get(app, path, headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")
    assert get(app, path, headers={"If-None-Match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", [OPENID, OAUTH, JWKS])
def test_documents_are_read_only(app: Flask, path: str) -> None:
    """405 in JSON for what would change them; HEAD is fine."""
    machine = app.test_client(use_cookies=False)
    for method in ("POST", "PUT", "DELETE"):
        answer = machine.open(path, method=method)
        asserts.is_oauth_error(answer, "invalid_request", 405)
    assert machine.head(path).status_code == 200
    asserts.is_oauth_error(machine.get(path + "x"), "invalid_request", 404)


def test_no_host_of_a_request_gets_into_the_document(app: Flask) -> None:
    """Every address comes from the issuer."""
    expected = get(app, OPENID).data
    forged = {"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.test"}
    assert get(app, OPENID, base_url="https://evil.test:444", headers=forged).data == expected


def test_the_document_follows_the_apis(app: Flask) -> None:
    """Computed from the registers: a new API's scopes are there at once, and gone with it."""
    assert "orders:read" not in get(app, OPENID).json["scopes_supported"]
    factories.api(app)
    with_api = get(app, OPENID)
    assert {"openid", "orders:read", "orders:write"} <= set(with_api.json["scopes_supported"])
    factories.within(app, lambda: apis.remove(ORDERS))
    without = get(app, OPENID)
    assert "orders:read" not in without.json["scopes_supported"]
    assert without.headers["ETag"] != with_api.headers["ETag"]


def test_the_key_set_is_public_and_strong(app: Flask) -> None:
    """No private member, RSA of 2048 bits, P-256, Ed25519; unique `kid`, `alg`, `use` (RFC 8725 §3.5)."""
    keys = get(app, JWKS).json["keys"]
    assert {key["alg"] for key in keys} == {"RS256", "ES256", "EdDSA"}
    assert len({key["kid"] for key in keys}) == len(keys) == 6
    for key in keys:
        assert not {"d", "p", "q", "dp", "dq", "qi", "k", "oth"} & set(key)
        assert key["use"] == "sig"
        if key["kty"] == "RSA":
            assert len(key["n"]) >= 342
            assert key["e"] == "AQAB"
        else:
            assert key["crv"] in ("P-256", "Ed25519")


def test_rotation_never_breaks_a_verifier(rp: RelyingParty) -> None:
    """The key that signs is always one that was published before."""
    rp.walk()
    tokens = []
    for _rotation in range(3):
        published = {key["kid"] for key in get(rp.app, JWKS).json["keys"]}
        factories.within(rp.app, keyring.rotate)
        tokens.append(rp.tokens()["access_token"])
        with rp.app.app_context():
            assert keyring.signer("RS256").kid in published
    assert all(rp.userinfo(token).status_code == 200 for token in tokens)


def test_a_revoked_key_leaves_the_key_set_at_once(app: Flask) -> None:
    """And another is there in its place."""
    (kid,) = [key["kid"] for key in get(app, JWKS).json["keys"] if key["alg"] == "ES256"][:1]
    before = get(app, JWKS)
    assert factories.within(app, lambda: keyring.revoke(kid))
    after = get(app, JWKS)
    assert kid not in after.text
    assert after.headers["ETag"] != before.headers["ETag"]
    assert [key["alg"] for key in after.json["keys"]].count("ES256") == 2


def test_two_installations_have_different_keys(app: Flask) -> None:
    """Keys are made at the first start, never shipped (RAUTHY-009)."""
    kids = {key["kid"] for key in get(app, JWKS).json["keys"]}

    def renew() -> None:
        for kid in kids:
            keyring.revoke(kid)

    factories.within(app, renew)
    assert not kids & {key["kid"] for key in get(app, JWKS).json["keys"]}
