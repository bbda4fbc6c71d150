"""Clients that register themselves (RFC 7591) and manage their own row (RFC 7592), and who may: initial access tokens.

Nobody has looked at such a client. It chooses its names, addresses, keys and standard scopes, and nothing that an
operator decides: whatever else it sends is left out, and the answer says what holds. Its registration access token, of
which the digest stands in its row, is what marks it as self-registered, and dies with the row.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from auth_server.clients import client as clients
from auth_server.clients import fapi, metadata, sectors
from auth_server.clients.client import Client
from auth_server.errors import InvalidClientMetadata, InvalidToken, UnapprovedSoftwareStatement
from auth_server.infra import clock, crypto, once
from auth_server.infra.events import Event, record

LIFE = timedelta(days=7)
LONGEST_DAYS = 90
_PURPOSE = "initial-access-token"
_OPERATORS_ALONE = frozenset(
    {
        *("first_party", "profile", "require_pkce", "minimum_acr", "optional_scopes", "id_token_claims"),
        *("access_token_ttl", "refresh_token_ttl", "refresh_token_idle_ttl", "refresh_token_grace"),
        *("refresh_token_rotation", "workload"),
    }
)
TAKEN = metadata.FIELDS - _OPERATORS_ALONE
"""What a client may say of itself."""
_GRANT_TYPES = ("authorization_code", "refresh_token", metadata.DEVICE_CODE)
"""All that a person decides: a service is registered by an operator, who gives it its scopes."""
STANDARD_SCOPES = ("openid", "profile", "email", "address", "phone", "offline_access")
"""OpenID Connect Core §5.4 and §11. Scopes of APIs, groups and roles are an operator's to give."""
_OURS_ALONE = (
    *("registration_access_token", "registration_client_uri"),
    *("client_secret_expires_at", "client_id_issued_at"),
)


@dataclass(frozen=True)
class Registered:
    """A client with what it is shown of its credentials; "" and None: nothing new."""

    client: Client
    raw_secret: str | None = field(repr=False)
    raw_token: str = field(default="", repr=False)


@dataclass(frozen=True)
class InitialToken:
    """An initial access token that may still be used; the token itself is not kept."""

    id: str
    created: datetime
    expires: datetime


def make_initial_token(life: timedelta = LIFE) -> str:
    """Return a new initial access token (RFC 7591 §1.2), good for one registration."""
    chosen_id = str(uuid.uuid4())
    raw_token = once.make(_PURPOSE, chosen_id, life, {"expires": (clock.now() + life).isoformat()})
    record(Event.REGISTRATION_TOKEN_MADE, id=chosen_id)
    return raw_token


def initial_tokens() -> list[InitialToken]:
    """Return the initial access tokens that may still be used, the newest first."""
    return [
        InitialToken(found.subject, found.created_at, datetime.fromisoformat(found.data["expires"]))
        for found in once.live_of(_PURPOSE)
    ]


def revoke_initial_token(token_id: str) -> bool:
    """End an initial access token; False when there is no such."""
    if not once.revoke(_PURPOSE, token_id):
        return False
    record(Event.REGISTRATION_TOKEN_REVOKED, id=token_id)
    return True


def register(raw: Mapping[str, Any], *, initial_token: str | None) -> Registered:
    """Register a client that describes itself; None: no token is asked for. A refused description leaves the token.

    Raises `InvalidToken`, `InvalidClientMetadata`, `InvalidRedirectUri` or `UnapprovedSoftwareStatement`.
    """
    if initial_token is not None and once.find(_PURPOSE, initial_token) is None:
        raise _no_initial_token()
    chosen = metadata.validate(taken(raw))
    sectors.check_self_registered(chosen)
    sectors.check(chosen, {})
    if initial_token is not None and once.spend(_PURPOSE, initial_token) is None:
        raise _no_initial_token()
    raw_token = crypto.new_secret()
    client, raw_secret = clients.add(chosen, registration_digest=crypto.digest(raw_token))
    return Registered(client, raw_secret, raw_token)


def authenticated(client_id: str, presented: str) -> Client:
    """Return the client whose registration access token this is; raise `InvalidToken`, the same for every cause.

    An operator who disables a client takes its own row out of its hands, too.
    """
    client = clients.find_now(client_id)
    stored = (client and client.registration_digest) or crypto.digest("")
    is_same = crypto.same(stored, crypto.digest(presented))
    if client is None or not client.is_self_registered or client.is_disabled or not is_same:
        raise _no_registration_token()
    return client


def put(client: Client, raw: Mapping[str, Any]) -> Registered:
    """Replace what the client says of itself (RFC 7592 §2.2); what an operator has decided about it stays.

    Raises as `register`.
    """
    if raw.get("client_id") != client.client_id:
        raise InvalidClientMetadata("client_id: must be that of this client")
    ours = [name for name in _OURS_ALONE if name in raw]
    if ours:
        raise InvalidClientMetadata(f"{ours[0]}: is the server's to say; leave it out")
    secret = raw.get("client_secret")
    if secret is not None and not clients.has_the_secret(client, secret):
        raise InvalidClientMetadata("client_secret: is the server's to choose; send the present one or leave it out")
    sectors.check(_replacement(client, raw), client.details)
    present = clients.find_now(client.client_id)
    if present is None or present.is_disabled:
        raise _no_registration_token()
    details = _replacement(present, raw)  # an operator may have decided otherwise while others were asked
    try:
        changed = clients.replace(present, details)
    except LookupError:  # deleted at this very moment
        raise _no_registration_token() from None
    return Registered(changed, clients.follow_method(changed, former=client.auth_method))


def _replacement(client: Client, raw: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in client.details.items() if name in _OPERATORS_ALONE}
    details = metadata.validate({**taken(raw, held=client.scopes), **kept})
    sectors.check_self_registered(details)
    return details


def information(client: Client, raw_secret: str | None) -> dict[str, Any]:
    """Return the client information response (RFC 7591 §3.2.1)."""
    answer: dict[str, Any] = {"client_id": client.client_id}
    if raw_secret:
        answer |= {"client_secret": raw_secret, "client_secret_expires_at": 0}
    answer["client_id_issued_at"] = int(client.created_at.timestamp())
    held = fapi.with_implied(client.details)
    return {**answer, **held, "token_endpoint_auth_method": client.auth_method or "client_secret_basic"}


def taken(raw: Mapping[str, Any], held: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return of a client's own words what it may say; `held` are scopes that it has already.

    The rest is ignored, as RFC 7591 §2 demands of what a server does not understand.
    """
    if raw.get("software_statement") is not None:
        raise UnapprovedSoftwareStatement("software_statement: nobody's statements are trusted here; leave it out")
    chosen = {name: value for name, value in raw.items() if name in TAKEN and value is not None}
    chosen.setdefault("token_endpoint_auth_method", "client_secret_basic")
    grants = chosen.get("grant_types")
    if isinstance(grants, list) and not all(grant in _GRANT_TYPES for grant in grants):
        raise InvalidClientMetadata(f"grant_types: possible are {', '.join(_GRANT_TYPES)}")
    if "scope" in chosen:
        scopes = metadata.check("scope", chosen["scope"]).split()
        chosen["scope"] = " ".join(scope for scope in scopes if scope in STANDARD_SCOPES or scope in held)
    return chosen


def _no_registration_token() -> InvalidToken:
    return InvalidToken("the registration access token is missing, unknown or not for this client")


def _no_initial_token() -> InvalidToken:
    return InvalidToken("the initial access token is missing, unknown, used or expired; ask the operator for a new one")
