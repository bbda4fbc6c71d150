"""JSON Web Encryption for one recipient, whose public key is registered (RFC 7516); nothing is ever decrypted here."""

from __future__ import annotations

from joserfc import jwe

from auth_server.keys import foreign, jose
from auth_server.keys.jose import BadToken, Key

CONTENT_ALGORITHMS = ("A128CBC-HS256", "A256GCM")
"""What the content is encrypted with; the first where a client names none (OpenID Connect Registration §2)."""
_REGISTRY = jwe.JWERegistry(algorithms=[*foreign.ENCRYPTION_ALGORITHMS, *CONTENT_ALGORITHMS])


def encrypt(content: str, key: Key, enc: str, *, is_jwt: bool) -> str:
    """Return a compact JWE; with `is_jwt` its content is a JWT, and the header says so (RFC 7519 §5.2).

    Raises `BadToken` for a key that is good for nothing, such as a point that is on no curve.
    """
    header = {"alg": key.alg, "enc": enc}
    if key.kid:
        header["kid"] = key.kid
    if is_jwt:
        header["cty"] = "JWT"
    try:
        return jwe.encrypt_compact(header, content.encode(), key.jwk, registry=_REGISTRY)
    except jose.MALFORMED as cause:
        raise BadToken("the key cannot encrypt") from cause
