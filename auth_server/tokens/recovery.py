"""The way back for whoever lost password and second factor: by an operator who has checked who it is, and slowly.

The link waits before it works. Meanwhile every address of the person is told, and whoever reads that can stop it. The
person sets the password; nobody else ever does.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from auth_server import config
from auth_server.access import roles
from auth_server.accounts import addresses, letters, notices, passwords, users
from auth_server.accounts.letters import Letter
from auth_server.errors import RefusedInput
from auth_server.infra import clock, events, moments, once
from auth_server.infra.events import Event, record
from auth_server.infra.language import gettext as _
from auth_server.tokens import ending, resetting

PATH = "/recover/account"
STOP_PATH = "/recover/stop"
STOP_LINK = ending.STOP_LINK
HELPDESK = "helpdesk"
_LIFE = timedelta(days=3)
_STARTED, _CANCELLED, _USED = "recovery-started", "recovery-cancelled", "recovery-used"
_LONGEST_CHECK = 500


@dataclass(frozen=True)
class Recovery:
    """A recovery that is under way: its link works between these moments."""

    person: users.Person
    valid_from: datetime
    expires_at: datetime

    @property
    def is_waiting(self) -> bool:
        return clock.now() < self.valid_from


@dataclass(frozen=True)
class Started:
    """What the operator gives to the person."""

    url: str
    valid_from: datetime
    expires_at: datetime


def setup_recovery_letters() -> None:
    """Tell every address of a person from now on when their recovery is cancelled, whatever cancels it."""
    events.observe([Event.RECOVERY_CANCELLED], _tell_of_the_end)


def start(user: users.User, checked: str, *, actor_roles: Collection[str] = (roles.ADMINISTRATOR,)) -> Started:
    """Start a recovery in place of a former one; raise `RefusedInput`.

    `checked` says how the identity was verified. A helpdesk may not start one for an administrator.
    """
    how = " ".join(checked.split())
    if not how:
        raise RefusedInput("say how you checked who it is", "checked")
    if user.is_disabled:
        raise RefusedInput("this account is disabled", "who")
    if not may_start(user.id, actor_roles):
        raise RefusedInput("only an administrator may do this for an administrator", "who")
    once.revoke(ending.RECOVERY_LINK, user.id)
    once.revoke(STOP_LINK, user.id)
    wait = config.current().recovery_wait
    valid_from = clock.now() + wait
    kept = {"valid_from": valid_from.isoformat(), "expires_at": (valid_from + _LIFE).isoformat()}
    by = {"by": "administrator" if roles.ADMINISTRATOR in actor_roles else HELPDESK}
    raw_secret = once.make(ending.RECOVERY_LINK, user.id, wait + _LIFE, kept | by)
    record(Event.RECOVERY_STARTED, subject=user.id, checked=how[:_LONGEST_CHECK], valid_from=kept["valid_from"])
    for address in addresses.all_of(user.id):
        stop = once.make(STOP_LINK, user.id, wait + _LIFE)
        stop_url = config.current().url(f"{STOP_PATH}?token={stop}")
        _send(_STARTED, user, address, valid_from=kept["valid_from"], url=stop_url)
    return Started(config.current().url(f"{PATH}?token={raw_secret}"), valid_from, valid_from + _LIFE)


def may_start(user_id: str, actor_roles: Collection[str]) -> bool:
    """Tell whether somebody with these roles may start a recovery of this person's account."""
    if roles.ADMINISTRATOR in actor_roles:
        return True
    return HELPDESK in actor_roles and roles.ADMINISTRATOR not in roles.of_user(user_id)


def find(raw_secret: str) -> Recovery | None:
    """Return the recovery of a link, the waiting one too, without spending it."""
    return _recovery(once.find(ending.RECOVERY_LINK, raw_secret))


def pending(user_id: str) -> Recovery | None:
    """Return the recovery of a person's account that is under way."""
    found = once.live_of(ending.RECOVERY_LINK, user_id)
    return _recovery(found[0]) if found else None


def of_stop_link(raw_secret: str) -> Recovery | None:
    """Return the recovery that a link of the notice can stop."""
    user_id = once.subject_of(STOP_LINK, raw_secret)
    return pending(user_id) if user_id else None


