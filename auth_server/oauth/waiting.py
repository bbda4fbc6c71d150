"""Authorization requests that wait for a person: rows, and the statements that move them on.

A row belongs to the browser that first comes with it: with the row's id (`flow`) or, where the app has pushed the
request (RFC 9126), with a reference of which only the digest is kept; until somebody came with that, the id opens
nothing. What may happen once, being taken by a browser and being closed, is one conditional UPDATE each.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, String, and_, null, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock, crypto
from auth_server.prepared import Prepared

LIFE = timedelta(minutes=30)
REFERENCE_LIFE = timedelta(seconds=90)
_KEPT_FOR_RESTART = timedelta(days=1)
_FLOW = re.compile(r"[A-Za-z0-9_-]{43}\Z")
Params = dict[str, list[str]]


class AuthorizationRequestRow(Base):
    """A request that waits for the person; closed by its answer, deleted a day after it has expired."""

    __tablename__ = "authorization_request"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    params: Mapped[dict[str, Any]] = mapped_column(JSON)
    browser_digest: Mapped[str | None] = mapped_column(String(64))
    reference_digest: Mapped[str | None] = mapped_column(String(64), index=True, unique=True)
    created_at: Mapped[datetime] = mapped_column(Moment)
    """When the person's browser came with it; for a pushed request that nobody has come with, when it was pushed."""
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)
    closed_at: Mapped[datetime | None] = mapped_column(Moment)
    chosen_session: Mapped[str | None] = mapped_column(String(36))
    consented_session: Mapped[str | None] = mapped_column(String(36))
    consented_scopes: Mapped[list[str] | None] = mapped_column(JSON)
    consented_claims: Mapped[list[str] | None] = mapped_column(JSON)


_TABLE: Any = AuthorizationRequestRow.__table__
_LATER = ("browser_digest", "closed_at", "chosen_session", "consented_session", "consented_scopes", "consented_claims")
_PUSH = Prepared(_TABLE.insert().values(dict.fromkeys(_LATER, null())))


def add(params: Params, created_at: datetime, browser_digest: str | None) -> str:
    """Store a request and return its id; without a browser it is bound at its first GET."""
    flow = crypto.new_secret()
    row = {"id": flow, "params": params, "browser_digest": browser_digest, "created_at": created_at}
    database.execute(_TABLE.insert().values(**row, expires_at=created_at + LIFE))
    return flow


def push(params: Params, created_at: datetime) -> str:
    """Store what an app has pushed and return the reference, of 256 random bits."""
    reference = crypto.new_secret()
    row = {"id": crypto.new_secret(), "params": params, "reference_digest": crypto.digest(reference)}
    database.run(_PUSH, {**row, "created_at": created_at, "expires_at": created_at + REFERENCE_LIFE})
    return reference


def of_flow(flow: str, browser_digest: str) -> Any:
    """Return the row of this browser, or one that is no browser's yet; None for every other."""
    if not _FLOW.match(flow):
        return None
    is_free = and_(_TABLE.c.browser_digest.is_(None), _TABLE.c.reference_digest.is_(None))
    of_this_browser = or_(_TABLE.c.browser_digest == browser_digest, is_free)
    return database.execute(select(_TABLE).where(_TABLE.c.id == flow, of_this_browser)).first()


def bind(flow: str, browser_digest: str) -> bool:
    """Bind a row that is no browser's yet; of two browsers at once, one gets False."""
    condition = (_TABLE.c.id == flow, _TABLE.c.browser_digest.is_(None))
    return database.execute(update(_TABLE).where(*condition).values(browser_digest=browser_digest)).rowcount == 1


def of_reference(reference: str, client_id: str, browser_digest: str) -> Any:
    """Return what this client has pushed under a reference, for the browser that first came with it in time.

    None for every other browser and client, and for what nobody came with in time: the reference is spent by the first
    browser, and leads that one back to its request until that is answered.
    """
    wanted = select(_TABLE).where(_TABLE.c.reference_digest == crypto.digest(reference))
    row = database.execute(wanted).first()
    if row is None or row.params.get("client_id") != [client_id]:
        return None
    if row.browser_digest is None:
        now = clock.now()
        is_free = (_TABLE.c.id == row.id, _TABLE.c.browser_digest.is_(None), _TABLE.c.expires_at > now)
        taken = {"browser_digest": browser_digest, "created_at": now, "expires_at": now + LIFE}
        database.execute(update(_TABLE).where(*is_free).values(taken))
        row = database.execute(wanted).first()
    return row if row is not None and row.browser_digest == browser_digest else None


def note_choice(flow: str | None, session_id: str) -> None:
    """The person chose to go on as who they are (`prompt=select_account`)."""
    database.execute(update(_TABLE).where(_TABLE.c.id == flow).values(chosen_session=session_id))


def note_consent(flow: str | None, session_id: str, scopes: list[str], claims: list[str]) -> None:
    """The person allowed these scopes, and these single claims, in this session."""
    values = {"consented_session": session_id, "consented_scopes": scopes, "consented_claims": claims}
    database.execute(update(_TABLE).where(_TABLE.c.id == flow).values(values))


def close(flow: str | None) -> bool:
    """Finish a request once; False when it had been answered before. One that was never stored needs no closing."""
    if flow is None:
        return True
    condition = (_TABLE.c.id == flow, _TABLE.c.closed_at.is_(None))
    return database.execute(update(_TABLE).where(*condition).values(closed_at=clock.now())).rowcount == 1


def prune() -> int:
    """Delete requests that nobody can go on with; return how many."""
    now = clock.now()
    is_unclaimed = and_(_TABLE.c.reference_digest.is_not(None), _TABLE.c.browser_digest.is_(None))
    is_useless = or_(_TABLE.c.expires_at <= now - _KEPT_FOR_RESTART, is_unclaimed)
    return database.delete_some(_TABLE, _TABLE.c.expires_at <= now, is_useless)
