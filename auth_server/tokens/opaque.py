"""Opaque access tokens: stored by digest, with the claims that a JWT would carry."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, String, bindparam
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock, crypto
from auth_server.prepared import Prepared


class OpaqueAccessToken(Base):
    """One opaque access token; deleted after it has expired."""

    __tablename__ = "opaque_access_token"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    claims: Mapped[dict[str, object]] = mapped_column(JSON)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


TABLE: Any = OpaqueAccessToken.__table__
IS_PRESENTED = (TABLE.c.digest == bindparam("presented"), TABLE.c.expires_at > bindparam("now"))
"""The conditions for one live token; `presented_as` gives their parameters."""
_INSERT = Prepared(TABLE.insert())


def add(raw_token: str, claims: Mapping[str, Any], expires_at: datetime) -> None:
    """Store a token with its claims."""
    row = {"digest": crypto.digest(raw_token), "claims": dict(claims), "expires_at": expires_at}
    database.run(_INSERT, row)


def presented_as(raw_token: str) -> dict[str, Any]:
    """Return the parameters of `IS_PRESENTED`."""
    return {"presented": crypto.digest(raw_token), "now": clock.now()}


def prune() -> int:
    """Delete expired tokens; return how many."""
    return database.delete_some(TABLE, TABLE.c.expires_at <= clock.now())
