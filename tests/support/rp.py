"""A relying party for tests: builds authorization requests, walks the browser through, calls the machine endpoints."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config
from auth_server.clients.client import Client
from tests.support.browser import Browser, Page
from tests.support.factories import PASSWORD


def challenge_of(verifier: str) -> str:
    """Return the S256 challenge (RFC 7636 §4.2)."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


def basic(client_id: str, secret: str) -> dict[str, str]:
    """Return the Basic header of a client."""
    return {"Authorization": "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def payload(token: str) -> dict[str, Any]:
    """Return a JWT's claims without checking anything."""
    part = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


def answer_of(response: TestResponse) -> dict[str, str]:
    """Return the parameters of a redirect to the app."""
    query = parse_qs(urlsplit(response.headers["Location"]).query, keep_blank_values=True)
    return {name: values[0] for name, values in query.items()}


class RelyingParty:
    """One app: a client, its secret and the browser that uses it."""

    def __init__(self, app: Flask, browser: Browser, client: Client, secret: str = "") -> None:
        self.app, self.browser, self.client, self.secret = app, browser, client, secret
        self.machine = app.test_client(use_cookies=False)
        self.verifier = secrets.token_urlsafe(48)

    def at(self, app: Flask, browser: Browser) -> RelyingParty:
        """Return the same app in front of a copy of the application."""
        moved = RelyingParty(app, browser, self.client, self.secret)
        moved.verifier = self.verifier
        return moved

    def request(self, **changed: Any) -> dict[str, Any]:
        """Return a right authorization request; a value of None removes a parameter."""
        found = {
            "client_id": self.client.client_id,
            "redirect_uri": self.client.redirect_uris[0],
            "response_type": "code",
            "scope": "openid profile email offline_access",
            "state": "the-state",
            "nonce": "the-nonce",
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
            **changed,
        }
        return {name: value for name, value in found.items() if value is not None}

    def authorize(self, **changed: Any) -> TestResponse:
        """Send the authorization request through the browser; return the first answer."""
        return self.browser.get("/oauth/authorize?" + urlencode(self.request(**changed), doseq=True))

    def push(self, **changed: Any) -> TestResponse:
        """Push the authorization request (RFC 9126) as this client; a value of None removes a parameter."""
        return self.post("/oauth/par", self.request(**changed))

    def reference(self, **changed: Any) -> str:
        """Push, and return the reference."""
        answer = self.push(**changed)
        assert answer.status_code == 201, answer.text
        return str(answer.json["request_uri"])

    def bring(self, reference: str, browser: Browser | None = None, **beside: Any) -> TestResponse:
        """Let a browser come with a reference and nothing else but what is said; return the first answer."""
        query = {"client_id": self.client.client_id, "request_uri": reference, **beside}
        return (browser or self.browser).get("/oauth/authorize?" + urlencode(query, doseq=True))

    def walk(self, email: str = "ada@example.org", password: str = PASSWORD, **changed: Any) -> TestResponse:
        """Send the request, sign in and allow where asked; return the redirect to the app (or the page in the way)."""
        return self.walk_on(self.authorize(**changed), email, password)

    def walk_on(self, answer: TestResponse, email: str = "ada@example.org", password: str = PASSWORD) -> TestResponse:
        """Go on from the first answer as `walk` does."""
        response = self.browser.follow(answer)
        for _step in range(4):
            page = Page(response.text) if response.status_code == 200 else None
            if page and page.marker == "login":
                answer = self.browser.submit(response, "/login", email=email, password=password)
            elif page and page.marker == "consent":
                answer = self.browser.submit(response, response.request.full_path, decision="allow")
            else:
                break
            response = self.browser.follow(answer)
        return response

    def code(self, **changed: Any) -> str:
        """Walk to a code."""
        return answer_of(self.walk(**changed))["code"]

    def token(self, *, headers: dict[str, str] | None = None, **fields: Any) -> TestResponse:
        """POST /oauth/token as this client (public ones name themselves); a value of None removes a field."""
        return self.post("/oauth/token", fields, headers=headers)

    def exchange(self, code: str, **changed: Any) -> TestResponse:
        """Redeem a code."""
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.client.redirect_uris[0],
            "code_verifier": self.verifier,
            **changed,
        }
        return self.token(**fields)

    def tokens(self, **changed: Any) -> dict[str, Any]:
        """Walk, redeem, and return the token answer."""
        response = self.exchange(self.code(**changed))
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json
        return found

    def refresh(self, refresh_token: str, **fields: Any) -> TestResponse:
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **fields)

    def userinfo(self, access_token: str) -> TestResponse:
        return self.machine.get("/oauth/userinfo", headers=bearer(access_token), base_url=config.current().issuer)

    def introspect(self, token: str, *, headers: dict[str, str] | None = None) -> dict[str, Any]:
        """Ask about a token as this client, or with other credentials."""
        response = self.post("/oauth/introspect", {"token": token}, headers=headers)
        assert response.status_code == 200, response.text
        found: dict[str, Any] = response.json
        return found

    def revoke(self, token: str) -> TestResponse:
        return self.post("/oauth/revoke", {"token": token})

    def post(self, path: str, fields: dict[str, Any], headers: dict[str, str] | None = None) -> TestResponse:
        """POST a form to a machine endpoint, authenticated as this client."""
        sent = {name: value for name, value in fields.items() if value is not None}
        if headers is None:
            headers = basic(self.client.client_id, self.secret) if self.secret else {}
            if not self.secret:
                sent.setdefault("client_id", self.client.client_id)
        return self.machine.post(path, data=sent, headers=headers, base_url=config.current().issuer)
