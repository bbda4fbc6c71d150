"""A new password for whoever has lost theirs: asked for by mail, proved by a link or a code, never more than that.

Whoever asks learns nothing about the account: an address that nobody has gets the same rows, and a letter to nobody.
The second factor stays; a reset signs nobody in.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from auth_server import config, database
from auth_server.accounts import letter_limits, letters, notices, passwords, sign_in, users
from auth_server.accounts.letters import Letter
from auth_server.infra import crypto, language, limits, once
from auth_server.infra.events import Event, record
from auth_server.infra.language import gettext as _
from auth_server.tokens import ending
from auth_server.values import Rate

PATH = "/recover/reset"
LINK_LIFE = timedelta(minutes=30)
_MAILS = {"often": Rate(1, timedelta(seconds=30)), "hour": Rate(5, timedelta(hours=1))}
"""Letters to one address, whoever asks."""
_LETTER = "reset"


@dataclass(frozen=True)
class Good:
    """A link that may set a password, and what was kept with it."""

    person: users.Person
    then: str
    """Where the person was going, in the browser that asked; otherwise nothing."""


@dataclass(frozen=True)
class Tried:
    """What came of a code: a link for this browser, or ''; `retry_after_seconds` above 0: it was not looked at."""

    raw_secret: str
    retry_after_seconds: int = 0


def make_link(user: users.User) -> str:
    """Return a one-time link from an operator that sets the person's password; it replaces earlier ones."""
    raw_secret = _make(user.id, {})
    record(Event.RESET_LINK_MADE, subject=user.id)
    return url(raw_secret)


def make_here(user_id: str, *, browser_digest: str, then: str = "") -> str:
    """Return a secret that sets the password in this browser alone: its mailbox was proved just now."""
    return _make(user_id, {"browser": browser_digest, "next": then, "only_there": True})


def url(raw_secret: str) -> str:
    return config.current().url(f"{PATH}?token={raw_secret}")


def ask(email: str, *, browser_digest: str, then: str) -> None:
    """Write a letter to the address, if somebody has it and few were written. Must be the request's first write.

    Its code is good in this browser, for this address: a second try that writes nothing takes nothing from the first.
    """
    user, subject = _who(email)
    account = crypto.digest(users.email_key(email))
    database.release()
    for name, rate in _MAILS.items():
        if limits.reserve((f"recover:{name}:{account}",), rate).refused:
            return
    once.revoke(ending.RESET_LINK, subject)
    kept = {"browser": browser_digest, "next": then}
    ticket = once.make_with_code(ending.RESET_LINK, subject, LINK_LIFE, kept)
    letters.send(
        _LETTER,
        user.email if user else letters.NOBODY,
        language=notices.language_of(user) if user else language.current(),
        about=user.id if user else "",
        url=url(ticket.raw_secret),
        code=ticket.code,
    )
    record(Event.RESET_ASKED, subject=user.id if user else "")


def by_code(email: str, presented: str, *, browser_digest: str) -> Tried:
    """Take the code of a letter, in the browser that asked for it alone. Must be the request's first write."""
    found = _asked_here(email, browser_digest)
    counted = letter_limits.reserve_code(ending.RESET_LINK, found.subject if found else users.email_key(email))
    if counted.refused:
        return Tried("", counted.retry_after_seconds)
    nothing = crypto.digest(f"{browser_digest}:{users.email_key(email)}")  # a guess at nothing is counted as well
    guess = once.spend_by_code_of(ending.RESET_LINK, found.handle_digest if found else nothing, presented)
    person = _able(guess.found.subject) if guess.found else None
    if guess.found is None or person is None:
        if not guess.retry_after_seconds:
            subject = _able(found.subject if found else "")  # asked for nobody too: the same work
            record(Event.RESET_CODE_FAILED, subject=subject.id if subject else "", reason="wrong or late code")
        return Tried("", guess.retry_after_seconds)
    limits.give_back(counted.keys)
    then = str(guess.found.data.get("next", ""))
    return Tried(make_here(person.id, browser_digest=browser_digest, then=then))


def find(raw_secret: str, *, browser_digest: str) -> Good | None:
    """Return whose password a link sets, without spending it; None when it is not good here, or for a disabled one."""
    found = once.find(ending.RESET_LINK, raw_secret)
    person = _able(found.subject) if found else None
    if found is None or person is None:
        return None
    is_there = found.data.get("browser") == browser_digest
    if found.data.get("only_there") and not is_there:
        return None
    return Good(person, str(found.data.get("next", "")) if is_there else "")


def use(raw_secret: str, good: Good, new_password: str) -> bool:
    """Set the password and end everything; of two at once one gets False. Raise `RefusedInput` for a broken rule."""
    stored = checked_hash(good.person, new_password)
    if once.spend(ending.RESET_LINK, raw_secret) is None:
        return False
    passwords.store_hash(good.person.id, stored)
    sign_in.forgive(good.person.email)
    ending.password_reset(good.person.id)
    return True


def checked_hash(person: users.Person, new_password: str) -> str:
    """Return a password as it is stored; raise `RefusedInput` for a broken rule."""
    passwords.check_rules(new_password, context=(person.email, person.name))
    return passwords.hash_password(new_password)


def _make(user_id: str, kept: dict[str, Any]) -> str:
    once.revoke(ending.RESET_LINK, user_id)
    return once.make(ending.RESET_LINK, user_id, LINK_LIFE, kept)


def _who(email: str) -> tuple[users.User | None, str]:
    """Return who may get a letter at an address, and whose its links are; nobody's have rows too."""
    user = users.find_by_email(email)
    if user is None or user.is_disabled:
        return None, f"nobody:{crypto.digest(users.email_key(email))}"
    return user, user.id


def _asked_here(email: str, browser_digest: str) -> once.Found | None:
    """Return the letter with a code that this browser asked for."""
    letters_out = once.live_of(ending.RESET_LINK, _who(email)[1])
    ours = (found for found in letters_out if found.handle_digest and found.data.get("browser") == browser_digest)
    return next(ours, None)


def _able(user_id: str) -> users.Person | None:
    person = users.find_person(user_id)
    return None if person is None or person.is_disabled else person


@letters.letter(_LETTER)
def _letter(values: dict[str, Any]) -> Letter:
    return Letter(
        subject=_("Set a new password at %(host)s") % {"host": config.current().issuer_host},
        paragraphs=(
            _("Somebody, most likely you, asked for a new password for your account."),
            _("The link works once and for 30 minutes. The code works for 10 minutes, in the browser where you asked."),
        ),
        action=_("Set a new password"),
        url=values["url"],
        code=values["code"],
        unexpected=_("If you did not ask, ignore this mail: nothing changes. Give the code to nobody."),
    )
