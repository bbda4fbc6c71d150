"""Keys of trusted issuers: where they are looked for, how they rotate, and issuers that hang or lie (SS-07, SS-10)."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from auth_server.clients import keys
from tests.support import assertion, asserts, factories, web_server
from tests.support.assertion import Signer, signer
from tests.support.issuing import Issuer, Workload
from tests.support.site import at_once
from tests.support.web_server import Send, WebServer, answer

Travel = Callable[[timedelta], None]
METADATA, KEYS = "/.well-known/openid-configuration", "/keys"
SECOND, MINUTE = timedelta(seconds=1), timedelta(minutes=1)


class Place:
    """An issuer with metadata and keys of its own, each of which may be anything, and a job that shows its tokens."""

    def __init__(self, app: Flask, server: WebServer, *, discovered: bool) -> None:
        self.app, self.server = app, server
        self.by = signer("ES256", "one")
        self.iss = server.url("").rstrip("/")
        where = {} if discovered else {"jwks_uri": server.url(KEYS)}
        self.job = Workload(app, Issuer(app, self.iss, self.by, jwks=None, **where))
        self.metadata: Any = {"issuer": self.iss, "jwks_uri": server.url(KEYS)}
        self.publish(self.by)
        server.behave = self._behave

    def publish(self, *signers: Signer) -> None:
        self.keys: Any = {"keys": [one.jwk() for one in signers]}

    def ask(self, by: Signer | None = None) -> int:
        self.job.issuer.by = by or self.by
        return self.job.ask().status_code

    def asked(self, path: str) -> int:
        return sum(request.startswith(f"GET {path} ".encode()) for request in self.server.requests)

    def reason(self) -> str:
        return str(asserts.events_of(self.app, "client.authentication_failed")[-1].reason)

    def _behave(self, send: Send) -> None:
        found = self.metadata if METADATA.encode() in self.server.requests[-1] else self.keys
        (found if callable(found) else answer(json.dumps(found).encode()))(send)


@pytest.fixture
def server() -> Iterator[WebServer]:
    keys.forget()
    with web_server.running(answer()) as found:
        yield found
    keys.forget()


@pytest.fixture
def reaching_app(make_app: Callable[..., Flask]) -> Flask:
    return make_app(outbound_allow_hosts=("127.0.0.1",))


@pytest.fixture
def place(reaching_app: Flask, server: WebServer) -> Place:
    return Place(reaching_app, server, discovered=True)


def test_keys_are_found_by_the_issuers_metadata(place: Place) -> None:
    """Once, for all that come at once and after; another key is refused."""
    assert at_once(*[place.ask] * 10) == [200] * 10
    assert (place.asked(METADATA), place.asked(KEYS)) == (1, 1)
    assert place.ask(signer("ES256", "one")) == 401


def test_keys_may_be_named_by_address(reaching_app: Flask, server: WebServer) -> None:
    """Then nobody asks for metadata."""
    place = Place(reaching_app, server, discovered=False)
    assert [place.ask(), place.ask()] == [200, 200]
    assert (place.asked(METADATA), place.asked(KEYS)) == (0, 1)


def test_an_issuer_rotates_its_keys(place: Place, in_a_while: Travel) -> None:
    """A new key is looked for once a minute; the old one goes when it is published no more."""
    new = signer("ES256", "two")
    assert place.ask() == 200
    place.publish(place.by, new)
    assert place.ask(new) == 401
    in_a_while(61 * SECOND)
    assert [place.ask(new), place.ask()] == [200, 200]
    place.publish(new)
    in_a_while(11 * MINUTE)
    assert [place.ask(new), place.ask()] == [200, 401]
    for number in range(20):
        assert place.ask(signer("ES256", f"made-up-{number}")) == 401
    assert place.asked(KEYS) <= 4


@pytest.mark.parametrize(
    ("member", "value"),
    [
        *(("issuer", value) for value in ("https://other.example", None, 1)),
        *(("jwks_uri", value) for value in (None, 1, "x", "http://169.254.169.254/keys", "file:///etc/passwd")),
    ],
)
def test_metadata_that_lie_give_no_keys(place: Place, in_a_while: Travel, member: str, value: Any) -> None:
    """Another issuer's, or an address where no keys may be; nothing is asked there."""
    truth = dict(place.metadata)
    place.metadata = {**truth, member: value}
    assert place.ask() == 401
    assert place.asked(KEYS) == 0
    assert place.reason().startswith("the issuer has no key for it; jwks_uri: ")
    place.metadata = truth
    assert place.ask() == 401
    in_a_while(61 * SECOND)
    assert place.ask() == 200


@pytest.mark.parametrize(
    "behave",
    [
        answer(b"[]"),
        answer(b"{"),
        answer(b"", "302 Found", Location="/elsewhere"),
        answer(b"", "500 Oops"),
        answer(b'{"keys": []}', content_type="text/html"),
        answer(b"{" + b" " * 70_000 + b"}"),
    ],
    ids=["a list", "no JSON", "a redirect", "an error", "HTML", "too large"],
)
@pytest.mark.parametrize("which", ["metadata", "keys"])
def test_an_issuer_that_answers_badly(place: Place, in_a_while: Travel, which: str, behave: web_server.Behave) -> None:
    """A refusal with its cause in the audit, once a minute, and never a crash."""
    truth = getattr(place, which)
    setattr(place, which, behave)
    assert [place.ask() for _time in range(3)] == [401] * 3
    assert place.asked(METADATA) == 1
    assert "jwks_uri: " in place.reason()
    setattr(place, which, truth)
    in_a_while(61 * SECOND)
    assert place.ask() == 200


def test_an_outage_of_the_issuer_is_none_of_ours(place: Place, in_a_while: Travel) -> None:
    """What was known goes on for an hour."""
    assert place.ask() == 200
    place.metadata = answer(b"", "503 Service Unavailable")
    in_a_while(timedelta(hours=1))
    assert place.ask() == 200
    in_a_while(timedelta(minutes=11))
    assert place.ask() == 401


def test_an_issuer_that_hangs_holds_nobody_up(place: Place) -> None:
    """While its token waits, another client gets one at once."""
    service, secret = factories.service(place.app)
    place.metadata = web_server.silent
    statuses: list[int] = []
    waiting = threading.Thread(target=lambda: statuses.append(place.ask()))
    waiting.start()
    while not place.server.connections:
        time.sleep(0.01)
    begun = time.monotonic()
    form = {"grant_type": "client_credentials", "client_id": service.client_id, "client_secret": secret}
    assert place.app.test_client(use_cookies=False).post("/oauth/token", data=form).status_code == 200
    assert time.monotonic() - begun < 3
    assert waiting.is_alive()
    waiting.join()
    assert statuses == [401]


def test_a_client_that_names_the_same_address_spoils_nothing(place: Place) -> None:
    """A stranger's `jwks_uri` that is an issuer's metadata is asked and kept apart."""
    uri = place.server.url(METADATA)
    client, _secret = factories.service(place.app, token_endpoint_auth_method="private_key_jwt", jwks_uri=uri)
    token = place.by.token(assertion.claims(client.client_id, "http://localhost:8421"))
    form = assertion.fields(token, grant_type="client_credentials")
    assert place.app.test_client(use_cookies=False).post("/oauth/token", data=form).status_code == 401
    assert place.ask() == 200
    assert place.asked(METADATA) == 2
