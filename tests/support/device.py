"""A device without a browser, and the person who allows it somewhere else."""

from __future__ import annotations

from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config
from auth_server.clients.client import Client
from auth_server.clients.metadata import DEVICE_CODE
from tests.support import factories
from tests.support.browser import Browser, Page
from tests.support.rp import basic

PATH = "/oauth/device_authorization"
PAGE, CONFIRM = "/device", "/device/confirm"


def client_of(app: Flask, **metadata: Any) -> tuple[Client, str]:
    """Make a public client that has nothing but the device grant and refresh tokens, unless told otherwise."""
    raw = {
        "client_name": "TV",
        "redirect_uris": [],
        "grant_types": [DEVICE_CODE, "refresh_token"],
        "token_endpoint_auth_method": "none",
    }
    return factories.client(app, **{**raw, **metadata})


class Device:
    """One device of a client: asks for codes, and polls."""

    def __init__(self, app: Flask, client: Client, secret: str = "", *, agent: str = "", address: str = "") -> None:
        self.app, self.client, self.secret = app, client, secret
        self._machine = app.test_client(use_cookies=False)
        self._environ = {"HTTP_USER_AGENT": agent} if agent else {}
        self._environ |= {"REMOTE_ADDR": address} if address else {}
        self.codes: dict[str, Any] = {}

    def ask(self, **fields: Any) -> TestResponse:
        """Ask for codes, and keep them."""
        answer = self.post(PATH, fields)
        if answer.status_code == 200:
            self.codes = answer.json or {}
        return answer

    def started(self, **fields: Any) -> Device:
        """Ask for codes, which must succeed."""
        answer = self.ask(**fields)
        assert answer.status_code == 200, answer.text
        return self

    @property
    def user_code(self) -> str:
        return str(self.codes["user_code"])

    def poll(self, **changed: Any) -> TestResponse:
        fields = {"grant_type": DEVICE_CODE, "device_code": self.codes["device_code"], **changed}
        return self.post("/oauth/token", fields)

    def tokens(self) -> dict[str, Any]:
        """Poll, which must give tokens."""
        answer = self.poll()
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json
        return found

    def post(self, path: str, fields: dict[str, Any]) -> TestResponse:
        """POST a form as this client; a value of None removes a field."""
        sent = {name: value for name, value in fields.items() if value is not None}
        headers = basic(self.client.client_id, self.secret) if self.secret else {}
        if not self.secret:
            sent.setdefault("client_id", self.client.client_id)
        return self._machine.post(
            path, data=sent, headers=headers, base_url=config.current().issuer, environ_base=self._environ
        )


def enter(browser: Browser, user_code: str) -> TestResponse:
    """Type a code, and sign in as Ada where that is asked; return the page (or refusal) that it leads to."""
    page = browser.follow(browser.submit(browser.get(PAGE), PAGE, user_code=user_code))
    if Page(page.text).marker == "login":
        filled = {"email": "ada@example.org", "password": factories.PASSWORD}
        page = browser.follow(browser.submit(page, "/login", **filled))
    return page


def decide(browser: Browser, page: TestResponse, decision: str = "allow", **fields: Any) -> TestResponse:
    """Answer the question; return the page that it leads to."""
    return browser.follow(browser.submit(page, page.request.full_path, decision=decision, **fields))


def allow(browser: Browser, user_code: str, **fields: Any) -> TestResponse:
    """Type a code and allow what is asked."""
    return decide(browser, enter(browser, user_code), **fields)
