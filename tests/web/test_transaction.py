"""One commit per request; a database that cannot answer is 503 and changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import text
from sqlalchemy.engine import make_url
from werkzeug.test import TestResponse

from auth_server.accounts import users
from auth_server.database import db
from auth_server.pages import recover
from auth_server.values import Rate
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.database import dump, failing
from tests.support.rp import RelyingParty, answer_of

Act = Callable[[], TestResponse]
UNTIED = ("limit_bucket", "stamp", "client_secret")
"""Counters of guesses are committed before the guess is looked at; a stamp may move without harm; that a secret was
used is noted a second later, whatever became of the request."""


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return an application that takes many wrong tries: a fault after the reservation keeps it counted."""
    return make_app(login_rate_limit=Rate(1000, timedelta(minutes=15)))


def token_of(browser: Browser) -> str:
    return Page(browser.get("/logout").text or browser.get("/login").text).inputs["csrf_token"]


def redeem(rp: RelyingParty) -> Act:
    code = rp.code()
    return lambda: rp.exchange(code)


def refresh(rp: RelyingParty) -> Act:
    raw_token = rp.tokens()["refresh_token"]
    return lambda: rp.refresh(raw_token)


def revoke_refresh_token(rp: RelyingParty) -> Act:
    raw_token = rp.tokens()["refresh_token"]
    return lambda: rp.revoke(raw_token)


def revoke_access_token(rp: RelyingParty) -> Act:
    raw_token = rp.tokens()["access_token"]
    return lambda: rp.revoke(raw_token)


def introspect(rp: RelyingParty) -> Act:
    raw_token = rp.tokens()["access_token"]
    return lambda: rp.post("/oauth/introspect", {"token": raw_token})


def userinfo(rp: RelyingParty) -> Act:
    raw_token = rp.tokens()["access_token"]
    return lambda: rp.userinfo(raw_token)


def sign_in(rp: RelyingParty) -> Act:
    browser = Browser(rp.app)
    fields = {**Page(browser.get("/login").text).inputs, "email": "ada@example.org", "password": factories.PASSWORD}
    return lambda: browser.post("/login", fields)


def fail_to_sign_in(rp: RelyingParty) -> Act:
    browser = Browser(rp.app)
    fields = {**Page(browser.get("/login").text).inputs, "email": "ada@example.org", "password": "wrong"}
    return lambda: browser.post("/login", fields)


def sign_out(rp: RelyingParty) -> Act:
    rp.tokens()
    fields = {"csrf_token": token_of(rp.browser), "decision": "logout"}
    return lambda: rp.browser.post("/logout", fields)


def authorize(rp: RelyingParty) -> Act:
    return rp.authorize


def consent(rp: RelyingParty) -> Act:
    rp.browser.sign_in()
    page = rp.browser.follow(rp.authorize())
    return lambda: rp.browser.submit(page, page.request.full_path, decision="allow")


def end_others(rp: RelyingParty) -> Act:
    rp.browser.sign_in()
    Browser(rp.app).sign_in()
    fields = {"csrf_token": token_of(rp.browser), "decision": "end_others"}
    return lambda: rp.browser.post("/account/sessions", fields)


def disconnect(rp: RelyingParty) -> Act:
    rp.tokens()
    fields = {"csrf_token": token_of(rp.browser), "decision": "disconnect", "app": rp.client.client_id}
    return lambda: rp.browser.post("/account/apps", fields)


def look_at_the_account(rp: RelyingParty) -> Act:
    rp.browser.sign_in(remember="1")
    return lambda: rp.browser.get("/account")


def reset(rp: RelyingParty) -> Act:
    url = factories.within(rp.app, lambda: recover.make_link(users.find_by_email("ada@example.org")))  # type: ignore[arg-type]
    path = url.removeprefix("http://localhost:8421")
    fields = {**Page(rp.browser.get(path).text).inputs, "password": "a brand new long password"}
    return lambda: rp.browser.post(path, fields)


FLOWS = [
    *(redeem, refresh, revoke_refresh_token, revoke_access_token, introspect, userinfo, sign_in, fail_to_sign_in),
    *(sign_out, authorize, consent, end_others, disconnect, look_at_the_account, reset),
]
READS = (introspect, userinfo)
"""What has nothing to commit."""
SUCCEEDS = {fail_to_sign_in: 401, authorize: 303, consent: 303, sign_in: 303, end_others: 303, disconnect: 303}


def is_unavailable(response: TestResponse) -> None:
    """503 in the endpoint's own format, with `Retry-After` and without cookies."""
    assert response.status_code == 503, response.text
    assert int(response.headers["Retry-After"]) > 0
    assert "Set-Cookie" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Request-Id"]
    if response.content_type == "application/json":
        assert response.json == {"error": "temporarily_unavailable", "error_description": "try again"}
    else:
        asserts.is_error_page(response, "server_error", 503)


