"""How many statements a hot request needs, and that they find their rows by index, whatever the size of the tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection, bindparam, event, select, text

from auth_server import database
from auth_server.accounts import users
from auth_server.database import db
from auth_server.infra import batch, stamp
from auth_server.prepared import Prepared
from auth_server.tokens import checking, devices, revocations, store
from tests.conftest import ON_POSTGRESQL
from tests.support import factories
from tests.support.browser import Browser
from tests.support.device import Device, client_of
from tests.support.rp import RelyingParty, basic


@contextmanager
def counted(app: Flask) -> Iterator[list[str]]:
    """Collect the statements of the block, without the audit's and without BEGIN and COMMIT."""
    seen: list[str] = []

    def note(sql: str) -> None:
        if "audit_event" not in sql and sql != "COMMIT":
            seen.append(sql)

    def listen(_connection: Connection, _cursor: Any, statement: str, *_more: Any) -> None:
        note(statement)

    with app.app_context():
        engine = db.engine
    batch.flush_all()
    event.listen(engine, "before_cursor_execute", listen)
    database.watchers.append(note)
    try:
        yield seen
    finally:
        database.watchers.remove(note)
        event.remove(engine, "before_cursor_execute", listen)


@pytest.fixture
def rp(app: Flask, browser: Browser, monkeypatch: pytest.MonkeyPatch) -> RelyingParty:
    """Return a party that may have opaque tokens too; the look for changes, twice a second, is left out."""
    monkeypatch.setattr(stamp, "_LOOK_AGAIN_AFTER_SECONDS", 3600)
    factories.api(app, "https://opaque.example.org", scopes={"opaque": "Opaque"}, token_format="opaque")
    scope = "openid profile email offline_access opaque"
    found = RelyingParty(app, browser, *factories.client(app, scope=scope))
    found.tokens()
    return found


def test_a_service_token_needs_none(app: Flask) -> None:
    """client_credentials with a JWT: everything is in the warm cache, and the audit is written with others."""
    client, secret = factories.service(app)
    machine = app.test_client(use_cookies=False)

    def ask() -> int:
        fields = {"grant_type": "client_credentials"}
        return machine.post("/oauth/token", data=fields, headers=basic(client.client_id, secret)).status_code

    assert [ask(), ask()] == [200] * 2  # the first takes the service's place in the status lists
    with counted(app) as seen:
        assert [ask() for _ in range(3)] == [200] * 3
    assert seen == []


@pytest.mark.parametrize("scope", ["openid profile email offline_access", "openid offline_access opaque"])
def test_code_and_refresh_need_four(rp: RelyingParty, scope: str) -> None:
    """Both forms of the access token, in one transaction each, the audit not counted."""
    code = rp.code(scope=scope)
    with counted(rp.app) as of_code:
        tokens = rp.exchange(code)
    with counted(rp.app) as of_refresh:
        refreshed = rp.refresh(tokens.json["refresh_token"])
    assert (tokens.status_code, refreshed.status_code) == (200, 200)
    assert 3 <= len(of_code) <= 4, of_code
    assert 3 <= len(of_refresh) <= 4, of_refresh


def test_a_poll_of_a_device_needs_three(rp: RelyingParty) -> None:
    """The device, BEGIN, and the moment from which on it may ask again."""
    device = Device(rp.app, *client_of(rp.app)).started()
    with counted(rp.app) as of_poll:
        assert device.poll().json["error"] == "authorization_pending"
    assert 2 <= len(of_poll) <= 3, of_poll


@pytest.mark.parametrize("scope", ["openid profile email", "openid email opaque"])
def test_a_check_needs_one(rp: RelyingParty, scope: str) -> None:
    """The token, if it is opaque, with what refuses it and the person."""
    access_token = rp.tokens(scope=scope)["access_token"]
    with counted(rp.app) as of_userinfo:
        assert rp.userinfo(access_token).status_code == 200
    with counted(rp.app) as of_introspection:
        assert rp.introspect(access_token)["active"]
    assert (len(of_userinfo), len(of_introspection)) == (1, 1)


MANY = 1_000_000
PEOPLE = 100_000
FEW = 20_000
NUMBERS = ("now", "then", "seconds", "issued", "param_1")
"""Parameters that are no texts."""
HOT: dict[str, Prepared] = {
    "find a code": store._FIND_CODE,
    "spend a code": store._SPEND_CODE,
    "find a refresh token": store._FIND_REFRESH,
    "rotate": store._ROTATE,
    "find a device": devices._FIND,
    "note a poll": devices._ASKED,
    "slow a device down": devices._SLOWER,
    "redeem a device code": devices._REDEEM,
    "check a service's token": revocations._IS_COVERED,
    "check a person's token": checking._OF_JWT,
    "check an opaque token": checking._OF_OPAQUE,
    "find a person": users._FIND_PERSON,
}


