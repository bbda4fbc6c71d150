"""Values cached in each process, dropped within a second of a change."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import create_engine, text

from auth_server.clients import client as clients
from auth_server.database import db
from auth_server.infra import stamp
from tests.support import factories


class Shelf:
    """What a cache loads from, and how often it looked."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.loads = 0
        self.cache: stamp.Cache[str] = stamp.Cache("shelf", self._load)

    def _load(self, key: str) -> str | None:
        self.loads += 1
        return self.values.get(key)


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.mark.usefixtures("domain")
def test_a_value_is_loaded_once(shelf: Shelf) -> None:
    """The second look costs nothing, and so does the second look for what is not there."""
    shelf.values["a"] = "1"
    assert [shelf.cache.get("a") for _ in range(5)] == ["1"] * 5
    assert shelf.loads == 1
    assert [shelf.cache.get("b") for _ in range(2)] == [None, None]
    assert shelf.loads == 2


@pytest.mark.usefixtures("domain")
def test_strangers_cannot_fill_the_memory(shelf: Shelf) -> None:
    """However many things that do not exist are asked for, a cache holds a bounded number of answers."""
    shelf.values["a"] = "1"
    for number in range(10_000):
        assert shelf.cache.get(f"no such thing {number}") is None
    assert len(shelf.cache._entries) <= 4096
    assert shelf.cache.get("a") == "1"


@pytest.mark.usefixtures("domain")
def test_a_committed_change_is_seen_at_once(shelf: Shelf) -> None:
    """This process forgets with the commit, and before it sees its own writes."""
    shelf.values["a"] = "1"
    assert shelf.cache.get("a") == "1"
    shelf.values["a"] = "2"
    assert shelf.cache.get("a") == "1"
    shelf.cache.bump()
    assert shelf.cache.get("a") == "2"
    db.session.commit()
    shelf.values["a"] = "3"
    assert [shelf.cache.get("a"), shelf.cache.get("a")] == ["3", "3"]


@pytest.mark.usefixtures("domain")
def test_a_rolled_back_change_is_not_kept(shelf: Shelf) -> None:
    """What an undone transaction saw does not stay in the cache."""
    shelf.values["a"] = "1"
    assert shelf.cache.get("a") == "1"
    shelf.cache.bump()
    shelf.values["a"] = "undone"
    assert shelf.cache.get("a") == "undone"
    shelf.values["a"] = "1"
    db.session.rollback()
    assert shelf.cache.get("a") == "1"
    shelf.cache.bump()
    db.session.commit()
    assert shelf.cache.get("a") == "1"


def test_a_change_by_another_process_is_seen_within_a_second(app: Flask, database_url: str) -> None:
    """A client that another process changes is the new one here a second later."""
    client, _secret = factories.client(app)
    with app.app_context():
        assert not (clients.find(client.client_id) or client).is_disabled
        db.session.rollback()
    engine = create_engine(database_url)
    with engine.begin() as elsewhere:
        elsewhere.execute(text("UPDATE client SET disabled_at = 1"))
        elsewhere.execute(text("UPDATE stamp SET version = version + 1 WHERE name = 'clients'"))
    engine.dispose()
    time.sleep(0.6)
    with app.app_context():
        found = clients.find(client.client_id)
        assert found is not None
        assert found.is_disabled
        db.session.rollback()


def test_two_databases_are_kept_apart(make_app: Callable[..., Flask], shelf: Shelf, tmp_path: Path) -> None:
    """What was cached for one database is not believed of another."""
    shelf.values["a"] = "here"
    with make_app().app_context():
        assert shelf.cache.get("a") == "here"
        db.session.rollback()
    shelf.values["a"] = "there"
    with make_app(database_url=f"sqlite:///{tmp_path / 'other.db'}").app_context():
        db.metadata.tables["stamp"].create(db.engine)
        time.sleep(0.6)
        assert shelf.cache.get("a") == "there"
        db.session.rollback()
