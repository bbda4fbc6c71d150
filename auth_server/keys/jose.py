"""JSON Web Signatures and keys: the thin layer over joserfc that everything else uses.

The algorithm is a property of the key, never of a token's header (RFC 8725 §3.1).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, JWKRegistry, OctKey, OKPKey, RSAKey
from joserfc.util import urlsafe_b64encode

ALGORITHMS = ("RS256", "ES256", "EdDSA")
"""What we sign with."""
_VERIFIED = (*ALGORITHMS, "PS256", "HS256")
"""What can be verified, where a key is for it."""
_LONGEST_TOKEN = 16_384
# Deviation: RFC 9864 deprecates the name "EdDSA" for "Ed25519"; libraries that verify tokens know only the old name.
jws.JWSRegistry.algorithms["EdDSA"].security_warning = None
# Deeply nested JSON ends in a RecursionError, an unknown curve in a LookupError.
MALFORMED = (JoseError, ValueError, TypeError, RecursionError, LookupError)
_encode = json.JSONEncoder(separators=(",", ":")).encode
_REGISTRIES = {alg: jws.JWSRegistry(algorithms=[alg]) for alg in _VERIFIED}

NativeKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
JwkKey = RSAKey | ECKey | OKPKey | OctKey


class BadToken(Exception):
    """The text is no token that this key signed; the message says why, for logs only."""


@dataclass(frozen=True)
class Key:
    """A key object, parsed once (importing an RSA key costs sixty signatures). `jwk` may be private or public."""

    kid: str
    alg: str
    jwk: JwkKey
    x5t: str | None = None
    """The thumbprint of the certificate that its set gives with it; "" when that cannot be read."""


def generate(alg: str) -> NativeKey:
    """Make a private key for one of `ALGORITHMS`."""
    if alg == "RS256":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    if alg == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return ed25519.Ed25519PrivateKey.generate()


def private_bytes(native: NativeKey) -> bytes:
    """Return the key as PKCS #8 DER, unencrypted: to be sealed at once."""
    return native.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def load_private(der: bytes) -> NativeKey:
    """Load a key that this server made; the primes of an RSA key are not checked again (that takes 45 ms)."""
    native = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(native, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        raise BadToken("unknown key type")
    return native


def wrap(native: NativeKey) -> JwkKey:
    """Return the private key as a joserfc key object."""
    if isinstance(native, rsa.RSAPrivateKey):
        return RSAKey.import_key(native)
    if isinstance(native, ec.EllipticCurvePrivateKey):
        return ECKey.import_key(native)
    return OKPKey.import_key(native)


def public_jwk(native: NativeKey, alg: str) -> dict[str, Any]:
    """Return the public JWK with `kid` (RFC 7638 thumbprint), `alg` and `use`."""
    key = wrap(native)
    return {**key.as_dict(private=False), "kid": key.thumbprint(), "alg": alg, "use": "sig"}


def shared(secret: str) -> Key:
    """Return a client's secret as the key of its HS256 signatures (RFC 7518 §3.2)."""
    return Key("", "HS256", OctKey.import_key(secret))


def import_public(jwk: dict[str, Any]) -> Key:
    """Parse a public JWK of a key set; raise `BadToken` when it is no signing key of ours."""
    alg = jwk.get("alg")
    kid = jwk.get("kid")
    if alg not in ALGORITHMS or not isinstance(kid, str):
        raise BadToken("key without known alg or kid")
    try:
        return Key(kid, alg, public_half(jwk))
    except MALFORMED as cause:
        raise BadToken("malformed key") from cause


def public_half(jwk: dict[str, Any]) -> JwkKey:
    """Parse the public members of an asymmetric JWK, and no other; raise `BadToken` or one of `MALFORMED`."""
    key = JWKRegistry.import_key({name: jwk[name] for name in jwk if name in ("kty", "n", "e", "crv", "x", "y")})
    if not isinstance(key, RSAKey | ECKey | OKPKey):
        raise BadToken("symmetric key")
    return key


def public_bytes(key: JwkKey) -> bytes:
    """Return the public half as DER (SubjectPublicKeyInfo), as certificates have it; "" of a shared key."""
    public = key.public_key
    return b"" if isinstance(public, bytes) else public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def sign(claims: dict[str, Any], key: Key, typ: str = "JWT") -> str:
    """Return a compact JWS over the claims, with `kid`, `alg` and `typ` in its header."""
    signed = _header_segment(key.alg, key.kid, typ) + b"." + urlsafe_b64encode(_encode(claims).encode())
    signature = jws.JWSRegistry.algorithms[key.alg].sign(signed, key.jwk)
    return (signed + b"." + urlsafe_b64encode(signature)).decode()


@lru_cache(maxsize=64)
def _header_segment(alg: str, kid: str, typ: str) -> bytes:
    """Return the first segment of a compact JWS (RFC 7515 §7.1): a key's is the same each time."""
    return urlsafe_b64encode(_encode({"alg": alg, "kid": kid, "typ": typ}).encode())


@dataclass(frozen=True)
class Unverified:
    """A compact JWS that was taken apart and not verified; its header is for finding the key by `kid`."""

    header: dict[str, Any]
    _signature: jws.CompactSignature

    def claimed(self) -> dict[str, Any]:
        """Return claims for which nobody has vouched: they are for finding whose keys to use; raise `BadToken`."""
        try:
            claims = json.loads(self._signature.payload)
        except MALFORMED as cause:
            raise BadToken("malformed payload") from cause
        if not isinstance(claims, dict):
            raise BadToken("claims are no object")
        return claims

    def verified_by(self, key: Key) -> dict[str, Any]:
        """Return the claims that this key signed with its own algorithm; raise `BadToken`."""
        if self.header.get("alg") != key.alg:
            raise BadToken("algorithm differs from the key's")
        try:
            is_good = jws.validate_compact(self._signature, key.jwk, registry=_REGISTRIES[key.alg])
            claims = json.loads(self._signature.payload) if is_good else None
        except MALFORMED as cause:
            raise BadToken("bad signature or payload") from cause
        if not isinstance(claims, dict):
            raise BadToken("bad signature, or claims are no object")
        return claims


def read(token: str, *, longest: int = _LONGEST_TOKEN) -> Unverified:
    """Take a compact JWS of at most so many characters apart; raise `BadToken`."""
    if len(token) > longest or token.count(".") != 2:
        raise BadToken("not a compact JWS")
    try:
        signature = jws.extract_compact(token.encode("ascii"))
        found = signature.headers()
    except MALFORMED as cause:
        raise BadToken("malformed header") from cause
    if not isinstance(found, dict) or "crit" in found:
        raise BadToken("unsupported header")
    return Unverified(found, signature)


def header(token: str) -> dict[str, Any]:
    """Return the unverified header; raise `BadToken`."""
    return read(token).header


def verify(token: str, key: Key) -> dict[str, Any]:
    """Return the claims that this key signed with its own algorithm; raise `BadToken`."""
    return read(token).verified_by(key)
