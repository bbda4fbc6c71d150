"""Clients that prove themselves by a signature: private_key_jwt and client_secret_jwt (RFC 7523 §2.2 and §3).

The client's registration decides which algorithms and keys count, never the assertion. Until the signature is right, a
refusal says nothing; afterwards it tells the client's developer what to change.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from auth_server import config, database
from auth_server.clients import fapi, keys, metadata, secrets
from auth_server.clients.client import Client
from auth_server.errors import InvalidClient
from auth_server.infra import clock, seen
from auth_server.keys import jose
from auth_server.keys.jose import BadToken, Key, Unverified

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LEEWAY = timedelta(seconds=60)
LIFE = timedelta(minutes=5)
LONGEST_SAID = timedelta(hours=1)
_PURPOSE = "client-assertion"
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
_LONGEST = 8192
_LONGEST_JTI = 255
_TYPES = ("jwt", "client-authentication+jwt")
_REFUSED_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "b64"})
"""Keys that come along, and what would change what was signed (RFC 7797)."""


def read(presented: str) -> Unverified:
    """Take an assertion apart; raise `InvalidClient`."""
    try:
        if len(presented) > _LONGEST or not _COMPACT.match(presented):
            raise BadToken("not a compact JWS")
        return jose.read(presented)
    except BadToken as cause:
        raise InvalidClient(detail=f"malformed assertion: {cause}") from None


def claimed_client(assertion: Unverified) -> str:
    """Return the client id that an assertion names, which proves nothing; "" when it names none."""
    try:
        named = assertion.claimed().get("sub")
    except BadToken:
        return ""
    return named if isinstance(named, str) else ""


def algorithms(client: Client) -> tuple[str, ...]:
    """Return what the client may sign with."""
    registered = client.details.get("token_endpoint_auth_signing_alg")
    refused = (fapi.WEAKER,) if client.is_fapi else ()
    possible = metadata.ASSERTION_ALGORITHMS.get(client.auth_method or "", ())
    return tuple(alg for alg in possible if registered in (None, alg) and alg not in refused)


def check(client: Client, assertion: Unverified, audiences: Sequence[str]) -> None:
    """Refuse an assertion that does not prove just now that the client made it for us; raise `InvalidClient`.

    `audiences` are our names for this request. A good assertion is used up, and committed so, before it returns.
    """
    claims = _verified(client, assertion)
    if claims.get("iss") != client.client_id or claims.get("sub") != client.client_id:
        raise _refused("iss and sub of the assertion must be the client id")
    if not _is_for_us(claims.get("aud"), client, audiences):
        raise _refused("aud of the assertion must be the issuer" + (", as a text" if client.is_fapi else ""))
    until = _until(claims, is_strict=client.is_fapi)
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= _LONGEST_JTI:
        raise _refused(f"the assertion needs a jti, a text of at most {_LONGEST_JTI} characters")
    if not seen.first_time(_PURPOSE, f"{client.client_id} {jti}", until):
        raise _refused("the assertion was used before: make a new one, with a jti of its own, for each request")
    database.release()  # nobody should wait while a token is signed


def _verified(client: Client, assertion: Unverified) -> dict[str, Any]:
    """Return the claims that one of the client's own keys has signed."""
    alg, kid, typ = (assertion.header.get(name) for name in ("alg", "kid", "typ"))
    if alg not in algorithms(client):
        raise InvalidClient(detail="the assertion's algorithm is not one of the client's")
    if not _REFUSED_HEADERS.isdisjoint(assertion.header):
        raise InvalidClient(detail="the assertion brings a key along, or another form of payload")
    if typ is not None and str(typ).lower().removeprefix("application/") not in _TYPES:
        raise InvalidClient(detail="typ of the assertion is another kind of token's")
    if kid is not None and not isinstance(kid, str):
        raise InvalidClient(detail="kid of the assertion is no text")
    found = _shared_keys(client) if client.auth_method == metadata.SIGNS_WITH_SECRET else keys.find(client, alg, kid)
    for key in found.keys:
        try:
            return assertion.verified_by(key)
        except BadToken:
            continue
    cause = "signed by none of the client's keys" if found.keys else "the client has no key for it"
    raise InvalidClient(detail="; ".join(filter(None, (cause, found.problem)))[:255])


def _shared_keys(client: Client) -> keys.Found:
    found: list[Key] = []
    for secret in client.secrets:
        raw = secrets.read(secret)
        if raw is not None:
            found.append(jose.shared(raw))
    return keys.Found(tuple(found), "" if found else "no readable secret: add one")


def _is_for_us(audience: Any, client: Client, audiences: Sequence[str]) -> bool:
    """The issuer, as FAPI 2.0 §5.3.2.1 wants it; for others the token endpoint or the one in use too (RFC 7523 §3)."""
    if client.is_fapi:
        return bool(audience == config.current().issuer)
    named = audience if isinstance(audience, list) else [audience]
    return bool(named) and all(isinstance(name, str) and name in audiences for name in named)


def _until(claims: dict[str, Any], *, is_strict: bool) -> datetime:
    """Check the times of an assertion and return when it is over for good.

    Deviation: some libraries say an hour and cannot be told otherwise. Such an assertion counts for `LIFE` after `iat`.
    """
    now = clock.now().timestamp()
    leeway, life = LEEWAY.total_seconds(), LIFE.total_seconds()
    expires, issued, begins = (_moment(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None:
        raise _refused("the assertion needs an exp")
    if max(issued or 0, begins or 0) > now + leeway:
        raise _refused("the assertion is from the future: iat or nbf has not come yet")
    if expires > now + life + leeway:
        if is_strict or issued is None or expires > now + LONGEST_SAID.total_seconds() + leeway:
            raise _refused("exp of the assertion is too far ahead: use at most 5 minutes")
        expires = issued + life
    if expires <= now - leeway:
        raise _refused("the assertion has expired")
    return datetime.fromtimestamp(expires + leeway, UTC)


def _moment(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e11 or not math.isfinite(value):
        raise _refused(f"{name} of the assertion must be a number of seconds")
    return float(value)


def _refused(sentence: str) -> InvalidClient:
    """Return what is told to the client's developer: the signature has shown whose assertion it is."""
    return InvalidClient(sentence, detail=sentence)
