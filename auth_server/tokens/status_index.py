"""Places in the status lists: one of each family and one of each service, named by the `status` claim of its JWTs.

A place is drawn at random, so that it tells nothing, and has one row while it is taken. Recalling sets its bit; the row
stays until everything that carries it has expired, and only then the place is free again. The lists themselves are not
stored: they are what the rows say.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Integer, String, bindparam, func, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import config, database
from auth_server.database import Base, Moment
from auth_server.infra import clock, stamp
from auth_server.keys.status_list import SIZE
from auth_server.tokens.revocations import LONGEST_TOKEN_LIFE

PATH = "/oauth/status/"
"""Below it, each list by its number."""
_TRIES_IN_WHAT_IS_THERE = 3
_ENDLESS = "places are drawn for ever"
_CLEARED_EARLIER = timedelta(minutes=2)
"""A bit is cleared so long before its place is free, so that no copy of the list holds it against the next owner."""


class StatusIndex(Base):
    """A taken place, counted through all lists. `client_id`: the service whose tokens carry it now; `recalled_at`: its
    bit is set; it may be deleted once `expires_at` has passed (None: a service's, which goes on)."""

    __tablename__ = "status_index"
    position: Mapped[int] = mapped_column(Integer, primary_key=True, autoincrement=False)
    client_id: Mapped[str | None] = mapped_column(String(255), unique=True)
    recalled_at: Mapped[datetime | None] = mapped_column(Moment, index=True)
    expires_at: Mapped[datetime | None] = mapped_column(Moment, index=True)


_TABLE: Any = StatusIndex.__table__
_LAST = select(func.max(_TABLE.c.position))


def take(expires_at: datetime) -> int:
    """Take a free place until then, and return it."""
    for place in _drawn():
        if _take(place, expires_at=expires_at):
            return place
    raise AssertionError(_ENDLESS)


def of_service(client_id: str) -> int:
    """Return the place that a service's tokens carry; its first token takes one."""
    found = _services.get(client_id)
    return _give(client_id) if found is None else found


def claim(position: int) -> dict[str, Any]:
    """Return the `status` claim of a place (Token Status List §6.2)."""
    number, index = divmod(position, SIZE)
    return {"status_list": {"idx": index, "uri": uri(number)}}


def position_in(claims: Mapping[str, Any]) -> int | None:
    """Return the place that one of our own tokens carries, or None."""
    if "status" not in claims:
        return None
    named = claims["status"]["status_list"]
    return int(named["uri"].rpartition("/")[2]) * SIZE + int(named["idx"])


def uri(number: int) -> str:
    """Return the address of a list, which is also its `sub`."""
    return config.current().url(f"{PATH}{number}")


def recall(positions: Iterable[int | None]) -> None:
    """Set the bits of what was a family's, for as long as a token may live that carries one."""
    rows = [{"which": position} for position in positions if position is not None]
    if rows:
        database.execute(update(_TABLE).where(_TABLE.c.position == bindparam("which")).values(_recalled()), rows)


def recall_service(client_id: str) -> None:
    """Set the bit of all that a service holds; its next token takes another place."""
    _recall_services(_TABLE.c.client_id == client_id)


def recall_every_service() -> None:
    """Do the same for all of them."""
    _recall_services(_TABLE.c.client_id.is_not(None))


def recalled(number: int) -> tuple[int, ...] | None:
    """Return the indexes in a list whose bits are set, in order; None when there is no such list (there is a first)."""
    place = _TABLE.c.position
    within = (place >= number * SIZE, place < (number + 1) * SIZE)
    if number and database.execute(select(place).where(*within).limit(1)).first() is None:
        return None
    is_set = (_TABLE.c.recalled_at.is_not(None), _TABLE.c.expires_at > clock.now() + _CLEARED_EARLIER)
    rows = database.execute(select(place - number * SIZE).where(*within, *is_set).order_by(place))
    return tuple(rows.scalars())


def prune() -> int:
    """Free the places whose tokens have all expired; return how many."""
    return database.delete_some(_TABLE, _TABLE.c.expires_at <= clock.now())


def _drawn() -> Iterator[int]:
    """Draw places: among the lists in use, and, where those are crowded, in new ones."""
    last = database.execute(_LAST).scalar()
    in_use = 1 if last is None else last // SIZE + 1
    for _turn in range(_TRIES_IN_WHAT_IS_THERE):
        yield secrets.randbelow(in_use * SIZE)
    for number in itertools.count(in_use):
        yield number * SIZE + secrets.randbelow(SIZE)


def _take(place: int, **values: Any) -> bool:
    """Take a place; False when it has an owner, or when this service has another place."""
    statement = database.insert(_TABLE).values(position=place, **values).on_conflict_do_nothing()
    return database.execute(statement).rowcount == 1


def _give(client_id: str) -> int:
    """Take a place for a service, unless another process was faster; once, so it may write before the signature."""
    _services.forget()  # nobody else need: where "none" is remembered, this is called and finds it
    for place in _drawn():
        if _take(place, client_id=client_id):
            return place
        found = _load(client_id)
        if found is not None:
            return found
    raise AssertionError(_ENDLESS)


def _recall_services(condition: Any) -> None:
    if database.execute(update(_TABLE).where(condition).values(client_id=None, **_recalled())).rowcount:
        _services.bump()


def _recalled() -> dict[str, datetime]:
    now = clock.now()
    return {"recalled_at": now, "expires_at": now + LONGEST_TOKEN_LIFE}


def _load(client_id: str) -> int | None:
    found: int | None = database.execute(select(_TABLE.c.position).where(_TABLE.c.client_id == client_id)).scalar()
    return found


_services: stamp.Cache[int] = stamp.Cache("status_services", _load)
