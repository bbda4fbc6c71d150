"""An app that registers itself: what it sends, and how it goes on afterwards."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config
from auth_server.clients import client as clients
from tests.support import factories
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, bearer

REGISTER = "/oauth/register"
SELF = {"client_name": "Wiki", "redirect_uris": [factories.REDIRECT_URI]}


def register(app: Flask, token: str = "", *, address: str = "127.0.0.1", **changed: Any) -> TestResponse:
    """Register with plain metadata and these; None leaves a member out."""
    body = {name: value for name, value in {**SELF, **changed}.items() if value is not None}
    return post(app, token, address=address, json=body)


def post(app: Flask, token: str = "", *, address: str = "127.0.0.1", **options: Any) -> TestResponse:
    """Send whatever it is to the registration endpoint."""
    client = app.test_client(use_cookies=False)
    headers = bearer(token) if token else {}
    environ = {"REMOTE_ADDR": address}
    return client.post(REGISTER, headers=headers, base_url=config.current().issuer, environ_base=environ, **options)


def send(app: Flask, made: dict[str, Any], method: str = "GET", token: str = "", **options: Any) -> TestResponse:
    """Ask at a client's own address, with its own token unless told otherwise."""
    client = app.test_client(use_cookies=False)
    path = urlsplit(made["registration_client_uri"]).path
    headers = bearer(token or made["registration_access_token"])
    base_url = config.current().issuer
    return client.open(path, method=method, headers=headers, base_url=base_url, **options)


def put(app: Flask, made: dict[str, Any], **changed: Any) -> TestResponse:
    """Replace what the client says of itself."""
    return send(app, made, "PUT", json={"client_id": made["client_id"], **SELF, **changed})


def party(app: Flask, made: dict[str, Any]) -> RelyingParty:
    """Return the registered app at a browser."""
    client = factories.within(app, lambda: clients.find(made["client_id"]))
    assert client is not None
    return RelyingParty(app, Browser(app), client, made.get("client_secret", ""))
