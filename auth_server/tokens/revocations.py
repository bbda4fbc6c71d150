"""Access tokens that are refused before they expire.

A JWT has no row, so what ends it is an entry that dies with the longest token it concerns. One look-up answers
"is any of these revoked".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import String, and_, bindparam, or_, select
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock
from auth_server.prepared import Prepared

JTI, FAMILY, CLIENT, EVERYTHING = "jti", "family", "client", "all"
ALL = "*"
"""The one value of EVERYTHING: with it, each part of the question names a whole key."""
LONGEST_TOKEN_LIFE = timedelta(hours=1, minutes=5)


class Revocation(Base):
    """Live access tokens that are refused: one by `jti`, a family's, or all of a client (or of all) up to `before`."""

    __tablename__ = "revocation"
    kind: Mapped[str] = mapped_column(String(10), primary_key=True)
    value: Mapped[str] = mapped_column(String(255), primary_key=True)
    before: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


_TABLE: Any = Revocation.__table__


def covering(jti: Any, family: Any, client_id: Any, issued: Any) -> Any:
    """Return whether anything refuses a token, as a part of a statement; each is a parameter or a column of it.

    A client-wide entry has only the token's whole seconds to compare: a token of the very second is refused too.
    """
    kind, value, before = _TABLE.c.kind, _TABLE.c.value, _TABLE.c.before
    return (
        select(kind)
        .where(
            or_(
                and_(kind == JTI, value == jti),
                and_(kind == FAMILY, value == family),
                and_(kind == CLIENT, value == client_id, before >= issued),
                and_(kind == EVERYTHING, value == ALL, before >= issued),
            )
        )
        .exists()
    )


COVERING = covering(*(bindparam(name) for name in ("jti", "family", "client_id", "issued")))
"""The same of the token that `named_in` describes."""
_IS_COVERED = Prepared(select(COVERING))


def add(kind: str, values: Iterable[str]) -> None:
    """Refuse from now on what these name; a second entry for the same thing moves its moment forward."""
    now = clock.now()
    moments = {"before": now, "expires_at": now + LONGEST_TOKEN_LIFE}
    rows = [{"kind": kind, "value": value, **moments} for value in values]
    if rows:
        statement = database.insert(_TABLE).on_conflict_do_update(index_elements=["kind", "value"], set_=moments)
        database.execute(statement, rows)


def covers(claims: Mapping[str, Any]) -> bool:
    """Tell whether an access token with these claims is revoked."""
    found = database.first(_IS_COVERED, named_in(claims))
    return bool(found and found[0])


def named_in(claims: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of `COVERING`."""
    return {
        "jti": claims["jti"],
        "family": claims.get("fam", ""),
        "client_id": claims["client_id"],
        "issued": datetime.fromtimestamp(claims["iat"], UTC),
    }


def prune() -> int:
    """Delete entries whose tokens have all expired; return how many."""
    return database.delete_some(_TABLE, _TABLE.c.expires_at <= clock.now())
