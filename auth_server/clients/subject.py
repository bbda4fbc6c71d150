"""Whose certificate a client with `tls_client_auth` shows: one name that is registered (RFC 8705 §2.1.2).

Names are compared whole: a wildcard in a certificate stands for nothing but itself.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cryptography import x509

from auth_server.errors import InvalidClientMetadata
from auth_server.keys.certificate import MALFORMED, Certificate

_DN, _DNS, _URI = "tls_client_auth_subject_dn", "tls_client_auth_san_dns", "tls_client_auth_san_uri"
_IP, _EMAIL = "tls_client_auth_san_ip", "tls_client_auth_san_email"
FIELDS = (_DN, _DNS, _URI, _IP, _EMAIL)
_LONGEST = 1000
_ALSO_KNOWN = {
    "emailAddress": x509.NameOID.EMAIL_ADDRESS,
    "serialNumber": x509.NameOID.SERIAL_NUMBER,
}
"""Names that OpenSSL prints and RFC 4514 does not know."""


def check(name: str, value: Any) -> str:
    """Accept a subject as RFC 4514 writes it, or one alternative name; raise `InvalidClientMetadata`."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
        raise InvalidClientMetadata(f"{name}: expected a text of 1 to {_LONGEST} characters")
    try:
        is_good = _FORMS[name](value)
    except ValueError:
        is_good = False
    if not is_good:
        raise InvalidClientMetadata(f"{name}: expected {_EXPECTED[name]}")
    return value


def matches(details: Mapping[str, Any], shown: Certificate) -> bool:
    """Tell whether the certificate bears the registered name."""
    name = next((name for name in FIELDS if name in details), "")
    try:
        if name == _DN:
            return bool(shown.native.subject == _subject(details[name]))
        return name in FIELDS and _normal(name, details[name]) in (_normal(name, text) for text in _names(shown, name))
    except MALFORMED:
        return False


def _subject(text: str) -> x509.Name:
    return x509.Name.from_rfc4514_string(text, _ALSO_KNOWN)


def _names(shown: Certificate, field: str) -> Iterator[str]:
    """Return the alternative names of a kind."""
    try:
        names = shown.native.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return
    for value in names.get_values_for_type(_KINDS[field]):
        yield str(value)


def _normal(field: str, text: str) -> str:
    """Names of hosts have no case, and addresses several spellings (RFC 5952); all else counts as it is."""
    if field == _DNS:
        return text.lower()
    return str(ipaddress.ip_address(text)) if field == _IP else text


_KINDS: dict[str, Any] = {_DNS: x509.DNSName, _URI: x509.UniformResourceIdentifier}
_KINDS |= {_IP: x509.IPAddress, _EMAIL: x509.RFC822Name}
_FORMS: dict[str, Callable[[str], object]] = {
    _DN: lambda text: len(list(_subject(text))),
    _DNS: lambda text: re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", text),
    _URI: lambda text: re.fullmatch(r"[a-z][a-z0-9+.-]*:[!-~]+", text),
    _IP: lambda text: str(ipaddress.ip_address(text)),
    _EMAIL: lambda text: re.fullmatch(r"[!-?A-~]+@[A-Za-z0-9.-]+", text),
}
_EXPECTED = {
    _DN: "a distinguished name as RFC 4514 writes it, e.g. CN=report,O=Example,C=DE",
    _DNS: "the name of a host, without wildcards",
    _URI: "a URI",
    _IP: "an IP address",
    _EMAIL: "an e-mail address",
}
