"""Our own APIs tell whose tokens they take (RFC 9728), at the place that their challenges name."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from flask import Flask

from tests.support import asserts
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, basic, bearer

USERINFO = "/oauth/userinfo"
METADATA = "/.well-known/oauth-protected-resource/oauth/userinfo"
NAMED = f'resource_metadata="http://localhost:8421{METADATA}"'


def test_userinfo_tells_whose_tokens_it_takes(app: Flask) -> None:
    """`resource` is the API's own address, which is what tokens say in `aud` (§3.3); the server is ours (§2)."""
    answer = Browser(app).get(METADATA)
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "public, max-age=300"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.json == {
        "resource": "http://localhost:8421/oauth/userinfo",
        "authorization_servers": ["http://localhost:8421"],
        "scopes_supported": ["address", "email", "groups", "openid", "phone", "profile", "roles"],
        "bearer_methods_supported": ["header", "body"],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "PS256", "RS256"],
    }


def test_the_servers_metadata_name_its_apis(rp: RelyingParty) -> None:
    """`protected_resources` (§4), each with a document that names this server, and tokens for it work there."""
    found = Browser(rp.app).get("/.well-known/oauth-authorization-server").json
    token = rp.tokens()["access_token"]
    for resource in found["protected_resources"]:
        path = urlsplit(resource).path
        document = Browser(rp.app).get("/.well-known/oauth-protected-resource" + path).json
        assert document["resource"] == resource
        assert document["authorization_servers"] == [found["issuer"]]
        assert rp.machine.get(path, headers=bearer(token)).status_code == 200
        assert rp.machine.post(path, data={"access_token": token}).status_code == 200


@pytest.mark.parametrize("path", ["", "/", "/oauth", "/oauth/token", "/oauth/userinfo/", "/other"])
def test_there_are_no_others(app: Flask, path: str) -> None:
    """What is no API of ours has no document (§3)."""
    asserts.is_oauth_error(Browser(app).get("/.well-known/oauth-protected-resource" + path), "invalid_request", 404)


def test_challenges_name_the_document(rp: RelyingParty) -> None:
    """In 401 and 403 of the API (§5.1), for each scheme; not where it is about another kind of token."""
    bare = rp.machine.get(USERINFO).headers.getlist("WWW-Authenticate")
    assert len(bare) == 2
    assert all(challenge.endswith(NAMED) for challenge in bare)
    assert NAMED in rp.userinfo("x").headers["WWW-Authenticate"]
    elsewhere = rp.userinfo(rp.tokens(scope="profile")["access_token"])
    assert (elsewhere.status_code, NAMED in elsewhere.headers["WWW-Authenticate"]) == (401, True)
    by_dpop = rp.machine.get(USERINFO, headers={"Authorization": "DPoP x"})
    assert (by_dpop.status_code, NAMED in by_dpop.headers["WWW-Authenticate"]) == (401, True)
    refused = rp.post("/oauth/introspect", {"token": "x"}, headers=basic("x", "y"))
    assert (refused.status_code, "resource_metadata" in str(refused.headers)) == (401, False)
