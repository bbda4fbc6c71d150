"""Values cached in each process and dropped, in all of them, within a second of a change.

A row of `stamp` counts the changes of one kind of thing (clients, APIs, keys). Whoever changes a thing bumps its stamp
in the same transaction; a process looks at the stamp at most once a second and drops its cache when it has moved.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sqlalchemy import BigInteger, String, event, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from auth_server import database
from auth_server.database import Base

_LOOK_AGAIN_AFTER_SECONDS = 0.5
_MOST_ENTRIES = 4096
_BUMPED = "bumped stamps"

_changes = 0

V = TypeVar("V")


class Stamp(Base):
    """One kind of cached thing; lives as long as the database."""

    __tablename__ = "stamp"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)


_TABLE: Any = Stamp.__table__


class Cache(Generic[V]):
    """Values by key, loaded one at a time by `load`; `None` ("there is none") is not kept."""

    def __init__(self, name: str, load: Callable[[str], V | None]) -> None:
        self._name = name
        self._load = load
        self._entries: dict[str, V] = {}
        self._version: tuple[str, int] | None = None
        self._looked_at = 0.0

    def get(self, key: str) -> V | None:
        """Return the value, at most a second old, or None."""
        if self._is_being_changed():
            return self._load(key)  # this transaction changes such things: see its own writes, keep nothing of them
        self._refresh()
        entries = self._entries
        value = entries.get(key)
        if value is None:
            value = self._load(key)
            if value is not None and len(entries) < _MOST_ENTRIES:
                entries[key] = value
        return value

    def _is_being_changed(self) -> bool:
        """Tell whether this request's transaction has bumped the stamp; asks no session into being."""
        session = database.db.session
        return bool(session.registry.has()) and self._name in session.info.get(_BUMPED, ())

    def bump(self) -> None:
        """Say that something changed: with the commit, this process forgets at once and the others within a second."""
        _count(self._name)
        session = database.db.session()
        if self._name not in session.info.setdefault(_BUMPED, set()):
            session.info[_BUMPED].add(self._name)
            event.listen(session, "after_commit", self._forget_after_commit, once=True)

    def forget(self) -> None:
        """Drop everything this process holds."""
        self._hold(None)

    def _forget_after_commit(self, session: Session) -> None:
        session.info.get(_BUMPED, set()).discard(self._name)
        self.forget()

    def _refresh(self) -> None:
        moment = time.monotonic()
        if self._version is not None and moment - self._looked_at < _LOOK_AGAIN_AFTER_SECONDS:
            return
        version = database.execute(select(_TABLE.c.version).where(_TABLE.c.name == self._name)).scalar()
        seen = (str(database.db.engine.url), version or 0)
        if seen != self._version:
            self._hold(seen)
        self._looked_at = moment

    def _hold(self, version: tuple[str, int] | None) -> None:
        """Start anew with nothing held."""
        global _changes
        _changes += 1
        self._entries = {}
        self._version = version


def changes() -> int:
    """Return how often something cached in this process was dropped: for whoever keeps what is made of it."""
    return _changes


def take_turns(name: str) -> None:
    """Let every other transaction that takes the same turn wait until this one has ended, before it looks."""
    _count(name)


def _count(name: str) -> None:
    statement = database.insert(_TABLE).values(name=name, version=1)
    database.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"version": _TABLE.c.version + 1}))