def stop(user_id: str) -> bool:
    """Cancel the recovery of a person's account; False when there was none any more."""
    return ending.cancel_recovery(user_id, "stopped")


def use(raw_secret: str, recovery: Recovery, new_password: str) -> bool:
    """Set the password and take every second factor away; everything ends. False when it waits or was used meanwhile.

    Raise `RefusedInput` for a broken rule.
    """
    if recovery.is_waiting:
        return False
    person = recovery.person
    stored = resetting.checked_hash(person, new_password)
    if once.spend(ending.RECOVERY_LINK, raw_secret) is None:
        return False
    record(Event.RECOVERY_USED, subject=person.id)
    notices.is_told_otherwise(person.id)
    reached = addresses.all_of(person.id)
    passwords.store_hash(person.id, stored)
    ending.reset_second_factor(person.id)
    ending.password_reset(person.id)
    _tell(_USED, person, reached)
    return True


def _recovery(found: once.Found | None) -> Recovery | None:
    person = users.find_person(found.subject) if found else None
    if found is None or person is None or person.is_disabled or not _stands(found):
        return None
    moments = (datetime.fromisoformat(found.data[name]) for name in ("valid_from", "expires_at"))
    return Recovery(person, *moments)


def _tell_of_the_end(_event: Event, entry: Mapping[str, str], data: Mapping[str, object]) -> None:
    person = users.find_person(entry["subject"])
    if person is not None and data.get("cause") != "user_deleted":
        _tell(_CANCELLED, person, addresses.all_of(person.id))


def _tell(letter: str, person: users.Person, reached: list[str]) -> None:
    for address in reached:
        # the way to a new password is for the account's own mailbox, not for a former one
        is_own = address == person.email and not person.is_disabled
        _send(letter, person, address, at=clock.now().isoformat(), url=notices.not_me_url(person) if is_own else "")


def _stands(found: once.Found) -> bool:
    """Tell whether whoever started it might still do so: the person may have become an administrator meanwhile."""
    return found.data.get("by") != HELPDESK or may_start(found.subject, (HELPDESK,))


def _send(letter: str, person: users.Person | users.User, address: str, **values: str) -> None:
    letters.send(letter, address, language=notices.language_of(person), about=person.id, **values)


@letters.letter(_STARTED)
def _started(values: dict[str, Any]) -> Letter:
    when = _moment(values["valid_from"])
    return Letter(
        subject=_("Somebody asked to get back into your account at %(host)s") % {"host": config.current().issuer_host},
        paragraphs=(
            _("The operators were asked to let you in again without your password and your second factor."),
            _("From %(when)s on, a link that they gave out sets a new password and removes the second factor.")
            % {"when": when},
            _("If you asked for this, there is nothing to do but wait. If you did not, stop it now."),
        ),
        action=_("Stop this"),
        url=values["url"],
    )


@letters.letter(_CANCELLED)
def _cancelled(values: dict[str, Any]) -> Letter:
    return Letter(
        subject=_("The recovery of your account at %(host)s was stopped") % {"host": config.current().issuer_host},
        paragraphs=(
            _("The link that was to let somebody in without your password and second factor does not work any more."),
            _("If you stopped it, there is nothing to do. If you still need it, ask your administrator again."),
        ),
        **_when_and_way_out(values),
    )


@letters.letter(_USED)
def _used(values: dict[str, Any]) -> Letter:
    return Letter(
        subject=_("Your account at %(host)s was recovered") % {"host": config.current().issuer_host},
        paragraphs=(
            _("A new password was set, the second factor was removed, and everybody was signed out."),
            _("If this was you, set up a second factor again. Nothing else is to do."),
        ),
        **_when_and_way_out(values),
    )


def _when_and_way_out(values: dict[str, Any]) -> dict[str, Any]:
    return {
        "facts": ((_("When"), _moment(values["at"])),),
        "unexpected": _("If this wasn't you, lock out whoever it was, and tell your administrator."),
        "unexpected_action": _("This wasn't me") if values["url"] else "",
        "unexpected_url": values["url"],
    }


def _moment(text: str) -> str:
    return moments.exact(datetime.fromisoformat(text))
