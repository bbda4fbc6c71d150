"""A small API that is protected by `resource_server`, and what it answers."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask, jsonify
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from auth_server import resource_server
from auth_server.keys import jose
from tests.support.issuer import AUDIENCE, Issuer

CREDENTIALS = ("orders-api", "the-secret")
REALM = f'Bearer realm="{AUDIENCE}"'


def an_api(issuer: Issuer, **options: Any) -> FlaskClient:
    """Return a client of a small API that is protected by `orders:read`."""
    app = Flask("orders")
    protect = resource_server.protector(issuer=issuer.url, audience=AUDIENCE, **options)

    @app.get("/orders")
    @protect("orders:read")
    def orders() -> Any:
        return jsonify(sub=resource_server.current_token["sub"])

    @app.get("/actors")
    @protect("orders:read")
    def actors() -> Any:
        return jsonify(sub=resource_server.current_token["sub"], actors=resource_server.actors())

    @app.get("/both")
    @protect("orders:read", "orders:write")
    def both() -> Any:
        return jsonify(ok=True)

    @app.get("/refund")
    @protect("orders:read", acr="aal2", max_age=300)
    def refund() -> Any:
        return jsonify(ok=True)

    @app.get("/strong")
    @protect("orders:read", acr="aal2")
    def strong() -> Any:
        return jsonify(ok=True)

    @app.get("/recent")
    @protect(max_age=300)
    def recent() -> Any:
        return jsonify(ok=True)

    @app.get("/statistics")
    @protect("orders:read")
    def statistics() -> Any:
        resource_server.require_role("administrator")
        return jsonify(ok=True)

    return app.test_client()


def get(api: FlaskClient, token: str, path: str = "/orders") -> TestResponse:
    return api.get(path, headers={"Authorization": f"Bearer {token}"})


def status(api: FlaskClient, token: str) -> int:
    return get(api, token).status_code


def is_refused(answer: TestResponse) -> None:
    """401 `invalid_token`, in the challenge and in the body (RFC 6750 §3.1)."""
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == f'{REALM}, error="invalid_token"'
    assert answer.json["error"] == "invalid_token"


def is_unavailable(answer: TestResponse) -> None:
    """503 with `Retry-After`: nothing can be said about the token."""
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json["error"] == "temporarily_unavailable"
    assert "WWW-Authenticate" not in answer.headers


def strange(issuer: Issuer, kid: str) -> str:
    """Return a token that is right but for the key: nobody published it."""
    now = int(time.time())
    claims = {"iss": issuer.url, "sub": "a", "aud": AUDIENCE, "exp": now + 900, "iat": now, "jti": "1"}
    key = jose.Key(kid, "ES256", jose.wrap(jose.generate("ES256")))
    return jose.sign({**claims, "client_id": "wiki", "scope": "orders:read"}, key, "at+jwt")
