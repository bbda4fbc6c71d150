"""Which apps a person's account is connected to: those that were allowed, and first-party ones that hold tokens."""

from __future__ import annotations

from dataclasses import dataclass

from auth_server.access import consents
from auth_server.clients import client as clients
from auth_server.tokens import families
from auth_server.tokens.claims import OF_SCOPE


@dataclass(frozen=True)
class Connected:
    """An app, and the scopes that it may use now or at its next sign-in."""

    client_id: str
    name: str
    scopes: frozenset[str]
    claims: frozenset[str]
    """Single claims that it may see beside those of its scopes."""

    def receives(self, scope: str) -> bool:
        """Tell whether it gets what a scope releases, or some of it."""
        return scope in self.scopes or not self.claims.isdisjoint(OF_SCOPE[scope])


def apps(user_id: str) -> list[Connected]:
    """Return the person's connected apps, by name."""
    scopes: dict[str, set[str]] = {}
    claims: dict[str, set[str]] = {}
    for given in consents.of_user(user_id):
        scopes[given.client_id], claims[given.client_id] = set(given.scopes), set(given.claims)
    for family, _used in families.of_user(user_id):
        scopes.setdefault(family.client_id, set()).update(family.scopes)
        claims.setdefault(family.client_id, set()).update(family.consented_claims)
    known = [(clients.find(client_id), client_id) for client_id in scopes]
    found = [
        Connected(client_id, client.name, frozenset(scopes[client_id]), frozenset(claims[client_id]))
        for client, client_id in known
        if client
    ]
    return sorted(found, key=lambda app: (app.name.casefold(), app.client_id))


def receivers(user_id: str, scope: str) -> list[str]:
    """Return the names of the connected apps that what a scope releases goes to, or some of it."""
    return [app.name for app in apps(user_id) if app.receives(scope)]
