"""Makes people, clients and APIs the way operators do: through the domain, committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from flask import Flask

from auth_server.access import apis, exchanges, groups, roles
from auth_server.access.apis import Api
from auth_server.access.exchanges import Rule
from auth_server.accounts import passwords, users
from auth_server.clients import client as clients
from auth_server.clients.client import Client
from auth_server.database import db
from auth_server.infra import events

PASSWORD = "correct horse battery staple"
REDIRECT_URI = "https://wiki.example.org/callback"
ORDERS = "https://orders.example.org"
R = TypeVar("R")


def within(app: Flask, act: Callable[[], R]) -> R:
    """Run domain code in a transaction of its own and commit it."""
    with app.app_context():
        events.begin(events.Context(actor_kind="job", request_id="test"))
        result = act()
        db.session.commit()
        return result


def person(
    app: Flask,
    email: str = "ada@example.org",
    name: str = "Ada Lovelace",
    *,
    password: str | None = PASSWORD,
    verified: bool = True,
    roles: Iterable[str] = (),
    groups: Iterable[str] = (),
    claims: dict[str, Any] | None = None,
) -> users.User:
    """Make a person; groups are made when missing."""

    def make() -> users.User:
        user = users.create(email, name, verified=verified, claims=claims)
        if password is not None:
            passwords.store(user.id, password)
        _put(user.id, groups, roles)
        return user

    return within(app, make)


def again(person: users.User) -> users.User:
    """Return the row in the present session."""
    found = users.find(person.id)
    assert found is not None
    return found


def client(app: Flask, **metadata: Any) -> tuple[Client, str]:
    """Make a client, confidential unless told otherwise; return it with its secret ('' for public ones)."""
    raw = {"client_name": "Wiki", "redirect_uris": [REDIRECT_URI], **metadata}
    made, secret = within(app, lambda: clients.create(raw, client_id=raw.pop("client_id", None)))
    return made, secret or ""


def public_client(app: Flask, **metadata: Any) -> Client:
    """Make a public client."""
    return client(app, **{"token_endpoint_auth_method": "none", **metadata})[0]


def service(app: Flask, scope: str = "", **metadata: Any) -> tuple[Client, str]:
    """Make a client that acts for itself."""
    raw = {"grant_types": ["client_credentials"], "scope": scope, "redirect_uris": [], "client_name": "Service"}
    return client(app, **{**raw, **metadata})


def api(app: Flask, identifier: str = ORDERS, **about: Any) -> tuple[Api, str]:
    """Make an API with two scopes; return it with the secret of its credentials."""
    about.setdefault("scopes", {"orders:read": "Read your orders", "orders:write": "Change your orders"})
    made, secret = within(app, lambda: apis.create(identifier, **about))
    return made, secret or ""


def role(app: Flask, name: str, scopes: Iterable[str], member_groups: Iterable[str] = ()) -> None:
    """Make an operator's role."""
    within(app, lambda: roles.save(name, scopes=scopes, member_groups=member_groups))


def exchange_rule(app: Flask, name: str, **about: Any) -> Rule:
    """Make a rule of token exchange, or change it."""
    rule = Rule(name, **about)
    within(app, lambda: exchanges.save(rule))
    return rule


def group(app: Flask, name: str) -> None:
    """Make a group."""
    within(app, lambda: groups.create(name))


def _put(user_id: str, group_names: Iterable[str], role_names: Iterable[str]) -> None:
    known = {row["name"] for row in groups.listing()}
    for name in set(group_names) - known:
        groups.create(name)
    if group_names:
        groups.put(user_id, group_names)
    if role_names:
        roles.put(user_id, role_names)
