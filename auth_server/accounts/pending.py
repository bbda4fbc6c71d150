"""A sign-in that waits for its second factor: it opens nothing, belongs to one browser, and ends after ten minutes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.accounts import users
from auth_server.database import Base, Moment
from auth_server.infra import clock, crypto

_LIFE = timedelta(minutes=10)


class PendingSignIn(Base):
    """What has been proved so far; deleted when the rest is, or after `expires_at`."""

    __tablename__ = "pending_sign_in"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    browser_digest: Mapped[str] = mapped_column(String(64))
    amr: Mapped[list[str]] = mapped_column(JSON)
    remember: Mapped[bool] = mapped_column(Boolean)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


_TABLE: Any = PendingSignIn.__table__


@dataclass(frozen=True)
class Pending:
    """A live one, since `began_at`; `amr` are the methods used so far."""

    digest: str
    user_id: str
    amr: tuple[str, ...]
    remember: bool
    began_at: datetime


def begin(user_id: str, *, amr: tuple[str, ...], remember: bool, browser_digest: str) -> str:
    """Store what has been proved, and return the handle that finds it again, from the same browser alone."""
    raw_handle = crypto.new_secret()
    row = {"user_id": user_id, "browser_digest": browser_digest, "amr": list(amr), "remember": remember}
    statement = _TABLE.insert().values(digest=crypto.digest(raw_handle), expires_at=clock.now() + _LIFE, **row)
    database.execute(statement)
    return raw_handle


def find(raw_handle: str, browser_digest: str) -> Pending | None:
    """Return a live one of this browser; None also when the person was disabled meanwhile."""
    conditions = (
        _TABLE.c.digest == crypto.digest(raw_handle),
        _TABLE.c.browser_digest == browser_digest,
        _TABLE.c.expires_at > clock.now(),
        users.TABLE.c.disabled_at.is_(None),
    )
    joined = select(_TABLE).join(users.TABLE, users.TABLE.c.id == _TABLE.c.user_id)
    row = database.execute(joined.where(*conditions)).first()
    if row is None:
        return None
    return Pending(row.digest, row.user_id, tuple(row.amr), row.remember, row.expires_at - _LIFE)


def close(found: Pending) -> bool:
    """Finish it; of two at once, one gets False."""
    return database.execute(delete(_TABLE).where(_TABLE.c.digest == found.digest)).rowcount == 1


def end_of_user(user_id: str) -> None:
    """End every one of a person: whoever knows the former password must begin again."""
    database.execute(delete(_TABLE).where(_TABLE.c.user_id == user_id))


def prune() -> int:
    """Delete expired ones; return how many."""
    return database.delete_some(_TABLE, _TABLE.c.expires_at <= clock.now())
