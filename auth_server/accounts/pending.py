"""A sign-in that waits for its second factor: it opens nothing, belongs to one browser, and ends after ten minutes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.accounts import users
from auth_server.accounts.sessions import Session
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
    shown_since: Mapped[datetime] = mapped_column(Moment)
    session_id: Mapped[str | None] = mapped_column(String(36))
    """The session that it steps up, and without which it is worth nothing; None: a sign-in."""
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


_TABLE: Any = PendingSignIn.__table__


@dataclass(frozen=True)
class Pending:
    """A live one, since `began_at`; `amr` are the methods used so far, `shown_since` when the oldest of them was."""

    digest: str
    user_id: str
    amr: tuple[str, ...]
    remember: bool
    began_at: datetime
    shown_since: datetime
    session_id: str | None


def begin(user_id: str, *, amr: tuple[str, ...], remember: bool, browser_digest: str) -> str:
    """Store what has just been proved, and return the handle that finds it again, from the same browser alone."""
    row = {"user_id": user_id, "amr": list(amr), "remember": remember, "shown_since": clock.now(), "session_id": None}
    return _insert(row, browser_digest)


def begin_step_up(session: Session, browser_digest: str) -> str:
    """Store that a session is to get its second factor; return the handle. It ends with the session."""
    row = {"user_id": session.user_id, "amr": list(session.amr), "remember": session.remember}
    return _insert({**row, "shown_since": session.shown_since, "session_id": session.id}, browser_digest)


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
    began_at = row.expires_at - _LIFE
    return Pending(row.digest, row.user_id, tuple(row.amr), row.remember, began_at, row.shown_since, row.session_id)


def close(found: Pending) -> bool:
    """Finish it; of two at once, one gets False."""
    return database.execute(delete(_TABLE).where(_TABLE.c.digest == found.digest)).rowcount == 1


def end_of_user(user_id: str) -> None:
    """End every one of a person: whoever knows the former password must begin again."""
    database.execute(delete(_TABLE).where(_TABLE.c.user_id == user_id))


def prune() -> int:
    """Delete expired ones; return how many."""
    return database.delete_some(_TABLE, _TABLE.c.expires_at <= clock.now())


def _insert(row: dict[str, Any], browser_digest: str) -> str:
    raw_handle = crypto.new_secret()
    about = {"digest": crypto.digest(raw_handle), "browser_digest": browser_digest, "expires_at": clock.now() + _LIFE}
    database.execute(_TABLE.insert().values({**row, **about}))
    return raw_handle
