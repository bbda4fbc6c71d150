"""Answers to programs: JSON and headers as values, made without a framework.

Machine endpoints return an `Answer`; `web.machines` adds what every such answer carries and sends it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from auth_server.errors import (
    InsufficientScope,
    InvalidClient,
    InvalidDpopProof,
    InvalidToken,
    ProtocolError,
    UseDpopNonce,
)
from auth_server.keys import dpop

Headers = tuple[tuple[str, str], ...]

NO_STORE: Headers = (("Cache-Control", "no-store"), ("Pragma", "no-cache"))
_JSON: Headers = (("Content-Type", "application/json"),)
_encode = json.JSONEncoder(separators=(",", ":")).encode
_WORDS = {404: "there is no such endpoint", 405: "this endpoint does not take that method"}
_RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, body and the headers that belong to it; `Content-Length` is added when it is sent.

    `is_refusal`: with a status of 400 to 499 it counts against the caller's address.
    """

    status: int
    body: bytes = b""
    headers: Headers = ()
    is_refusal: bool = True


def as_json(body: object, status: int = 200, headers: Headers = ()) -> Answer:
    """Return JSON as token answers want it: UTF-8, not to be stored (RFC 6749 §5.1)."""
    return Answer(status, _encode(body).encode(), _JSON + NO_STORE + headers)


def as_jwt(token: str) -> Answer:
    """Return a JWT as a whole answer (OpenID Connect Core §5.3.2)."""
    return Answer(200, token.encode(), (("Content-Type", "application/jwt"), *NO_STORE))


def of_status(status: int, headers: Headers = ()) -> Answer:
    """Return the refusal of a request that no endpoint has looked at."""
    description = _WORDS.get(status, "the request is malformed")
    return as_json({"error": "invalid_request", "error_description": description}, status, headers)


def of_error(error: ProtocolError, *, had_credentials: bool) -> Answer:
    """Answer a client: the RFC's JSON (RFC 6749 §5.2), and challenges where they are due.

    `had_credentials`: the request came with an Authorization header; a bare one is told less (RFC 6750 §3).
    """
    body = {"error": error.code}
    if error.description:
        body["error_description"] = error.description
    headers: Headers = ()
    if error.retry_after_seconds:
        headers += (("Retry-After", str(error.retry_after_seconds)),)
    headers += tuple(("WWW-Authenticate", challenge) for challenge in _challenges(error, had_credentials))
    if isinstance(error, UseDpopNonce):
        headers += (("DPoP-Nonce", error.nonce),)
    return replace(as_json(body, error.status, headers), is_refusal=error.is_refusal)


def unavailable() -> Answer:
    """Answer 503 when the database cannot: never a false success."""
    body = {"error": "temporarily_unavailable", "error_description": "try again"}
    return as_json(body, 503, (("Retry-After", str(_RETRY_AFTER_SECONDS)),))


def _challenges(error: ProtocolError, had_credentials: bool) -> tuple[str, ...]:
    """RFC 6750 §3, RFC 9449 §7.1, RFC 9110 §11.6.1, RFC 9728 §5.1."""
    if isinstance(error, InvalidClient):
        return ('Basic realm="oauth", charset="UTF-8"',) if had_credentials else ()
    where = f', resource_metadata="{error.resource_metadata}"' if error.resource_metadata else ""
    if isinstance(error, InvalidToken) and not had_credentials:
        return f'Bearer realm="oauth"{where}', _DPOP + where
    if isinstance(error, InvalidToken):
        about = f'error="{error.code}", error_description="{error.description}"{where}'
        return (f"{_DPOP}, {about}",) if error.by_dpop else (f'Bearer realm="oauth", {about}',)
    if isinstance(error, InsufficientScope):
        return (f'Bearer realm="oauth", error="{error.code}", scope="{error.scope}"{where}',)
    if isinstance(error, InvalidDpopProof | UseDpopNonce) and error.status == 401:
        return (f'{_DPOP}, error="{error.code}"{where}',)
    return ()


_DPOP = f'DPoP realm="oauth", algs="{" ".join(dpop.ALGORITHMS)}"'
