"""The sign-in: which proofs a person has given, which are missing, and the guess limit in front of them.

Wrong tries count per account and per address, and per account once more over a day and over a month. A browser that has
signed in to the account before has buckets of its own and counts in no other, so that nobody can lock an owner out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from auth_server import config, database
from auth_server.accounts import browsers, ceremony, challenges, passkeys, passwords, users, watch
from auth_server.accounts.passkeys import NewPasskey
from auth_server.errors import Busy
from auth_server.infra import crypto, limits, origin
from auth_server.infra.events import Event, record
from auth_server.keys import access_token
from auth_server.values import Rate

ACR_VALUES = access_token.ACR_VALUES
ACR_ONE_FACTOR, ACR_TWO_FACTORS = ACR_VALUES
AMR_PASSWORD, AMR_CODE, AMR_SEVERAL = "pwd", "otp", "mfa"
AMR_SYNCED_KEY, AMR_DEVICE_KEY, AMR_PRESENCE = "swk", "hwk", "user"
"""Methods, RFC 8176; a recovery code is a one-time password too, a passkey that may be copied a software key."""
_A_DAY, _A_MONTH = Rate(30, timedelta(days=1)), Rate(100, timedelta(days=30))
"""At most 100 failures in a row (NIST SP 800-63B-4 §3.2.2), and not all of them while the owner sleeps."""
_OF_ADDRESS = "login:address:"


@dataclass(frozen=True)
class Attempt:
    """What came of a try: the person, or nobody; `retry_after_seconds` above 0 says that it was not even looked at.

    `amr` are the methods that were shown.
    """

    user: users.User | None
    retry_after_seconds: int = 0
    amr: tuple[str, ...] = ()


@dataclass(frozen=True)
class Guess:
    """What came of a second factor: the methods that it added, none when it was wrong.

    `retry_after_seconds` above 0 says that it was not even looked at.
    """

    amr: tuple[str, ...] = ()
    retry_after_seconds: int = 0

    @property
    def is_right(self) -> bool:
        return bool(self.amr)


@dataclass(frozen=True)
class Proved:
    """A finished sign-in: the person, the methods used and the strength reached.

    `shown_since` is when the oldest of the methods was shown; None: all of them just now.
    """

    user: users.User
    amr: tuple[str, ...]
    acr: str
    shown_since: datetime | None = None
    ends_all_else: bool = False
    """Something about it is so unusual that every other session and grant must end with it."""


def by_password(email: str, presented: str, *, browser_digest: str, address: str) -> Attempt:
    """Check an address and a password; every failure costs and looks the same.

    Raises `Busy` when too many are being checked just now: such a try does not count.
    """
    user = users.find_by_email(email)
    own, shared, lasting = _buckets(email, user, browser_digest, address)
    database.release()
    reservation = _reserve((own, *shared), lasting)
    if reservation.refused:
        return _throttled(user, reservation)
    may_sign_in = user is not None and not user.is_disabled
    try:
        is_right = passwords.check(user.id if user and may_sign_in else None, presented)
    except Busy:
        limits.give_back_now(reservation.keys)
        raise
    if not is_right:
        record(Event.SIGN_IN_FAILED, subject=user.id if user else "", reason="wrong address or password")
        return Attempt(None)
    limits.clear(own, *lasting, *_lasting(email))
    limits.give_back(shared)
    return Attempt(user, amr=(AMR_PASSWORD,))


def by_passkey(presented: str, *, browser_digest: str, address: str) -> Attempt:
    """Check what a passkey answered to the login page; every failure looks the same. Must be the first write.

    The bucket is not that of the password: whoever guesses at that cannot keep a passkey out.
    """
    answer = ceremony.read(presented)
    passkey = passkeys.find(answer.passkey_id) if answer else None
    user = users.find(passkey.user_id if passkey else "")  # the same work for what nobody has, here and below
    whose = user.id if user else "nobody:" + crypto.digest(answer.passkey_id if answer else "")
    own, shared = _passkey_buckets(whose, browser_digest, address)
    database.release()
    reservation = limits.reserve((*own, *shared), config.current().login_rate_limit)
    if reservation.refused:
        return _throttled(user, reservation)
    subject = user.id if user else ""
    is_shown = ceremony.shown(answer, passkey, kind=challenges.SIGN_IN, browser_digest=browser_digest)
    if user is None or user.is_disabled or not is_shown:
        record(Event.SIGN_IN_FAILED, subject=subject, reason="passkey refused", method="passkey")
        return Attempt(None)
    for key in own:
        limits.clear(key)
    limits.give_back(shared)
    return Attempt(user, amr=amr_of(passkey))


def forgive(email: str) -> None:
    """Forget an account's failed tries: its password was set anew by somebody who may."""
    limits.clear(_account_bucket(email), *_lasting(email))


