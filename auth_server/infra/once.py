"""Single-use secrets that travel in links: made, looked at, spent once. The digest is stored, with a purpose.

A secret of one purpose is unknown at every other (CVE-2026-4325 is what happens otherwise).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import String, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock, crypto


class OneTimeSecret(Base):
    """A link that somebody may follow once for `purpose`; may be deleted after `expires_at`."""

    __tablename__ = "one_time_secret"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(40))
    subject: Mapped[str] = mapped_column(String(255), index=True)
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)
    spent_at: Mapped[datetime | None] = mapped_column(Moment)


_TABLE: Any = OneTimeSecret.__table__


def make(purpose: str, subject: str, life: timedelta) -> str:
    """Store a new secret and return it; only its digest is kept."""
    raw_secret = crypto.new_secret()
    now = clock.now()
    row = {"purpose": purpose, "subject": subject, "created_at": now, "expires_at": now + life}
    database.execute(_TABLE.insert().values(digest=crypto.digest(raw_secret), spent_at=None, **row))
    return raw_secret


def subject_of(purpose: str, presented: str) -> str | None:
    """Return whom a live secret is for, without spending it; None when unknown, spent, expired or for another use."""
    found = database.execute(select(_TABLE.c.subject).where(*_is_live(purpose, presented))).scalar()
    return None if found is None else str(found)


def spend(purpose: str, presented: str) -> str | None:
    """Spend a live secret and return whom it is for; of two at once, one gets None."""
    statement = update(_TABLE).where(*_is_live(purpose, presented)).values(spent_at=clock.now())
    found = database.execute(statement.returning(_TABLE.c.subject)).scalar()
    return None if found is None else str(found)


def revoke(purpose: str, subject: str) -> None:
    """End every live secret of one purpose and subject."""
    condition = (_TABLE.c.purpose == purpose, _TABLE.c.subject == subject)
    database.execute(delete(_TABLE).where(*condition))


def prune() -> int:
    """Delete expired secrets; return how many."""
    return database.delete_some(_TABLE, _TABLE.c.expires_at <= clock.now())


def _is_live(purpose: str, presented: str) -> tuple[Any, ...]:
    return (
        _TABLE.c.digest == crypto.digest(presented),
        _TABLE.c.purpose == purpose,
        _TABLE.c.spent_at.is_(None),
        _TABLE.c.expires_at > clock.now(),
    )
