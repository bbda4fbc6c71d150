"""The browsers that an account knows, and those among them that it trusts.

A browser is known from its first finished sign-in on. Trusted, it is not asked for the second factor: until a day that
the setting puts at most 30 days away, until the person or a risk takes it back, and only in the country where it was
given.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ForeignKey, String, exists, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import config, database
from auth_server.database import Base, Moment
from auth_server.infra import clock, events, origin
from auth_server.infra.events import Event, record

COOKIE_LIFE = timedelta(days=400)
"""So long a browser keeps the cookie that it is known by, from when it got it, and no browser keeps one longer."""
_MOST_COUNTRIES = 80
_HANDLE_LENGTH = 16


class KnownBrowser(Base):
    """A browser that has signed in to an account; ends with the account, or when it cannot come back, see `prune`."""

    __tablename__ = "known_browser"
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True)
    browser_digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    last_used_at: Mapped[datetime] = mapped_column(Moment)
    trusted_until: Mapped[datetime | None] = mapped_column(Moment)
    """Until then the second factor is not asked for here, unless it is asked for strictly."""
    first_seen_at: Mapped[datetime | None] = mapped_column(Moment)
    user_agent: Mapped[str] = mapped_column(String(255))
    network: Mapped[str] = mapped_column(String(45))
    country: Mapped[str] = mapped_column(String(2))
    countries: Mapped[str] = mapped_column(String(255))
    """Every country it has signed in from, the last one last, with spaces in between."""
    trusted_at: Mapped[datetime | None] = mapped_column(Moment)
    trusted_country: Mapped[str] = mapped_column(String(2))


_TABLE: Any = KnownBrowser.__table__


@dataclass(frozen=True)
class Known:
    """A known browser, as it was at its last sign-in."""

    digest: str
    network: str
    countries: tuple[str, ...]
    last_used_at: datetime


@dataclass(frozen=True)
class Trusted:
    """A trusted browser; `handle` names it on a page."""

    digest: str
    user_agent: str
    country: str
    since: datetime
    until: datetime

    @property
    def handle(self) -> str:
        return self.digest[:_HANDLE_LENGTH]


def listing(user_id: str) -> list[Known]:
    """Return the browsers that have signed in to the account, the last one first."""
    statement = select(_TABLE).where(_TABLE.c.user_id == user_id).order_by(_TABLE.c.last_used_at.desc())
    return [
        Known(row.browser_digest, row.network, tuple(row.countries.split()), row.last_used_at)
        for row in database.execute(statement)
    ]


def knows(user_id: str, browser_digest: str) -> bool:
    """Tell whether the person has signed in with this browser before."""
    return database.execute(select(_TABLE.c.user_id).where(*_one(user_id, browser_digest))).first() is not None


def note(user_id: str, browser_digest: str, *, trust: bool = False) -> None:
    """Remember a finished sign-in, and trust the browser from now on if that is wished and offered."""
    now, here = clock.now(), origin.here()
    row = database.execute(select(_TABLE.c.countries).where(*_one(user_id, browser_digest))).first()
    before = [country for country in row.countries.split() if country != here.country] if row else []
    values: dict[str, Any] = {
        "last_used_at": now,
        "user_agent": events.context().user_agent[:255],
        "network": here.network,
        "country": here.country,
        "countries": " ".join([*before, here.country][-_MOST_COUNTRIES:]).strip(),
    }
    life = config.current().trusted_browser_ttl
    if trust and life:
        values |= {"trusted_at": now, "trusted_until": now + life, "trusted_country": here.country}
        record(Event.BROWSER_TRUSTED, subject=user_id, browser=here.agent, country=here.country)
    first = {"trusted_country": "", "first_seen_at": now}
    statement = database.insert(_TABLE).values(user_id=user_id, browser_digest=browser_digest, **(first | values))
    database.execute(statement.on_conflict_do_update(index_elements=["user_id", "browser_digest"], set_=values))


def trusts(user_id: str, browser_digest: str) -> bool:
    """Tell whether the person chose to trust this browser, and still does. In another country the trust ends."""
    row = database.execute(
        select(_TABLE.c.trusted_country).where(*_one(user_id, browser_digest), *_is_trusted(clock.now()))
    ).first()
    if row is None:
        return False
    country = origin.here().country
    if not row.trusted_country or not country or row.trusted_country == country:
        return True
    forget_trust(user_id, browser_digest, cause="new_country")
    return False


def trusted(user_id: str) -> list[Trusted]:
    """Return the browsers that the person trusts, the latest first."""
    statement = select(_TABLE).where(_TABLE.c.user_id == user_id, *_is_trusted(clock.now()))
    return [_trusted(row) for row in database.execute(statement.order_by(_TABLE.c.trusted_at.desc()))]


def forget_one(user_id: str, handle: str) -> bool:
    """The person takes the trust in one browser back; False when there is no such trusted browser."""
    digest = next((browser.digest for browser in trusted(user_id) if browser.handle == handle), None)
    return digest is not None and forget_trust(user_id, digest, cause="taken_back")


def forget_trust(user_id: str, browser_digest: str | None = None, *, cause: str = "") -> bool:
    """Trust none of the person's browsers any more, or not this one; they stay known. False when none was trusted."""
    which = (_TABLE.c.user_id == user_id,) if browser_digest is None else _one(user_id, browser_digest)
    statement = update(_TABLE).where(*which, _TABLE.c.trusted_until.is_not(None))
    count = database.execute(statement.values(trusted_until=None, trusted_at=None, trusted_country="")).rowcount
    if count:
        record(Event.BROWSER_TRUST_ENDED, subject=user_id, count=count, cause=cause)
    return count > 0


def prune() -> int:
    """Forget browsers whose cookie is over: nobody can come back as one of them. Return how many.

    The last one of an account stays: without any, a stranger's sign-in would be the account's first and not be told.
    Looks through the whole table, so it asks first, without a lock.
    """
    later = _TABLE.alias()
    is_outlived = exists().where(later.c.user_id == _TABLE.c.user_id, later.c.last_used_at > _TABLE.c.last_used_at)
    is_over = (_TABLE.c.last_used_at <= clock.now() - COOKIE_LIFE, is_outlived)
    if database.execute(select(_TABLE.c.user_id).where(*is_over).limit(1)).first() is None:
        return 0
    return database.delete_some(_TABLE, *is_over)


def _trusted(row: Any) -> Trusted:
    until = min(row.trusted_until, row.trusted_at + config.current().trusted_browser_ttl)
    return Trusted(row.browser_digest, row.user_agent, row.trusted_country, row.trusted_at, until)


def _one(user_id: str, browser_digest: str) -> tuple[Any, ...]:
    return (_TABLE.c.user_id == user_id, _TABLE.c.browser_digest == browser_digest)


def _is_trusted(now: datetime) -> tuple[Any, ...]:
    """A shorter life, set since, counts for browsers that were trusted before."""
    return (_TABLE.c.trusted_until > now, _TABLE.c.trusted_at > now - config.current().trusted_browser_ttl)
