"""An app that decrypts: its keys, and what it finds in what was encrypted to it."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from functools import cache
from typing import Any

from joserfc import jwe
from joserfc.jwk import ECKey, OKPKey, RSAKey

CURVES = {"ECDH-ES": "P-256", "ECDH-ES+A128KW": "X25519", "ECDH-ES+A256KW": "P-521"}
"""A curve to try each with."""


def header_of(token: str) -> dict[str, Any]:
    """Return the header of a JWS or JWE."""
    part = token.split(".")[0]
    found: dict[str, Any] = json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return found


@dataclass(frozen=True)
class Recipient:
    """A key pair for encryption."""

    alg: str
    native: RSAKey | ECKey | OKPKey
    kid: str = "enc"

    def jwk(self, **changed: Any) -> dict[str, Any]:
        """Return the public half; None leaves a member out."""
        found = {**self.native.as_dict(private=False), "kid": self.kid, "use": "enc", "alg": self.alg, **changed}
        return {name: value for name, value in found.items() if value is not None}

    def opened(self, token: str) -> str:
        """Return what is in a compact JWE."""
        assert token.count(".") == 4
        enc = header_of(token)["enc"]
        found = jwe.decrypt_compact(token, self.native, algorithms=[self.alg, enc])
        assert found.plaintext is not None
        return found.plaintext.decode()


@cache
def recipient(alg: str, kid: str = "enc") -> Recipient:
    """Make a key pair, once for each name."""
    if alg == "RSA-OAEP-256":
        return Recipient(alg, RSAKey.generate_key(2048, auto_kid=False), kid)
    curve = CURVES[alg]
    kind: Any = OKPKey if curve.startswith("X") else ECKey
    return Recipient(alg, kind.generate_key(curve, auto_kid=False), kid)
