"""Single claims on the consent page: the lines that ask for them, and what the person allowed of them.

A line stands for the asked claims of one scope, because that is what people tell apart: the e-mail address, the phone
number, some of the profile. A line of a scope that may be unticked may be unticked, too.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from auth_server.access.consents import Given
from auth_server.clients.client import Client
from auth_server.tokens.claims import OF_SCOPE, SCOPE_OF
from auth_server.web.i18n import gettext as _

FIELD = "claims"
"""The form field of these lines; its values are scopes."""


def known(given: Given | None) -> frozenset[str]:
    """Return the claims that the person lets the app see already, one by one or by a scope."""
    if given is None:
        return frozenset()
    return given.claims.union(*(OF_SCOPE.get(scope, ()) for scope in given.scopes))


def by_scope(names: Iterable[str]) -> dict[str, list[str]]:
    """Return the claims of each scope."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(SCOPE_OF[name], []).append(name)
    return found


def certain(client: Client, names: Iterable[str]) -> tuple[str, ...]:
    """Return the claims that the person cannot untick."""
    return tuple(name for name in names if SCOPE_OF[name] not in client.optional_scopes)


def allowed(
    client: Client, given: Given | None, names: Sequence[str], *, chosen: Collection[str], unticked: Collection[str]
) -> list[str]:
    """Return what a form allows of the asked claims: `chosen` and `unticked` are the scopes of its lines."""
    held = known(given)
    surely = certain(client, names)
    return [
        name
        for name in names
        if name in surely or SCOPE_OF[name] in chosen or (name in held and SCOPE_OF[name] not in unticked)
    ]


def parts_of_profile(names: Iterable[str]) -> str:
    """Return which parts of the profile these claims are, in words for people."""
    labels = {
        "name": _("Full name"),
        "given_name": _("First name"),
        "middle_name": _("Middle name"),
        "family_name": _("Family name"),
        "nickname": _("Nickname"),
        "preferred_username": _("Username"),
        "website": _("Website"),
        "profile": _("Page about you"),
        "picture": _("Address of a picture"),
        "birthdate": _("Date of birth"),
        "gender": _("Gender"),
        "zoneinfo": _("Time zone"),
        "locale": _("Language"),
        "updated_at": _("When your profile was last changed"),
    }
    return ", ".join(labels[name] for name in names if name in labels)
