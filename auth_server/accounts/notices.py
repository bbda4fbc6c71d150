"""Notices: what happens in an account and its owner should know of is told by mail, with a way out.

They hang on the events themselves, so that nothing that is recorded can forget to be told.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from auth_server import config, database
from auth_server.accounts import letters, users
from auth_server.accounts.letters import Letter
from auth_server.infra import agents, audit, clock, events, language, moments, once
from auth_server.infra.events import Event
from auth_server.infra.language import gettext as _
from auth_server.infra.language import mark

NOT_ME = "not-me"
"""Purpose of the links "This wasn't me"."""
NOT_ME_PATH = "/recover/not-me"
_NOT_ME_LIFE = timedelta(days=7)
_LETTER = "notice"

SENTENCES: dict[Event, str] = {
    Event.PASSWORD_CHANGED: mark("The password of your account was changed."),
    Event.PASSWORD_RESET: mark("A new password was set for your account. Everybody was signed out of it."),
    Event.EMAIL_CHANGE_ASKED: mark(
        "Somebody who is signed in to your account wants to change its e-mail address. Nothing changes until the new "
        "address is confirmed."
    ),
    Event.MFA_TURNED_ON: mark("An authenticator app was added to your account."),
    Event.MFA_TURNED_OFF: mark("The second factor of your account was removed."),
    Event.PASSKEY_ADDED: mark("A passkey was added to your account."),
    Event.PASSKEY_REMOVED: mark("A passkey was removed from your account."),
    Event.RECOVERY_CODES_MADE: mark("New recovery codes were made for your account. Former ones are void."),
    Event.RECOVERY_CODE_USED: mark("A recovery code was used to sign in to your account."),
    Event.REFRESH_REUSED: mark(
        "Something that only one app should hold was used twice. The app's access has ended, and you may have to sign "
        "in to it again."
    ),
    Event.NEW_DEVICE_SIGN_IN: mark("A browser that was never used for your account before has signed in."),
    Event.NEW_COUNTRY_SIGN_IN: mark("Somebody signed in to your account from a country for the first time."),
    Event.IMPOSSIBLE_TRAVEL: mark("Somebody signed in to your account from far away, sooner than anybody travels."),
    Event.FAMILY_MOVE_REFUSED: mark(
        "An app was used from two places at once, so its access to your account has ended."
    ),
    Event.PASSKEY_COUNTER_WENT_BACK: mark("A passkey of yours that may have been copied was refused."),
}
"""The events that are told at once, each in one sentence. Several of one act make one letter: the first counts."""
SELDOM: dict[Event, str] = {
    Event.SIGN_IN_THROTTLED: mark("Many wrong passwords were tried for your account. For a while no more are taken."),
    Event.MFA_THROTTLED: mark(
        "Many wrong codes were tried after your right password. If that was not you, somebody knows your password: "
        "change it."
    ),
}
"""What strangers can cause again and again: told at most once a day, and not by the request that causes it, whose time
would say whether the account exists."""
_REACH = timedelta(minutes=10)
_TOLD = "told of"


def setup_notices() -> None:
    """Tell people of these events from now on."""
    events.observe(SENTENCES, _tell)


def not_me_url(person: users.Person | users.User, passkey: str = "") -> str:
    """Return a new link, for the person's mailbox, whose page ends everything that the account holds.

    `passkey`: the digest of one that was added just now. It goes as well: whoever added it needs no password.
    """
    mailbox = users.email_key(person.email)
    raw_secret = once.make(NOT_ME, person.id, _NOT_ME_LIFE, {"mailbox": mailbox, "passkey": passkey})
    return config.current().url(f"{NOT_ME_PATH}?token={raw_secret}")


def language_of(person: users.Person | users.User) -> str:
    """Return the language to write to somebody in: the one of the account, otherwise the one spoken now."""
    chosen = person.claims.get("locale")
    return (language.best_of([chosen]) if isinstance(chosen, str) else None) or language.current()


def is_told_otherwise(user_id: str) -> None:
    """Let the rest of this act be told by a letter of its own, and not by a notice besides."""
    database.notes().setdefault(_TOLD, set()).add(user_id)


def _tell(event: Event, entry: Mapping[str, str], data: Mapping[str, object]) -> None:
    person = users.find_person(entry["subject"]) if entry["subject"] else None
    told = database.notes().setdefault(_TOLD, set())
    if person is None or person.id in told:
        return
    told.add(person.id)
    _write(person, event, entry["address"], data)


def tell_of_throttling() -> None:
    """Tell people whose account was shut to guesses in the last minutes; for the scheduled work."""
    for row in audit.recent(list(SELDOM), reach=_REACH):
        event = Event(row.event)
        person = users.find_person(row.subject) if row.subject else None
        if person is not None and not _was_told(person.id, event):
            _write(person, event, row.address, dict(row.data or {}))


def _write(person: users.Person, event: Event, address: str, data: Mapping[str, object]) -> None:
    values = {
        "event": event.value,
        "url": not_me_url(person, str(data.get("passkey", ""))),
        "at": clock.now().isoformat(timespec="seconds"),
        "address": address,
        "browser": str(data.get("browser", "") or agents.describe(events.context().user_agent)),
        "country": str(data.get("country", "")),
        "app": str(data.get("app", "")),
    }
    letters.send(_LETTER, person.email, language=language_of(person), about=person.id, **values)


def _was_told(user_id: str, event: Event) -> bool:
    """Tell whether this was told within a day, and remember that it is told now."""
    purpose = f"told:{event.value}"[:40]
    if once.live_of(purpose, user_id):
        return True
    once.make(purpose, user_id, timedelta(days=1))
    return False


@letters.letter(_LETTER)
def _notice(values: dict[str, Any]) -> Letter:
    at = datetime.fromisoformat(values["at"])
    facts = [
        (_("When"), moments.exact(at)),
        (_("App"), values["app"]),
        (_("Browser"), values["browser"]),
        (_("Country"), values["country"]),
        (_("Address"), values["address"]),
    ]
    event = Event(values["event"])
    sentence = language.translated((SENTENCES | SELDOM)[event])
    return Letter(
        subject=_("Security notice for your account at %(host)s") % {"host": config.current().issuer_host},
        paragraphs=(sentence, _("If this was you, there is nothing to do.")),
        facts=tuple((label, value) for label, value in facts if value),
        unexpected=_("If this wasn't you, lock out whoever it was. The page says first what it does."),
        unexpected_action=_("This wasn't me"),
        unexpected_url=values["url"],
    )
