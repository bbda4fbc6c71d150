"""A DPoP key as an app holds it, and its proofs (RFC 9449 §4)."""

from __future__ import annotations

import hashlib
import json
import uuid
from base64 import urlsafe_b64encode
from typing import Any

from joserfc import jws
from joserfc.jwk import ECKey, OKPKey, RSAKey

from auth_server import config
from auth_server.infra import clock


class DpopKey:
    """One key; `proof` makes a proof of it, and what it is given changes the right one."""

    def __init__(self, alg: str = "ES256") -> None:
        self.alg = alg
        kinds: dict[str, Any] = {"ES256": (ECKey, "P-256"), "EdDSA": (OKPKey, "Ed25519")}
        kind, size = kinds.get(alg, (RSAKey, 2048))
        self.key = kind.generate_key(size, private=True)

    @property
    def jkt(self) -> str:
        return str(self.key.thumbprint())

    def proof(
        self,
        path: str = "/oauth/token",
        method: str = "POST",
        *,
        site: str = "",
        access_token: str | None = None,
        header: dict[str, Any] | None = None,
        **changed: Any,
    ) -> str:
        """Return a proof for a request to our `path`, or to another `site`'s.

        A value of None removes a claim or a member of the header.
        """
        claims: dict[str, Any] = {
            "jti": str(uuid.uuid4()),
            "htm": method,
            "htu": site + path if site else config.current().url(path),
            "iat": clock.epoch_seconds(clock.now()),
        }
        if access_token is not None:
            claims["ath"] = urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()).rstrip(b"=").decode()
        jwk = {name: value for name, value in self.key.as_dict(private=False).items() if name != "kid"}
        about = _without_none({"typ": "dpop+jwt", "alg": self.alg, "jwk": jwk, **(header or {})})
        signer = jws.JWSRegistry.algorithms[self.alg]
        signed = _encoded(about) + b"." + _encoded(_without_none({**claims, **changed}))
        return (signed + b"." + urlsafe_b64encode(signer.sign(signed, self.key)).rstrip(b"=")).decode()


def _encoded(value: dict[str, Any]) -> bytes:
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
