"""The address of an account: proved by a link or a code, changed only when the new one is proved, and given back.

Until the new address is proved the account keeps the old one. Afterwards whoever reads the old mailbox can take the
change back for thirty days, and nobody who has taken an account over can prevent that.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from auth_server import config, database
from auth_server.accounts import letter_limits, letters, notices, users
from auth_server.accounts.letter_limits import Asked
from auth_server.accounts.letters import Letter
from auth_server.errors import RefusedInput
from auth_server.infra import language, limits, once
from auth_server.infra.events import Event, record
from auth_server.infra.language import gettext as _
from auth_server.infra.language import mark
from auth_server.infra.once import Found

PROOF, UNDO = "email-proof", "email-undo"
"""Purposes of links: the first ends with everything else of the account, the second must not."""
PROOF_PATH, UNDO_PATH = "/account/email/confirm", "/recover/email"
LIFE, UNDO_LIFE = timedelta(hours=1), timedelta(days=30)
_VERIFY, _CHANGE, _TAKEN, _CHANGED = "email-verify", "email-change", "email-taken", "email-changed"


@dataclass(frozen=True)
class Guess:
    """What came of a code; `retry_after_seconds` above 0 says that it was not even looked at."""

    is_right: bool
    retry_after_seconds: int = 0


def all_of(user_id: str) -> list[str]:
    """Return where the person can be reached: the present address, and former ones that may take a change back."""
    person = users.find_person(user_id)
    if person is None:
        return []
    found = [person.email, *(undo.data["email"] for undo in once.live_of(UNDO, user_id))]
    return list({users.email_key(address): address for address in reversed(found)}.values())[::-1]


def pending_of(user_id: str) -> str:
    """Return the address that waits for its proof; "" when none does."""
    found = once.live_of(PROOF, user_id)
    return str(found[0].data["email"]) if found else ""


def ask(user: users.User, email: str, *, asked_from: str) -> Asked:
    """Write to an address that is to be proved: the account's own, or one that shall take its place.

    Nobody learns here whether the address has an account: its owner gets another letter. Raises `RefusedInput`. Must
    be the request's first write.
    """
    to = users.checked_email(email)
    is_own = users.email_key(to) == user.email_key
    if is_own and user.email_verified:
        raise RefusedInput(mark("This is the address of your account already."), "email")
    database.release()
    wait = letter_limits.reserve(PROOF, to, asked_from=asked_from, account=user.id)
    if wait:
        return Asked("", wait)
    owner = None if is_own else users.find_by_email(to)
    once.revoke(PROOF, user.id)
    to = user.email if is_own else to
    data = {"email": to, "instead_of": user.email_key, "opens": owner is None}
    ticket = once.make_with_code(PROOF, user.id, LIFE, data)
    values = {"url": config.current().url(f"{PROOF_PATH}?token={ticket.raw_secret}"), "code": ticket.code}
    if owner is not None:
        letters.send(_TAKEN, owner.email, language=notices.language_of(owner), about=owner.id)
    else:
        letters.send(_VERIFY if is_own else _CHANGE, to, language=language.current(), about=user.id, **values)
    if not is_own:
        record(Event.EMAIL_CHANGE_ASKED, subject=user.id)
    return Asked(ticket.raw_handle)


def cancel(user_id: str) -> None:
    """Let the address that waits for its proof go."""
    if pending_of(user_id):
        once.revoke(PROOF, user_id)
        record(Event.EMAIL_CHANGE_CANCELLED, subject=user_id)


def waiting(user: users.User, raw_secret: str) -> str:
    """Return the address that this link proves for this account, without using it up; "" when it is not good."""
    found = once.find(PROOF, raw_secret)
    return str(found.data["email"]) if found and _is_for(user, found) else ""


def is_of_another(user: users.User, raw_secret: str) -> bool:
    """Tell whether this is a good link of another account."""
    found = once.find(PROOF, raw_secret)
    return found is not None and found.subject != user.id


def is_asked_by(user_id: str, raw_handle: str) -> bool:
    """Tell whether this browser asked, for this account, and the answer is still awaited."""
    found = once.find_by_handle(PROOF, raw_handle) if raw_handle else None
    return found is not None and found.subject == user_id


def confirm(user: users.User, raw_secret: str) -> bool:
    """Use the link up: the address is proved, and the account's from now on. Raises `RefusedInput` when it is taken."""
    if not waiting(user, raw_secret):
        return False
    found = once.spend(PROOF, raw_secret)
    if found is None:
        return False
    _settle(user, found)
    return True


