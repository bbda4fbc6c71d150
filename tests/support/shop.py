"""A shop whose API demands a stronger sign-in for some scopes, and Ben with his phone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import users
from tests.support import authenticator, factories
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser
from tests.support.factories import ORDERS
from tests.support.rp import RelyingParty

VAULT = "https://vault.example.org"
SCOPE = "openid offline_access orders:read orders:refund vault:open"
EMAIL = "ben@example.org"
A_CODE_LATER = timedelta(seconds=31)
ORDINARY: dict[str, Any] = {"scope": "openid orders:read"}
STRENGTH: dict[str, Any] = {"scopes": {"orders:read": "Read", "orders:refund": "Refund"}, "token_format": "jwt"}


@dataclass
class Shop:
    """Ben at a browser; an API with one scope that needs two factors, one that needs them always; and apps."""

    app: Flask
    browser: Browser
    ben: users.User
    phone: Authenticator | None = None

    def app_with(self, **metadata: Any) -> RelyingParty:
        about = {"first_party": True, "scope": SCOPE, **metadata}
        return RelyingParty(self.app, self.browser, *factories.client(self.app, **about))

    def sign_in(self, browser: Browser | None = None, **fields: Any) -> TestResponse:
        """Type the password, and leave the code, where it is asked for, to the caller."""
        return (browser or self.browser).sign_in(email=EMAIL, **fields)

    def set_up(self) -> Authenticator:
        """Give Ben a second factor; he is signed out afterwards."""
        self.sign_in()
        self.phone, self.codes = authenticator.set_up(self.browser)
        self.browser.sign_out()
        return self.phone


def open_shop(app: Flask) -> Shop:
    factories.person(app, "ada@example.org", roles=["administrator"])
    ben = factories.person(app, EMAIL, "Ben")
    factories.api(app, ORDERS, scopes=STRENGTH["scopes"], scope_acr={"orders:refund": "aal2"})
    factories.api(app, VAULT, scopes={"vault:open": "Open it"}, minimum_acr="aal2")
    return Shop(app, Browser(app), ben)
