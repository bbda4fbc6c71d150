"""Guess limits: counters of record in the database, reserved before a slow check and given back on success.

A bucket counts tries in a window that starts with its first try. A try is reserved by one conditional upsert in a
transaction of its own, so that parallel tries cannot pass the limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, String, case, delete, literal, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock
from auth_server.values import Rate


class Bucket(Base):
    """Tries of one kind by one account, address or browser; may be deleted once `resets_at` has passed."""

    __tablename__ = "limit_bucket"
    key: Mapped[str] = mapped_column(String(100), primary_key=True)
    count: Mapped[int] = mapped_column(Integer)
    resets_at: Mapped[datetime] = mapped_column(Moment, index=True)


_TABLE: Any = Bucket.__table__


@dataclass(frozen=True)
class Reservation:
    """A counted try. `retry_after_seconds` is 0 when it may go on; otherwise it must be refused: `full` names why."""

    keys: tuple[str, ...]
    retry_after_seconds: int = 0
    full: str = ""

    @property
    def refused(self) -> bool:
        return self.retry_after_seconds > 0


def reserve(keys: Sequence[str], rate: Rate | None) -> Reservation:
    """Count one try in every bucket, or in none when one is full. Commits at once; `rate` None means no limit.

    The caller must not have written in this request: this transaction is another one.
    """
    return Reservation(()) if rate is None else reserve_each(dict.fromkeys(keys, rate))


def reserve_each(rates: Mapping[str, Rate]) -> Reservation:
    """Do the same for buckets that have a rate of their own each."""
    now = clock.now()
    ordered = sorted(rates)  # one order for everybody: two tries cannot wait for each other
    with database.engine().connect() as connection:
        for key in ordered:
            if connection.execute(_count_one(key, rates[key], now)).rowcount != 1:
                connection.rollback()
                resets_at = connection.execute(select(_TABLE.c.resets_at).where(_TABLE.c.key == key)).scalar()
                left = (resets_at - now).total_seconds() if resets_at else 0
                return Reservation((), max(1, int(left) + 1), key)
        connection.commit()
    return Reservation(tuple(ordered))


def is_first(refused: Reservation) -> bool:
    """Tell whether this try is the first that a full bucket refuses: whoever goes on trying gives no more to record.

    Commits at once, as `reserve`.
    """
    window = timedelta(seconds=refused.retry_after_seconds)
    return not reserve(("refused:" + refused.full,), Rate(1, window)).refused


def give_back(keys: Sequence[str]) -> None:
    """Take one counted try back, in the request's transaction: it was a success."""
    database.execute(_one_less(keys))


def give_back_now(keys: Sequence[str]) -> None:
    """Take one counted try back whatever becomes of the request: it was not looked at."""
    with database.engine().begin() as connection:
        connection.execute(_one_less(keys))


def clear(*keys: str) -> None:
    """Forget every counted try of some buckets, in the request's transaction."""
    database.execute(delete(_TABLE).where(_TABLE.c.key.in_(keys)))


def prune() -> int:
    """Delete buckets whose window has passed; return how many."""
    return database.delete_some(_TABLE, _TABLE.c.resets_at <= clock.now())


def _one_less(keys: Sequence[str]) -> Any:
    return update(_TABLE).where(_TABLE.c.key.in_(keys), _TABLE.c.count > 0).values(count=_TABLE.c.count - 1)


def _count_one(key: str, rate: Rate, now: datetime) -> Any:
    over = _TABLE.c.resets_at <= now
    fresh = now + rate.period
    return (
        database.insert(_TABLE)
        .values(key=key, count=1, resets_at=fresh)
        .on_conflict_do_update(
            index_elements=["key"],
            set_={
                "count": case((over, 1), else_=_TABLE.c.count + 1),
                "resets_at": case((over, literal(fresh, Moment())), else_=_TABLE.c.resets_at),
            },
            where=or_(over, _TABLE.c.count < rate.count),
        )
    )
