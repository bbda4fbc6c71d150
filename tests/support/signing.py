"""A client that signs its requests, and the machine endpoints as it sees them."""

from __future__ import annotations

from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from tests.support import assertion, asserts, factories
from tests.support.assertion import Signer, signer

ISSUER = "http://localhost:8421"
STRANGER = "client authentication failed"
KEYS = {alg: signer(alg) for alg in ("RS256", "PS256", "ES256", "EdDSA")}
BY = KEYS["ES256"]


class Service:
    """`by` is its key."""

    def __init__(self, app: Flask, by: Signer, **metadata: Any) -> None:
        self.app, self.by = app, by
        known = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [by.jwk()]}}
        self.client, self.secret = factories.service(app, **{**known, **metadata})

    @property
    def id(self) -> str:
        return self.client.client_id

    def post(self, token: str, path: str = "/oauth/token", **more: str) -> TestResponse:
        form = assertion.fields(token, grant_type="client_credentials", token="x", **more)
        return self.app.test_client(use_cookies=False).post(path, data=form, base_url=ISSUER)

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        return self.by.token(assertion.claims(self.id, claims.pop("aud", ISSUER), **claims), **(header or {}))

    def ask(self, header: dict[str, Any] | None = None, path: str = "/oauth/token", **claims: Any) -> TestResponse:
        return self.post(self.token(header, **claims), path)

    def reasons(self) -> list[str]:
        return [event.reason for event in asserts.events_of(self.app, "client.authentication_failed")]


def is_refused(answer: TestResponse, description: str = STRANGER) -> None:
    asserts.is_oauth_error(answer, "invalid_client", 401)
    assert answer.json["error_description"] == description
