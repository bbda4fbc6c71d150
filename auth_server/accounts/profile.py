"""What people say about themselves: the standard claims of OpenID Connect Core §5.1, each with its check.

Nothing else can be set here: address, roles, groups and an operator's own claims stay as they are. What comes back as
it was shown is not looked at, so that a value an operator wrote never stands in a person's way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from auth_server.accounts import users
from auth_server.errors import RefusedFields, RefusedInput
from auth_server.infra import clock
from auth_server.infra.language import mark

_LONGEST_LINE, _LONGEST_URL, _LONGEST_TEXT = 200, 1000, 1000
_PHONE = re.compile(r"\+[1-9][0-9]{6,14}\Z")  # E.164
_BETWEEN_DIGITS = str.maketrans("", "", " -./()\u00a0\u2011\u202f")
_BIRTHDATE = re.compile(r"([0-9]{4})(?:-([0-9]{2})-([0-9]{2}))?\Z")
_EARLIEST_YEAR, _LEAP_YEAR = 1850, 2000
_TAG = re.compile(r"([a-z]{2,3})(-[a-z]{4})?(-(?:[a-z]{2}|[0-9]{3}))?((?:-[a-z0-9]{5,8})*)\Z", re.IGNORECASE)  # BCP 47
_NOT_IN_URLS = frozenset('"<>\\^`{|}')
_BREAKS = frozenset({"Cc", "Zl", "Zp"})
_ZONE_AREAS = frozenset(
    {
        *("Africa", "America", "Antarctica", "Arctic", "Asia", "Atlantic", "Australia"),
        *("Europe", "Indian", "Pacific", "UTC"),
    }
)


def shown(user: users.User) -> dict[str, str]:
    """Return every field as text for a form; "" where nothing is known."""
    claims = user.claims
    texts = {name: _text(user.name if name == "name" else claims.get(name)) for name in CHECKS}
    return texts | {name: _text(_address(user).get(name)) for name in ADDRESS_CHECKS}


def update(user: users.User, sent: Mapping[str, str]) -> list[str]:
    """Take those fields that differ from what is there; "" forgets one. Return their names.

    Raises `RefusedFields` with every problem at once; nothing has changed then.
    """
    before = {name: _tidy(text) for name, text in shown(user).items()}
    typed = {name: _tidy(sent[name]) for name in before if name in sent}
    cleaned = _checked({name: text for name, text in typed.items() if text != before[name]})
    changed = {name: text for name, text in cleaned.items() if text != before[name]}
    if changed:
        users.change(user, name=changed.get("name"), claims=_claims(user, changed))
    return sorted(changed)


@lru_cache(maxsize=1)
def zones() -> frozenset[str]:
    """Return the names of all time zones that this machine knows (IANA)."""
    return frozenset(available_timezones())


@lru_cache(maxsize=1)
def usual_zones() -> tuple[str, ...]:
    """Return the time zones named after a place, and UTC, sorted: without the abbreviations and former names."""
    return tuple(sorted(name for name in zones() if name.split("/")[0] in _ZONE_AREAS))


def language_tag(text: str) -> str | None:
    """Return a language tag in its usual spelling (RFC 5646 §2.1.1), or None when it is none."""
    found = _TAG.match(text.replace("_", "-"))
    if not found:
        return None
    language, script, region, variants = (part or "" for part in found.groups())
    return language.lower() + script.title() + region.upper() + variants.lower()


def _checked(changed: Mapping[str, str]) -> dict[str, str]:
    checks, cleaned, problems = {**CHECKS, **ADDRESS_CHECKS}, {}, {}
    for name, text in changed.items():
        try:
            cleaned[name] = checks[name](text) if text else ""
        except RefusedInput as refusal:
            problems[name] = refusal.message
    if problems:
        raise RefusedFields(problems)
    return cleaned


def _claims(user: users.User, changed: Mapping[str, str]) -> dict[str, Any]:
    """Return the claims that these fields become; None takes one away."""
    found: dict[str, Any] = {name: text or None for name, text in changed.items() if name in CHECKS and name != "name"}
    number, former = changed.get("phone_number"), _text(user.claims.get("phone_number"))
    if number is not None and number != former.translate(_BETWEEN_DIGITS):
        found["phone_number_verified"] = False if number else None
    in_address = {name: text for name, text in changed.items() if name in ADDRESS_CHECKS}
    if in_address:
        address = {name: part for name, part in {**_address(user), **in_address}.items() if part}
        found["address"] = address or None
    return found


def _address(user: users.User) -> Mapping[str, Any]:
    held = user.claims.get("address")
    return held if isinstance(held, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _tidy(text: str) -> str:
    return unicodedata.normalize("NFC", text.replace("\r\n", "\n").replace("\r", "\n").strip())


def _line(text: str) -> str:
    if len(text) > _LONGEST_LINE or any(unicodedata.category(char) in _BREAKS for char in text):
        raise RefusedInput(mark("Use one line of at most 200 characters."))
    return text


def _lines(text: str) -> str:
    if len(text) > _LONGEST_TEXT or any(unicodedata.category(char) == "Cc" and char != "\n" for char in text):
        raise RefusedInput(mark("Use at most 1000 characters."))
    return text


def _url(text: str, schemes: tuple[str, ...] = ("https", "http")) -> str:
    try:
        parts = urlsplit(text)
        host = parts.hostname or ""
    except ValueError:
        raise RefusedInput(mark("This is not a web address.")) from None
    odd = any(unicodedata.category(char)[0] in "CZ" or char in _NOT_IN_URLS for char in text)
    if len(text) > _LONGEST_URL or odd or not host or parts.username is not None:
        raise RefusedInput(mark("This is not a web address."))
    if parts.scheme not in schemes:
        raise RefusedInput(mark("Use an address that starts with https://"))
    return text


def _picture(text: str) -> str:
    return _url(text, ("https",))


def _birthdate(text: str) -> str:
    """YYYY, YYYY-MM-DD, or 0000-MM-DD, where the year is left out (OpenID Connect Core §5.1)."""
    found = _BIRTHDATE.match(text)
    if not found or (text.startswith("0000") and not found[2]):
        raise RefusedInput(mark("Write it like 1985-07-31, or just the year."))
    year, today = int(found[1]), clock.now().date()
    try:
        born = date(year or _LEAP_YEAR, int(found[2] or 1), int(found[3] or 1))
    except ValueError:
        raise RefusedInput(mark("This day does not exist.")) from None
    if year and not (year >= _EARLIEST_YEAR and born <= today):
        raise RefusedInput(mark("This day cannot be right."))
    return text


def _zone(text: str) -> str:
    if text not in zones():
        raise RefusedInput(mark("Choose a time zone from the list."))
    return text


def _locale(text: str) -> str:
    found = language_tag(text)
    if found is None:
        raise RefusedInput(mark("Choose a language from the list."))
    return found


def _phone(text: str) -> str:
    number = text.translate(_BETWEEN_DIGITS)
    if not _PHONE.match(number):
        raise RefusedInput(mark("Write it with + and the country code, like +44 20 7946 0000."))
    return number


Check = Callable[[str], str]
CHECKS: Mapping[str, Check] = {
    **dict.fromkeys(("name", "given_name", "middle_name", "family_name", "nickname", "preferred_username"), _line),
    **{"profile": _url, "website": _url, "picture": _picture, "gender": _line, "birthdate": _birthdate},
    **{"zoneinfo": _zone, "locale": _locale, "phone_number": _phone},
}
"""The claims that people may set, in the order of a form; each check returns the value as it is stored."""
ADDRESS_CHECKS: Mapping[str, Check] = {
    **{"street_address": _lines, "postal_code": _line, "locality": _line, "region": _line, "country": _line},
    "formatted": _lines,
}
"""The parts of the claim `address` (OpenID Connect Core §5.1.1)."""
