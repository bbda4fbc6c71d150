"""A service that exchanges tokens of people (RFC 8693), and the rule that lets it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config
from auth_server.access.exchanges import Rule
from auth_server.clients.client import Client
from auth_server.clients.metadata import TOKEN_EXCHANGE
from tests.support import factories
from tests.support.browser import Browser
from tests.support.factories import ORDERS
from tests.support.rp import RelyingParty, basic

FILES, STORE = "https://files.example.org", "https://store.example.org"
TOKEN_TYPE = "urn:ietf:params:oauth:token-type:"
ACCESS_TOKEN, JWT = TOKEN_TYPE + "access_token", TOKEN_TYPE + "jwt"
SCOPE = "openid roles orders:read files:read files:write store:read offline_access"
"""What the app of these tests is registered for, and asks."""


@dataclass
class Service:
    """A client that may exchange."""

    app: Flask
    client: Client
    secret: str

    def exchange(self, subject: str, dpop: str | None = None, **changed: Any) -> TestResponse:
        """Ask for a token for the files; a value of None removes a field."""
        fields = {
            "grant_type": TOKEN_EXCHANGE,
            "subject_token": subject,
            "subject_token_type": ACCESS_TOKEN,
            "resource": FILES,
            **changed,
        }
        return self.post("/oauth/token", fields, dpop)

    def exchanged(self, subject: str, **changed: Any) -> str:
        """Exchange, and return the new token."""
        answer = self.exchange(subject, **changed)
        assert answer.status_code == 200, answer.text
        return str(answer.json["access_token"])

    def own_token(self, dpop: str | None = None) -> str:
        """Return a token by client credentials."""
        answer = self.post("/oauth/token", {"grant_type": "client_credentials"}, dpop)
        assert answer.status_code == 200, answer.text
        return str(answer.json["access_token"])

    def introspect(self, token: str) -> dict[str, Any]:
        """Ask about a token that was issued to this client."""
        found: dict[str, Any] = self.post("/oauth/introspect", {"token": token}).json
        return found

    def post(self, path: str, fields: dict[str, Any], dpop: str | None = None) -> TestResponse:
        sent = {name: value for name, value in fields.items() if value is not None}
        headers = basic(self.client.client_id, self.secret) | ({"DPoP": dpop} if dpop else {})
        machine = self.app.test_client(use_cookies=False)  # threads do not share one
        return machine.post(path, data=sent, headers=headers, base_url=config.current().issuer)


def shop(app: Flask, browser: Browser, **files: Any) -> RelyingParty:
    """Return the app whose tokens are exchanged, with the APIs."""
    apis(app, **files)
    return RelyingParty(app, browser, *factories.client(app, client_id="shop", client_name="Shop", scope=SCOPE))


def token(shop: RelyingParty, scope: str = SCOPE, **request: Any) -> str:
    """Return an access token of the app's."""
    return str(shop.tokens(scope=scope, **request)["access_token"])


def apis(app: Flask, **files: Any) -> None:
    """Make the three APIs; what is given is for the files."""
    factories.api(app)
    factories.api(app, FILES, name="Files", scopes={"files:read": "See", "files:write": "Change"}, **files)
    factories.api(app, STORE, name="Store", scopes={"store:read": "See the store"})


def service(app: Flask, client_id: str = "orders-backend", **metadata: Any) -> Service:
    """Make a client that has the grant, and one to get a token of its own."""
    about = {"grant_types": ["client_credentials", TOKEN_EXCHANGE], "client_name": "Orders backend", **metadata}
    return Service(app, *factories.service(app, client_id=client_id, **about))


def rule(app: Flask, name: str = "orders-to-files", **changed: Any) -> Rule:
    """Let the orders' backend exchange what is for the orders into what is for the files, or what is said."""
    about: dict[str, Any] = {
        "client_id": "orders-backend",
        "from_audience": ORDERS,
        "to_audience": FILES,
        "scopes": ("files:read", "roles"),
        **changed,
    }
    return factories.exchange_rule(app, name, **about)
