"""Which scopes a client and a person may be given, and which APIs a token is for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from auth_server import config
from auth_server.access import apis, roles
from auth_server.access.apis import Api
from auth_server.clients.client import Client
from auth_server.errors import InvalidScope, InvalidTarget

USERINFO_PATH = "/oauth/userinfo"


@dataclass(frozen=True)
class Target:
    """What an access token is for: its `aud`, its form, and the longest it may live (None: the server's default)."""

    resources: tuple[str, ...]
    """Identifiers of the granted APIs."""
    audience: tuple[str, ...]
    token_format: str
    alg: str
    ttl: timedelta | None


def scopes_for_client(client: Client, asked: str | None, *, for_person: bool) -> tuple[str, ...]:
    """Return the asked scopes that the client is registered for and that exist; raise `InvalidScope` for none.

    Without `scope`: the registered ones without `offline_access`; for client credentials, its API scopes.
    """
    possible = possible_scopes(client, for_person=for_person)
    if asked is None:
        return tuple(scope for scope in client.scopes if scope in possible and scope != "offline_access")
    granted = tuple(scope for scope in dict.fromkeys(asked.split()) if scope in possible)
    if not granted and asked.split():
        raise InvalidScope("none of the requested scopes is registered for this client")
    return granted


def possible_scopes(client: Client, *, for_person: bool) -> frozenset[str]:
    """Return the scopes that the client is registered for and that exist now.

    `offline_access` is for clients that get refresh tokens: others have nothing to keep (OpenID Connect Core §11).
    """
    register = apis.register()
    existing = {scope for scope in client.scopes if scope in register.by_scope}
    found = existing.union(scope for scope in client.scopes if for_person and scope in apis.IDENTITY_SCOPES)
    return frozenset(found if client.may_use("refresh_token") else found - {"offline_access"})


def scopes_for_person(user_id: str, scopes: Iterable[str]) -> tuple[str, ...]:
    """Drop the API scopes that a role names and the person has no such role for."""
    restricted = roles.restricted_scopes()
    wanted = tuple(scopes)
    if not any(scope in restricted for scope in wanted):
        return wanted
    held = set(roles.of_user(user_id))
    return tuple(scope for scope in wanted if scope not in restricted or restricted[scope] & held)


def check_resources(client: Client, named: Sequence[str]) -> tuple[Api, ...]:
    """Return the named APIs; raise `InvalidTarget` for one that the client may not use (RFC 8707 §2)."""
    found = usable_resources(client, named)
    if {api.identifier for api in found} != set(named):
        raise InvalidTarget("resource names an API that this client may not use")
    return found


def usable_resources(client: Client, identifiers: Iterable[str]) -> tuple[Api, ...]:
    """Return those of the APIs that the client may use.

    One that nobody knows may name any, also such that we do not know: the person is shown it, and it gets no scope by
    that. It cannot know what is registered here, and what it names may know us without our knowing it (RFC 9728).
    """
    register = apis.register().by_identifier
    wanted = tuple(dict.fromkeys(identifiers))
    if client.is_self_registered:
        found = (register.get(identifier) or apis.unregistered(identifier) for identifier in wanted)
        return tuple(api for api in found if api is not None)
    known = (register[identifier] for identifier in wanted if identifier in register)
    return tuple(api for api in known if any(scope in api.scopes for scope in client.scopes))


def target(scopes: Iterable[str], named: Sequence[Api]) -> Target:
    """Return what a token with these scopes and named APIs is for; raise `InvalidTarget` when their forms differ."""
    register = apis.register()
    wanted = tuple(scopes)
    owners = [register.by_scope[scope] for scope in wanted if scope in register.by_scope]
    granted = list({api.identifier: api for api in (*named, *owners)}.values())
    if len({(api.token_format, api.alg) for api in granted}) > 1:
        raise InvalidTarget("the requested APIs need tokens of different formats; ask for them one at a time")
    issuer = config.current().issuer
    audience = [api.identifier for api in granted]
    if "openid" in wanted:
        audience.append(issuer + USERINFO_PATH)
    lives = [api.token_ttl for api in granted if api.token_ttl is not None]
    return Target(
        resources=tuple(api.identifier for api in granted),
        audience=tuple(audience) or (issuer,),
        token_format=granted[0].token_format if granted else "jwt",
        alg=granted[0].alg if granted else "RS256",
        ttl=min(lives) if lives else None,
    )


def narrowed_to(resources: Sequence[str], scopes: Iterable[str]) -> tuple[str, ...]:
    """Keep the identity scopes and those of the named APIs: a token for one API carries no power at another."""
    register = apis.register()
    return tuple(
        scope for scope in scopes if scope not in register.by_scope or register.by_scope[scope].identifier in resources
    )
