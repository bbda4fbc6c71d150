"""The second factor: when it is asked for, what satisfies it, and the guess limit in front of it.

An authenticator app or a passkey is one; recovery codes come with the first of them and go with the last. Wrong answers
count per account, whichever method and however often the password was typed in between; a browser that has signed in to
the account before has a bucket of its own, so that whoever knows the password cannot lock the owner out.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from auth_server import config, database
from auth_server.accounts import (
    browsers,
    ceremony,
    challenges,
    passkeys,
    pending,
    recovery_codes,
    sign_in,
    totp,
    watch,
)
from auth_server.accounts.passkeys import Passkey
from auth_server.accounts.sign_in import Guess
from auth_server.errors import RefusedInput
from auth_server.infra import crypto, limits
from auth_server.infra.events import Event, record
from auth_server.infra.language import mark
from auth_server.values import Rate

APP, PASSKEY, RECOVERY = "app", "passkey", "recovery"
METHODS = (APP, PASSKEY, RECOVERY)
_A_DAY = Rate(50, timedelta(days=1))
"""Three codes in a million are right at any moment: at this rate a guess takes about 18 years on average."""
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


def is_on(user_id: str, *, offered: bool) -> bool:
    """Tell whether the person has a second factor, and the rule for them (`offered`) lets it be asked for."""
    return offered and has_one(user_id)


def has_one(user_id: str) -> bool:
    """Tell whether the person has an authenticator app or a passkey, whether or not it is asked for."""
    return totp.since(user_id) is not None or passkeys.count(user_id) > 0


def is_wanted(user_id: str, browser_digest: str, *, offered: bool, strictly: bool) -> bool:
    """Tell whether a sign-in must go on to the second factor; `strictly`: a trusted browser does not count."""
    return is_on(user_id, offered=offered) and (strictly or not _is_spared(user_id, browser_digest))


def _is_spared(user_id: str, browser_digest: str) -> bool:
    """Tell whether the browser is trusted, and nothing about this sign-in is unusual enough to ask all the same."""
    is_trusted = browsers.trusts(user_id, browser_digest)
    return is_trusted and not watch.look(user_id, browser_digest).asks_for_second_factor


def methods(user_id: str) -> list[str]:
    """Return what the person can answer with: the one used last first, recovery codes at the end."""
    used = {APP: totp.last_used(user_id), PASSKEY: passkeys.last_used(user_id)}
    found = sorted((name for name in used if used[name]), key=lambda name: used[name] or _LONG_AGO, reverse=True)
    return found + ([RECOVERY] if recovery_codes.left(user_id) else [])


def check(user_id: str, presented: str, *, method: str, browser_digest: str) -> Guess:
    """Check an answer and use it up; every failure costs and looks the same. Must be the request's first write."""
    bucket = _bucket(user_id, browser_digest)
    of_the_day = "day:" + bucket
    database.release()
    reservation = limits.reserve((bucket,), config.current().login_rate_limit)
    if not reservation.refused:
        reservation = limits.reserve((of_the_day,), _A_DAY)
    if reservation.refused:
        watch.throttled(Event.MFA_THROTTLED, user_id, reservation, "too many wrong codes")
        return Guess(retry_after_seconds=reservation.retry_after_seconds)
    amr = _shown_by(user_id, presented, method, browser_digest)
    if not amr:
        record(Event.MFA_FAILED, subject=user_id, reason="wrong or used code", method=method)
        return Guess()
    limits.clear(bucket)
    limits.clear(of_the_day)
    if method == RECOVERY:
        record(Event.RECOVERY_CODE_USED, subject=user_id, left=recovery_codes.left(user_id))
        watch.recovery_code_used(user_id)
    return Guess(amr)


def turn_on(user_id: str, session_id: str, presented: str) -> list[str]:
    """Switch on the app that this session has begun; return recovery codes as `_first_codes`. Raise `RefusedInput`."""
    is_first = not has_one(user_id)
    if not totp.confirm(user_id, session_id, presented):
        raise _refusal(totp.lead(user_id, session_id, presented))
    record(Event.MFA_TURNED_ON, subject=user_id, method=APP)
    return _first_codes(user_id, is_first=is_first)


