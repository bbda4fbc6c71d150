"""The check of a presented access token at our own endpoints: form, signature, life, revocation, client and person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from auth_server import config
from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.infra import clock
from auth_server.keys import access_token, jose, keyring
from auth_server.tokens import opaque, revocations


def live_claims(presented: str, audiences: Iterable[str] | None = None) -> dict[str, Any] | None:
    """Return the claims of a live access token of either form, or None; `audiences` None accepts any of ours."""
    found = _jwt_claims(presented, audiences) if "." in presented else _opaque_claims(presented, audiences)
    if found is None or revocations.covers(found):
        return None
    client = clients.find(found["client_id"])
    if client is None or client.is_disabled:
        return None
    if "fam" in found:
        person = users.find_person(found["sub"])
        if person is None or person.is_disabled:
            return None
    return found


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
