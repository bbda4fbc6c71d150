"""A browser without JavaScript: keeps cookies, follows our redirects, fills in forms as they stand on the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config
from tests.support.factories import PASSWORD


class Page(HTMLParser):
    """What a test asks of a page: its marker, its hidden fields, its text; not of the footer with its own form."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text
        self.marker = ""
        self._in_footer = False
        self.error = ""
        self.inputs: dict[str, str] = {}
        self.buttons: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "footer":
            self._in_footer = True
        if self._in_footer:
            return
        if tag == "main":
            self.marker, self.error = found.get("data-page", ""), found.get("data-error", "")
        if tag == "input" and found.get("type") == "hidden" and "name" in found:
            self.inputs[found["name"]] = found.get("value", "")
        if tag == "button" and "name" in found:
            self.buttons.append((found["name"], found.get("value", "")))

    def handle_endtag(self, tag: str) -> None:
        if tag == "footer":
            self._in_footer = False


class Browser:
    """One browser with its own cookie jar."""

    def __init__(self, app: Flask, address: str = "127.0.0.1", agent: str = "") -> None:
        self.app = app
        self.client = app.test_client()
        self.address = address
        self.agent = agent

    def at(self, app: Flask) -> Browser:
        """Return the same browser, with its cookies, in front of a copy of the application."""
        moved = Browser(app, self.address, self.agent)
        moved.client._cookies = dict(self.client._cookies)
        return moved

    def get(self, path: str, **options: Any) -> TestResponse:
        """Ask for a page without following redirects."""
        return self._send("GET", path, **options)

    def post(self, path: str, fields: dict[str, Any], **options: Any) -> TestResponse:
        """Send a form with just these fields."""
        return self._send("POST", path, data=fields, **options)

    def submit(self, response: TestResponse, path: str, **fields: Any) -> TestResponse:
        """Fill in the form of a page: its hidden fields, and these."""
        hidden = Page(response.text).inputs
        return self.post(path, {**hidden, **fields})

    def follow(self, response: TestResponse) -> TestResponse:
        """Follow redirects as long as they stay on this server."""
        while response.status_code in (302, 303) and self._is_ours(response.headers["Location"]):
            response = self.get(response.headers["Location"])
        return response

    def sign_in(self, email: str = "ada@example.org", password: str = PASSWORD, **fields: Any) -> TestResponse:
        """Sign in at the login page; return the answer to the form."""
        page = self.get("/login")
        return self.submit(page, "/login", email=email, password=password, **fields)

    def sign_out(self) -> TestResponse:
        return self.submit(self.get("/logout"), "/logout", decision="logout")

    def cookie(self, name: str) -> str | None:
        found = self.client.get_cookie(name, domain=urlsplit(config.current().issuer).hostname or "")
        return found.value if found else None

    def _send(self, method: str, path: str, **options: Any) -> TestResponse:
        options.setdefault("base_url", config.current().issuer)
        agent = {"HTTP_USER_AGENT": self.agent} if self.agent else {}
        environ = {"REMOTE_ADDR": self.address, **agent, **options.pop("environ_base", {})}
        parts = urlsplit(path)
        if parts.netloc:
            path = re.sub(r"^https?://[^/]+", "", path)
        return self.client.open(path, method=method, environ_base=environ, **options)

    def _is_ours(self, location: str) -> bool:
        return location.startswith("/") or location.startswith(config.current().issuer + "/")


def is_in(browser: Browser) -> bool:
    """Tell whether somebody is signed in there."""
    return browser.get("/account").status_code == 200


def inputs_of(page: TestResponse) -> dict[str, str]:
    """Return the hidden fields of a page."""
    return Page(page.text).inputs


def same_browser(browser: Browser) -> Browser:
    """Return another connection of the same browser: threads do not share a test client."""
    other = Browser(browser.app, browser.address)
    for name in ("auth_server", "auth_server_browser"):
        if browser.cookie(name):
            other.client.set_cookie(name, browser.cookie(name) or "", domain="localhost")
    return other
