"""Opening an account: first the address is proved, then there is an account, and no row of one before.

Whoever asks gets the same answer for every address. What differs is the letter: a link for an address that nobody has,
another letter for somebody who has an account, and none where no account may be opened.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from auth_server import config, database
from auth_server.accounts import letter_limits, letters, notices, users
from auth_server.accounts.letter_limits import Asked
from auth_server.accounts.letters import NOBODY, Letter
from auth_server.errors import RefusedInput
from auth_server.infra import crypto, language, limits, once
from auth_server.infra.events import Event, record
from auth_server.infra.language import gettext as _
from auth_server.infra.language import mark
from auth_server.values import mail_domain

PURPOSE = "sign-up"
FINISH_PATH = "/signup/finish"
LIFE = timedelta(hours=1)
_NEW, _KNOWN = "sign-up", "sign-up-known"


@dataclass(frozen=True)
class Applicant:
    """Who wants an account; `then` is where the person came from."""

    email: str
    name: str
    then: str


@dataclass(frozen=True)
class Redeemed:
    """What came of a code: a link's secret, or nothing; `retry_after_seconds` above 0: it was not even looked at."""

    raw_secret: str
    retry_after_seconds: int = 0


def is_offered() -> bool:
    """Tell whether strangers may ask for an account."""
    return config.current().signup in ("open", "domain")


def ask(email: str, name: str, then: str, *, asked_from: str) -> Asked:
    """Write to the address; raise `RefusedInput` when it is none. Must be the request's first write."""
    to, name = users.checked_email(email), named(name)
    database.release()
    wait = letter_limits.reserve(PURPOSE, to, asked_from=asked_from)
    if wait:
        return Asked("", wait)
    owner = users.find_by_email(to)
    opens = owner is None and _is_open_for(to)
    data = {"email": to, "name": name, "next": then, "opens": opens}
    once.revoke(PURPOSE, users.email_key(to))
    ticket = once.make_with_code(PURPOSE, users.email_key(to), LIFE, data)
    url = config.current().url(f"{FINISH_PATH}?token={ticket.raw_secret}")
    if owner is not None:
        letters.send(_KNOWN, owner.email, language=notices.language_of(owner), about=owner.id)
    else:
        letters.send(_NEW, to if opens else NOBODY, language=language.current(), url=url, code=ticket.code)
    return Asked(ticket.raw_handle)


def asked_by(raw_handle: str) -> Applicant | None:
    """Return what this browser asked for; None when that is over."""
    found = once.find_by_handle(PURPOSE, raw_handle)
    return _applicant(found.data) if found else None


def redeem(raw_handle: str, code: str) -> Redeemed:
    """Take the code instead of the link, from the browser that asked. Must be the request's first write."""
    asked = once.find_by_handle(PURPOSE, raw_handle)
    if asked is None:
        return Redeemed("")
    counted = letter_limits.reserve_code(PURPOSE, asked.subject)
    if counted.refused:
        return Redeemed("", counted.retry_after_seconds)
    guess = once.spend_by_code(PURPOSE, raw_handle, code)
    if guess.found is None or not guess.found.data["opens"]:
        return Redeemed("", guess.retry_after_seconds)
    limits.give_back(counted.keys)
    return Redeemed(once.make(PURPOSE, guess.found.subject, LIFE, guess.found.data))


def find(raw_secret: str) -> Applicant | None:
    """Return whose link this is, without using it up."""
    found = once.find(PURPOSE, raw_secret)
    return _applicant(found.data) if found and found.data["opens"] else None


def open_account(raw_secret: str, name: str) -> users.User | None:
    """Use the link up and open the account, whose address is proved by it; None when another request did so.

    What the person signs in with must be stored in the same transaction. Raises `RefusedInput` when the address has
    got an account meanwhile.
    """
    found = once.spend(PURPOSE, raw_secret)
    if found is None or not found.data["opens"]:
        return None
    user = users.create(found.data["email"], named(name), verified=True, user_id=future_id(raw_secret))
    record(Event.SIGN_UP_COMPLETED, subject=user.id)
    return user


def future_id(raw_secret: str) -> str:
    """Return the `sub` of the account that this link will open: a passkey made before must name it.

    It comes from the link's random secret by a keyed digest, so it is as random, and nothing needs to be stored.
    """
    return str(uuid.UUID(hex=crypto.tag("sign-up-sub", raw_secret)[:32], version=4))


def named(name: str) -> str:
    """Return the name of a new account; raise `RefusedInput` when it is missing or no name."""
    found = users.checked_name(name)
    if not found:
        raise RefusedInput(mark("Enter your name, as other people should see it."), "name")
    return found


def _is_open_for(email: str) -> bool:
    settings = config.current()
    is_named = settings.signup == "domain" and mail_domain(email) in settings.signup_domains
    return settings.signup == "open" or is_named


def _applicant(data: dict[str, Any]) -> Applicant:
    return Applicant(data["email"], data["name"], data["next"])


@letters.letter(_NEW)
def _confirm_your_address(values: dict[str, Any]) -> Letter:
    return Letter(
        subject=_("Confirm your address for %(host)s") % {"host": config.current().issuer_host},
        paragraphs=(_("Somebody, probably you, wants an account with this address."), _how_long()),
        action=_("Confirm and create the account"),
        url=values["url"],
        code=values["code"],
        unexpected=_("If this wasn't you, ignore this letter: then there will be no account."),
    )


@letters.letter(_KNOWN)
def _you_have_an_account(values: dict[str, Any]) -> Letter:
    return Letter(
        subject=_("You already have an account at %(host)s") % {"host": config.current().issuer_host},
        paragraphs=(
            _("Somebody, probably you, wanted an account with this address. You have one already: sign in with it."),
            _('If you don\'t know your password any more, choose "Forgot your password?" there.'),
        ),
        action=_("Sign in"),
        url=config.current().url("/login"),
        unexpected=_("If this wasn't you, ignore this letter: nothing was changed."),
    )


def _how_long() -> str:
    return _("The link works once, for one hour; the code for ten minutes.")
