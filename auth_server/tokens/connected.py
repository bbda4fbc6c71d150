"""Which apps a person's account is connected to: those that were allowed, and first-party ones that hold tokens."""

from __future__ import annotations

from dataclasses import dataclass

from auth_server.access import consents
from auth_server.clients import client as clients
from auth_server.tokens import families


@dataclass(frozen=True)
class Connected:
    """An app, and the scopes that it may use now or at its next sign-in."""

    client_id: str
    name: str
    scopes: frozenset[str]


def apps(user_id: str) -> list[Connected]:
    """Return the person's connected apps, by name."""
    scopes: dict[str, set[str]] = {given.client_id: set(given.scopes) for given in consents.of_user(user_id)}
    for family, _used in families.of_user(user_id):
        scopes.setdefault(family.client_id, set()).update(family.scopes)
    known = [(clients.find(client_id), held) for client_id, held in scopes.items()]
    found = [Connected(client.client_id, client.name, frozenset(held)) for client, held in known if client]
    return sorted(found, key=lambda app: (app.name.casefold(), app.client_id))


def receivers(user_id: str, scope: str) -> list[str]:
    """Return the names of the connected apps that what a scope releases goes to."""
    return [app.name for app in apps(user_id) if scope in app.scopes]
