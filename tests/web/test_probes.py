"""Liveness and readiness."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import event
from sqlalchemy.exc import OperationalError

from auth_server.database import db
from auth_server.infra import schema
from auth_server.keys import keyring
from auth_server.keys.keyring import SigningKey
from tests.conftest import disconnect
from tests.support import factories

NOWHERE = "redis://127.0.0.1:1/0"


def ready(app: Flask) -> tuple[int, dict[str, str]]:
    response = app.test_client().get("/readyz")
    assert response.headers["Cache-Control"] == "no-store"
    assert response.json["status"] == ("ok" if response.status_code == 200 else "failing")
    checks: dict[str, str] = response.json["checks"]
    return response.status_code, checks


def test_a_good_server_is_alive_and_ready(app: Flask) -> None:
    """200 with each check by name; nothing personal."""
    response = app.test_client().get("/healthz")
    assert (response.status_code, response.json) == (200, {"status": "ok"})
    assert ready(app) == (200, {"database": "ok", "schema": "ok", "keys": "ok"})


def test_a_database_that_cannot_answer_is_not_ready_but_alive(app: Flask) -> None:
    """503 names the database; liveness does not touch it, or an orchestrator would kill a good process."""
    with app.app_context():
        engine = db.engine

    def fail(*_arguments: object) -> None:
        raise OperationalError("SELECT 1", {}, Exception("the disk is gone"))

    event.listen(engine, "before_cursor_execute", fail)
    assert ready(app) == (503, {"database": "failing", "schema": "unknown", "keys": "unknown"})
    assert app.test_client().get("/healthz").status_code == 200
    event.remove(engine, "before_cursor_execute", fail)
    assert ready(app)[0] == 200


def test_an_empty_database_is_not_ready(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    """The schema is missing: `init` has not run."""
    app = make_app(database_url=f"sqlite:///{tmp_path / 'empty.db'}")
    assert ready(app) == (503, {"database": "ok", "schema": "not migrated", "keys": "unknown"})


def test_a_migrated_database_without_keys_is_not_ready(app: Flask) -> None:
    """No key, no token; after `init` has made them it is ready."""

    def empty() -> None:
        db.session.query(SigningKey).delete()
        keyring._cache.bump()

    factories.within(app, empty)
    assert ready(app) == (503, {"database": "ok", "schema": "ok", "keys": "missing"})
    factories.within(app, keyring.ensure)
    assert ready(app)[0] == 200


@pytest.mark.sqlite_only
def test_a_database_of_another_revision_is_not_ready(app: Flask) -> None:
    """Going down takes readiness away, coming up gives it back."""
    disconnect(app)
    with app.app_context():
        schema.downgrade("base")
    assert ready(app)[1]["schema"] == "not migrated"
    disconnect(app)
    with app.app_context():
        schema.upgrade()
    assert ready(app)[1]["schema"] == "ok"


def test_a_missing_redis_only_degrades(make_app: Callable[..., Flask]) -> None:
    """The database stays the truth: 200, and the check says so."""
    assert ready(make_app(redis_url=NOWHERE)) == (
        200,
        {"database": "ok", "schema": "ok", "keys": "ok", "redis": "degraded"},
    )


@pytest.mark.skipif("AUTH_TEST_REDIS_URL" not in os.environ, reason="NO REDIS: its check was not tested")
def test_a_good_redis_is_named(make_app: Callable[..., Flask]) -> None:
    """With Redis there, its check is `ok`."""
    app = make_app(redis_url=os.environ["AUTH_TEST_REDIS_URL"])
    assert ready(app)[1]["redis"] == "ok"


def test_metrics_are_not_there(app: Flask) -> None:
    """Without a token `/metrics` is 404, in JSON."""
    response = app.test_client().get("/metrics")
    assert (response.status_code, response.content_type) == (404, "application/json")
