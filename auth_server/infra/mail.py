"""How a message leaves: by SMTP with TLS, or as a file in the outbox folder."""

from __future__ import annotations

import contextlib
import os
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime, make_msgid
from pathlib import Path
from urllib.parse import urlsplit

from auth_server import config
from auth_server.infra import clock
from auth_server.infra.outbox import Undeliverable
from auth_server.values import MailUrl, is_loopback

_TIMEOUT_SECONDS = 15


def compose(*, to: str, subject: str, text: str, html: str, language: str) -> EmailMessage:
    """Return a message in both forms; raise `ValueError` for an address or subject that no header can hold."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender(), to, subject
    message["Date"] = format_datetime(clock.now())
    message["Message-ID"] = make_msgid(domain=urlsplit(config.current().issuer).hostname)
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834 §5: no machine answers to this one
    message["Content-Language"] = language
    message.set_content(text)
    message.add_alternative(html, subtype="html")
    return message


def sender() -> str:
    """Return the address that mail comes from."""
    settings = config.current()
    return settings.mail_from or f"auth-server@{urlsplit(settings.issuer).hostname}"


def send(message: EmailMessage) -> None:
    """Hand the message over; raise `Undeliverable`."""
    url = config.current().mail_url
    if url is None or url.scheme == "file":
        _write(message, Path(url.folder) if url else config.current().instance_path / "outbox")
        return
    try:
        _send_by_smtp(message, url)
    except (OSError, smtplib.SMTPException) as cause:
        raise Undeliverable(_reason(cause)) from cause


def _send_by_smtp(message: EmailMessage, url: MailUrl) -> None:
    tls = ssl.create_default_context(cafile=config.current().outbound_ca_file or None)
    if url.scheme == "smtps":
        server: smtplib.SMTP = smtplib.SMTP_SSL(url.host, url.port, timeout=_TIMEOUT_SECONDS, context=tls)
    else:
        server = smtplib.SMTP(url.host, url.port, timeout=_TIMEOUT_SECONDS)
    with server:
        if url.scheme == "smtp":
            _start_tls(server, url, tls)
        if url.user:
            server.login(url.user, url.password)
        server.send_message(message)


def _start_tls(server: smtplib.SMTP, url: MailUrl, tls: ssl.SSLContext) -> None:
    """STARTTLS always, but for a server on this machine that does not offer it."""
    server.ehlo()
    if server.has_extn("starttls"):
        server.starttls(context=tls)
    elif not is_loopback(url.host):
        raise smtplib.SMTPNotSupportedError("the mail server offers no STARTTLS: nothing is sent in the clear")


def _reason(cause: Exception) -> str:
    """Say in words what went wrong: never the answer of a mail server whole, which may repeat an address or a key."""
    if isinstance(cause, smtplib.SMTPAuthenticationError):
        return "the mail server refused user name or password"
    if isinstance(cause, smtplib.SMTPRecipientsRefused):
        codes = sorted({str(code) for code, _text in cause.recipients.values()})
        return f"the mail server refused the recipient ({', '.join(codes)})"
    if isinstance(cause, smtplib.SMTPResponseException):
        return f"the mail server answered {cause.smtp_code}"
    if isinstance(cause, smtplib.SMTPNotSupportedError):
        return str(cause)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return "the mail server's certificate is not trusted"
    return f"the mail server cannot be reached ({type(cause).__name__})"


def _write(message: EmailMessage, folder: Path) -> None:
    """One file a message, whole or not at all, readable by the server's user alone: it may hold a link."""
    name = f"{clock.now():%Y%m%dT%H%M%S%f}-{os.urandom(4).hex()}.eml"
    draft = folder / f".{name}"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(bytes(message))
        draft.rename(folder / name)
    except OSError as cause:
        with contextlib.suppress(OSError):
            draft.unlink()
        raise Undeliverable(f"cannot write to {folder} ({type(cause).__name__})") from cause
