"""Client certificates (RFC 8705) as a proxy in front tells of them: taken from a header, and good just now.

Whether the header may be believed is for the caller to say. The handshake has proved that the client holds the key;
whose certificate it is, nothing here knows.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from auth_server.keys.confirmation import X5T, Confirmation

_LONGEST = 16_384
_LEAST_RSA_BITS = 2048
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*\Z")
MALFORMED = (
    *(ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion),
    *(x509.DuplicateExtension, x509.UnsupportedGeneralNameType),
)
"""What reading a certificate may end in, its parts included, which are parsed when they are looked at."""


@dataclass(frozen=True)
class Certificate:
    """A certificate that is valid now, and whose key the client holds."""

    native: x509.Certificate
    thumbprint: str
    """`x5t#S256`: the base64url SHA-256 of all of it."""
    public_key: bytes

    @property
    def confirmation(self) -> Confirmation:
        return Confirmation(X5T, self.thumbprint)


@dataclass(frozen=True)
class Shown:
    """The certificate that came with a request; without one, `problem` says why, for log and audit."""

    certificate: Certificate | None = None
    problem: str = "no certificate came along"


NOTHING = Shown()


def read(text: str, now: datetime) -> Shown:
    """Return the certificate that a header tells of: base64 between colons (RFC 9440) or bare, or PEM, also escaped."""
    if not text:
        return NOTHING
    try:
        der = _der(text)
        certificate = of_der(der)
        begins, ends = certificate.native.not_valid_before_utc, certificate.native.not_valid_after_utc
    except (binascii.Error, *MALFORMED):
        return Shown(problem="the certificate is malformed, or more than one came")
    if is_weak(certificate.native):
        return Shown(problem=f"the certificate's RSA key has fewer than {_LEAST_RSA_BITS} bits")
    if not begins <= now <= ends:
        return Shown(problem="the certificate has expired" if now > ends else "the certificate is not valid yet")
    return Shown(certificate, "")


def is_weak(native: x509.Certificate) -> bool:
    """Tell whether somebody might compute the private key (NIST SP 800-131A)."""
    key = native.public_key()
    return isinstance(key, rsa.RSAPublicKey) and key.key_size < _LEAST_RSA_BITS


def of_der(der: bytes) -> Certificate:
    """Parse a certificate, whenever it is valid; raise one of `MALFORMED`."""
    native = x509.load_der_x509_certificate(der)
    thumbprint = base64.urlsafe_b64encode(native.fingerprint(SHA256())).rstrip(b"=").decode()
    public_key = native.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Certificate(native, thumbprint, public_key)


def _der(text: str) -> bytes:
    """Return the bytes of just one certificate: two headers come joined by a comma, which fits nowhere."""
    if len(text) > _LONGEST:
        raise ValueError("too long")
    if len(text) > 2 and text[0] == text[-1] == ":":
        return base64.b64decode(text[1:-1], validate=True)
    text = unquote(text) if "%" in text else text
    found = _PEM.match(text.lstrip())
    if found:
        return base64.b64decode(re.sub(r"\s+", "", found[1]), validate=True)
    return base64.b64decode(text, validate=True)
