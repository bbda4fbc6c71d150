"""The one mint: every access token, refresh token and ID token is made here."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from auth_server import config
from auth_server.access import policy
from auth_server.access.policy import Target
from auth_server.accounts.users import Person
from auth_server.clients import encryption, fapi
from auth_server.clients.client import Client
from auth_server.errors import InvalidRequest
from auth_server.infra import clock, crypto
from auth_server.infra.events import Event, record
from auth_server.keys import jose, keyring
from auth_server.keys.confirmation import Confirmation
from auth_server.tokens import claims, opaque, status_index
from auth_server.tokens.delegation import Derived
from auth_server.tokens.families import Family


@dataclass(frozen=True)
class Authorization:
    """What a token request has proved. For a service `family` and `person` are None: its `sub` is the `client_id`."""

    client: Client
    grant_type: str
    scopes: tuple[str, ...]
    target: Target
    family: Family | None = None
    person: Person | None = None
    consume: Callable[[], str | None] = lambda: None
    """Uses up the proof, once, and returns the refresh token to answer with; raises when somebody was faster."""
    nonce: str | None = None
    confirmation: Confirmation | None = None
    """The key that the access token is bound to."""
    derived: Derived | None = None
    """What it takes over from a token that it is exchanged for."""


def issue(authorization: Authorization) -> dict[str, Any]:
    """Make the tokens and return the body of the answer (RFC 6749 §5.1).

    What is signed is signed before the first write: signatures are slow, and SQLite has one writer. Nothing is handed
    out unless the proof was used up by this request and the transaction is committed.
    """
    now = clock.now()
    life = _life(authorization, now)
    body_claims = _access_claims(authorization, now, life)
    is_jwt = authorization.target.token_format == "jwt"  # noqa: S105 - a format's name
    access_token = _signed(authorization, body_claims) if is_jwt else crypto.new_secret()
    body: dict[str, Any] = {
        "access_token": access_token,
        "token_type": authorization.confirmation.token_type if authorization.confirmation else "Bearer",
        "expires_in": int(life.total_seconds()),
        "scope": " ".join(authorization.scopes),
    }
    if authorization.person and "openid" in authorization.scopes:
        body["id_token"] = _id_token(authorization, access_token, now)
    refresh_token = authorization.consume()
    if refresh_token:
        body["refresh_token"] = refresh_token
    if not is_jwt:
        opaque.add(access_token, body_claims, now + life)
    record(
        Event.TOKEN_ISSUED,
        subject=authorization.person.id if authorization.person else authorization.client.client_id,
        client=authorization.client.client_id,
        session=authorization.family.session_id if authorization.family else "",
        family=body_claims.get("fam", ""),
        changes_nothing=is_jwt and authorization.family is None,
        grant_type=authorization.grant_type,
        scope=body["scope"],
        aud=body_claims["aud"],
        jti=body_claims["jti"],
        **({"acr": body_claims["acr"]} if "acr" in body_claims else {}),
        **(authorization.derived.noted if authorization.derived else {}),
    )
    return body


def _life(authorization: Authorization, now: datetime) -> timedelta:
    """The shortest of what the server, the client and the APIs say; never beyond the family's end, or a source's."""
    default = config.current().access_token_ttl
    asked = [authorization.client.access_token_ttl, authorization.target.ttl]
    chosen = min((life for life in asked if life is not None), default=default)
    if authorization.family:
        left = authorization.family.expires_at - now
        chosen = max(timedelta(seconds=1), min(chosen, left))
    if authorization.derived:
        left = timedelta(seconds=authorization.derived.expires - claims.seconds(now))
        if left <= timedelta(0):
            raise InvalidRequest("the subject token has expired")
        chosen = min(chosen, left)
    return timedelta(seconds=int(chosen.total_seconds()))


def _access_claims(authorization: Authorization, now: datetime, life: timedelta) -> dict[str, Any]:
    """RFC 9068 §2.2. `fam` is ours: the family, by which a revocation finds the token."""
    audience = authorization.target.audience
    issued = claims.seconds(now)
    found: dict[str, Any] = {
        "iss": config.current().issuer,
        "sub": authorization.family.sub if authorization.family else authorization.client.client_id,
        "aud": audience[0] if len(audience) == 1 else list(audience),
        "exp": issued + int(life.total_seconds()),
        "iat": issued,
        "jti": str(uuid.uuid4()),
        "client_id": authorization.client.client_id,
        "scope": " ".join(authorization.scopes),
    }
    family = authorization.family
    if family:
        found |= {"sid": family.sid} if family.session_id else {}
        found |= {"fam": family.id, "auth_time": claims.seconds(family.auth_time)}
        found |= {"acr": family.acr, "amr": list(family.amr)}
        found |= claims.memberships(family.user_id, authorization.scopes)
    if authorization.confirmation:
        found |= authorization.confirmation.claim
    if authorization.derived:
        found |= authorization.derived.claims
    return found


def _signed(authorization: Authorization, body: dict[str, Any]) -> str:
    """Sign a JWT, with the place in the status lists by which APIs find out that it was recalled."""
    place = _place(authorization)
    if place is not None:
        body = {**body, "status": status_index.claim(place)}
    alg = fapi.signing_alg(authorization.client.profile, authorization.target.alg)
    return jose.sign(body, keyring.signer(alg), typ="at+jwt")


def _place(authorization: Authorization) -> int | None:
    if authorization.derived:
        return authorization.derived.place
    family = authorization.family
    return family.status_index if family else status_index.of_service(authorization.client.client_id)


def _id_token(authorization: Authorization, access_token: str, now: datetime) -> str:
    """OpenID Connect Core §2; after a refresh with the original `auth_time` and without `nonce` (§12.2).

    Raises `NoEncryptionKey` where the client wants it encrypted.
    """
    family, person, client = authorization.family, authorization.person, authorization.client
    assert family is not None
    assert person is not None
    alg = client.id_token_alg
    issued = claims.seconds(now)
    body: dict[str, Any] = {
        "iss": config.current().issuer,
        "sub": family.sub,
        "aud": client.client_id,
        "exp": issued + int(config.current().access_token_ttl.total_seconds()),
        "iat": issued,
        "auth_time": claims.seconds(family.auth_time),
        "acr": claims.acr_told(family.acr, family.claims),
        "amr": list(family.amr),
        "sid": family.sid,
        "at_hash": claims.at_hash(access_token, alg),
    }
    if authorization.nonce is not None:
        body["nonce"] = authorization.nonce
    possible = policy.possible_scopes(client, for_person=True)
    told = claims.asked_for(person, claims.ID_TOKEN, family.claims, authorization.scopes, possible)
    if client.id_token_claims == "scopes":  # noqa: S105 - a mode's name
        told |= claims.of_person(person, authorization.scopes)
    return encryption.for_client(client, encryption.ID_TOKEN, jose.sign(told | body, keyring.signer(alg)))
