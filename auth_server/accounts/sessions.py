"""Sign-in sessions: rows on the server, an opaque handle in the cookie.

The row knows how and when the person signed in (`amr`, `acr`, `auth_time`). After a step-up `auth_time` is that of the
step-up, and `shown_since` still that of the older factor: what asks for a new sign-in looks at the latter. It ends
after an idle time and after an absolute time, or, with "keep me signed in", after REMEMBER_TTL without use.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, String, and_, delete, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import config, database
from auth_server.accounts import users
from auth_server.database import Base, Moment
from auth_server.infra import agents, clock, crypto, events, geo, origin
from auth_server.infra.events import Event, record

TOUCH_EVERY = timedelta(minutes=1)
"""`last_seen_at` is written at most this often."""


class SessionRow(Base):
    """One browser where a person is signed in; deleted when the session ends."""

    __tablename__ = "session"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64), unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    amr: Mapped[list[str]] = mapped_column(JSON)
    acr: Mapped[str] = mapped_column(String(40))
    auth_time: Mapped[datetime] = mapped_column(Moment)
    shown_since: Mapped[datetime] = mapped_column(Moment)
    """When the oldest of the methods in `amr` was shown."""
    created_at: Mapped[datetime] = mapped_column(Moment)
    last_seen_at: Mapped[datetime] = mapped_column(Moment, index=True)
    remember: Mapped[bool] = mapped_column(Boolean)
    browser_digest: Mapped[str] = mapped_column(String(64))
    user_agent: Mapped[str] = mapped_column(String(255))
    address: Mapped[str] = mapped_column(String(45))
    """Of the last use, as `last_seen_at`."""
    country: Mapped[str] = mapped_column(String(2))
    moved_at: Mapped[datetime | None] = mapped_column(Moment)
    """When another kind of program used it from another network; noticed once."""


TABLE: Any = SessionRow.__table__
_COLUMNS = [column for column in TABLE.columns if column.name != "digest"]


@dataclass(frozen=True)
class Session:
    """A live session; `id` is the `sid` that apps see."""

    id: str
    user_id: str
    amr: tuple[str, ...]
    acr: str
    auth_time: datetime
    shown_since: datetime
    created_at: datetime
    last_seen_at: datetime
    remember: bool
    browser_digest: str
    user_agent: str
    address: str
    country: str
    moved_at: datetime | None


def start(
    user_id: str,
    *,
    amr: Sequence[str],
    acr: str,
    remember: bool,
    browser_digest: str,
    user_agent: str,
    address: str,
    shown_since: datetime | None = None,
) -> tuple[Session, str]:
    """Begin a session for somebody who has just proved who they are; return it with its new raw handle."""
    raw_handle = crypto.new_secret()
    now = clock.now()
    session = Session(
        id=str(uuid.uuid4()),
        user_id=user_id,
        amr=tuple(amr),
        acr=acr,
        auth_time=now,
        shown_since=shown_since or now,
        created_at=now,
        last_seen_at=now,
        remember=remember,
        browser_digest=browser_digest,
        user_agent=user_agent[:255],
        address=address,
        country=geo.locate(address).country,
        moved_at=None,
    )
    values = {**session.__dict__, "amr": list(amr), "digest": crypto.digest(raw_handle)}
    database.execute(TABLE.insert().values(values))
    return session, raw_handle


def renew(
    session: Session,
    *,
    amr: Sequence[str],
    acr: str,
    remember: bool,
    address: str,
    shown_since: datetime | None = None,
) -> tuple[Session, str]:
    """The same person signs in again in the same browser: the session goes on, with a new handle and `auth_time`."""
    raw_handle = crypto.new_secret()
    now = clock.now()
    changed: dict[str, Any] = {"acr": acr, "remember": remember, "address": address}
    changed |= {"country": geo.locate(address).country, "moved_at": None}
    changed |= {"auth_time": now, "shown_since": shown_since or now, "created_at": now, "last_seen_at": now}
    values = {**changed, "amr": list(amr), "digest": crypto.digest(raw_handle)}
    database.execute(update(TABLE).where(TABLE.c.id == session.id).values(values))
    return replace(session, **changed, amr=tuple(amr)), raw_handle


def find(raw_handle: str) -> Session | None:
    """Return the live session of a handle, and note its use; None when unknown, ended, or of a disabled person."""
    now = clock.now()
    condition = (TABLE.c.digest == crypto.digest(raw_handle), users.TABLE.c.disabled_at.is_(None), *_alive(now))
    joined = select(*_COLUMNS).join(users.TABLE, users.TABLE.c.id == TABLE.c.user_id)
    row = database.execute(joined.where(*condition)).first()
    if row is None:
        return None
    found = _value(row)
    _notice_move(found)
    if now - found.last_seen_at >= TOUCH_EVERY:
        address = events.context().address or found.address
        seen = {"last_seen_at": now, "address": address, "country": geo.locate(address).country}
        database.execute(update(TABLE).where(TABLE.c.id == found.id).values(seen))
    return found


def _notice_move(found: Session) -> None:
    """Record once that another kind of program uses the session from another network. It stays valid: a session is
    not bound to an address, which phones change all day.
    """
    here = origin.here()
    network, agent = origin.network_of(found.address), agents.kind_of(found.user_agent)
    if found.moved_at or not (here.network and network) or here.network == network or here.agent == agent:
        return
    first = update(TABLE).where(TABLE.c.id == found.id, TABLE.c.moved_at.is_(None)).values(moved_at=clock.now())
    if database.execute(first).rowcount == 1:
        record(
            Event.SESSION_MOVED, subject=found.user_id, session=found.id, browser=here.agent, browser_before=agent,
            country=here.country, country_before=found.country, network=here.network,
        )  # fmt: skip


def alive(session_id: str) -> bool:
    """Tell whether the session still lives."""
    condition = (TABLE.c.id == session_id, *_alive(clock.now()))
    return database.execute(select(TABLE.c.id).where(*condition)).first() is not None


def hold(session_id: str) -> bool:
    """Keep the session from ending before this transaction has; False when it is gone. Waits for whoever is ending it.

    SQLite has one writer at a time, and a code of a session that ended before is refused at redemption.
    """
    statement = select(TABLE.c.id).where(TABLE.c.id == session_id).with_for_update(read=True, key_share=True)
    return database.execute(statement).first() is not None


def listing(user_id: str | None = None) -> list[Session]:
    """Return the live sessions, of one person or of everybody, the most recently used first."""
    statement = select(*_COLUMNS).where(*_alive(clock.now())).order_by(TABLE.c.last_seen_at.desc())
    if user_id is not None:
        statement = statement.where(TABLE.c.user_id == user_id)
    return [_value(row) for row in database.execute(statement)]


def delete_rows(*, session_id: str | None = None, user_id: str | None = None, but: str | None = None) -> list[str]:
    """Delete sessions by id or person (all with neither), except `but`; return their ids. For `tokens.ending`."""
    statement = delete(TABLE).returning(TABLE.c.id)
    if session_id is not None:
        statement = statement.where(TABLE.c.id == session_id)
    if user_id is not None:
        statement = statement.where(TABLE.c.user_id == user_id)
    if but is not None:
        statement = statement.where(TABLE.c.id != but)
    return [row.id for row in database.execute(statement)]


def prune() -> int:
    """Delete sessions that have expired; return how many. Their families live on."""
    now = clock.now()
    settings = config.current()
    unseen = TABLE.c.last_seen_at <= now - min(settings.session_idle_ttl, settings.remember_ttl)
    return database.delete_some(TABLE, unseen, ~and_(*_alive(now)))


def _alive(now: datetime) -> tuple[Any, ...]:
    settings = config.current()
    remembered = TABLE.c.remember & (TABLE.c.last_seen_at > now - settings.remember_ttl)
    ordinary = (
        ~TABLE.c.remember
        & (TABLE.c.last_seen_at > now - settings.session_idle_ttl)
        & (TABLE.c.created_at > now - settings.session_absolute_ttl)
    )
    return (or_(remembered, ordinary),)


def _value(row: Any) -> Session:
    values = dict(row._mapping)
    return Session(**{**values, "amr": tuple(values["amr"])})
