"""The sign-in: which proofs a person has given, which are missing, and the guess limit in front of them.

Wrong tries count per account and per address. A browser that has signed in to the account before has a bucket of its
own and counts in no other, so that nobody can lock an owner out.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from auth_server import config, database
from auth_server.accounts import browsers, passwords, users, watch
from auth_server.errors import Busy
from auth_server.infra import crypto, limits, origin
from auth_server.infra.events import Event, record

ACR_ONE_FACTOR, ACR_TWO_FACTORS = "aal1", "aal2"
ACR_VALUES = (ACR_ONE_FACTOR, ACR_TWO_FACTORS)
"""Strengths this server can reach (NIST SP 800-63B-4 names), the weakest first."""
AMR_PASSWORD, AMR_CODE, AMR_SEVERAL = "pwd", "otp", "mfa"
"""Methods, RFC 8176; a recovery code is a one-time password too."""


@dataclass(frozen=True)
class Attempt:
    """What came of a try: the person, or nobody; `retry_after_seconds` above 0 says that it was not even looked at."""

    user: users.User | None
    retry_after_seconds: int = 0


@dataclass(frozen=True)
class Guess:
    """What came of a code; `retry_after_seconds` above 0 says that it was not even looked at."""

    is_right: bool
    retry_after_seconds: int = 0


@dataclass(frozen=True)
class Proved:
    """A finished sign-in: the person, the methods used and the strength reached."""

    user: users.User
    amr: tuple[str, ...]
    acr: str
    ends_all_else: bool = False
    """Something about it is so unusual that every other session and grant must end with it."""


def by_password(email: str, presented: str, *, browser_digest: str, address: str) -> Attempt:
    """Check an address and a password; every failure costs and looks the same.

    Raises `Busy` when too many are being checked just now: such a try does not count.
    """
    user = users.find_by_email(email)
    own, shared = _buckets(email, user, browser_digest, address)
    database.release()
    reservation = limits.reserve((own, *shared), config.current().login_rate_limit)
    if reservation.refused:
        record(Event.SIGN_IN_THROTTLED, subject=user.id if user else "", reason="too many failed tries")
        watch.throttled(user.id if user else "")
        return Attempt(None, reservation.retry_after_seconds)
    may_sign_in = user is not None and not user.is_disabled
    try:
        is_right = passwords.check(user.id if user and may_sign_in else None, presented)
    except Busy:
        limits.give_back_now(reservation.keys)
        raise
    if not is_right:
        record(Event.SIGN_IN_FAILED, subject=user.id if user else "", reason="wrong address or password")
        return Attempt(None)
    limits.clear(own)
    limits.give_back(shared)
    return Attempt(user)


def complete(user: users.User, *, amr: tuple[str, ...], browser_digest: str, trust: bool = False) -> Proved:
    """Finish a sign-in: what is unusual about it is recorded, and does what the settings say; the browser is known to
    the account from now on, and trusted for a while if that is wished.
    """
    found = watch.look(user.id, browser_digest)
    watch.act(user.id, found)
    browsers.note(user.id, browser_digest, trust=trust)
    here = origin.here()
    record(Event.SIGN_IN_SUCCEEDED, subject=user.id, amr=list(amr), browser=here.agent, country=here.country)
    return Proved(user, amr, ACR_TWO_FACTORS if AMR_SEVERAL in amr else ACR_ONE_FACTOR, found.ends_all)


def with_second_factor(amr: tuple[str, ...]) -> tuple[str, ...]:
    """Return the methods used after a code was added to these."""
    return tuple(dict.fromkeys((*amr, AMR_CODE, AMR_SEVERAL)))


@lru_cache(maxsize=4096)
def address_bucket(address: str) -> str:
    """Return the address as limits count it: IPv6 by /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _buckets(email: str, user: users.User | None, browser_digest: str, address: str) -> tuple[str, tuple[str, ...]]:
    """Return the bucket that success clears, and those it only gives the try back to."""
    if user and browser_digest and browsers.knows(user.id, browser_digest):
        return "login:browser:" + crypto.digest(f"{user.id}:{browser_digest}"), ()
    account = "login:account:" + crypto.digest(users.email_key(email))
    return account, ("login:address:" + address_bucket(address),)
