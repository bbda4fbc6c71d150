"""Back-channel logout: apps are told that a session ended, by whoever ended it, and nobody waits for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from urllib.parse import parse_qs

import pytest
from flask import Flask

from auth_server import jobs
from auth_server.accounts import sessions
from auth_server.clients.client import Client
from auth_server.infra import outbox
from auth_server.keys import jose, keyring
from auth_server.tokens import backchannel, ending
from tests.support import asserts, factories, web_server
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, payload
from tests.support.web_server import WebServer


@pytest.fixture
def receiver() -> Iterator[WebServer]:
    """Return the app's side, which agrees."""
    with web_server.running(web_server.answer(b"", "200 OK", "")) as server:
        yield server


@pytest.fixture
def told(make_app: Callable[..., Flask], receiver: WebServer) -> RelyingParty:
    """Return an app that wants to know, on a server that may reach it."""
    app = make_app(outbound_allow_hosts=(f"127.0.0.1:{receiver.port}",))
    factories.person(app, "ada@example.org", roles=["administrator"])
    client = factories.client(app, backchannel_logout_uri=receiver.url("/logout"))
    return RelyingParty(app, Browser(app), *client)


def deliver(app: Flask) -> int:
    return factories.within(app, jobs.deliver_due)


def sent_token(receiver: WebServer) -> str:
    """Return the one logout token that has arrived."""
    (raw,) = receiver.requests
    head, _, body = raw.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /logout HTTP/1.1")
    assert b"content-type: application/x-www-form-urlencoded" in head.lower()
    fields = parse_qs(body.decode())
    assert set(fields) == {"logout_token"}
    return fields["logout_token"][0]


def test_the_logout_token(told: RelyingParty, receiver: WebServer) -> None:
    """oidcc-backchannel-rp-initiated-logout: claims of §2.4, `typ`, never a `nonce`; signed by us."""
    id_token = payload(told.tokens()["id_token"])
    told.browser.sign_out()
    assert deliver(told.app) == 1
    token = sent_token(receiver)
    header = jose.header(token)
    assert (header["typ"], header["alg"]) == ("logout+jwt", "RS256")
    key = factories.within(told.app, lambda: keyring.verifier(header["kid"]))
    assert key is not None
    claims = jose.verify(token, key)
    assert {name: claims[name] for name in ("iss", "sub", "aud", "sid")} == {
        "iss": "http://localhost:8421", "sub": id_token["sub"], "aud": told.client.client_id, "sid": id_token["sid"],
    }  # fmt: skip
    assert claims["events"] == {backchannel.EVENT: {}}
    assert claims["exp"] - claims["iat"] == 120
    assert "nonce" not in claims
    assert claims["jti"]


ENDS: dict[str, Callable[[str, str], object]] = {
    "that session": lambda user, session: ending.end_session(session, "ended_by_the_person"),
    "everywhere": lambda user, session: ending.sign_out_everywhere(user, "sign_out_everywhere"),
    "all others": lambda user, session: ending.end_other_sessions(user, "another"),
    "reset": lambda user, session: ending.password_reset(user),
    "changed": lambda user, session: ending.password_changed(user, "another"),
    "everybody": lambda user, session: ending.end_all_sessions(),
}


@pytest.mark.parametrize("how", ENDS)
def test_whoever_ends_it_the_app_is_told_once(told: RelyingParty, receiver: WebServer, how: str) -> None:
    """Every row of the table that ends sessions (docs/trust.md)."""
    found = payload(told.tokens()["id_token"])
    factories.within(told.app, lambda: ENDS[how](found["sub"], found["sid"]))
    deliver(told.app)
    assert payload(sent_token(receiver))["sid"] == found["sid"]
    deliver(told.app)
    assert len(receiver.requests) == 1


def test_a_session_without_apps_tells_nobody(told: RelyingParty, receiver: WebServer) -> None:
    """Nor does one whose app does not want to know."""
    told.browser.sign_in()
    told.browser.sign_out()
    silent = RelyingParty(told.app, Browser(told.app), *factories.client(told.app))
    silent.tokens()
    silent.browser.sign_out()
    deliver(told.app)
    assert receiver.requests == []


def test_a_session_that_runs_out_ends_nothing(
    told: RelyingParty, receiver: WebServer, in_a_while: Callable[[timedelta], None]
) -> None:
    """An idle end is no sign-out: families live on, and apps are not told."""
    told.tokens()
    in_a_while(timedelta(days=40))
    assert factories.within(told.app, sessions.prune) == 1
    assert deliver(told.app) == 0


def test_an_app_that_fails_is_asked_again_and_nobody_waits(
    told: RelyingParty, receiver: WebServer, in_a_while: Callable[[timedelta], None]
) -> None:
    """LO-05, SS-10: the sign-out is done whatever the app says; the same `jti` comes again."""
    receiver.behave = web_server.answer(b"", "500 Internal Server Error", "")
    told.tokens()
    told.browser.sign_out()
    assert told.browser.get("/account").status_code != 200
    assert deliver(told.app) == 0
    (waiting,) = factories.within(told.app, outbox.listing)
    assert (waiting.kind, waiting.about, waiting.last_error) == (
        "backchannel_logout", told.client.client_id, "the app answered 500",
    )  # fmt: skip
    assert asserts.events_of(told.app, "delivery.failed")
    first = payload(sent_token(receiver))
    receiver.requests.clear()
    receiver.behave = web_server.answer(b"", "204 No Content", "")
    in_a_while(timedelta(minutes=2))
    assert deliver(told.app) == 1
    assert payload(sent_token(receiver))["jti"] == first["jti"]
    assert [row.client_id for row in asserts.events_of(told.app, "sign_out.app_told")] == [told.client.client_id]


def test_an_address_inside_is_not_reached(make_app: Callable[..., Flask], receiver: WebServer) -> None:
    """The guard of every outbound request holds here too (SS-01)."""
    app = make_app()
    factories.person(app, "ada@example.org", roles=["administrator"])
    rp = RelyingParty(app, Browser(app), *factories.client(app, backchannel_logout_uri=receiver.url("/logout")))
    rp.tokens()
    rp.browser.sign_out()
    assert deliver(app) == 0
    assert receiver.connections == 0
    (waiting,) = factories.within(app, outbox.listing)
    assert waiting.last_error.startswith("the app could not be reached")


@pytest.mark.parametrize("end", [ending.delete_client, ending.disable_client])
def test_an_app_that_is_gone_is_forgotten(
    told: RelyingParty, receiver: WebServer, end: Callable[[Client], None]
) -> None:
    """Deleted or switched off between the sign-out and its delivery."""
    told.tokens()
    told.browser.sign_out()
    factories.within(told.app, lambda: end(told.client))
    assert deliver(told.app) == 1
    assert receiver.requests == []