def complete(
    user: users.User,
    *,
    amr: tuple[str, ...],
    browser_digest: str,
    trust: bool = False,
    shown_since: datetime | None = None,
    is_step_up: bool = False,
) -> Proved:
    """Finish a sign-in: what is unusual about it is recorded, and does what the settings say; the browser is known to
    the account from now on, and trusted for a while if that is wished.

    `is_step_up`: somebody who is signed in has only added what was missing.
    """
    found = watch.look(user.id, browser_digest)
    watch.act(user.id, found)
    browsers.note(user.id, browser_digest, trust=trust)
    acr = ACR_TWO_FACTORS if AMR_SEVERAL in amr else ACR_ONE_FACTOR
    here = origin.here()
    if is_step_up:
        record(Event.STEPPED_UP, subject=user.id, amr=list(amr), acr=acr, browser=here.agent, country=here.country)
    else:
        record(Event.SIGN_IN_SUCCEEDED, subject=user.id, amr=list(amr), browser=here.agent, country=here.country)
    return Proved(user, amr, acr, shown_since, found.ends_all)


def with_second_factor(amr: tuple[str, ...], added: tuple[str, ...] = (AMR_CODE,)) -> tuple[str, ...]:
    """Return the methods used after a second factor was added to these: a code, unless told otherwise."""
    return tuple(dict.fromkeys((*amr, *added, AMR_SEVERAL)))


def amr_of(passkey: NewPasskey | None) -> tuple[str, ...]:
    """Return the methods of a passkey that verified its person: a key, their presence, and so two factors."""
    if passkey is None:
        return ()
    return (AMR_SYNCED_KEY if passkey.backup_eligible else AMR_DEVICE_KEY, AMR_PRESENCE, AMR_SEVERAL)


@lru_cache(maxsize=4096)
def address_bucket(address: str) -> str:
    """Return the address as limits count it: IPv6 by /64."""
    found = origin.parsed(address)
    if found is None:
        return "unknown"
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)


def _throttled(user: users.User | None, refused: limits.Reservation) -> Attempt:
    """Refuse a try unlooked at. A full address tells nothing about the account that is tried from it just now."""
    is_of_address = refused.full.startswith(_OF_ADDRESS)
    reason = "too many failed tries from one address" if is_of_address else "too many failed tries"
    watch.throttled(Event.SIGN_IN_THROTTLED, user.id if user and not is_of_address else "", refused, reason)
    return Attempt(None, refused.retry_after_seconds)


Buckets = tuple[str, tuple[str, ...], Mapping[str, Rate]]


def _buckets(email: str, user: users.User | None, browser_digest: str, address: str) -> Buckets:
    """Return the bucket that success clears, those it only gives the try back to, and those that last."""
    user_id = user.id if user else ""  # asked for nobody too: the same work for everybody
    if browser_digest and browsers.knows(user_id, browser_digest):
        known = f"{user_id}:{browser_digest}"
        since = passwords.changed_at(user_id)  # what was tried at a former password does not count at a new one
        return "login:browser:" + crypto.digest(known), (), _patient(crypto.digest(f"{known}:{since}"))
    return _account_bucket(email), (_OF_ADDRESS + address_bucket(address),), _lasting(email)


def _account_bucket(email: str) -> str:
    return "login:account:" + crypto.digest(users.email_key(email))


def _lasting(email: str) -> dict[str, Rate]:
    """Return the buckets that stop whoever tries patiently: any success at the account clears them."""
    return _patient(crypto.digest(users.email_key(email)))


def _patient(digest: str) -> dict[str, Rate]:
    return {f"login:day:{digest}": _A_DAY, f"login:month:{digest}": _A_MONTH}


def _reserve(keys: tuple[str, ...], lasting: Mapping[str, Rate]) -> limits.Reservation:
    rate = config.current().login_rate_limit
    return limits.reserve((), None) if rate is None else limits.reserve_each({**dict.fromkeys(keys, rate), **lasting})


def _passkey_buckets(whose: str, browser_digest: str, address: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if browser_digest and browsers.knows(whose, browser_digest):
        return ("passkey:browser:" + crypto.digest(f"{whose}:{browser_digest}"),), ()
    return ("passkey:account:" + whose,), (_OF_ADDRESS + address_bucket(address),)
