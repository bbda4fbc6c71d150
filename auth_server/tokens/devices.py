"""Devices that wait for a person to allow them (RFC 8628): made, asked about by the device, decided by the person.

The device holds the device code, a secret of 256 bits. The user code is short, for people to type: guesses are counted
per account and per address before one is looked at, and a right one is no success that clears the count, because
anybody may make right ones. The browser that typed it first is the only one that can decide, for whoever is signed in
there and was asked last.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, or_, select, update

from auth_server import config, database
from auth_server.accounts import sign_in
from auth_server.accounts.sessions import Session
from auth_server.clients.client import Client
from auth_server.infra import clock, crypto, limits, origin
from auth_server.infra.events import Event, record
from auth_server.infra.origin import Origin
from auth_server.prepared import Prepared
from auth_server.tokens import families, models

LIFE = timedelta(minutes=10)
INTERVAL_SECONDS = 5
_LONGEST_INTERVAL_SECONDS = 60
"""Whoever does not slow down at all is told so for nothing more than a look: no write."""
_KEPT = timedelta(hours=1)
_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
"""RFC 8628 §6.1: no vowels, so no words; eight letters are 34 bits."""
_LETTERS = 8
_LONGEST_TYPED = 100
_USER_CODE = "user-code"
_MOST_COLLISIONS = 10

_TABLE: Any = models.DeviceGrant.__table__
_NAMES = (
    *("digest", "client_id", "scope", "resources", "created_at", "expires_at", "interval_seconds"),
    *("network", "country", "agent", "session_id", "decided_at", "family_id", "redeemed_at"),
)
_COLUMNS = [_TABLE.c[name] for name in _NAMES]
_FIND = Prepared(select(*_COLUMNS).where(_TABLE.c.digest == bindparam("presented")))
_ASKED = Prepared(
    update(_TABLE)
    .where(_TABLE.c.digest == bindparam("which"), _TABLE.c.ask_again_at <= bindparam("now"))
    .values(ask_again_at=bindparam("then"))
)
_SLOWER = Prepared(
    update(_TABLE)
    .where(_TABLE.c.digest == bindparam("which"))
    .values(interval_seconds=bindparam("seconds"), ask_again_at=bindparam("then"))
)
_REDEEM = Prepared(
    update(_TABLE)
    .where(_TABLE.c.digest == bindparam("which"), _TABLE.c.family_id.is_not(None), _TABLE.c.redeemed_at.is_(None))
    .values(redeemed_at=bindparam("now"))
)


@dataclass(frozen=True)
class Codes:
    """What the device gets: a secret for itself, and a code for the person."""

    raw_device_code: str = field(repr=False)
    user_code: str = field(repr=False)


@dataclass(frozen=True)
class Device:
    """A device that waits, or has been decided about; `family_id` only when it was allowed."""

    digest: str
    client_id: str
    scopes: tuple[str, ...]
    resources: tuple[str, ...]
    created_at: datetime
    expires_at: datetime
    interval_seconds: int
    origin: Origin
    session_id: str | None
    is_decided: bool
    family_id: str | None
    is_redeemed: bool


@dataclass(frozen=True)
class Entry:
    """What came of a typed code: it as it is shown, when it was right; `retry_after_seconds`: it was not looked at."""

    user_code: str = ""
    retry_after_seconds: int = 0


def begin(client: Client, scopes: Sequence[str], resources: Sequence[str]) -> Codes:
    """Let a device wait for a person."""
    raw_device_code, now, here = crypto.new_secret(), clock.now(), origin.here()
    row = {
        "digest": crypto.digest(raw_device_code),
        "client_id": client.client_id,
        "scope": " ".join(scopes),
        "resources": list(resources),
        "created_at": now,
        "expires_at": now + LIFE,
        "interval_seconds": INTERVAL_SECONDS,
        "ask_again_at": now,
        **{"network": here.network, "country": here.country, "agent": here.agent},
    }
    for _try in range(_MOST_COLLISIONS):
        user_code = "".join(secrets.choice(_ALPHABET) for _letter in range(_LETTERS))
        statement = database.insert(_TABLE).values(**row, user_code_tag=_tag(user_code))
        if database.execute(statement.on_conflict_do_nothing(index_elements=["user_code_tag"])).rowcount == 1:
            record(Event.DEVICE_ASKED, client=client.client_id, scope=row["scope"])
            return Codes(raw_device_code, _shown(user_code))
    raise RuntimeError("no free user code was found")


def find(presented: str) -> Device | None:
    """Return what a device code stands for, expired and redeemed ones too, or None."""
    row = database.first(_FIND, {"presented": crypto.digest(presented)})
    return None if row is None else _value(row)


def may_ask(found: Device) -> bool:
    """Note that the device asks; False when it is too early, and from then on it must wait longer (RFC 8628 §3.5)."""
    now, seconds = clock.now(), found.interval_seconds
    if database.run(_ASKED, {"which": found.digest, "now": now, "then": now + timedelta(seconds=seconds)}) == 1:
        return True
    if seconds < _LONGEST_INTERVAL_SECONDS:
        seconds += INTERVAL_SECONDS
        then = now + timedelta(seconds=seconds)
        database.run(_SLOWER, {"which": found.digest, "seconds": seconds, "then": then})
    return False


def redeem(found: Device) -> bool:
    """Use the device code up, once; False when somebody was faster."""
    return database.run(_REDEEM, {"which": found.digest, "now": clock.now()}) == 1


def well_formed(typed: str) -> str:
    """Return a user code as it is shown (`WDJB-MJHT`); "" for what cannot be one. Case and separators do not matter."""
    letters = "".join(char for char in typed[:_LONGEST_TYPED].upper() if char.isalnum())
    is_one = len(letters) == _LETTERS and set(letters) <= set(_ALPHABET)
    return _shown(letters) if is_one else ""


def enter(typed: str, *, user_id: str, browser_digest: str, address: str) -> Entry:
    """Take a code that somebody typed, for this browser alone. Must be the request's first write."""
    user_code = well_formed(typed)
    if not user_code:
        return Entry()
    database.release()
    buckets = (f"device:account:{user_id}", f"device:address:{sign_in.address_bucket(address)}")
    reservation = limits.reserve(buckets, config.current().login_rate_limit)
    if reservation.refused:
        record(Event.USER_CODE_THROTTLED, subject=user_id, reason="too many wrong codes of devices")
        return Entry(retry_after_seconds=reservation.retry_after_seconds)
    mine = or_(_TABLE.c.browser_digest.is_(None), _TABLE.c.browser_digest == browser_digest)
    statement = update(_TABLE).where(*_waits(_TABLE.c.user_code_tag == _tag(user_code)), mine)
    if database.execute(statement.values(browser_digest=browser_digest)).rowcount != 1:
        record(Event.USER_CODE_FAILED, subject=user_id, reason="unknown, finished, expired or taken code of a device")
        return Entry()
    limits.give_back(reservation.keys)
    return Entry(user_code)


