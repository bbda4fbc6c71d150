"""An API that is protected by `resource_server` tells whose tokens it takes (RFC 9728)."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Blueprint, Flask, jsonify
from flask.testing import FlaskClient

from auth_server import resource_server
from tests.support.issuer import AUDIENCE, Issuer
from tests.support.protected import get

WELL_KNOWN = "/.well-known/oauth-protected-resource"


def an_api(issuer: Issuer, audience: str = AUDIENCE, **told: str) -> FlaskClient:
    app = Flask("orders")
    protect = resource_server.protector(issuer=issuer.url, audience=audience)
    protect.tell(app, **told)

    @app.get("/orders")
    @protect("orders:read")
    def orders() -> Any:
        return jsonify(ok=True)

    @app.get("/both")
    @protect("orders:read", "orders:write")
    def both() -> Any:
        return jsonify(ok=True)

    @app.get("/any")
    @protect()
    def whoever() -> Any:
        return jsonify(ok=True)

    return app.test_client()


def test_the_document_is_served(issuer: Issuer) -> None:
    """The audience, the issuer and the scopes of all routes (§2), for pages of every origin."""
    found = an_api(issuer, name="Orders", documentation="https://orders.example.org/docs").get(WELL_KNOWN)
    assert found.status_code == 200
    assert found.content_type == "application/json"
    assert found.headers["Access-Control-Allow-Origin"] == "*"
    assert found.headers["Cache-Control"] == "public, max-age=300"
    assert found.json == {
        "resource": AUDIENCE,
        "authorization_servers": [issuer.url],
        "scopes_supported": ["orders:read", "orders:write"],
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "PS256", "RS256"],
        "resource_name": "Orders",
        "resource_documentation": "https://orders.example.org/docs",
    }


@pytest.mark.parametrize(
    ("audience", "path"),
    [
        ("https://mcp.example.org", WELL_KNOWN),
        ("https://mcp.example.org/", WELL_KNOWN),
        ("https://mcp.example.org/mcp", WELL_KNOWN + "/mcp"),
        ("https://mcp.example.org:8443/a/b", WELL_KNOWN + "/a/b"),
        ("http://localhost:3000/mcp", WELL_KNOWN + "/mcp"),
    ],
)
def test_it_stands_where_the_audience_says(issuer: Issuer, audience: str, path: str) -> None:
    """Between host and path (§3.1), and only there; `resource` is the audience as it is written (§3.3)."""
    api = an_api(issuer, audience)
    assert api.get(path).json["resource"] == audience
    assert api.get(path + "/other").status_code == 404
    host = audience.partition("//")[2].partition("/")[0]
    named = f'resource_metadata="{audience.partition("//")[0]}//{host}{path}"'
    assert named in api.get("/orders").headers["WWW-Authenticate"]


@pytest.mark.parametrize("audience", ["urn:orders", "orders", "https://orders.example.org/?a=b", "ftp://x/"])
def test_an_audience_without_such_a_place_is_refused(issuer: Issuer, audience: str) -> None:
    """When the API starts, rather than when an app looks for it."""
    with pytest.raises(ValueError, match="expected an https address"):
        an_api(issuer, audience)
    assert an_api(issuer).get(WELL_KNOWN).status_code == 200


def test_challenges_name_it(issuer: Issuer) -> None:
    """In 401 and 403, with the scopes that the route needs; an API that tells nothing names nothing."""
    api = an_api(issuer)
    where = f'resource_metadata="{AUDIENCE}{WELL_KNOWN}"'
    for challenge in api.get("/both").headers.getlist("WWW-Authenticate"):
        assert challenge.endswith(f', {where}, scope="orders:read orders:write"')
    assert api.get("/any").headers["WWW-Authenticate"].endswith(where)
    bad = get(api, "x")
    assert bad.headers["WWW-Authenticate"] == f'Bearer realm="{AUDIENCE}", {where}, error="invalid_token"'
    lacking = get(api, issuer.token(scope="orders:read"), "/both")
    assert lacking.status_code == 403
    assert lacking.headers["WWW-Authenticate"] == (
        f'Bearer realm="{AUDIENCE}", {where}, error="insufficient_scope", scope="orders:read orders:write"'
    )
    assert get(api, issuer.token(scope="orders:read")).status_code == 200


def test_a_blueprint_may_tell_it(issuer: Issuer) -> None:
    """As long as it has no prefix of its own."""
    app, blueprint = Flask("orders"), Blueprint("api", "api")
    resource_server.protector(issuer=issuer.url, audience=AUDIENCE).tell(blueprint)
    app.register_blueprint(blueprint)
    assert app.test_client().get(WELL_KNOWN).json["resource"] == AUDIENCE
