"""A trusted issuer as the tests play it: a CI system, a cluster, a company's identity provider."""

from __future__ import annotations

from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config
from auth_server.clients import issuers
from auth_server.clients.client import Client
from tests.support import assertion, factories
from tests.support.assertion import Signer
from tests.support.rp import basic
from tests.support.signing import KEYS

CI = "https://ci.example.org"
JOB = "repo:acme/shop:environment:production"
IDP = "https://id.example.org"
SUBJECT = "00u1a2b3"
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
BY = KEYS["RS256"]


class Issuer:
    """Somebody who signs; `token` makes a right token of the kind, and what it is given changes that."""

    def __init__(self, app: Flask, iss: str = CI, by: Signer = BY, **about: Any) -> None:
        self.app, self.iss, self.by = app, iss, by
        raw = {"uses": ["workload"], "jwks": {"keys": [by.jwk()]}, **about}
        known = {name: value for name, value in raw.items() if value is not None}
        factories.within(app, lambda: issuers.save(iss, known))

    def token(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a token about a job; None leaves a claim out, and times are seconds from now."""
        right = {"iss": self.iss, "sub": JOB, "exp": 3600, **claims}
        audience = right.pop("aud", config.current().issuer)
        return self.by.token(assertion.claims("", audience, **right), **(header or {}))


class Workload:
    """A client without a credential, and the job that is it."""

    def __init__(self, app: Flask, issuer: Issuer, *rules: dict[str, Any], **metadata: Any) -> None:
        self.app, self.issuer = app, issuer
        meant = [{"issuer": issuer.iss, **rule} for rule in rules or ({"subject": JOB},)]
        known = {"token_endpoint_auth_method": "workload_identity", "workload": meant}
        self.client, self.secret = factories.service(app, **{**known, **metadata})

    @property
    def id(self) -> str:
        return self.client.client_id

    def post(self, token: str, path: str = "/oauth/token", /, **more: str) -> TestResponse:
        """Show a token; a field of "" is not sent."""
        fields = assertion.fields(token, grant_type="client_credentials", token="x", client_id=self.id)
        form = {name: value for name, value in {**fields, **more}.items() if value}
        machine = self.app.test_client(use_cookies=False)
        return machine.post(path, data=form, base_url=config.current().issuer)

    def ask(self, header: dict[str, Any] | None = None, **claims: Any) -> TestResponse:
        return self.post(self.issuer.token(header, **claims))


class Company:
    """An identity provider that says for whom an app may act, and the app."""

    def __init__(self, app: Flask, client: Client, secret: str, **about: Any) -> None:
        self.app, self.client, self.secret = app, client, secret
        self.issuer = Issuer(app, about.pop("iss", IDP), **{"uses": ["id-jag"], **about})

    def assertion(self, header: dict[str, Any] | None = None, **claims: Any) -> str:
        """Return a right assertion about `SUBJECT`; None leaves a claim out."""
        right = {"sub": SUBJECT, "client_id": self.client.client_id, "scope": "orders:read", "exp": 300, **claims}
        return self.issuer.token({"typ": "oauth-id-jag+jwt", **(header or {})}, **right)

    def show(self, presented: str, headers: dict[str, str] | None = None, **fields: Any) -> TestResponse:
        form = {"grant_type": JWT_BEARER, "assertion": presented, **fields}
        sent = {**basic(self.client.client_id, self.secret), **(headers or {})}
        machine = self.app.test_client(use_cookies=False)
        return machine.post("/oauth/token", data=form, headers=sent, base_url=config.current().issuer)

    def ask(self, header: dict[str, Any] | None = None, **claims: Any) -> TestResponse:
        return self.show(self.assertion(header, **claims))