def of_browser(typed: str, browser_digest: str) -> Device | None:
    """Return the device whose code was typed in this browser, decided or not; None when expired or not its own."""
    condition = (
        _TABLE.c.user_code_tag == _tag(well_formed(typed)),
        _TABLE.c.browser_digest == browser_digest,
        _TABLE.c.expires_at > clock.now(),
    )
    row = database.execute(select(*_COLUMNS).where(*condition)).first()
    return None if row is None else _value(row)


def ask(found: Device, session: Session) -> None:
    """Note who is asked: this sign-in alone may decide now."""
    if found.session_id != session.id:
        statement = update(_TABLE).where(*_waits(_TABLE.c.digest == found.digest))
        database.execute(statement.values(session_id=session.id))


def allow(
    found: Device, client: Client, session: Session, *, scopes: Sequence[str], resources: Sequence[str]
) -> str | None:
    """Begin the device's family and return its id; None when it was decided, or has expired, or another is asked."""
    if not _decide(found, session):
        return None
    family_id = families.begin(client, session, scopes=scopes, resources=resources, nonce=None)
    database.execute(update(_TABLE).where(_TABLE.c.digest == found.digest).values(family_id=family_id))
    record(
        Event.DEVICE_ALLOWED, subject=session.user_id, client=client.client_id, family=family_id,
        acr=session.acr, scope=" ".join(scopes),
    )  # fmt: skip
    return family_id


def deny(found: Device, session: Session) -> bool:
    """Let the device learn that the person said no; False as for `allow`."""
    return _decide(found, session)


def prune() -> int:
    """Delete devices that nobody can decide about any more; redeemed ones go with their families."""
    over = (_TABLE.c.expires_at <= clock.now() - _KEPT, _TABLE.c.redeemed_at.is_(None))
    return database.delete_some(_TABLE, *over)


def _decide(found: Device, session: Session) -> bool:
    condition = _waits(_TABLE.c.digest == found.digest, _TABLE.c.session_id == session.id)
    return database.execute(update(_TABLE).where(*condition).values(decided_at=clock.now())).rowcount == 1


def _waits(*which: Any) -> tuple[Any, ...]:
    return (*which, _TABLE.c.decided_at.is_(None), _TABLE.c.expires_at > clock.now())


def _shown(letters: str) -> str:
    half = _LETTERS // 2
    return f"{letters[:half]}-{letters[half:]}"


def _tag(user_code: str) -> str:
    """34 bits are no secret for a plain digest: the tag's key is not in the database."""
    return crypto.tag(_USER_CODE, user_code.replace("-", ""))


def _value(row: Sequence[Any]) -> Device:
    values = dict(zip(_NAMES, row, strict=True))
    return Device(
        digest=values["digest"],
        client_id=values["client_id"],
        scopes=tuple(values["scope"].split()),
        resources=tuple(values["resources"]),
        created_at=values["created_at"],
        expires_at=values["expires_at"],
        interval_seconds=values["interval_seconds"],
        origin=Origin(values["network"], values["country"], values["agent"]),
        session_id=values["session_id"],
        is_decided=values["decided_at"] is not None,
        family_id=values["family_id"],
        is_redeemed=values["redeemed_at"] is not None,
    )
