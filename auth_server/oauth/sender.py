"""Sender-constrained tokens (RFC 9449): the proof of a request, our nonces, and that each proof counts once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from werkzeug.datastructures import EnvironHeaders

from auth_server import config
from auth_server.errors import InvalidDpopProof, UseDpopNonce
from auth_server.infra import clock, crypto, seen
from auth_server.keys import dpop
from auth_server.keys.dpop import Proof

_NONCE_LIFE = timedelta(minutes=5)
"""A nonce is good in the five minutes it was given in, and in the next."""


class Sent(Protocol):
    """What is needed of a request."""

    method: str

    @property
    def headers(self) -> EnvironHeaders: ...


@dataclass(frozen=True)
class Sender:
    """Who sent a request: whoever holds this key. `spend` must follow before anything is given for it."""

    proof: Proof

    @property
    def jkt(self) -> str:
        return self.proof.jkt

    def spend(self) -> None:
        """Let the proof count, once in all processes; raise `InvalidDpopProof` for one that came before."""
        if not seen.first_time("dpop", f"{self.proof.jkt} {self.proof.jti}", self.proof.good_until):
            raise InvalidDpopProof("the DPoP proof was used before: make a new one for each request")


def of(request: Sent, path: str, *, access_token: str | None = None) -> Sender | None:
    """Return who sent a request to `path`, None without a proof; raise `InvalidDpopProof` or `UseDpopNonce`."""
    presented = request.headers.get("DPoP")
    if presented is None:
        return None
    uri = config.current().url(path)
    try:
        proof = dpop.verify(presented, method=request.method, uri=uri, now=clock.now(), access_token=access_token)
    except dpop.BadProof as cause:
        raise InvalidDpopProof(f"the DPoP proof is refused: {cause}") from None
    _check_nonce(proof)
    return Sender(proof)


def _check_nonce(proof: Proof) -> None:
    """RFC 9449 §8: where nonces are demanded, and where one was sent."""
    if proof.nonce is None and not config.current().dpop_nonce:
        return
    if proof.nonce is None or not any(crypto.same(proof.nonce, _nonce(age)) for age in (0, 1)):
        raise UseDpopNonce(_nonce(0))


def _nonce(age: int) -> str:
    """Return the nonce of these minutes, or of `age` times as many before; the same in all processes."""
    window = int(clock.now().timestamp() // _NONCE_LIFE.total_seconds()) - age
    return crypto.tag("dpop-nonce", str(window))
