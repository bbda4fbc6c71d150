"""Certificates as clients hold them, and the ways in which proxies tell of them."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from auth_server.infra import clock
from tests.support.assertion import Signer

HEADER = "ClientCert"
PROXY = "127.0.0.1"
SETTINGS: dict[str, Any] = {
    "mtls_cert_header": HEADER,
    "trusted_proxies": (ipaddress.ip_network(PROXY),),
}
HOST, URI, IP, EMAIL = "report.example.org", "spiffe://example.org/report", "2001:db8::7", "report@example.org"


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class Holder:
    """A certificate with its private key."""

    key: Key
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def thumbprint(self) -> str:
        """`x5t#S256`, computed from the bytes themselves."""
        return base64.urlsafe_b64encode(hashlib.sha256(self.der).digest()).rstrip(b"=").decode()

    @property
    def escaped(self) -> str:
        """As nginx's `$ssl_client_escaped_cert` has it."""
        return quote(self.pem, safe="")

    @property
    def bare(self) -> str:
        """As HAProxy's `ssl_c_der,base64` has it."""
        return base64.b64encode(self.der).decode()

    @property
    def headers(self) -> dict[str, str]:
        return {HEADER: self.escaped}

    def jwk(self, **changed: Any) -> dict[str, Any]:
        """Return its key as a JWK with the certificate; None leaves a member out."""
        alg = "ES256" if isinstance(self.key, ec.EllipticCurvePrivateKey) else "PS256"
        return Signer(alg, self.key).jwk(**{"x5c": [self.bare], **changed})


def name(*pairs: tuple[x509.ObjectIdentifier, str]) -> x509.Name:
    return x509.Name([x509.NameAttribute(oid, text) for oid, text in pairs])


SUBJECT = name((NameOID.COUNTRY_NAME, "DE"), (NameOID.ORGANIZATION_NAME, "Example"), (NameOID.COMMON_NAME, "report"))
DN = "CN=report,O=Example,C=DE"
ALTERNATIVES = (
    *(x509.DNSName(HOST), x509.UniformResourceIdentifier(URI)),
    *(x509.IPAddress(ipaddress.ip_address(IP)), x509.RFC822Name(EMAIL)),
)


def certificate(
    by: Holder | None = None,
    *,
    key: Key | None = None,
    subject: x509.Name = SUBJECT,
    alternatives: Sequence[x509.GeneralName] = (),
    begins: timedelta = timedelta(days=-1),
    life: timedelta = timedelta(days=30),
    usage: x509.ObjectIdentifier | None = ExtendedKeyUsageOID.CLIENT_AUTH,
    is_authority: bool = False,
    says_signs: bool | None = True,
) -> Holder:
    """Make a certificate, signed by another one's holder or, without one, by itself."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    begins_at = clock.now() + begins
    issuer_key = by.key if by else key
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(by.certificate.subject if by else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins_at)
        .not_valid_after(begins_at + life)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if alternatives:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    if is_authority and says_signs is not None:
        may = dict.fromkeys(
            ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"), False
        )
        signs = x509.KeyUsage(**may, key_cert_sign=says_signs, crl_sign=True, encipher_only=False, decipher_only=False)
        builder = builder.add_extension(signs, critical=True)
    elif usage and not is_authority:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    return Holder(key, builder.sign(issuer_key, hashes.SHA256()))


def authority(common_name: str = "Example CA", **about: Any) -> Holder:
    """Make an authority; `says_signs` None is one that does not say what its key is for."""
    subject = name((NameOID.COMMON_NAME, common_name))
    return certificate(subject=subject, **{"is_authority": True, "life": timedelta(days=400), "usage": None, **about})


def ca_file(folder: Path, *authorities: Holder) -> str:
    """Write authorities into a file; return its path."""
    path = folder / "clients.pem"
    path.write_text("".join(holder.pem for holder in authorities))
    return str(path)