def confirm_by_code(user: users.User, raw_handle: str, code: str) -> Guess:
    """Take the code instead of the link, from the browser that asked. Must be the request's first write."""
    if not is_asked_by(user.id, raw_handle):
        return Guess(False)
    counted = letter_limits.reserve_code(PROOF, user.id)
    if counted.refused:
        return Guess(False, counted.retry_after_seconds)
    guess = once.spend_by_code(PROOF, raw_handle, code)
    if guess.found is None or not _is_for(user, guess.found):
        return Guess(False, guess.retry_after_seconds)
    limits.give_back(counted.keys)
    _settle(user, guess.found)
    return Guess(True)


def undone_by(raw_secret: str) -> tuple[users.User, str] | None:
    """Return the account and the former address that this link gives back to it, without using it up."""
    found = once.find(UNDO, raw_secret)
    user = users.find(found.subject) if found else None
    return (user, found.data["email"]) if found and user and not user.is_disabled else None


def undo(raw_secret: str) -> users.User | None:
    """Use the link up and give the account its former address back; None when another request did so.

    Later changes cannot be taken back any more; `tokens.ending` must end what the account holds. Raises `RefusedInput`
    when the address belongs to another account by now, and leaves the link good.
    """
    was = undone_by(raw_secret)
    found = once.spend(UNDO, raw_secret) if was else None
    if was is None or found is None:
        return None
    user, former = was
    if user.email_key != users.email_key(former) and not users.move(user, former):
        raise RefusedInput(mark("This address belongs to another account by now."), "email")
    once.revoke(UNDO, user.id, since=found.created_at)
    record(Event.EMAIL_CHANGE_UNDONE, subject=user.id)
    return user


def _is_for(user: users.User, found: Found) -> bool:
    is_current = found.subject == user.id and found.data["instead_of"] == user.email_key
    return is_current and bool(found.data["opens"])


def _settle(user: users.User, found: Found) -> None:
    """The address is proved. The former one, if it was proved too, is told how to take this back."""
    former, address, was_verified = user.email, found.data["email"], user.email_verified
    if not users.move(user, address):
        raise RefusedInput(mark("This address belongs to another account by now."), "email")
    if users.email_key(former) == users.email_key(address):
        record(Event.EMAIL_VERIFIED, subject=user.id)
        return
    url = ""
    if was_verified:
        raw_secret = once.make(UNDO, user.id, UNDO_LIFE, {"email": former})
        url = config.current().url(f"{UNDO_PATH}?token={raw_secret}")
    letters.send(_CHANGED, former, language=notices.language_of(user), about=user.id, url=url)
    record(Event.EMAIL_CHANGED, subject=user.id)


def _how_long() -> str:
    return _("The link works once, for one hour; the code for ten minutes.")


@letters.letter(_VERIFY)
def _verify(values: dict[str, Any]) -> Letter:
    return Letter(
        subject=_("Confirm your address for %(host)s") % {"host": config.current().issuer_host},
        paragraphs=(_("This address is to be confirmed for your account."), _how_long()),
        action=_("Confirm the address"),
        url=values["url"],
        code=values["code"],
        unexpected=_("If you have no account there, or did not ask for this, ignore this letter."),
    )


@letters.letter(_CHANGE)
def _change(values: dict[str, Any]) -> Letter:
    return Letter(
        subject=_("Confirm your new address for %(host)s") % {"host": config.current().issuer_host},
        paragraphs=(_("This is to become the address of your account."), _how_long()),
        action=_("Confirm the new address"),
        url=values["url"],
        code=values["code"],
        unexpected=_("If you have no account there, or did not ask for this, ignore this letter: nothing is changed."),
    )


@letters.letter(_TAKEN)
def _taken(values: dict[str, Any]) -> Letter:
    return Letter(
        subject=_("You already have an account at %(host)s") % {"host": config.current().issuer_host},
        paragraphs=(
            _("Somebody, probably you, wanted to give this address to another account. It belongs to yours."),
            _("If both accounts are yours, change the address of this one first."),
        ),
        action=_("Sign in"),
        url=config.current().url("/login"),
        unexpected=_("If this wasn't you, ignore this letter: nothing was changed."),
    )


@letters.letter(_CHANGED)
def _changed(values: dict[str, Any]) -> Letter:
    found = Letter(
        subject=_("Security notice for your account at %(host)s") % {"host": config.current().issuer_host},
        paragraphs=(
            _("The e-mail address of your account was changed. You sign in with the new one from now on."),
            _("If this was you, there is nothing to do."),
        ),
    )
    if not values["url"]:
        return found
    return replace(
        found,
        unexpected=_(
            "If this wasn't you, take the change back within 30 days. Everybody is signed out then, and you set a new "
            "password."
        ),
        unexpected_action=_("Take the change back"),
        unexpected_url=values["url"],
    )