def _rows(table: str, columns: str, values: str, count: int) -> str:
    """Return an INSERT of so many rows; `n` in the values counts them. Nothing here comes from outside."""
    numbers = f"WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s"  # noqa: S608
    if ON_POSTGRESQL:
        numbers = f"SELECT n FROM generate_series(1, {count}) AS n"  # noqa: S608
    return f"INSERT INTO {table} ({columns}) SELECT {values} FROM ({numbers}) AS x"  # noqa: S608


CROWD = (
    _rows(
        "user_account",
        "id, email, email_key, email_verified, name, claims, created_at, updated_at",
        "'u' || n, 'p' || n, 'p' || n, true, 'P', '{}', 1, 1",
        PEOPLE,
    ),
    _rows(
        "family",
        "id, client_id, user_id, session_id, scope, resources, offline, auth_time, acr, amr, created_at, expires_at",
        f"'f' || n, 'app', 'u' || (n % {PEOPLE}), 's', 'openid', '[]', false, 1, 'aal1', '[]', 1, n",
        MANY,
    ),
    _rows(
        "refresh_token",
        "digest, family_id, created_at, expires_at, window_count",
        "'d' || n, 'f' || n, 1, n, 0",
        MANY,
    ),
    _rows("authorization_code", "digest, family_id, redirect_uri, expires_at", "'d' || n, 'f' || n, 'x', n", FEW),
    _rows("opaque_access_token", "digest, claims, expires_at", "'d' || n, '{}', n", FEW),
    _rows(
        "session",
        "id, digest, user_id, amr, acr, auth_time, created_at, last_seen_at, remember"
        ", browser_digest, user_agent, address",
        "'s' || n, 'd' || n, 'u' || n, '[]', 'aal1', 1, 1, n, false, '', '', ''",
        FEW,
    ),
    _rows("revocation", "kind, value, before, expires_at", "'jti', 'v' || n, 1, n", FEW),
    _rows("client", "client_id, details, made_by_apply, created_at", "'app', '{}', false, 1", 1),
    _rows(
        "device_grant",
        "digest, user_code_tag, client_id, scope, resources, created_at, expires_at, interval_seconds, ask_again_at"
        ", network, country, agent",
        "'d' || n, 't' || n, 'app', '', '[]', 1, n, 5, 1, '', '', ''",
        FEW,
    ),
)
"""A million refresh tokens of as many families, and a hundred thousand people."""


@pytest.fixture
def crowded(app: Flask) -> Iterator[Connection]:
    """Return a connection to a database with many rows; its planner knows of them."""
    with app.app_context():
        with db.engine.begin() as connection:
            if ON_POSTGRESQL:  # filling takes longer than any request may
                connection.execute(text("SET statement_timeout = 0"))
            for statement in CROWD:
                connection.execute(text(statement))
            if ON_POSTGRESQL:
                connection.execute(text("RESET statement_timeout"))
        with db.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
            yield connection


def read_through(connection: Connection, statement: Prepared) -> list[str]:
    """Return the tables that the database would read from end to end."""
    form = statement.form(connection.dialect)
    given = {name: 1 if name in NUMBERS else "x" for name, _bind in form._slots}
    values: Any = given if form._by_name else tuple(given[name] for name, _bind in form._slots)
    cursor: Any = connection.connection.cursor()
    cursor.execute(("EXPLAIN (FORMAT JSON) " if ON_POSTGRESQL else "EXPLAIN QUERY PLAN ") + form.sql, values)
    plan = cursor.fetchall()
    cursor.close()
    if ON_POSTGRESQL:
        return _seq_scans(plan[0][0])
    assert plan
    steps = [str(row[3]).split() for row in plan]
    return [step[1] for step in steps if step[0] == "SCAN" and step[1] != "CONSTANT"]


def _seq_scans(plan: Any) -> list[str]:
    """Look through a plan of PostgreSQL's."""
    if isinstance(plan, list):
        return [table for part in plan for table in _seq_scans(part)]
    if not isinstance(plan, dict):
        return []
    here = [str(plan["Relation Name"])] if plan.get("Node Type") == "Seq Scan" else []
    return here + [table for part in plan.values() for table in _seq_scans(part)]


def test_every_hot_statement_uses_an_index(crowded: Connection) -> None:
    """However many rows there are, none reads a table through; one that must is noticed."""
    assert {name: read_through(crowded, statement) for name, statement in HOT.items()} == {name: [] for name in HOT}
    by_text = select(store._REFRESH.c.digest).where(store._REFRESH.c.successor_sealed == bindparam("x"))
    assert read_through(crowded, Prepared(by_text)) == ["refresh_token"]
