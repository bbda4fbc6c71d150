"""A client's side of RFC 7523: keys, and assertions of every kind, right and wrong."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from joserfc.jwk import ECKey, OKPKey, RSAKey

from auth_server.infra import clock

TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
Native = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass(frozen=True)
class Signer:
    """A key pair (or a shared secret) with the algorithm that it signs with."""

    alg: str
    native: Native | bytes
    kid: str = "k1"

    def signature(self, data: bytes) -> bytes:
        native = self.native
        if isinstance(native, bytes):
            return hmac.new(native, data, hashlib.sha256).digest()
        if isinstance(native, ed25519.Ed25519PrivateKey):
            return native.sign(data)
        if isinstance(native, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(native.sign(data, ec.ECDSA(hashes.SHA256())))
            return r.to_bytes(32, "big") + s.to_bytes(32, "big")
        if self.alg == "PS256":
            return native.sign(data, padding.PSS(padding.MGF1(hashes.SHA256()), 32), hashes.SHA256())
        return native.sign(data, padding.PKCS1v15(), hashes.SHA256())

    def jwk(self, **changed: Any) -> dict[str, Any]:
        """Return the public half; None leaves a member out."""
        assert not isinstance(self.native, bytes)
        kind = {"RS": RSAKey, "PS": RSAKey, "ES": ECKey}.get(self.alg[:2], OKPKey)
        public = kind.import_key(self.native).as_dict(private=False)
        members = {**public, "kid": self.kid, "alg": self.alg, "use": "sig", **changed}
        return {name: value for name, value in members.items() if value is not None}

    def private_pem(self) -> bytes:
        assert not isinstance(self.native, bytes)
        return self.native.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def token(self, claims: Any, **header: Any) -> str:
        """Return a compact JWS; a header of None is left out, claims may be raw bytes."""
        members = {"alg": self.alg, "kid": self.kid, "typ": "JWT", **header}
        head = json.dumps({name: value for name, value in members.items() if value is not None})
        body = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        signed = f"{b64(head.encode())}.{b64(body)}"
        return f"{signed}.{b64(self.signature(signed.encode()))}"


def signer(alg: str, kid: str = "k1") -> Signer:
    """Make a key pair."""
    if alg in ("RS256", "PS256"):
        return Signer(alg, rsa.generate_private_key(public_exponent=65537, key_size=2048), kid)
    if alg == "ES256":
        return Signer(alg, ec.generate_private_key(ec.SECP256R1()), kid)
    return Signer(alg, ed25519.Ed25519PrivateKey.generate(), kid)


def claims(client_id: str, audience: Any, /, **changed: Any) -> dict[str, Any]:
    """Return the claims of a good assertion; None leaves one out, and times are seconds from now."""
    now = int(clock.now().timestamp())
    good = {"iss": client_id, "sub": client_id, "aud": audience, "jti": str(uuid.uuid4()), "iat": 0, "exp": 60}
    found = {name: value for name, value in {**good, **changed}.items() if value is not None}
    times = {name: now + found[name] for name in ("iat", "exp", "nbf", "auth_time") if type(found.get(name)) is int}
    return {**found, **times}


def fields(token: str, /, **more: str) -> dict[str, str]:
    """Return the parameters that carry an assertion."""
    return {"client_assertion_type": TYPE, "client_assertion": token, **more}
