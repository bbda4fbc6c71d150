"""Consents: what a person has allowed an app, remembered until the person disconnects it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock
from auth_server.infra.events import Event, record


class Consent(Base):
    """What one person allows one app; ends when the app is disconnected or either is deleted."""

    __tablename__ = "consent"
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True)
    client_id: Mapped[str] = mapped_column(
        ForeignKey("client.client_id", ondelete="CASCADE"), primary_key=True, index=True
    )
    scopes: Mapped[list[str]] = mapped_column(JSON)
    claims: Mapped[list[str] | None] = mapped_column(JSON)
    """Single claims that were allowed beside those of the scopes; None: none."""
    granted_at: Mapped[datetime] = mapped_column(Moment)
    identity: Mapped[str | None] = mapped_column(String(64))
    """What the person knew a self-registered app by (`clients.identity`)."""


_TABLE: Any = Consent.__table__


@dataclass(frozen=True)
class Given:
    """A remembered consent."""

    client_id: str
    scopes: frozenset[str]
    claims: frozenset[str]
    granted_at: datetime
    identity: str | None

    def is_for(self, identity: str | None) -> bool:
        """Tell whether the app is still who it was; unknown for what was allowed before anybody noted it."""
        return self.identity in (None, identity)


def find(user_id: str, client_id: str) -> Given | None:
    """Return what the person has allowed the app, or None."""
    condition = (_TABLE.c.user_id == user_id, _TABLE.c.client_id == client_id)
    row = database.execute(select(_TABLE).where(*condition)).first()
    return None if row is None else _value(row)


def of_user(user_id: str) -> list[Given]:
    """Return everything the person has allowed, newest first."""
    statement = select(_TABLE).where(_TABLE.c.user_id == user_id).order_by(_TABLE.c.granted_at.desc())
    return [_value(row) for row in database.execute(statement)]


def grant(
    user_id: str,
    client_id: str,
    scopes: Iterable[str],
    taken_back: Iterable[str] = (),
    *,
    claims: Iterable[str] = (),
    claims_taken_back: Iterable[str] = (),
    identity: str | None = None,
) -> None:
    """Add scopes and single claims to what the person allows the app, and remove those that were taken back.

    Of an app that has become another one since (`identity`), nothing remains of what was allowed before.
    """
    held = find(user_id, client_id)
    remembered = held if held and held.is_for(identity) else None
    allowed = sorted({*scopes, *(remembered.scopes if remembered else ())} - set(taken_back))
    details = sorted({*claims, *(remembered.claims if remembered else ())} - set(claims_taken_back))
    values = {"scopes": allowed, "claims": details, "granted_at": clock.now(), "identity": identity}
    statement = database.insert(_TABLE).values(user_id=user_id, client_id=client_id, **values)
    database.execute(statement.on_conflict_do_update(index_elements=["user_id", "client_id"], set_=values))
    told: dict[str, Any] = {"claims": " ".join(details)} if details else {}
    record(Event.CONSENT_GRANTED, subject=user_id, client=client_id, scope=" ".join(allowed), **told)


def forget(user_id: str, client_id: str) -> bool:
    """Forget a consent; False when there was none. `tokens.ending` ends what it had produced."""
    condition = (_TABLE.c.user_id == user_id, _TABLE.c.client_id == client_id)
    return database.execute(delete(_TABLE).where(*condition)).rowcount == 1


def _value(row: Any) -> Given:
    return Given(row.client_id, frozenset(row.scopes), frozenset(row.claims or ()), row.granted_at, row.identity)
