"""Single-use secrets that travel in letters: made, looked at, spent once. Only digests are stored, with a purpose.

A secret of one purpose is unknown at every other (CVE-2026-4325 is what happens otherwise). Beside the link a letter
may carry a code of six digits, for whoever reads it on another device. A code is good only together with the handle
that the browser kept which asked for the letter, or for whom the caller knows by other means to be that browser; for
ten minutes and five tries.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, String, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock, crypto, limits
from auth_server.values import Rate

CODE_LIFE = timedelta(minutes=10)
_TRIES = Rate(5, timedelta(hours=1))
_CODE = "one-time-code"
_KEPT_AFTERWARDS = timedelta(days=7)
"""How long it can still be said that a link was used or has expired."""


class OneTimeSecret(Base):
    """A link, perhaps with a code, that is good once for `purpose`; deleted a week after `expires_at`."""

    __tablename__ = "one_time_secret"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(255), index=True)
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON)
    handle_digest: Mapped[str | None] = mapped_column(String(64), index=True, unique=True)
    code_tag: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)
    spent_at: Mapped[datetime | None] = mapped_column(Moment)


_TABLE: Any = OneTimeSecret.__table__


@dataclass(frozen=True)
class Ticket:
    """What a letter gets (`raw_secret`, `code`) and what the browser keeps that asked for it (`raw_handle`)."""

    raw_secret: str = field(repr=False)
    code: str = field(repr=False)
    raw_handle: str = field(repr=False)


@dataclass(frozen=True)
class Found:
    """A secret that was good: whom it is for, and what was kept with it."""

    subject: str
    data: dict[str, Any]
    created_at: datetime
    handle_digest: str = field(default="", repr=False)
    """What its code belongs to; "" when it has none."""


@dataclass(frozen=True)
class Ended:
    """A secret that was good once: used at that moment, or else expired at it."""

    was_used: bool
    at: datetime


@dataclass(frozen=True)
class Guess:
    """What came of a code; `retry_after_seconds` above 0 says that it was not even looked at."""

    found: Found | None
    retry_after_seconds: int = 0


def make(purpose: str, subject: str, life: timedelta, data: dict[str, Any] | None = None) -> str:
    """Store a new secret and return it; only its digest is kept. `data` are JSON values, none of them secret."""
    raw_secret = crypto.new_secret()
    _insert(raw_secret, purpose, subject, life, data)
    return raw_secret


def make_with_code(purpose: str, subject: str, life: timedelta, data: dict[str, Any] | None = None) -> Ticket:
    """Store a new secret that can also be spent by a code of six digits."""
    ticket = Ticket(crypto.new_secret(), f"{secrets.randbelow(10**6):06}", crypto.new_secret())
    handle_digest = crypto.digest(ticket.raw_handle)
    _insert(
        ticket.raw_secret, purpose, subject, life, data,
        handle_digest=handle_digest, code_tag=_tag(handle_digest, ticket.code),
    )  # fmt: skip
    return ticket


def find(purpose: str, presented: str) -> Found | None:
    """Return a live secret without spending it; None when unknown, spent, expired or for another use."""
    return _found(database.execute(select(*_WHAT).where(*_is_live(purpose, presented))).first())


def find_by_handle(purpose: str, raw_handle: str) -> Found | None:
    """Return the live secret that this browser asked for, without spending it."""
    condition = _is_unspent(purpose, _TABLE.c.handle_digest == crypto.digest(raw_handle))
    return _found(database.execute(select(*_WHAT).where(*condition)).first())


def subject_of(purpose: str, presented: str) -> str | None:
    """Return whom a live secret is for, without spending it."""
    found = find(purpose, presented)
    return found.subject if found else None


def spend(purpose: str, presented: str) -> Found | None:
    """Spend a live secret; of two at once, one gets None."""
    return _spend(_is_live(purpose, presented))


def spend_by_code(purpose: str, raw_handle: str, presented: str) -> Guess:
    """Spend a live secret by its code; of two at once, one gets nothing. Must be the request's first write."""
    return spend_by_code_of(purpose, crypto.digest(raw_handle), presented)


