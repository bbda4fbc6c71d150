"""A client's published keys: fetched, kept, looked for again, and never more often than once a minute (SS-07)."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from auth_server import config
from auth_server.clients import keys
from tests.support import assertion, asserts, factories, web_server
from tests.support.assertion import Signer, signer
from tests.support.site import at_once
from tests.support.web_server import WebServer, answer, as_json

Travel = Callable[[timedelta], None]
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


class Publisher:
    """A service that publishes its keys, and a way to ask for a token with one of them."""

    def __init__(self, app: Flask, server: WebServer) -> None:
        self.app, self.server = app, server
        uri = server.url("/jwks")
        self.client, secret = factories.service(app, token_endpoint_auth_method="private_key_jwt", jwks_uri=uri)
        assert secret == ""

    def publish(self, *signers: Signer, **headers: str) -> None:
        self.server.behave = as_json({"keys": [one.jwk() for one in signers]}, **headers)

    def fail(self) -> None:
        self.server.behave = answer(b"", "503 Service Unavailable")

    def ask(self, by: Signer, **header: Any) -> int:
        token = by.token(assertion.claims(self.client.client_id, config.current().issuer), **header)
        form = assertion.fields(token, grant_type="client_credentials")
        return self.app.test_client(use_cookies=False).post("/oauth/token", data=form).status_code

    @property
    def asked(self) -> int:
        return len(self.server.requests)


@contextmanager
def opened(make_app: Callable[..., Flask]) -> Iterator[Publisher]:
    keys.forget()
    with web_server.running(as_json({"keys": []})) as server:
        yield Publisher(make_app(outbound_allow_hosts=("127.0.0.1",)), server)
    keys.forget()


@pytest.fixture
def publisher(make_app: Callable[..., Flask]) -> Iterator[Publisher]:
    with opened(make_app) as found:
        yield found


def test_published_keys_are_fetched_once_and_kept(publisher: Publisher, in_a_while: Travel) -> None:
    """Ten minutes, unless the server says otherwise."""
    one = signer("ES256")
    publisher.publish(one)
    assert [publisher.ask(one) for _time in range(3)] == [200] * 3
    assert publisher.asked == 1
    in_a_while(timedelta(minutes=9))
    assert publisher.ask(one) == 200
    assert publisher.asked == 1
    in_a_while(timedelta(minutes=2))
    assert publisher.ask(one) == 200
    assert publisher.asked == 2


@pytest.mark.parametrize(
    ("said", "kept"),
    [("max-age=1800", 30 * MINUTE), ("max-age=1", MINUTE), ("no-store", MINUTE), ("max-age=99999999", 24 * HOUR)],
)
def test_they_are_kept_as_long_as_their_server_says(
    publisher: Publisher, in_a_while: Travel, said: str, kept: timedelta
) -> None:
    """Within bounds: from a minute to a day."""
    one = signer("ES256")
    publisher.publish(one, Cache_Control=said)
    publisher.ask(one)
    in_a_while(kept - 5 * SECOND)
    assert publisher.ask(one) == 200
    assert publisher.asked == 1
    in_a_while(10 * SECOND)
    assert publisher.ask(one) == 200
    assert publisher.asked == 2


def test_a_new_key_is_looked_for_once_a_minute(publisher: Publisher, in_a_while: Travel) -> None:
    """A client rotates and goes on; strangers with made-up key ids cause one request a minute."""
    old, new = signer("ES256", "old"), signer("ES256", "new")
    publisher.publish(old)
    assert publisher.ask(old) == 200
    publisher.publish(old, new)
    assert publisher.ask(new) == 401
    in_a_while(61 * SECOND)
    assert publisher.ask(new) == 200
    assert publisher.asked == 2
    stranger = signer("ES256")
    for number in range(50):
        assert publisher.ask(stranger, kid=f"made-up-{number}") == 401
    assert publisher.asked == 2
    in_a_while(61 * SECOND)
    for number in range(50):
        publisher.ask(stranger, kid=f"made-up-{number}")
    assert publisher.asked == 3
    assert [publisher.ask(old), publisher.ask(new)] == [200, 200]


def test_a_key_that_is_published_no_more_is_refused(publisher: Publisher, in_a_while: Travel) -> None:
    """As soon as what was fetched is not fresh any more."""
    old, new = signer("ES256", "old"), signer("ES256", "new")
    publisher.publish(old, Cache_Control="max-age=60")
    assert publisher.ask(old) == 200
    publisher.publish(new)
    in_a_while(61 * SECOND)
    assert [publisher.ask(old), publisher.ask(new)] == [401, 200]


def test_a_server_that_fails_is_asked_once_a_minute(publisher: Publisher, in_a_while: Travel) -> None:
    """And then the cause is in the audit, not in the answer."""
    one = signer("ES256")
    publisher.fail()
    assert [publisher.ask(one) for _time in range(5)] == [401] * 5
    assert publisher.asked == 1
    reasons = {event.reason for event in asserts.events_of(publisher.app, "client.authentication_failed")}
    assert reasons == {"the client has no key for it; jwks_uri: the answer is not 200"}
    publisher.publish(one)
    in_a_while(61 * SECOND)
    assert publisher.ask(one) == 200


def test_what_was_known_goes_on_for_an_hour_when_the_server_fails(publisher: Publisher, in_a_while: Travel) -> None:
    """An outage of the client's key server is not one of ours; a key does not live for ever by it, though."""
    one = signer("ES256")
    publisher.publish(one)
    assert publisher.ask(one) == 200
    publisher.fail()
    in_a_while(HOUR + 9 * MINUTE)
    assert publisher.ask(one) == 200
    assert publisher.asked == 2
    in_a_while(2 * MINUTE)
    assert publisher.ask(one) == 401
    publisher.publish(one)
    in_a_while(61 * SECOND)
    assert publisher.ask(one) == 200


