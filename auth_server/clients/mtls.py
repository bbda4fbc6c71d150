"""Clients that prove themselves by a certificate (RFC 8705 §2): issued to a registered name, or registered itself.

The handshake happens at a proxy, which is asked to check nothing but that the client holds the key: what makes a
certificate this client's is checked here, so that a proxy that lets any certificate through opens nothing.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.x509 import verification
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder

from auth_server import config
from auth_server.clients import keys, metadata, subject
from auth_server.clients.client import Client
from auth_server.errors import InvalidClient
from auth_server.infra import clock
from auth_server.keys import jose
from auth_server.keys.certificate import MALFORMED, Certificate, Shown
from auth_server.keys.jose import Key

_FOR_CLIENTS = (ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)


def check(client: Client, shown: Shown) -> None:
    """Refuse a certificate that is not the client's; raise `InvalidClient`, which tells strangers nothing."""
    if not metadata.is_offered(client.auth_method or ""):
        raise InvalidClient(detail=f"{client.auth_method} is not on: see TRUSTED_PROXIES and MTLS_CA_FILE")
    if shown.certificate is None:
        raise InvalidClient(detail=shown.problem)
    if client.auth_method == metadata.BY_OWN_CERTIFICATE:
        _check_own(client, shown.certificate)
    else:
        _check_issued(client, shown.certificate)


def _check_issued(client: Client, shown: Certificate) -> None:
    """§2.1: an authority that we know has given it to the registered name."""
    if not subject.matches(client.details, shown):
        raise InvalidClient(detail="the certificate bears another name")
    if not _is_for_clients(shown.native):
        raise InvalidClient(detail="the certificate is not for clients: see its extended key usage")
    policy = PolicyBuilder().store(_authorities(config.current().mtls_ca_file)).time(clock.now())
    policy = policy.extension_policies(ca_policy=_AUTHORITY, ee_policy=ExtensionPolicy.permit_all())
    try:
        policy.build_client_verifier().verify(shown.native, [])
    except (verification.VerificationError, *MALFORMED):
        raise InvalidClient(detail="the certificate was issued by no authority of MTLS_CA_FILE") from None


def _check_is_authority(_policy: Policy, _certificate: x509.Certificate, found: x509.BasicConstraints) -> None:
    if not found.ca:
        raise ValueError("not an authority")


def _check_may_issue(_policy: Policy, _certificate: x509.Certificate, found: x509.KeyUsage | None) -> None:
    if found is not None and not found.key_cert_sign:
        raise ValueError("its key may not sign certificates")


_AUTHORITY = (
    ExtensionPolicy.permit_all()
    .require_present(x509.BasicConstraints, Criticality.AGNOSTIC, _check_is_authority)
    .may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _check_may_issue)
)
"""RFC 5280 §6.1.4. What browsers demand besides, many a company's own authority lacks."""


def _is_for_clients(native: x509.Certificate) -> bool:
    """RFC 5280 §4.2.1.12: without the extension, it is for everything."""
    try:
        return not set(_FOR_CLIENTS).isdisjoint(native.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    except x509.ExtensionNotFound:
        return True
    except MALFORMED:
        return False


@lru_cache(maxsize=1)
def _authorities(file: str) -> verification.Store:
    """Read once: a changed file counts after a restart."""
    return verification.Store(x509.load_pem_x509_certificates(Path(file).read_bytes()))


def _check_own(client: Client, shown: Certificate) -> None:
    """§2.2: just the certificate that comes with a key of the client's (`x5c`), or any of a key that has none."""

    def is_its(key: Key) -> bool:
        if key.x5t is not None:
            return key.x5t == shown.thumbprint
        return jose.public_bytes(key.jwk) == shown.public_key

    found = keys.find_if(client, is_its)
    if not found.keys:
        cause = "the certificate is none of the client's"
        raise InvalidClient(detail="; ".join(filter(None, (cause, found.problem)))[:255])
