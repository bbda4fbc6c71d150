"""Invitations: a link for one address, made by an operator, that opens an account with the groups and roles they chose.

Whoever accepts chooses a name and a way to sign in, and nothing else. It works in every SIGNUP mode, once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from auth_server import config
from auth_server.access import groups, roles
from auth_server.accounts import letters, sign_up, users
from auth_server.accounts.letters import Letter
from auth_server.errors import RefusedInput
from auth_server.infra import clock, language, moments, once
from auth_server.infra.events import Event, record
from auth_server.infra.language import gettext as _

PURPOSE = "invitation"
PATH = "/signup/invitation"
LIFE = timedelta(days=7)
LONGEST_DAYS = 90
_LETTER = "invitation"


@dataclass(frozen=True)
class Invitation:
    """Who is invited, and what the account will have."""

    email: str
    name: str
    groups: tuple[str, ...]
    roles: tuple[str, ...]
    created: datetime
    expires: datetime


def invite(
    email: str, name: str, *, group_names: Iterable[str], role_names: Iterable[str], life: timedelta = LIFE
) -> tuple[Invitation, str]:
    """Write to the address; return the invitation and its URL. A former one for the address ends.

    Raises `RefusedInput` for an address that is none or has an account, and for unknown groups and roles.
    """
    users.check_new(email, name)
    to, chosen_groups, chosen_roles = users.checked_email(email), sorted(set(group_names)), sorted(set(role_names))
    _refuse_unknown("group", chosen_groups, _known_groups())
    _refuse_unknown("role", chosen_roles, _known_roles())
    expires = clock.now() + life
    data = {"email": to, "name": users.checked_name(name), "groups": chosen_groups, "roles": chosen_roles}
    data["expires"] = expires.isoformat()
    once.revoke(PURPOSE, users.email_key(to))
    raw_secret = once.make(PURPOSE, users.email_key(to), life, data)
    url = config.current().url(f"{PATH}?token={raw_secret}")
    letters.send(_LETTER, to, language=language.current(), url=url, expires=data["expires"])
    record(Event.INVITATION_MADE, groups=chosen_groups, roles=chosen_roles)
    return Invitation(to, str(data["name"]), tuple(chosen_groups), tuple(chosen_roles), clock.now(), expires), url


def listing() -> list[Invitation]:
    """Return the invitations that can still be accepted, the newest first."""
    return [_invitation(found) for found in once.live_of(PURPOSE)]


def revoke(email: str) -> bool:
    """End the invitation for an address; False when there is none."""
    key = users.email_key(email)
    if not once.live_of(PURPOSE, key):
        return False
    once.revoke(PURPOSE, key)
    record(Event.INVITATION_REVOKED)
    return True


def find(raw_secret: str) -> sign_up.Applicant | None:
    """Return whose invitation this is, without using it up."""
    found = once.find(PURPOSE, raw_secret)
    return sign_up.Applicant(found.data["email"], found.data["name"], "") if found else None


def accept(raw_secret: str, name: str) -> users.User | None:
    """Use the invitation up and open the account; None when another request did so.

    What the person signs in with must be stored in the same transaction. A group or role that was deleted meanwhile is
    left out. Raises `RefusedInput` when the address has got an account meanwhile.
    """
    found = once.spend(PURPOSE, raw_secret)
    if found is None:
        return None
    invited = _invitation(found)
    user = users.create(invited.email, sign_up.named(name), verified=True, user_id=sign_up.future_id(raw_secret))
    groups.put(user.id, _known_groups().intersection(invited.groups))
    roles.put(user.id, _known_roles().intersection(invited.roles))
    record(Event.INVITATION_ACCEPTED, subject=user.id)
    return user


def _known_groups() -> set[str]:
    return {row["name"] for row in groups.listing()}


def _known_roles() -> set[str]:
    return {*roles.BUILT_IN, *(row["name"] for row in roles.listing())}


def _refuse_unknown(what: str, names: list[str], known: set[str]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise RefusedInput(f"no such {what}: {', '.join(unknown)}", what)


def _invitation(found: once.Found) -> Invitation:
    data = found.data
    expires = datetime.fromisoformat(data["expires"])
    return Invitation(
        data["email"], data["name"], tuple(data["groups"]), tuple(data["roles"]), found.created_at, expires
    )


@letters.letter(_LETTER)
def _invited(values: dict[str, Any]) -> Letter:
    host = config.current().issuer_host
    until = moments.exact(datetime.fromisoformat(values["expires"]))
    return Letter(
        subject=_("You are invited to %(host)s") % {"host": host},
        paragraphs=(_("An administrator invites you to open an account."), _("The link works once.")),
        action=_("Accept the invitation"),
        url=values["url"],
        facts=((_("Good until"), until),),
        unexpected=_("If you don't know what this is about, ignore this letter: then there will be no account."),
    )
