"""What must be told to somebody outside, some time after the act: written with the act, delivered later, never lost.

A row is sealed: it may hold a link. It is claimed by one conditional UPDATE for as long as a delivery may take, so that
two processes do not deliver it at once; a process that dies leaves it to the next after that time. So something may
arrive twice, and nothing is lost. A failure is tried again, ever more rarely, for three days; then an operator sees it.
"""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, String, Text, delete, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock, crypto
from auth_server.infra.events import Event, record

log = logging.getLogger("auth_server.outbox")

Deliver = Callable[[dict[str, Any]], None]
"""Delivers one payload, or raises `Undeliverable`."""

_SEALED_FOR = "outbox"
_CLAIM = timedelta(minutes=2)
_PAUSES = (timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=30), timedelta(hours=2), timedelta(hours=6))
_GIVE_UP_AFTER = timedelta(days=3)
_KEPT_AFTERWARDS = timedelta(days=30)
_MOST_AT_ONCE = 50
_LONGEST_REASON = 255


class Undeliverable(Exception):
    """It did not arrive; the message says why, in words for an operator and without anything secret."""


class OutboxRow(Base):
    """One thing to deliver; deleted when it has arrived, or a month after it was given up."""

    __tablename__ = "outbox"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20))
    about: Mapped[str] = mapped_column(String(255))
    payload_sealed: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(Moment)
    next_try_at: Mapped[datetime | None] = mapped_column(Moment, index=True)
    claimed_until: Mapped[datetime | None] = mapped_column(Moment)
    tries: Mapped[int] = mapped_column(Integer)
    last_error: Mapped[str] = mapped_column(String(_LONGEST_REASON))


_TABLE: Any = OutboxRow.__table__
_COLUMNS = [column for column in _TABLE.columns if column.name != "payload_sealed"]


@dataclass(frozen=True)
class Waiting:
    """A row as an operator sees it: never what is in it. `next_try_at` None: given up."""

    id: str
    kind: str
    about: str
    created_at: datetime
    next_try_at: datetime | None
    claimed_until: datetime | None
    tries: int
    last_error: str


class _Bell:
    """Wakes this process's delivery when something was written."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def ring(self) -> None:
        self._event.set()

    def wait(self, seconds: float) -> None:
        self._event.wait(seconds)
        self._event.clear()


bell = _Bell()


def add(kind: str, payload: Mapping[str, Any], *, about: str = "") -> None:
    """Write something to deliver, in the open transaction; `about` says in the clear what it concerns: no secret."""
    row_id, now = str(uuid.uuid4()), clock.now()
    sealed = crypto.seal(_SEALED_FOR, json.dumps(dict(payload)).encode(), row_id)
    row = {"id": row_id, "kind": kind, "about": about[:255], "payload_sealed": sealed, "created_at": now}
    database.execute(_TABLE.insert().values(**row, next_try_at=now, claimed_until=None, tries=0, last_error=""))
    database.after_commit(bell.ring)


def deliver_due(ways: Mapping[str, Deliver]) -> int:
    """Deliver what is due, each in transactions of its own; return how many arrived."""
    arrived = 0
    for row_id in _due():
        if not _claim(row_id):
            continue
        row = database.execute(select(_TABLE).where(_TABLE.c.id == row_id)).first()
        database.release()  # nothing is locked while somebody outside takes their time
        if row is not None:
            arrived += _deliver(row, ways)
            database.release()
    return arrived


def listing() -> list[Waiting]:
    """Return what has not arrived yet, the oldest first."""
    return [Waiting(**row._mapping) for row in database.execute(select(*_COLUMNS).order_by(_TABLE.c.created_at))]


def try_again(row_id: str) -> bool:
    """Let a row be tried at once, for three days from now on; False when there is none."""
    now = clock.now()
    values = {"next_try_at": now, "created_at": now, "claimed_until": None}
    found = database.execute(update(_TABLE).where(_TABLE.c.id == row_id).values(values)).rowcount == 1
    database.after_commit(bell.ring)
    return found


def drop(row_id: str) -> bool:
    """Forget a row; False when there is none."""
    return database.execute(delete(_TABLE).where(_TABLE.c.id == row_id)).rowcount == 1


def prune() -> int:
    """Delete what was given up a month ago; return how many."""
    over = clock.now() - _GIVE_UP_AFTER - _KEPT_AFTERWARDS
    return database.delete_some(_TABLE, _TABLE.c.next_try_at.is_(None), _TABLE.c.created_at <= over)


def _is_due() -> tuple[Any, ...]:
    now = clock.now()
    free = or_(_TABLE.c.claimed_until.is_(None), _TABLE.c.claimed_until <= now)
    return (_TABLE.c.next_try_at <= now, free)


def _due() -> list[str]:
    statement = select(_TABLE.c.id).where(*_is_due()).order_by(_TABLE.c.next_try_at).limit(_MOST_AT_ONCE)
    return [row.id for row in database.execute(statement)]


def _claim(row_id: str) -> bool:
    claimed = update(_TABLE).where(_TABLE.c.id == row_id, *_is_due())
    return database.execute(claimed.values(claimed_until=clock.now() + _CLAIM)).rowcount == 1


def _deliver(row: Any, ways: Mapping[str, Deliver]) -> bool:
    try:
        payload = json.loads(crypto.unseal(_SEALED_FOR, row.payload_sealed, row.id))
        ways[row.kind](payload)
    except (Undeliverable, crypto.CannotUnseal) as cause:
        _note_failure(row, str(cause))
        return False
    except Exception as cause:  # delivery to others: whatever it is, it must not stop the rest
        log.exception("a delivery failed unexpectedly")
        _note_failure(row, f"unexpected: {type(cause).__name__}")
        return False
    drop(row.id)
    record(Event.DELIVERED, reason="", kind=row.kind, about=row.about, tries=row.tries + 1)
    return True


def _note_failure(row: Any, reason: str) -> None:
    now = clock.now()
    pause = _PAUSES[min(row.tries, len(_PAUSES) - 1)]
    next_try = now + pause if now - row.created_at < _GIVE_UP_AFTER else None
    values = {"tries": row.tries + 1, "last_error": reason[:_LONGEST_REASON], "claimed_until": None}
    database.execute(update(_TABLE).where(_TABLE.c.id == row.id).values(**values, next_try_at=next_try))
    event = Event.DELIVERY_FAILED if next_try else Event.DELIVERY_GIVEN_UP
    record(event, reason=reason[:_LONGEST_REASON], kind=row.kind, about=row.about, tries=row.tries + 1)
