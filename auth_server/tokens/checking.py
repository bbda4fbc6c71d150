"""The check of a presented access token at our own endpoints: form, signature, life, revocation, client and person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from auth_server import config
from auth_server.accounts import users
from auth_server.accounts.users import Person
from auth_server.clients import client as clients
from auth_server.infra import clock
from auth_server.keys import access_token, jose, keyring
from auth_server.tokens import opaque, revocations


@dataclass(frozen=True)
class Live:
    """A live access token: its claims, and the person it acts for (None: a service)."""

    claims: dict[str, Any]
    person: Person | None


def live(presented: str, audiences: Iterable[str] | None = None) -> Live | None:
    """Return a live access token of either form, or None; `audiences` None accepts any of ours."""
    found = _jwt_claims(presented, audiences) if "." in presented else _opaque_claims(presented, audiences)
    if found is None or revocations.covers(found):
        return None
    client = clients.find(found["client_id"])
    if client is None or client.is_disabled:
        return None
    if "fam" not in found:
        return Live(found, None)
    person = users.find_person(found["sub"])
    return None if person is None or person.is_disabled else Live(found, person)


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
