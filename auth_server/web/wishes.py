"""What the signed-in person wishes of our own pages: light or dark, their time zone, their language.

Nobody is looked up for it: a page that did not ask who is signed in follows the browser.
"""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

from flask import g, has_request_context

from auth_server.accounts import profile, users


def theme() -> str:
    """Return "light", "dark", or "" to follow the system."""
    person = _person()
    return person.theme if person and person.theme != users.SYSTEM else ""


def zone() -> tzinfo:
    """Return the person's time zone; UTC where it is not known."""
    name = _claim("zoneinfo")
    return ZoneInfo(name) if name in profile.zones() else UTC


def language() -> str:
    """Return the language tag that the person wishes; "" for none."""
    return _claim("locale")


def exact(at: datetime) -> str:
    """Return a moment to the minute: where the person is, and in UTC."""
    here, world = at.astimezone(zone()), at.astimezone(UTC)
    if here.utcoffset() == world.utcoffset():
        return world.strftime("%Y-%m-%d %H:%M UTC")
    same_day = here.date() == world.date()
    return f"{here:%Y-%m-%d %H:%M} ({world:{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}} UTC)"


def _claim(name: str) -> str:
    person = _person()
    held = person.claims.get(name) if person else None
    return held if isinstance(held, str) else ""


def _person() -> users.User | None:
    here = g.get("sign_in_session") if has_request_context() else None
    return users.find(here.user_id) if here else None
