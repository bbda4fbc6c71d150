"""A mail server of this machine: takes what it is told to take, with or without TLS, and remembers it."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER, SECRET = "auth", "p@ss/word"


@dataclass
class MailServer:
    """`answer` is what it says to a message; 250 takes it."""

    port: int = 0
    answer: str = "250 taken"
    refused_recipient: str = ""
    letters: list[EmailMessage] = field(default_factory=list)
    was_encrypted: list[bool] = field(default_factory=list)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address == self.refused_recipient:
            return "550 5.1.1 no such user: " + address
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answer.startswith("250"):
            self.letters.append(message_from_bytes(envelope.content, policy=default))  # type: ignore[arg-type]
            self.was_encrypted.append(server.transport.get_extra_info("ssl_object") is not None)
        return self.answer


def _may_enter(server: Any, session: Any, envelope: Any, mechanism: str, data: object) -> AuthResult:
    is_right = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), SECRET.encode())
    return AuthResult(success=is_right, handled=is_right)


@contextmanager
def running(certificate: Path | None = None, *, starttls: bool = True, sign_in: bool = False) -> Iterator[MailServer]:
    """Run one; with a certificate by STARTTLS, or with TLS from the start."""
    found = MailServer()
    options: dict[str, Any] = {"hostname": "127.0.0.1", "port": 0, "server_hostname": "localhost"}
    if sign_in:
        options |= {"authenticator": _may_enter, "auth_required": True, "auth_require_tls": certificate is not None}
    context = None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    if context is not None and starttls:
        options |= {"tls_context": context, "require_starttls": True}
    elif context is not None:
        options["ssl_context"] = context
    controller = _AnyPort(found, **options)
    controller.start()
    found.port = controller.port
    try:
        yield found
    finally:
        controller.stop()


class _AnyPort(Controller):
    """aiosmtpd's controller knocks at the port that it was given: find a free one first."""

    def __init__(self, handler: object, **options: Any) -> None:
        from tests.support.live import free_port

        super().__init__(handler, **{**options, "port": free_port()})


def certificate_for(folder: Path, *hosts: str) -> Path:
    """Write a self-signed certificate with its key, good for these hosts; it is its own CA."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
    builder = builder.not_valid_after(now + datetime.timedelta(days=1))
    builder = builder.add_extension(x509.SubjectAlternativeName([_name_of(host) for host in hosts]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    made = builder.sign(key, hashes.SHA256())
    path = folder / "mail.pem"
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return path


def _name_of(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
