"""Values cached in each process and dropped, in all of them, within a second of a change.

A row of `stamp` counts the changes of one kind of thing (clients, APIs, keys). Whoever changes a thing bumps its stamp
in the same transaction; a process looks at the stamp at most once a second and drops its cache when it has moved.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from sqlalchemy import BigInteger, Engine, String, select
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base

_LOOK_AGAIN_AFTER_SECONDS = 0.5
_MOST_ENTRIES = 4096
_BUMPED = "bumped stamps"

_ABSENT: Any = object()

V = TypeVar("V")


class Stamp(Base):
    """One kind of cached thing; lives as long as the database."""

    __tablename__ = "stamp"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    version: Mapped[int] = mapped_column(BigInteger)


_TABLE: Any = Stamp.__table__
_ALL = select(_TABLE.c.name, _TABLE.c.version)


class _Versions:
    """The stamps as this process saw them last: one look serves every cache.

    `seen` is another object after each look that found something new, so that a cache compares identities.
    """

    def __init__(self) -> None:
        self.seen: dict[str, int] = {}
        self.engine: Engine | None = None
        self._look_at = 0.0

    def current(self) -> dict[str, int]:
        """Return the state of the database in use, at most half a second old."""
        if time.monotonic() >= self._look_at or self.engine is not database.engine():
            self._look()
        return self.seen

    def look_again(self) -> None:
        self._look_at = 0.0

    def _look(self) -> None:
        engine = database.engine()
        found = {row.name: row.version for row in database.execute(_ALL)}
        if found != self.seen or engine is not self.engine:
            self.seen, self.engine = found, engine
        self._look_at = time.monotonic() + _LOOK_AGAIN_AFTER_SECONDS


_versions = _Versions()


class Cache(Generic[V]):
    """Values by key, loaded one at a time by `load`; "there is none" is kept too, as `None`."""

    def __init__(self, name: str, load: Callable[[str], V | None]) -> None:
        self._name = name
        self._load = load
        self._entries: dict[str, V | None] = {}
        self._seen: dict[str, int] | None = None
        self._version: tuple[Engine | None, int] | None = None

    def get(self, key: str) -> V | None:
        """Return the value, at most a second old, or None."""
        notes = database.notes()
        if notes and self._name in notes.get(_BUMPED, ()):
            return self._load(key)  # this transaction changes such things: see its own writes, keep nothing of them
        seen = _versions.current()
        if seen is not self._seen:
            self._take(seen)
        entries = self._entries
        value = entries.get(key, _ABSENT)
        if value is _ABSENT:
            value = self._load(key)
            if len(entries) >= _MOST_ENTRIES:
                entries.clear()  # strangers may ask for any number of things that are not there
            entries[key] = value
        return value  # type: ignore[no-any-return]

    def bump(self) -> None:
        """Say that something changed: with the commit, this process forgets at once and the others within a second."""
        _count(self._name)
        bumped = database.notes().setdefault(_BUMPED, set())
        if self._name not in bumped:
            bumped.add(self._name)
            database.after_commit(lambda: self._forget_after_commit(bumped))

    def forget(self) -> None:
        """Drop everything this process holds."""
        self._entries, self._seen, self._version = {}, None, None
        _versions.look_again()

    def _take(self, seen: dict[str, int]) -> None:
        """Start anew with nothing held: something has changed, of this kind or of another."""
        self._entries, self._seen = {}, seen

    def _forget_after_commit(self, bumped: set[str]) -> None:
        bumped.discard(self._name)
        self.forget()


def take_turns(name: str) -> None:
    """Let every other transaction that takes the same turn wait until this one has ended, before it looks."""
    _count(name)


def _count(name: str) -> None:
    statement = database.insert(_TABLE).values(name=name, version=1)
    database.execute(statement.on_conflict_do_update(index_elements=["name"], set_={"version": _TABLE.c.version + 1}))
