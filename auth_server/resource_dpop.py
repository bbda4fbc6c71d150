"""DPoP at other APIs (RFC 9449 §7): a token that is bound to a key comes with a proof of it, made for this request.

The address in a proof is compared with the request's own. Give the API's `origin` where anybody can reach it under a
`Host` of their choice: a proof that was made for another site would fit a request that names that site. Proofs that
came before are remembered in this process, or by a function that several processes share.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import Any
from urllib.parse import quote

from flask import request

from auth_server.errors import InvalidDpopProof, InvalidToken
from auth_server.keys import confirmation, dpop, jose

FirstTime = Callable[[str, datetime], bool]
"""Called with what identifies a proof and until when it could be used: False when it was seen before."""
_MOST_REMEMBERED = 100_000


class Memory:
    """Remembers proofs in this process, each for the two minutes that it could be used in."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}
        self._next_look = 0.0
        self._lock = Lock()

    def first_time(self, proof: str, until: datetime) -> bool:
        """Note a proof; False when it was there, or when nothing more can be remembered."""
        now = time.time()
        with self._lock:
            if self._until.get(proof, 0.0) > now:
                return False
            if len(self._until) >= _MOST_REMEMBERED and now >= self._next_look:
                self._until = {known: end for known, end in self._until.items() if end > now}
                self._next_look = now + 1  # looking at so many for every request would be slow
            if len(self._until) >= _MOST_REMEMBERED:
                return False
            self._until[proof] = until.timestamp()
            return True


def check_bearer(token: dict[str, Any]) -> confirmation.Confirmation | None:
    """Refuse a token that is bound to a key and came as a bearer token; raise `InvalidToken`.

    Returns the certificate that it is bound to instead, if it is.
    """
    bound_to = _bound_to(token)
    if bound_to is not None and bound_to.member == confirmation.JKT:
        raise InvalidToken(detail="bound to a key, and sent without a proof", by_dpop=True)
    return bound_to


def check_bound(token: dict[str, Any], first_time: FirstTime, origin: str) -> None:
    """Check the current request's proof; raise `InvalidDpopProof`, or `InvalidToken` for a token of another key.

    `origin` is scheme and host of the API; "" believes what Flask says of the request.
    """
    presented = request.headers.get("Authorization", "").partition(" ")[2].strip()
    try:
        proof = dpop.verify(
            request.headers.get("DPoP", ""),
            method=request.method,
            uri=(origin or request.host_url).rstrip("/") + quote(request.root_path + request.path),
            now=datetime.now(UTC),
            access_token=presented,
        )
    except dpop.BadProof as cause:
        raise _refused(f"the DPoP proof is refused: {cause}") from None
    if _bound_to(token) != proof.confirmation:
        raise InvalidToken(detail="bound to another key, or to none", by_dpop=True)
    if not first_time(f"{proof.jkt} {proof.jti}", proof.good_until):
        raise _refused("the DPoP proof was used before: make a new one for each request")


def _bound_to(token: dict[str, Any]) -> confirmation.Confirmation | None:
    try:
        return confirmation.of(token)
    except jose.BadToken as cause:
        raise InvalidToken(detail=str(cause)) from None


def _refused(description: str) -> InvalidDpopProof:
    refusal = InvalidDpopProof(description)
    refusal.status = 401  # RFC 9449 §7.1
    return refusal
