"""Rows that are written together: soon, whole, kept while the database is away, and bounded."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from auth_server.clients import secrets
from auth_server.infra import audit, batch
from auth_server.infra.batch import Batch
from tests.conftest import MakeServer
from tests.support import asserts, factories
from tests.support.rp import basic


class Shelf:
    """Where a batch writes to; it can be out of order."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self.sizes: list[int] = []
        self.is_broken = False
        self.batch = Batch(self._write)
        batch._all.remove(self.batch)

    def _write(self, _connection: Connection, rows: list[dict[str, Any]]) -> None:
        if self.is_broken:
            raise OperationalError("INSERT", {}, Exception("the disk is full"))
        self.rows += rows
        self.sizes.append(len(rows))


@pytest.fixture
def shelf(app: Flask) -> Shelf:
    return Shelf()


def numbered(count: int) -> list[dict[str, Any]]:
    return [{"n": number} for number in range(count)]


def until(condition: Any) -> None:
    """Wait for something that happens by itself."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_rows_are_written_by_themselves_in_order(shelf: Shelf) -> None:
    """Nobody has to ask; what came together goes together, at most 500 in a transaction."""
    assert all(shelf.batch.add(row) for row in numbered(700))
    assert shelf.rows == []
    until(lambda: len(shelf.rows) == 700)
    assert shelf.rows == numbered(700)
    assert shelf.sizes == [500, 200]


def test_a_flood_writes_for_itself(shelf: Shelf) -> None:
    """Whoever brings the thousandth row writes them all: never more than that wait."""
    assert all(shelf.batch.add(row) for row in numbered(5000))
    assert shelf.rows == numbered(5000)
    assert shelf.batch._waiting == []


def test_rows_wait_while_the_database_is_away(shelf: Shelf) -> None:
    """A failed write loses nothing and keeps the order; it is tried again by itself."""
    shelf.is_broken = True
    assert all(shelf.batch.add(row) for row in numbered(3))
    shelf.batch.flush()
    assert shelf.rows == []
    assert shelf.batch.add({"n": 3})
    shelf.is_broken = False
    until(lambda: shelf.rows == numbered(4))


def test_so_many_wait_and_no_more(shelf: Shelf) -> None:
    """Beyond the bound `add` says no: memory is no place for an endless outage."""
    shelf.is_broken = True
    taken = [shelf.batch.add(row) for row in numbered(10_050)]
    assert taken.count(True) == 10_000
    shelf.is_broken = False
    shelf.batch.flush()
    assert len(shelf.rows) == 10_000
    assert shelf.batch.add({"n": 0})
    shelf.batch.flush()


def test_what_finds_no_room_is_written_at_once(app: Flask, monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit loses nothing when the batch is full: the request writes its own row."""
    batch.flush_all()
    monkeypatch.setattr(batch, "_MOST_WAITING", 0)
    client, secret = factories.service(app)
    fields = {"grant_type": "client_credentials"}
    answer = app.test_client().post("/oauth/token", data=fields, headers=basic(client.client_id, secret))
    assert answer.status_code == 200
    assert audit._soon._waiting == []
    assert len(asserts.events_of(app, "token.issued")) == 1


def test_many_at_once_lose_none(shelf: Shelf) -> None:
    """Threads that add while others are written."""
    threads = [threading.Thread(target=lambda: [shelf.batch.add({"n": 1}) for _ in range(500)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        shelf.batch.flush()
    for thread in threads:
        thread.join()
    shelf.batch.flush()
    assert len(shelf.rows) == 4000


def test_a_stopping_server_writes_what_waits(app: Flask, start_server: MakeServer) -> None:
    """SIGTERM right after the answer: the event and the use of the secret are in the database."""
    client, secret = factories.service(app)
    server = start_server()
    fields = {"grant_type": "client_credentials"}
    answers = [server.post("/oauth/token", fields, basic(client.client_id, secret)).status for _ in range(20)]
    server.stop()
    assert answers == [200] * 20
    assert len(asserts.events_of(app, "token.issued")) == 20
    with app.app_context():
        (used,) = secrets.of(client.client_id)
    assert used.last_used_at is not None
