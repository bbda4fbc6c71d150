"""Claims: what scopes say about a person (OpenID Connect Core §5.4), and the bodies of our tokens."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from auth_server.access import groups, roles
from auth_server.accounts.users import Person
from auth_server.infra import clock
from auth_server.keys import access_token

OF_SCOPE = {
    "profile": (
        *("name", "family_name", "given_name", "middle_name", "nickname", "preferred_username", "profile"),
        *("picture", "website", "gender", "birthdate", "zoneinfo", "locale", "updated_at"),
    ),
    "email": ("email", "email_verified"),
    "address": ("address",),
    "phone": ("phone_number", "phone_number_verified"),
    "groups": ("groups",),
    "roles": ("roles",),
}
SCOPE_OF = {name: scope for scope, names in OF_SCOPE.items() for name in names}
"""The scope that releases a claim: who may not have the scope cannot ask for the claim by itself either."""
ID_TOKEN, USERINFO = "id_token", "userinfo"
"""Where an app may ask for single claims (OpenID Connect Core §5.5)."""
SUPPORTED = ("sub", *(claim for claims in OF_SCOPE.values() for claim in claims))
_STANDARD = frozenset(SUPPORTED)
_HASH_OF = {"RS256": hashlib.sha256, "ES256": hashlib.sha256, "EdDSA": hashlib.sha512}


def of_person(person: Person, scopes: Iterable[str]) -> dict[str, Any]:
    """Return the claims that these scopes release, without `sub`. Claims of the operator's own come with `profile`."""
    granted = set(scopes)
    held = _all_of(person)
    released = {name: held[name] for scope in OF_SCOPE if scope in granted for name in OF_SCOPE[scope] if name in held}
    if "profile" in granted:
        released.update({name: value for name, value in person.claims.items() if name not in _STANDARD})
    return released | memberships(person.id, granted)


def memberships(user_id: str, scopes: Iterable[str]) -> dict[str, Any]:
    """Return `groups` and `roles` where those scopes are granted."""
    granted = set(scopes)
    if not granted & {"groups", "roles"}:
        return {}
    names = groups.of_user(user_id)
    found: dict[str, Any] = {}
    if "groups" in granted:
        found["groups"] = list(names)
    if "roles" in granted:
        found["roles"] = list(roles.of_user(user_id, names))
    return found


def asked_for(
    person: Person, place: str, asked: Mapping[str, Any] | None, scopes: Iterable[str], possible: Iterable[str]
) -> dict[str, Any]:
    """Return what the app has asked for by name in one place, and may have: with a granted scope, or by consent.

    `asked` is a family's; `possible` are the scopes that the client may be given now.
    """
    if not asked:
        return {}
    granted, allowed, consented = set(scopes), set(possible), set(asked["consented"])
    names = [
        name for name in asked[place] if SCOPE_OF[name] in allowed and (SCOPE_OF[name] in granted or name in consented)
    ]
    held = of_person(person, {SCOPE_OF[name] for name in names})
    return {name: held[name] for name in names if name in held}


def acr_told(reached: str, asked: Mapping[str, Any] | None) -> str:
    """Return the `acr` of an ID token: one that the app has demanded, where the sign-in reaches it (§5.5.1.1)."""
    demanded = asked["acr"] if asked else []
    if not demanded or reached in demanded:
        return reached
    return access_token.strongest(acr for acr in demanded if access_token.reaches(reached, acr)) or reached


def at_hash(raw_token: str, alg: str) -> str:
    """Return the left half of the token's hash (OpenID Connect Core §3.1.3.6); EdDSA uses SHA-512 as Ed25519 does."""
    whole = _HASH_OF[alg](raw_token.encode()).digest()
    return base64.urlsafe_b64encode(whole[: len(whole) // 2]).rstrip(b"=").decode()


def seconds(moment: datetime) -> int:
    """Return a NumericDate."""
    return clock.epoch_seconds(moment)


def _all_of(person: Person) -> dict[str, Any]:
    own: dict[str, Any] = {
        "email": person.email,
        "email_verified": person.email_verified,
        "updated_at": seconds(person.updated_at),
    }
    if person.name:
        own["name"] = person.name
    return {**person.claims, **own}
