"""Moments in words, in the language that is spoken: "3 minutes ago", a day, a day and a time in somebody's time zone.

Babel is imported when the first moment is written: commands and token endpoints do without it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

from auth_server.infra import clock, language

_UNITS: tuple[tuple[int, Literal["day", "hour", "minute"]], ...] = ((86400, "day"), (3600, "hour"), (60, "minute"))
_WHATEVER_COMES = 1_000_000
"""Babel's threshold for a larger unit: never reached, the unit is ours."""
_WORDS_UP_TO = timedelta(days=30)
_LONGEST_ZONE = 64


def zone_of(name: object) -> tzinfo:
    """Return the time zone with this name (IANA), or UTC."""
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_ZONE:
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        return UTC


def relative(at: datetime, zone: tzinfo = UTC) -> str:
    """Return "3 minutes ago" or "in 3 days"; the day, where it is more than a month away."""
    seconds = int((at - clock.now()).total_seconds())
    if abs(seconds) < _UNITS[-1][0]:
        return language.gettext("just now") if seconds <= 0 else language.gettext("in a moment")
    if abs(seconds) >= _WORDS_UP_TO.total_seconds():
        return day(at, zone)
    from babel.dates import format_timedelta

    unit, name = next(pair for pair in _UNITS if abs(seconds) >= pair[0])
    whole = timedelta(seconds=abs(seconds) // unit * unit * (1 if seconds > 0 else -1))
    return str(format_timedelta(whole, name, threshold=_WHATEVER_COMES, add_direction=True, locale=_locale()))


def day(at: datetime, zone: tzinfo = UTC) -> str:
    """Return the day, such as "Nov 24, 2026"."""
    from babel.dates import format_date

    return str(format_date(at.astimezone(zone).date(), "medium", locale=_locale()))


def exact(at: datetime, zone: tzinfo = UTC) -> str:
    """Return the day and the time, such as "Nov 24, 2026, 11:57:00 PM"; in UTC it says so."""
    from babel.dates import format_datetime

    text = str(format_datetime(at, "medium", tzinfo=zone, locale=_locale()))
    return f"{text} UTC" if zone is UTC else text


def in_utc(at: datetime) -> str:
    """Return the moment as everybody reads it alike, for those who compare it with a log."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _locale() -> Any:
    return _known(language.current())


@lru_cache(maxsize=32)
def _known(tag: str) -> Any:
    from babel import Locale, UnknownLocaleError

    try:
        return Locale.parse(tag)
    except (UnknownLocaleError, ValueError):
        return Locale.parse(language.DEFAULT)
