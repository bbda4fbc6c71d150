"""What others made and may show once: the `jti` of an assertion or a proof. Every process knows what each has seen.

Only digests are kept, and only for as long as the thing could be taken at all; so whoever asks must have an end for it
that is not far away, or strangers could fill the table.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock, crypto

_KEPT_LONGER = timedelta(hours=1)
"""How far the clocks of several servers may differ before something could be forgotten too early."""


class Seen(Base):
    """Something that was shown; may be deleted an hour after `expires_at`, when nobody takes it any more."""

    __tablename__ = "seen"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


_TABLE: Any = Seen.__table__


def first_time(purpose: str, value: str, until: datetime) -> bool:
    """Note a value in the request's transaction; of several at once, and until that moment, the others get False.

    `value` is compared exactly and must hold whatever it is unique within, such as the client that made it. `purpose`
    has no colon. Look at signature and lifetime first: what is noted is used up.
    """
    row = {"digest": crypto.digest(f"{purpose}:{value}"), "expires_at": until}
    statement = database.insert(_TABLE).values(row).on_conflict_do_nothing(index_elements=["digest"])
    return database.execute(statement).rowcount == 1


def prune() -> int:
    """Forget what is too old to be taken anyway; return how many."""
    return database.delete_some(_TABLE, _TABLE.c.expires_at <= clock.now() - _KEPT_LONGER)
