"""An app that nobody registers: a server with its document, and the app that begins with its address."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config
from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.clients import documents, keys
from auth_server.clients.client import Client
from tests.support import factories, web_server
from tests.support.browser import Browser
from tests.support.mail_server import certificate_for
from tests.support.rp import RelyingParty, challenge_of
from tests.support.web_server import Behave, WebServer, answer

HOST = "127.0.0.1"
REDIRECT_URI = "https://wiki.example.org/callback"
MakeApp = Callable[..., Flask]


@dataclass
class Publisher:
    """`client_id` is the address of the document, which `publish` writes; `app` accepts documents of this host."""

    app: Flask
    server: WebServer
    ada: users.User
    path: str = "/wiki/client.json"
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def client_id(self) -> str:
        return self.server.url(self.path)

    @property
    def asked(self) -> int:
        """How often somebody came for it."""
        return self.server.connections

    def publish(self, *, headers: dict[str, str] | None = None, **changed: Any) -> None:
        """Write the document with plain members and these; None leaves one out."""
        plain = {
            "client_id": self.client_id,
            "client_name": "Wiki",
            "redirect_uris": [REDIRECT_URI],
            "token_endpoint_auth_method": "none",
        }
        self.document = {name: value for name, value in {**plain, **changed}.items() if value is not None}
        self.serve(answer(json.dumps(self.document).encode(), **(headers or {})))

    def serve(self, behave: Behave) -> None:
        self.server.behave = behave

    def fail(self) -> None:
        self.serve(answer(b"", "503 Service Unavailable"))

    def begin(self, browser: Browser | None = None, **changed: Any) -> TestResponse:
        """Begin an authorization request; None leaves a parameter out."""
        plain = {
            "client_id": self.client_id,
            "redirect_uri": REDIRECT_URI,
            "response_type": "code",
            "scope": "openid profile",
            "state": "the-state",
            "code_challenge": challenge_of("x" * 43),
            "code_challenge_method": "S256",
        }
        query = {name: value for name, value in {**plain, **changed}.items() if value is not None}
        return (browser or Browser(self.app)).get("/oauth/authorize?" + urlencode(query))

    def client(self) -> Client | None:
        """Return the row as it is now."""
        return factories.within(self.app, lambda: clients.find_now(self.client_id))

    def party(self, browser: Browser | None = None) -> RelyingParty:
        """Let the app be known, and return it at a browser."""
        self.begin()
        client = self.client()
        assert client is not None
        return RelyingParty(self.app, browser or Browser(self.app), client)

    def push(self, **fields: Any) -> TestResponse:
        """Push a request that nobody has announced."""
        plain = {"client_id": self.client_id, "redirect_uri": REDIRECT_URI, "response_type": "code"}
        form = {**plain, "code_challenge": challenge_of("x" * 43), "code_challenge_method": "S256", **fields}
        machine = self.app.test_client(use_cookies=False)
        return machine.post("/oauth/par", data=form, base_url=config.current().issuer)


@contextmanager
def published(make_app: MakeApp, folder: Path, **settings: Any) -> Iterator[Publisher]:
    """Run the app's web server and an application that may ask it and that Ada signs in to."""
    forget()
    pem = certificate_for(folder, HOST)
    outbound = {"outbound_ca_file": str(pem), "outbound_allow_hosts": (HOST,), "client_id_metadata_hosts": (HOST,)}
    with web_server.running(answer(b"", "404 Not Found"), pem) as server:
        app = make_app(**{**outbound, **settings})
        factories.person(app, "root@example.org", "Root", roles=["administrator"])
        found = Publisher(app, server, factories.person(app))
        found.publish()
        yield found
    forget()


def forget() -> None:
    documents.forget()
    keys.forget()