def spend_by_code_of(purpose: str, handle_digest: str, presented: str) -> Guess:
    """Do the same where the caller has found the letter, and made sure that this browser asked for it."""
    database.release()
    reservation = limits.reserve((f"code:{handle_digest}",), _TRIES)
    if reservation.refused:
        return Guess(None, reservation.retry_after_seconds)
    code = "".join(char for char in presented if char.isdigit())
    is_right = (
        _TABLE.c.handle_digest == handle_digest,
        _TABLE.c.code_tag == _tag(handle_digest, code),
        _TABLE.c.created_at > clock.now() - CODE_LIFE,
    )
    return Guess(_spend(_is_unspent(purpose, *is_right)))


def what_became_of(purpose: str, presented: str) -> Ended | None:
    """Tell of a secret that is good no more; None when it lives, or was never or long ago."""
    condition = (_TABLE.c.digest == crypto.digest(presented), _TABLE.c.purpose == purpose)
    row = database.execute(select(_TABLE.c.spent_at, _TABLE.c.expires_at).where(*condition)).first()
    if row is None or (row.spent_at is None and row.expires_at > clock.now()):
        return None
    return Ended(row.spent_at is not None, row.spent_at or row.expires_at)


def revoke(purpose: str, subject: str, *, since: datetime | None = None) -> int:
    """End every live secret of one purpose and subject, return how many; of those that are over, it can still be said.

    With `since`, only those that are no older.
    """
    condition = [*_is_unspent(purpose, _TABLE.c.subject == subject)]
    if since is not None:
        condition.append(_TABLE.c.created_at >= since)
    return database.execute(delete(_TABLE).where(*condition)).rowcount


def forget(subject: str) -> None:
    """Delete every secret of a subject, whatever its purpose."""
    database.execute(delete(_TABLE).where(_TABLE.c.subject == subject))


def live_of(purpose: str, subject: str | None = None) -> list[Found]:
    """Return the live secrets of one purpose, and one subject, the newest first; what they are is not kept."""
    condition = _is_unspent(purpose, *([] if subject is None else [_TABLE.c.subject == subject]))
    rows = database.execute(select(*_WHAT).where(*condition).order_by(_TABLE.c.created_at.desc()))
    return [_read(row) for row in rows]


def prune() -> int:
    """Delete secrets that are over for a week; return how many."""
    return database.delete_some(_TABLE, _TABLE.c.expires_at <= clock.now() - _KEPT_AFTERWARDS)


_WHAT = (_TABLE.c.subject, _TABLE.c.data, _TABLE.c.created_at, _TABLE.c.handle_digest)


def _insert(
    raw_secret: str, purpose: str, subject: str, life: timedelta, data: dict[str, Any] | None, **code: str
) -> None:
    now = clock.now()
    row = {"purpose": purpose, "subject": subject, "data": data, "created_at": now, "expires_at": now + life}
    database.execute(_TABLE.insert().values(digest=crypto.digest(raw_secret), spent_at=None, **row, **code))


def _spend(condition: tuple[Any, ...]) -> Found | None:
    statement = update(_TABLE).where(*condition).values(spent_at=clock.now())
    return _found(database.execute(statement.returning(*_WHAT)).first())


def _found(row: Any) -> Found | None:
    return None if row is None else _read(row)


def _read(row: Any) -> Found:
    return Found(row.subject, dict(row.data or {}), row.created_at, row.handle_digest or "")


def _is_live(purpose: str, presented: str) -> tuple[Any, ...]:
    return _is_unspent(purpose, _TABLE.c.digest == crypto.digest(presented))


def _is_unspent(purpose: str, *which: Any) -> tuple[Any, ...]:
    return (*which, _TABLE.c.purpose == purpose, _TABLE.c.spent_at.is_(None), _TABLE.c.expires_at > clock.now())


def _tag(handle_digest: str, code: str) -> str:
    """Six digits are no secret for a plain digest: the tag's key is not in the database."""
    return crypto.tag(_CODE, f"{handle_digest}:{code}")
