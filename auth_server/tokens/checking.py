"""The check of a presented access token at our own endpoints: form, signature, life, revocation, client and person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, select

from auth_server import config, database
from auth_server.accounts import users
from auth_server.accounts.users import Person
from auth_server.clients import client as clients
from auth_server.infra import clock
from auth_server.keys import access_token, jose, keyring
from auth_server.prepared import Prepared
from auth_server.tokens import opaque, revocations

_REVOCATION_AND_PERSON = Prepared(
    select(revocations.COVERING, *users.PERSON_COLUMNS).where(users.TABLE.c.id == bindparam("sub"))
)


@dataclass(frozen=True)
class Live:
    """A live access token: its claims, and the person it acts for (None: a service)."""

    claims: dict[str, Any]
    person: Person | None


def live(presented: str, audiences: Iterable[str] | None = None) -> Live | None:
    """Return a live access token of either form, or None; `audiences` None accepts any of ours."""
    found = _jwt_claims(presented, audiences) if "." in presented else _opaque_claims(presented, audiences)
    if found is None:
        return None
    client = clients.find(found["client_id"])
    if client is None or client.is_disabled:
        return None
    if "fam" not in found:
        return None if revocations.covers(found) else Live(found, None)
    row = database.first(_REVOCATION_AND_PERSON, {**revocations.named_in(found), "sub": found["sub"]})
    if row is None or row[0]:
        return None
    person = users.person(row[1:])
    return None if person.is_disabled else Live(found, person)


def _jwt_claims(presented: str, audiences: Iterable[str] | None) -> dict[str, Any] | None:
    try:
        return access_token.verify(
            presented,
            issuer=config.current().issuer,
            audiences=audiences,
            find_key=keyring.verifier,
            now=clock.now(),
        )
    except jose.BadToken:
        return None


def _opaque_claims(presented: str, audiences: Iterable[str] | None) -> dict[str, Any] | None:
    found = opaque.find(presented)
    if found is None or (audiences is not None and not access_token.audience_of(found) & set(audiences)):
        return None
    return found
