"""The audit table: append-only, one row an event, written in the transaction of the act itself."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BigInteger, Integer, String, delete
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock


class AuditEvent(Base):
    """Who did what to whom, when, from where, with what result; kept for AUDIT_RETENTION."""

    __tablename__ = "audit_event"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment, index=True)
    event: Mapped[str] = mapped_column(String(60), index=True)
    result: Mapped[str] = mapped_column(String(10))
    actor_kind: Mapped[str] = mapped_column(String(10))
    actor: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str] = mapped_column(String(255), index=True)
    client_id: Mapped[str] = mapped_column(String(255), index=True)
    session: Mapped[str] = mapped_column(String(36))
    family: Mapped[str] = mapped_column(String(36))
    address: Mapped[str] = mapped_column(String(45))
    request_id: Mapped[str] = mapped_column(String(64), index=True)
    reason: Mapped[str] = mapped_column(String(255))
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON)


_TABLE: Any = AuditEvent.__table__
_INSERT = _TABLE.insert()


def append(entry: dict[str, str], data: dict[str, object]) -> None:
    """Add one row; `data` holds further JSON values."""
    database.execute(_INSERT, {**entry, "at": clock.now(), "data": data or None})


def prune(retention: timedelta) -> int:
    """Delete events older than `retention`; return how many."""
    return database.execute(delete(_TABLE).where(_TABLE.c.at <= clock.now() - retention)).rowcount
