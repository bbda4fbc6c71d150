"""The audit table: append-only, one row an event, written in the transaction of the act itself.

What accompanies no change of the database (a service's token, a refusal) is written within a second, many at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import JSON, BigInteger, Connection, Index, Integer, String, select
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock
from auth_server.infra.batch import Batch
from auth_server.prepared import Prepared


class AuditEvent(Base):
    """Who did what to whom, when, from where, with what result; kept for AUDIT_RETENTION."""

    __tablename__ = "audit_event"
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime] = mapped_column(Moment, index=True)
    event: Mapped[str] = mapped_column(String(60))
    result: Mapped[str] = mapped_column(String(10))
    actor_kind: Mapped[str] = mapped_column(String(10))
    actor: Mapped[str] = mapped_column(String(255))
    subject: Mapped[str] = mapped_column(String(255))
    client_id: Mapped[str] = mapped_column(String(255))
    session: Mapped[str] = mapped_column(String(36))
    family: Mapped[str] = mapped_column(String(36))
    address: Mapped[str] = mapped_column(String(45))
    request_id: Mapped[str] = mapped_column(String(64))
    reason: Mapped[str] = mapped_column(String(255))
    data: Mapped[dict[str, Any] | None] = mapped_column(JSON)


_TABLE: Any = AuditEvent.__table__
_INSERT = _TABLE.insert().inline()
_INSERT_ONE = Prepared(_INSERT)
_IS_LOOKED_UP = _TABLE.c.event != "token.issued"
for _name in ("subject", "client_id", "request_id"):
    # Issued tokens are most of the rows and are found by time: three more indexes would triple what each one costs.
    Index(f"ix_audit_event_{_name}", _TABLE.c[_name], sqlite_where=_IS_LOOKED_UP, postgresql_where=_IS_LOOKED_UP)


def _write(connection: Connection, rows: list[dict[str, Any]]) -> None:
    connection.execute(_INSERT, rows)


_soon = Batch(_write)


def append(entry: dict[str, Any], data: dict[str, object]) -> None:
    """Add one row in the open transaction; `data` holds further JSON values."""
    database.run(_INSERT_ONE, _row(entry, data))


def append_soon(entry: dict[str, Any], data: dict[str, object]) -> None:
    """Add one row within a second, in a transaction of its own."""
    row = _row(entry, data)
    if not _soon.add(row):
        database.run(_INSERT_ONE, row)


def _row(entry: dict[str, Any], data: dict[str, object]) -> dict[str, Any]:
    return {**entry, "at": clock.now(), "data": data or None}


def of_subject(subject: str, events: Sequence[str], *, reach: timedelta, most: int) -> list[Any]:
    """Return at most so many events of these kinds that concern somebody, the newest first."""
    conditions = (_TABLE.c.subject == subject, _IS_LOOKED_UP, _TABLE.c.event.in_(events))
    recent = (*conditions, _TABLE.c.at > clock.now() - reach)
    return list(database.execute(select(_TABLE).where(*recent).order_by(_TABLE.c.id.desc()).limit(most)))


def recent(events: Sequence[str], *, reach: timedelta) -> list[Any]:
    """Return the events of these kinds of so long a time, the oldest first."""
    conditions = (_TABLE.c.at > clock.now() - reach, _TABLE.c.event.in_(events))
    return list(database.execute(select(_TABLE).where(*conditions).order_by(_TABLE.c.id)))


def prune(retention: timedelta) -> int:
    """Delete events older than `retention`; return how many."""
    return database.delete_some(_TABLE, _TABLE.c.at <= clock.now() - retention)
