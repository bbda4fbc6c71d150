"""Signed authorization requests (RFC 9101): the parameters that count are those which the app's own key has signed.

By value only: an address (`request_uri`) would have to be fetched while a person waits, and a pushed request
(RFC 9126) does what it was for.
"""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from auth_server import config
from auth_server.clients import fapi, keys
from auth_server.clients.client import Client
from auth_server.errors import InvalidRequestObject
from auth_server.infra import clock
from auth_server.keys import access_token, foreign, jose
from auth_server.keys.jose import BadToken

NAME = "request"
_LEEWAY = timedelta(seconds=60)
_LONGEST_LIFE = timedelta(minutes=60)
_TYPES = ("jwt", "oauth-authz-req+jwt")
_REFUSED_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "b64"})
_ABOUT_THE_TOKEN = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})
Params = dict[str, list[str]]


def algorithms(client: Client) -> tuple[str, ...]:
    """Return what the client may sign with."""
    registered = client.details.get("request_object_signing_alg")
    refused = (fapi.WEAKER,) if client.is_fapi else ()
    return tuple(alg for alg in foreign.ALGORITHMS if registered in (None, alg) and alg not in refused)


def opened(client: Client, params: Params) -> Params:
    """Return the signed parameters in place of what came beside them (§6.3); raise `InvalidRequestObject`.

    Without a request object the parameters come back as they are.
    """
    sent = params.get(NAME, [])
    if not sent:
        return params
    if len(sent) > 1 or "request_uri" in params:
        raise InvalidRequestObject("send one request object, and nothing else that stands for the request")
    claims = _verified(client, sent[0])
    _check(client, claims)
    return {
        **{name: _texts(value) for name, value in claims.items() if name not in _ABOUT_THE_TOKEN},
        "client_id": [client.client_id],
    }


def _verified(client: Client, presented: str) -> dict[str, Any]:
    """Return the claims that one of the client's own keys has signed."""
    try:
        unverified = jose.read(presented)
    except BadToken:
        raise InvalidRequestObject("the request object is no compact JWS") from None
    alg, kid, typ = (unverified.header.get(name) for name in ("alg", "kid", "typ"))
    if alg not in algorithms(client):
        raise InvalidRequestObject("the request object is signed with an algorithm that is not the client's")
    if not _REFUSED_HEADERS.isdisjoint(unverified.header) or not isinstance(kid, str | None):
        raise InvalidRequestObject("the request object brings a key along, or another form of payload")
    if typ is not None and str(typ).lower().removeprefix("application/") not in _TYPES:
        raise InvalidRequestObject("typ of the request object is another kind of token's")
    found = keys.find(client, str(alg), kid)
    for key in found.keys:
        try:
            return unverified.verified_by(key)
        except BadToken:
            continue
    raise InvalidRequestObject("the request object is signed by none of the client's keys", detail=found.problem)


def _check(client: Client, claims: dict[str, Any]) -> None:
    """§6.2, §10.8: made by this client, for us, now, and no other kind of token."""
    if claims.get("iss") != client.client_id or claims.get("client_id", client.client_id) != client.client_id:
        raise InvalidRequestObject("iss and client_id of the request object must be the client id")
    if config.current().issuer not in access_token.audience_of(claims):
        raise InvalidRequestObject("aud of the request object must be the issuer")
    if "sub" in claims or not {NAME, "request_uri"}.isdisjoint(claims):
        raise InvalidRequestObject("a request object has no sub, no request and no request_uri")
    now, leeway = clock.now().timestamp(), _LEEWAY.total_seconds()
    if client.is_fapi:
        _check_strictly(claims, now)
    if _moment(claims, "exp", now + 1) <= now - leeway:
        raise InvalidRequestObject("the request object has expired")
    if max(_moment(claims, name, 0) for name in ("nbf", "iat")) > now + leeway:
        raise InvalidRequestObject("the request object is from the future: nbf or iat has not come yet")


def _check_strictly(claims: dict[str, Any], now: float) -> None:
    """FAPI 2.0 Message Signing §5.3.1: it says from when until when it counts, and that is not long."""
    if "exp" not in claims or "nbf" not in claims:
        raise InvalidRequestObject("the request object needs an exp and an nbf")
    begins, longest = _moment(claims, "nbf", 0), _LONGEST_LIFE.total_seconds()
    if _moment(claims, "exp", 0) - begins > longest or now - begins > longest + _LEEWAY.total_seconds():
        raise InvalidRequestObject("the request object counts for an hour from its nbf at most")


def _moment(claims: dict[str, Any], name: str, default: float) -> float:
    value = claims.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e11:
        raise InvalidRequestObject(f"{name} of the request object must be a number of seconds")
    return float(value)


def _texts(value: Any) -> list[str]:
    """Return a claim as the parameter that it stands for; a list is a parameter that is repeated."""
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, int) and not isinstance(value, bool):
        return [str(value)]
    if isinstance(value, dict):
        return [json.dumps(value)]
    raise InvalidRequestObject("the request object has a parameter that is neither text nor number")
