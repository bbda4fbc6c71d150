"""Public keys of others: which of a key set's may verify what, and which are refused (RFC 7517, RFC 8725).

A key is for the algorithms that its type and its own members allow, so that no token can choose another.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from auth_server.keys import certificate, jose
from auth_server.keys.jose import BadToken, JwkKey, Key

ALGORITHMS = ("RS256", "PS256", "ES256", "EdDSA")
"""What others may sign with: FAPI 2.0's, and RS256, which most have."""
_AGREEMENT = ("ECDH-ES", "ECDH-ES+A128KW", "ECDH-ES+A256KW")
ENCRYPTION_ALGORITHMS = ("RSA-OAEP-256", *_AGREEMENT)
"""What keys of others may be encrypted to with; no name is in both lists."""
MOST_KEYS = 20
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_RSA_BITS = range(2048, 8192 + 1)
_LONGEST_EXPONENT = 12
_LONGEST_KID = 255
_KEY_TYPES = ("RSA", "EC", "OKP")
_FOR_CURVE = {"P-256": ("ES256",), "Ed25519": ("EdDSA",)}
_AGREEMENT_CURVES = ("P-256", "P-384", "P-521", "X25519")
_ENCRYPTING = frozenset({"encrypt", "wrapKey", "deriveKey", "deriveBits"})


class BadKey(Exception):
    """A key that nobody should register; the message says why, in fixed words."""


def keys(jwk: Any) -> tuple[Key, ...]:
    """Return the key once for each algorithm that it may verify, or encrypt with where its `use` is `enc`.

    Raises `BadKey`: no key, a private or shared one, or a weak one.
    """
    if not isinstance(jwk, dict) or jwk.get("kty") not in (*_KEY_TYPES, "oct"):
        raise BadKey("expected keys of the types RSA, EC and OKP")
    if jwk["kty"] == "oct" or not _PRIVATE.isdisjoint(jwk):
        raise BadKey("only public keys belong here; this one is compromised now, replace it")
    kid = jwk.get("kid", "")
    if not isinstance(kid, str) or len(kid) > _LONGEST_KID:
        raise BadKey(f"a kid is a text of at most {_LONGEST_KID} characters")
    if jwk["kty"] == "RSA":
        check_rsa(jwk)
    try:
        parsed = jose.public_half(jwk)
    except (*jose.MALFORMED, BadToken):
        raise BadKey("malformed key") from None
    x5t = _x5t(jwk["x5c"], parsed) if "x5c" in jwk else None
    return tuple(Key(kid, alg, parsed, x5t) for alg in _algorithms(jwk))


def of_set(document: Any, *, strict: bool = False) -> tuple[Key, ...]:
    """Return the keys of a JWK set. Bad ones are left out, like unknown ones (RFC 7517 §5), or refused if `strict`.

    Raises `BadKey` when it is no set, or one of too many keys.
    """
    members = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(members, list) or len(members) > MOST_KEYS:
        raise BadKey(f"expected a key set: an object with a list `keys` of at most {MOST_KEYS}")
    found: list[Key] = []
    for member in members:
        try:
            found.extend(keys(member))
        except BadKey:
            if strict:
                raise
    return tuple(found)


def _algorithms(jwk: dict[str, Any]) -> tuple[str, ...]:
    if jwk.get("use") == "enc":
        return _encrypting(jwk)
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        return ()
    possible = ("RS256", "PS256") if jwk["kty"] == "RSA" else _FOR_CURVE.get(str(jwk.get("crv")), ())
    return tuple(alg for alg in possible if jwk.get("alg", alg) == alg)


def _x5t(chain: Any, key: JwkKey) -> str:
    """Return the thumbprint of the first of a key's certificates (RFC 7517 §4.7), "" when that is none, or not its own.

    Such a key verifies signatures all the same: nobody looks at its certificate for that.
    """
    first = chain[0] if isinstance(chain, list) and chain else None
    try:
        found = certificate.of_der(base64.b64decode(first, validate=True)) if isinstance(first, str) else None
    except (binascii.Error, *certificate.MALFORMED):
        return ""
    return found.thumbprint if found and found.public_key == jose.public_bytes(key) else ""


def _encrypting(jwk: dict[str, Any]) -> tuple[str, ...]:
    operations = jwk.get("key_ops", [])
    if not isinstance(operations, list) or (operations and not any(name in operations for name in _ENCRYPTING)):
        return ()
    agrees = jwk.get("crv") in _AGREEMENT_CURVES
    possible: tuple[str, ...] = _AGREEMENT if agrees else ()
    if jwk["kty"] == "RSA":
        possible = ("RSA-OAEP-256",)
    return tuple(alg for alg in possible if jwk.get("alg", alg) == alg)


def check_rsa(jwk: dict[str, Any]) -> None:
    """Look at the size before anything is computed with it; raise `BadKey`."""
    modulus, exponent = jwk.get("n"), jwk.get("e")
    if not isinstance(modulus, str) or not isinstance(exponent, str) or len(exponent) > _LONGEST_EXPONENT:
        raise BadKey("malformed key")
    try:
        number = base64.urlsafe_b64decode(modulus + "=" * (-len(modulus) % 4))
    except (ValueError, binascii.Error):
        raise BadKey("malformed key") from None
    if int.from_bytes(number, "big").bit_length() not in _RSA_BITS:
        raise BadKey(f"an RSA key has {_RSA_BITS.start} to {_RSA_BITS.stop - 1} bits")
