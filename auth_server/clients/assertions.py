"""Clients that prove themselves by a signature: private_key_jwt and client_secret_jwt (RFC 7523 §2.2 and §3).

The client's registration decides which algorithms and keys count, never the assertion. Until the signature is right, a
refusal says nothing; afterwards it tells the client's developer what to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auth_server import config, database
from auth_server.clients import fapi, keys, lifetimes, metadata, secrets, signed
from auth_server.clients.client import Client
from auth_server.clients.lifetimes import BadLifetime
from auth_server.clients.signed import LONGEST_JTI, NotSigned
from auth_server.errors import InvalidClient
from auth_server.infra import seen
from auth_server.keys import jose
from auth_server.keys.jose import Key, Unverified

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_PURPOSE = "client-assertion"
_TYPES = (None, "jwt", "client-authentication+jwt")


def read(presented: str) -> Unverified:
    """Take an assertion apart; raise `InvalidClient`."""
    try:
        return signed.read(presented)
    except NotSigned as cause:
        raise InvalidClient(detail=str(cause)) from None


def claimed_client(assertion: Unverified) -> str:
    """Return the client id that an assertion names, which proves nothing; "" when it names none."""
    return signed.claimed(assertion, "sub")


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
        raise refused("iss and sub of the assertion must be the client id")
    if not _is_for_us(claims.get("aud"), client, audiences):
        raise refused("aud of the assertion must be the issuer" + (", as a text" if client.is_fapi else ""))
    try:
        until = lifetimes.of_single_use(claims, is_strict=client.is_fapi)
    except BadLifetime as cause:
        raise refused(str(cause)) from None
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_JTI:
        raise refused(f"the assertion needs a jti, a text of at most {LONGEST_JTI} characters")
    if not seen.first_time(_PURPOSE, f"{client.client_id} {jti}", until):
        raise refused("the assertion was used before: make a new one, with a jti of its own, for each request")
    database.release()  # nobody should wait while a token is signed


def _verified(client: Client, assertion: Unverified) -> dict[str, Any]:
    """Return the claims that one of the client's own keys has signed."""

    def find(alg: str, kid: str | None) -> keys.Found:
        return _shared_keys(client) if client.auth_method == metadata.SIGNS_WITH_SECRET else keys.find(client, alg, kid)

    try:
        return signed.verified(assertion, whose="client", algorithms=algorithms(client), types=_TYPES, find=find)
    except NotSigned as cause:
        raise InvalidClient(detail=str(cause)) from None


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


def refused(sentence: str) -> InvalidClient:
    """Return what is told to the client's developer: the signature has shown whose assertion it is."""
    return InvalidClient(sentence, detail=sentence)