def add_passkey(
    user_id: str, presented: str, *, browser_digest: str, browser_name: str, offered: bool
) -> tuple[Passkey, list[str]]:
    """Store what the browser has made; return it, with recovery codes as `_first_codes`. Raise `RefusedInput`."""
    new = ceremony.made(ceremony.read(presented), user_id, browser_digest)
    if new is None:
        raise RefusedInput(mark("The passkey could not be taken. Nothing was changed; try again."), "form")
    is_first = offered and not has_one(user_id)
    return passkeys.add(user_id, new, browser_name), _first_codes(user_id, is_first=is_first)


def _refusal(lead: int) -> RefusedInput:
    """Return why the first code of an app is refused; `lead` is that of `totp.lead`."""
    if lead > 0:
        return RefusedInput(
            mark("The clock of your phone is ahead. Let it set the time by itself, then enter a new code."), "code"
        )
    if lead < 0:
        return RefusedInput(
            mark("The clock of your phone is behind. Let it set the time by itself, then enter a new code."), "code"
        )
    return RefusedInput(mark("This code is not right."), "code")


def new_recovery_codes(user_id: str) -> list[str]:
    """Make ten codes in place of the former ones; return them, this once."""
    codes = recovery_codes.replace(user_id)
    record(Event.RECOVERY_CODES_MADE, subject=user_id, count=len(codes))
    return codes


def remove_app(user_id: str) -> None:
    """Forget the app, and the recovery codes where nothing else is left."""
    if totp.remove(user_id):
        record(Event.MFA_TURNED_OFF, subject=user_id, method=APP)
    _forget_codes_of_nothing(user_id)


def remove_passkey(passkey: Passkey) -> None:
    """Forget one, and the recovery codes where nothing else is left. Raises `RefusedInput` for the last way in."""
    passkeys.remove(passkey)
    _forget_codes_of_nothing(passkey.user_id)


def turn_off(user_id: str) -> bool:
    """Forget the app, every passkey, the recovery codes, and which browsers are trusted; False when nothing was on.

    For operators: somebody who had only passkeys needs a link that sets a password afterwards.
    """
    had_app, had_passkeys = totp.remove(user_id), passkeys.remove_all(user_id) > 0
    recovery_codes.remove(user_id)
    browsers.forget_trust(user_id, cause="factor_removed")
    pending.end_of_user(user_id)
    if had_app:
        record(Event.MFA_TURNED_OFF, subject=user_id, method=APP)
    return had_app or had_passkeys


def _shown_by(user_id: str, presented: str, method: str, browser_digest: str) -> tuple[str, ...]:
    """Return the methods that a right answer shows; none when it is wrong."""
    if method == PASSKEY:
        answer = ceremony.read(presented)
        passkey = passkeys.find(answer.passkey_id) if answer else None
        kind = challenges.SECOND_FACTOR
        return sign_in.amr_of(
            ceremony.shown(answer, passkey, kind=kind, browser_digest=browser_digest, user_id=user_id)
        )
    accept = recovery_codes.spend if method == RECOVERY else totp.verify
    return (sign_in.AMR_CODE,) if accept(user_id, presented) else ()


def _first_codes(user_id: str, *, is_first: bool) -> list[str]:
    """Return new recovery codes, this once, with the first second factor that is asked for; none later."""
    return new_recovery_codes(user_id) if is_first else []


def _forget_codes_of_nothing(user_id: str) -> None:
    if not has_one(user_id):
        recovery_codes.remove(user_id)


def _bucket(user_id: str, browser_digest: str) -> str:
    if browser_digest and browsers.knows(user_id, browser_digest):
        return "mfa:browser:" + crypto.digest(f"{user_id}:{browser_digest}")
    return "mfa:account:" + user_id
