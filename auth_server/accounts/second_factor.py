"""The second factor: when it is asked for, what satisfies it, and the guess limit in front of it.

Wrong codes count per account, whichever method and however often the password was typed in between; a browser that has
signed in to the account before has a bucket of its own, so that whoever knows the password cannot lock the owner out.
"""

from __future__ import annotations

from datetime import timedelta

from auth_server import config, database
from auth_server.accounts import browsers, pending, recovery_codes, totp, watch
from auth_server.accounts.sign_in import Guess
from auth_server.errors import RefusedInput
from auth_server.infra import crypto, limits
from auth_server.infra.events import Event, record
from auth_server.values import Rate

APP, RECOVERY = "app", "recovery"
METHODS = (APP, RECOVERY)
_A_DAY = Rate(50, timedelta(days=1))
"""Three codes in a million are right at any moment: at this rate a guess takes about 18 years on average."""


def is_on(user_id: str) -> bool:
    """Tell whether the person has a second factor, and the operator lets it be asked for."""
    return config.current().mfa != "off" and totp.since(user_id) is not None


def is_due(user_id: str) -> bool:
    """Tell whether the person must set one up before going on."""
    return config.current().mfa == "required" and totp.since(user_id) is None


def is_wanted(user_id: str, browser_digest: str, *, strictly: bool) -> bool:
    """Tell whether a sign-in must go on to the second factor; `strictly`: a trusted browser does not count."""
    return is_on(user_id) and (strictly or not _is_spared(user_id, browser_digest))


def _is_spared(user_id: str, browser_digest: str) -> bool:
    """Tell whether the browser is trusted, and nothing about this sign-in is unusual enough to ask all the same."""
    is_trusted = browsers.trusts(user_id, browser_digest)
    return is_trusted and not watch.look(user_id, browser_digest).asks_for_second_factor


def check(user_id: str, presented: str, *, method: str, browser_digest: str) -> Guess:
    """Check a code and use it up; every failure costs and looks the same. Must be the request's first write."""
    bucket = _bucket(user_id, browser_digest)
    of_the_day = "day:" + bucket
    database.release()
    reservation = limits.reserve((bucket,), config.current().login_rate_limit)
    if not reservation.refused:
        reservation = limits.reserve((of_the_day,), _A_DAY)
    if reservation.refused:
        record(Event.MFA_THROTTLED, subject=user_id, reason="too many wrong codes")
        watch.throttled(user_id)
        return Guess(False, reservation.retry_after_seconds)
    accept = recovery_codes.spend if method == RECOVERY else totp.verify
    if not accept(user_id, presented):
        record(Event.MFA_FAILED, subject=user_id, reason="wrong or used code", method=method)
        return Guess(False)
    limits.clear(bucket)
    limits.clear(of_the_day)
    if method == RECOVERY:
        record(Event.RECOVERY_CODE_USED, subject=user_id, left=recovery_codes.left(user_id))
        watch.recovery_code_used(user_id)
    return Guess(True)


def turn_on(user_id: str, presented: str) -> list[str]:
    """Switch the waiting app on with its first code; return the recovery codes, this once. Raise `RefusedInput`."""
    if not totp.confirm(user_id, presented):
        raise RefusedInput("This code is not right. Check that the clock of your phone is.", "code")
    record(Event.MFA_TURNED_ON, subject=user_id, method=APP)
    return new_recovery_codes(user_id)


def new_recovery_codes(user_id: str) -> list[str]:
    """Make ten codes in place of the former ones; return them, this once."""
    codes = recovery_codes.replace(user_id)
    record(Event.RECOVERY_CODES_MADE, subject=user_id, count=len(codes))
    return codes


def turn_off(user_id: str) -> bool:
    """Forget the app, the recovery codes, and which browsers are trusted; False when nothing was on."""
    was_on = totp.remove(user_id)
    recovery_codes.remove(user_id)
    browsers.forget_trust(user_id, cause="factor_removed")
    pending.end_of_user(user_id)
    if was_on:
        record(Event.MFA_TURNED_OFF, subject=user_id)
    return was_on


def _bucket(user_id: str, browser_digest: str) -> str:
    if browser_digest and browsers.knows(user_id, browser_digest):
        return "mfa:browser:" + crypto.digest(f"{user_id}:{browser_digest}")
    return "mfa:account:" + user_id
