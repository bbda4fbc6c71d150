"""Random secrets, digests of them, and sealing (AEAD) of what must be read again.

Every key is derived from the master secret by HKDF with a label of its own, so that no two purposes share one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from auth_server import config

_ALPHANUMERIC = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_NONCE_BYTES = 12


class CannotUnseal(Exception):
    """The sealed value was made under another master secret, for another purpose or row, or was altered."""


def new_secret() -> str:
    """Return a fresh secret of 256 random bits, URL-safe (43 characters)."""
    return secrets.token_urlsafe(32)


def new_alphanumeric_secret() -> str:
    """Return 48 random letters and digits (285 bits): some clients mangle punctuation."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(48))


def digest(raw_secret: str) -> str:
    """Return the SHA-256 of a random secret, in hex: what we store where we only compare."""
    return hashlib.sha256(raw_secret.encode("utf-8", "surrogatepass")).hexdigest()


def same(a: str, b: str) -> bool:
    """Compare two strings in constant time."""
    return hmac.compare_digest(a.encode("utf-8", "surrogatepass"), b.encode("utf-8", "surrogatepass"))


def tag(label: str, text: str) -> str:
    """Return a keyed digest of `text` for one purpose: for seeds and lookup keys that must not be guessable."""
    key = _derived(config.current().secret_key, "tag:" + label)
    return hmac.new(key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def seal(purpose: str, plain: bytes, bound_to: str) -> str:
    """Encrypt under the master secret; `bound_to` (a row's id) is authenticated, so that rows cannot be swapped."""
    return _seal(_derived(config.current().secret_key, "seal:" + purpose), plain, f"{purpose}:{bound_to}")


def unseal(purpose: str, sealed: str, bound_to: str) -> bytes:
    """Decrypt with the present master secret or the previous one; raise `CannotUnseal`."""
    settings = config.current()
    for master in filter(None, (settings.secret_key, settings.secret_key_previous)):
        try:
            return _unseal(_derived(master, "seal:" + purpose), sealed, f"{purpose}:{bound_to}")
        except CannotUnseal:
            continue
    raise CannotUnseal(purpose)


def seal_with_secret(raw_secret: str, plain: bytes, purpose: str) -> str:
    """Encrypt under a key that only the holder of `raw_secret` (256 random bits) can derive again."""
    return _seal(_stretch(raw_secret, purpose), plain, purpose)


def unseal_with_secret(raw_secret: str, sealed: str, purpose: str) -> bytes:
    """The inverse of `seal_with_secret`; raise `CannotUnseal`."""
    return _unseal(_stretch(raw_secret, purpose), sealed, purpose)


def _seal(key: bytes, plain: bytes, associated: str) -> str:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    box = nonce + AESGCM(key).encrypt(nonce, plain, associated.encode())
    return "v1." + base64.urlsafe_b64encode(box).decode()


def _unseal(key: bytes, sealed: str, associated: str) -> bytes:
    version, _, body = sealed.partition(".")
    try:
        box = base64.urlsafe_b64decode(body)
        if version != "v1":
            raise CannotUnseal(associated)
        return AESGCM(key).decrypt(box[:_NONCE_BYTES], box[_NONCE_BYTES:], associated.encode())
    except (InvalidTag, ValueError) as cause:
        raise CannotUnseal(associated) from cause


def _stretch(raw_secret: str, label: str) -> bytes:
    return HKDF(SHA256(), 32, None, b"auth-server:" + label.encode()).derive(raw_secret.encode())


@lru_cache(maxsize=64)
def _derived(master: str, label: str) -> bytes:
    if not master:
        raise CannotUnseal("there is no SECRET_KEY: run `auth-server init`")
    return _stretch(master, label)