@pytest.mark.parametrize(
    "behave",
    [
        as_json([]),
        as_json({"keys": "x"}),
        as_json({"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "k1", "alg": "ES256"}]}),
        answer(b"{", content_type="application/json"),
        answer(b'{"keys": []}', content_type="text/html"),
        answer(b"", "302 Found", Location="/elsewhere"),
    ],
    ids=["a list", "no list", "a shared key", "no JSON", "HTML", "a redirect"],
)
def test_what_is_no_key_set_gives_no_keys(publisher: Publisher, in_a_while: Travel, behave: web_server.Behave) -> None:
    """A refusal, never a crash; with a good set the same assertion's twin is taken."""
    one = signer("ES256")
    publisher.server.behave = behave
    assert publisher.ask(one) == 401
    publisher.publish(one)
    in_a_while(61 * SECOND)
    assert publisher.ask(one) == 200


def test_many_at_once_cause_one_request(publisher: Publisher) -> None:
    """The others wait for it, holding neither a connection nor a turn to write."""
    one = signer("ES256")
    publisher.publish(one)
    assert at_once(*[lambda: publisher.ask(one)] * 10) == [200] * 10
    assert publisher.asked == 1


def test_a_slow_key_server_holds_nobody_else_up(publisher: Publisher) -> None:
    """While two wait for it, a third client gets its token at once (SS-10)."""
    service, secret = factories.service(publisher.app)
    publisher.server.behave = web_server.silent
    one = signer("ES256")
    waiting = [threading.Thread(target=publisher.ask, args=(one,)) for _number in range(4)]
    for thread in waiting:
        thread.start()
    while not publisher.server.connections:
        time.sleep(0.01)
    begun = time.monotonic()
    form = {"grant_type": "client_credentials", "client_id": service.client_id, "client_secret": secret}
    assert publisher.app.test_client(use_cookies=False).post("/oauth/token", data=form).status_code == 200
    assert time.monotonic() - begun < 3
    assert any(thread.is_alive() for thread in waiting)
    for thread in waiting:
        thread.join()


def test_nothing_is_fetched_at_registration_or_for_another_method(publisher: Publisher) -> None:
    """Nor for an address that an assertion brings along (TE-08)."""
    _client, secret = factories.service(publisher.app, jwks_uri=publisher.server.url("/jwks"))
    one = signer("ES256")
    assert publisher.ask(one, jku=publisher.server.url("/evil")) == 401
    assert publisher.ask(one, x5u=publisher.server.url("/evil")) == 401
    assert secret
    assert publisher.server.connections == 0
