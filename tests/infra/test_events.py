"""`record`: one audit row and one log line for everything that is worth it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask
from sqlalchemy import select

from auth_server import config
from auth_server.accounts import users
from auth_server.database import db
from auth_server.infra import audit, events
from auth_server.infra.audit import AuditEvent
from auth_server.infra.events import Context, Event, record
from auth_server.infra.log import setup_log
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, basic


def test_an_event_says_who_what_when_where_and_with_what_result(app: Flask) -> None:
    """Every field of who, what, when and where has a column; the moment is UTC."""

    def act() -> None:
        context = Context(request_id="r-1", address="192.0.2.1", actor_kind="person", actor="ada", session="s-1")
        events.begin(context)
        record(Event.CONSENT_DENIED, subject="ada", client="wiki", family="f-1", reason="said no", scope="openid")

    factories.within(app, act)
    (row,) = asserts.events_of(app, "consent.denied")
    assert (row.actor_kind, row.actor, row.subject) == ("person", "ada", "ada")
    assert (row.client_id, row.session, row.family) == ("wiki", "s-1", "f-1")
    assert (row.address, row.request_id, row.reason) == ("192.0.2.1", "r-1", "said no")
    assert (row.result, row.data) == ("success", {"scope": "openid"})
    assert row.at.tzinfo is UTC
    assert abs(datetime.now(UTC) - row.at) < timedelta(seconds=10)


def test_failures_are_marked(app: Flask) -> None:
    """An event that means a refusal has the result `failure`; every other `success`."""

    def act() -> None:
        for event in Event:
            record(event)

    factories.within(app, act)
    with app.app_context():
        rows = db.session.execute(select(AuditEvent.event, AuditEvent.result).where(AuditEvent.request_id == "test"))
        found = {row.event: row.result for row in rows}
    assert set(found) == set(Event) - events.LOG_ONLY
    assert {name for name, result in found.items() if result == "failure"} == set(events.FAILURES)


def test_an_act_and_its_record_stand_or_fall_together(app: Flask) -> None:
    """A rolled-back act leaves no event."""
    with app.app_context():
        users.create("ada@example.org", "Ada", verified=True)
        db.session.rollback()
    assert asserts.events_of(app, "user.created") == []
    factories.person(app)
    assert len(asserts.events_of(app, "user.created")) == 1


def test_old_events_go(app: Flask, in_a_while: Callable[[timedelta], None]) -> None:
    """After AUDIT_RETENTION, and not before."""
    factories.within(app, lambda: record(Event.SETUP_COMPLETED))
    retention = timedelta(days=400)
    in_a_while(timedelta(days=399))
    assert factories.within(app, lambda: audit.prune(retention)) == 0
    in_a_while(timedelta(days=2))
    assert factories.within(app, lambda: audit.prune(retention)) >= 1
    assert asserts.events_of(app, "setup.completed") == []


def test_the_answer_the_log_and_the_audit_carry_one_id(app: Flask, browser: Browser) -> None:
    """`X-Request-Id` finds the log line and the audit record."""
    stream = io.StringIO()
    setup_log(config.current(), stream)
    request_id = browser.sign_in(password="wrong").headers["X-Request-Id"]
    (row,) = asserts.events_of(app, "sign_in.failed")
    assert row.request_id == request_id
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [line["msg"] for line in lines if line["request_id"] == request_id] == ["sign_in.failed"]


def actors(app: Flask, event: str) -> set[tuple[str, str]]:
    return {(row.actor_kind, row.actor) for row in asserts.events_of(app, event)}


def test_person_service_and_job_are_told_apart(rp: RelyingParty, app: Flask, ada: users.User) -> None:
    """A person acts in a browser, a service with its credentials, a job by itself."""
    tokens = rp.tokens()
    factories.api(app)
    robot, secret = factories.service(app, "orders:read")
    sent = {"grant_type": "client_credentials"}
    assert rp.post("/oauth/token", sent, headers=basic(robot.client_id, secret)).status_code == 200
    person = ("person", ada.id)
    assert actors(app, "consent.granted") == {person}
    assert actors(app, "code.issued") == {person}
    assert actors(app, "token.issued") == {("service", rp.client.client_id), ("service", robot.client_id)}
    assert actors(app, "client.created") == {("job", "")}
    rp.revoke(tokens["refresh_token"])
    assert actors(app, "family.ended") == {("service", rp.client.client_id)}
    rp.browser.sign_out()
    assert actors(app, "session.ended") == {person}


def test_a_stranger_has_no_name(browser: Browser, app: Flask) -> None:
    """A failed sign-in was nobody's: what was typed into the name field may be a password."""
    assert browser.sign_in(email="my secret password", password="x").status_code == 401
    assert actors(app, "sign_in.failed") == {("", "")}
    rows: list[Any] = asserts.events_of(app, "sign_in.failed")
    assert "secret password" not in str([row.__dict__ for row in rows])
