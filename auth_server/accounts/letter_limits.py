"""How many letters one mailbox gets that a stranger may cause, and how many one network address may cause; and how many
of the letters' codes may be tried.

Counted for every address alike, whether somebody has it or not: how often one may ask tells nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from auth_server import database
from auth_server.accounts import users
from auth_server.accounts.sign_in import address_bucket
from auth_server.infra import crypto, events, limits
from auth_server.values import Rate

PAUSE = Rate(1, timedelta(seconds=30))
_AN_HOUR = Rate(5, timedelta(hours=1))
_FROM_ONE_PLACE = Rate(60, timedelta(hours=1))
_CODES = Rate(20, timedelta(days=1))
"""Codes tried for one mailbox or account, over all its letters: at this rate a guess takes more than a century."""
_CODES_FROM_ONE_PLACE = Rate(30, timedelta(days=1))
"""Wrong codes from one network address over all mailboxes: a few at each of very many would find one that is right."""


@dataclass(frozen=True)
class Asked:
    """What the browser keeps that asked; or how many seconds it must wait, and then nothing was written."""

    raw_handle: str
    retry_after_seconds: int = 0


def reserve(purpose: str, to: str, *, asked_from: str, account: str = "") -> int:
    """Count one letter; return how many seconds to wait instead, 0 when it may be written.

    `account` is who asks, where that is known. Must be the request's first write.
    """
    for key, rate in _limits(purpose, to, asked_from, account):
        reservation = limits.reserve((key,), rate)
        if reservation.refused:
            return reservation.retry_after_seconds
    return 0


def reserve_code(purpose: str, subject: str) -> limits.Reservation:
    """Count one code that is tried; a right one is to be given back. Must be the request's first write."""
    database.release()
    rates = {f"codes:{purpose}:{crypto.digest(subject)}": _CODES}
    address = events.context().address
    if address:
        rates["codes:from:" + address_bucket(address)] = _CODES_FROM_ONE_PLACE
    return limits.reserve_each(rates)


def _mailbox(address: str) -> str:
    """Return the mailbox that letters are counted for: what follows a plus is most often the owner's own note."""
    name, _at, host = users.email_key(address).rpartition("@")
    return f"{name.partition('+')[0] or name}@{host}"


def _limits(purpose: str, to: str, asked_from: str, account: str) -> list[tuple[str, Rate]]:
    mailbox = crypto.digest(_mailbox(to))
    found = [(f"letter:{purpose}:{mailbox}", PAUSE), (f"letters:{purpose}:{mailbox}", _AN_HOUR)]
    if account:
        found += [(f"letter:{purpose}:{account}", PAUSE), (f"letters:{purpose}:{account}", _AN_HOUR)]
    if asked_from:
        found.append((f"letters:from:{address_bucket(asked_from)}", _FROM_ONE_PLACE))
    return found
