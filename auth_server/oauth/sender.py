"""Sender-constrained tokens (RFC 9449, RFC 8705): what a request proves, our nonces, and each proof once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from werkzeug.datastructures import EnvironHeaders

from auth_server import config
from auth_server.clients import fapi
from auth_server.clients.client import Client
from auth_server.errors import InvalidDpopProof, InvalidRequest, UseDpopNonce
from auth_server.infra import clock, crypto, seen
from auth_server.keys import dpop
from auth_server.keys.certificate import Shown
from auth_server.keys.confirmation import Confirmation
from auth_server.keys.dpop import Proof

_NONCE_LIFE = timedelta(minutes=5)
"""A nonce is good in the five minutes it was given in, and in the next."""


class Sent(Protocol):
    """What is needed of a request."""

    method: str

    @property
    def headers(self) -> EnvironHeaders: ...

    @property
    def shown(self) -> Shown: ...


@dataclass(frozen=True)
class Sender:
    """Who sent a request: whoever holds this key. `spend` must follow before anything is given for it."""

    confirmation: Confirmation
    proof: Proof | None = None

    @property
    def jkt(self) -> str | None:
        """The thumbprint of its DPoP key."""
        return self.proof.jkt if self.proof else None

    def spend(self) -> None:
        """Let the proof count, once in all processes; raise `InvalidDpopProof` for one that came before.

        A certificate belongs to the connection, and counts for each request on it.
        """
        if self.proof is None:
            return
        if not seen.first_time("dpop", f"{self.proof.jkt} {self.proof.jti}", self.proof.good_until):
            raise InvalidDpopProof("the DPoP proof was used before: make a new one for each request")


def of(request: Sent, path: str, client: Client | None, *, access_token: str | None = None) -> Sender | None:
    """Return who sent a request to `path` by its DPoP proof, None without one.

    Raises `InvalidDpopProof` or `UseDpopNonce`.
    """
    presented = request.headers.get("DPoP")
    if presented is None:
        return None
    if client and client.certificate_bound:
        raise InvalidDpopProof("this client's tokens are bound to its certificate: leave the DPoP header out")
    uris = config.current().urls(path)
    try:
        proof = dpop.verify(presented, method=request.method, uri=uris, now=clock.now(), access_token=access_token)
    except dpop.BadProof as cause:
        raise InvalidDpopProof(f"the DPoP proof is refused: {cause}") from None
    if client and client.is_fapi and proof.alg == fapi.WEAKER:
        raise InvalidDpopProof("the DPoP proof is refused: this client signs with PS256, ES256 or EdDSA")
    _check_nonce(proof)
    return Sender(proof.confirmation, proof)


def of_token_request(request: Sent, path: str, client: Client) -> Sender | None:
    """Return to what the tokens of a request are bound; raise where the client must prove that, and did not.

    RFC 9449 §5, RFC 8705 §3.
    """
    found = of(request, path, client)
    if client.certificate_bound:
        shown = request.shown
        if shown.certificate is None:
            raise InvalidRequest("this client must show a certificate, to bind its tokens to", detail=shown.problem)
        return Sender(shown.certificate.confirmation)
    if found is None and client.dpop_bound:
        raise InvalidDpopProof("this client must send a DPoP proof: it is registered with dpop_bound_access_tokens")
    return found


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