@pytest.mark.usefixtures("still_clock")  # a secret's use is noted once a minute, which would be one write more
@pytest.mark.parametrize("at", ["before_cursor_execute", "commit"])
@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.__name__)
def test_a_fault_anywhere_is_503_and_changes_nothing(
    rp: RelyingParty, flow: Callable[[RelyingParty], Act], at: str
) -> None:
    """Whichever statement or commit fails, the answer is clean and the very same request works afterwards."""
    act = flow(rp)
    before = dump(rp.app, but=UNTIED)
    for number in range(1, 60):
        with failing(rp.app, number, at) as fault:
            response = act()
        if not fault.hit:
            break
        is_unavailable(response)
        assert dump(rp.app, but=UNTIED) == before, f"{at} {number}"
    assert (number == 1) == (at == "commit" and flow in READS)
    assert response.status_code == SUCCEEDS.get(flow, 200), response.text


def test_a_refusal_commits(app: Flask, browser: Browser) -> None:
    """A protocol error is an answer: what it found out is kept."""
    assert browser.sign_in(password="wrong").status_code == 401
    assert len(asserts.events_of(app, "sign_in.failed")) == 1


def test_a_crash_rolls_back(make_app: Callable[..., Flask]) -> None:
    """An unexpected failure keeps nothing of the request and sets no cookie; without it the row stays."""
    app = make_app()
    factories.person(app, roles=["administrator"])

    def act(crash: bool) -> Callable[[], str]:
        def view() -> str:
            users.create("half@example.org", "Half", verified=True)
            if crash:
                raise RuntimeError("half way")
            return "done"

        return view

    app.add_url_rule("/crash", "crash", act(True))
    app.add_url_rule("/whole", "whole", act(False))
    browser = Browser(app)
    response = browser.get("/crash")
    asserts.is_error_page(response, "server_error", 500)
    assert "Set-Cookie" not in response.headers
    assert factories.within(app, users.count) == 1
    assert browser.get("/whole").status_code == 200
    assert factories.within(app, users.count) == 2


def test_a_crash_tells_nothing(make_app: Callable[..., Flask], caplog: pytest.LogCaptureFixture) -> None:
    """No trace, no text of the exception: only the request id, by which the log has both."""
    app = make_app()
    factories.person(app, roles=["administrator"])

    def view() -> str:
        raise RuntimeError("a private detail")

    app.add_url_rule("/crash", "crash", view)
    app.extensions["machines"].add("/.well-known/crash", lambda _request: view())
    page = Browser(app).get("/crash")
    assert page.headers["X-Request-Id"] in page.text
    machine = Browser(app).get("/.well-known/crash")
    assert (machine.status_code, machine.json) == (500, {"error": "server_error"})
    for response in (page, machine):
        assert "private detail" not in response.text
        assert "Traceback" not in response.text


@pytest.fixture
def writer(database_url: str) -> Iterator[sqlite3.Connection]:
    """Return another process's connection that holds SQLite's write lock."""
    connection = sqlite3.connect(make_url(database_url).database or "", isolation_level=None)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


@pytest.mark.sqlite_only
def test_a_locked_database_is_never_a_false_success(rp: RelyingParty, request: pytest.FixtureRequest) -> None:
    """Revoking while another process holds the lock is 503, and the token lives (RFC 7009 §2.2.1)."""
    tokens = rp.tokens()
    lock: sqlite3.Connection = request.getfixturevalue("writer")
    is_unavailable(rp.revoke(tokens["access_token"]))
    lock.execute("ROLLBACK")
    assert rp.userinfo(tokens["access_token"]).status_code == 200
    assert rp.revoke(tokens["access_token"]).status_code == 200
    assert rp.userinfo(tokens["access_token"]).status_code == 401


@pytest.mark.sqlite_only
def test_readers_do_not_wait_for_a_writer(rp: RelyingParty, request: pytest.FixtureRequest) -> None:
    """With the lock held elsewhere, what only reads is answered (WAL)."""
    tokens = rp.tokens()
    request.getfixturevalue("writer")
    assert rp.userinfo(tokens["access_token"]).status_code == 200
    assert Browser(rp.app).get("/login").status_code == 200
    assert rp.machine.get("/readyz").status_code == 200


def test_a_lost_table_is_503(rp: RelyingParty, app: Flask) -> None:
    """However the database fails, nothing fails open: a token whose revocation cannot be asked is not accepted."""
    tokens = rp.tokens()
    assert rp.userinfo(tokens["access_token"]).status_code == 200

    def drop() -> None:
        db.session.execute(text("DROP TABLE revocation"))

    factories.within(app, drop)
    is_unavailable(rp.userinfo(tokens["access_token"]))
    is_unavailable(rp.post("/oauth/introspect", {"token": tokens["access_token"]}))


def test_a_code_survives_a_failed_redemption(rp: RelyingParty) -> None:
    """The commit fails, the answer is 503, the same code works once afterwards."""
    code = answer_of(rp.walk())["code"]
    with failing(rp.app, at="commit"):
        is_unavailable(rp.exchange(code))
    first: Any = rp.exchange(code)
    assert first.status_code == 200
    asserts.is_oauth_error(rp.exchange(code), "invalid_grant")
