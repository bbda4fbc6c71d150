"""Assertions that say what an answer must be as a whole: status, code, headers, recorded event."""

from __future__ import annotations

import time
from typing import Any

from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from auth_server import config
from auth_server.database import Base, db
from auth_server.infra import batch
from auth_server.infra.audit import AuditEvent
from tests.support.browser import Page
from tests.support.rp import RelyingParty, answer_of


def is_oauth_error(response: TestResponse, code: str, status: int = 400) -> None:
    """The RFC's JSON, not to be stored (RFC 6749 §5.2)."""
    assert response.status_code == status, response.text
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json["error"] == code, response.text
    assert set(response.json) <= {"error", "error_description", "error_uri"}


def is_redirect_error(response: TestResponse, code: str, *, state: str | None = "the-state") -> dict[str, str]:
    """A redirect to the app with `error`, `state` and `iss` (RFC 6749 §4.1.2.1, RFC 9207)."""
    assert response.status_code == 303, response.text
    answer = answer_of(response)
    assert answer.get("error") == code, answer
    assert answer["iss"] == config.current().issuer
    assert answer.get("state") == state
    assert "code" not in answer
    return answer


def is_page(response: TestResponse, marker: str, status: int = 200) -> Page:
    assert response.status_code == status, response.text
    page = Page(response.text)
    assert page.marker == marker, page.marker
    return page


def is_error_page(response: TestResponse, error: str, status: int = 400) -> Page:
    """A page of ours that never redirects."""
    page = is_page(response, "error", status)
    assert page.error == error
    assert "Location" not in response.headers
    return page


def events_of(app: Flask, event: str) -> list[Any]:
    """Return the audit rows of one event, oldest first."""
    batch.flush_all()
    with app.app_context():
        found = list(db.session.scalars(select(AuditEvent).where(AuditEvent.event == event).order_by(AuditEvent.id)))
        db.session.expunge_all()  # the rows stay readable when the session is gone
        db.session.rollback()
        return found


def events_come(app: Flask, event: str, count: int) -> None:
    """Wait for this many rows of one event: another process may write them together, up to a second later."""
    deadline = time.monotonic() + 30
    while len(found := events_of(app, event)) < count and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(found) == count


_TOUCHED = frozenset({"last_used_at", "last_seen_at"})


def rows(app: Flask) -> dict[str, list[str]]:
    """Return every row of every table as text, but for the audit and moments of last use: what must not change."""
    with app.app_context():
        found: dict[str, list[str]] = {}
        for table in Base.metadata.sorted_tables:
            columns = [column for column in table.columns if column.name not in _TOUCHED]
            if table.name not in ("audit_event", "stamp"):
                found[table.name] = sorted(repr(tuple(row)) for row in db.session.execute(select(*columns)))
        db.session.rollback()
        return found


def refused(rp: RelyingParty, token: str, sentence: str, **fields: str) -> None:
    """The token is refused with just this sentence."""
    response = rp.refresh(token, **fields)
    is_oauth_error(response, "invalid_grant")
    assert response.json["error_description"] == sentence
