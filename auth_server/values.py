"""How the text of a setting becomes a value: each parser returns it or raises `Invalid` with what is expected."""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_PERIODS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_LEAST_SECRET_LENGTH = 32
_ISSUER = re.compile(r"(https?)://(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?", re.ASCII)
_MAIL_PORT = {"smtp": 587, "smtps": 465}
_DEFAULT_PORT = {"http": 80, "https": 443}
_TAKEN_HEADERS = frozenset({"accept", "authorization", "cookie", "forwarded", "origin", "referer"})

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Invalid(Exception):
    """One wrong value; the message says what is expected."""


def setting(parse: Callable[[str], Any], default: Any, doc: str, example: str = "") -> Any:
    """Return the dataclass field of one setting."""
    return field(default=default, metadata={"parse": parse, "doc": doc, "example": example})


@dataclass(frozen=True)
class Rate:
    """At most `count` in each `period`."""

    count: int
    period: timedelta

    def __str__(self) -> str:
        return f"{self.count} per {int(self.period.total_seconds())} second"


def duration(text: str) -> timedelta:
    """Parse seconds or `15m`, `12h`, `30d`."""
    found = re.fullmatch(r"(\d{1,9})([smhd]?)", text.strip())
    if not found:
        raise Invalid("expected seconds or a number with s, m, h or d")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2] or "s"])


def rate(text: str) -> Rate | None:
    """Parse `5 per 15 minutes`; `off` is None."""
    if text.strip() == "off":
        return None
    found = re.fullmatch(r"(\d{1,6}) per (?:(\d{1,4}) )?(second|minute|hour|day)s?", text.strip())
    if not found or int(found[1]) < 1:
        raise Invalid("expected e.g. `5 per 15 minutes`, or `off`")
    return Rate(int(found[1]), timedelta(seconds=int(found[2] or 1) * _PERIODS[found[3]]))


@dataclass(frozen=True)
class MailUrl:
    """Where mail goes: a server (`smtp`: STARTTLS; `smtps`: TLS from the start), or a folder (`file`)."""

    scheme: str
    host: str = ""
    port: int = 0
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    folder: str = ""


def mail_url(text: str) -> MailUrl | None:
    """Parse `smtp://` and `smtps://` with `user:password@host:port`, or `file:///folder`; nothing is None."""
    if not text:
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as cause:
        raise Invalid("expected a host and a port") from cause
    if parts.scheme == "file" and parts.path.startswith("/") and not parts.netloc:
        return MailUrl("file", folder=unquote(parts.path))
    if parts.scheme not in _MAIL_PORT or not parts.hostname or parts.path not in ("", "/") or parts.query:
        raise Invalid("expected smtp://, smtps:// with user:password@host:port, or file:///folder")
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    return MailUrl(parts.scheme, parts.hostname, port or _MAIL_PORT[parts.scheme], user, password)


def mail_address(text: str) -> str:
    """Accept the address that mail comes from."""
    if not re.fullmatch(r"[^@\s\"<>,;:]+@[^@\s\"<>,;:]+", text):
        raise Invalid("expected an e-mail address")
    return text


def mail_domain(address: str) -> str:
    """Return the domain of an address in the form in which domains are compared (RFC 5891); raise `ValueError`."""
    from email_validator import validate_email  # commands that ask nobody for an address start sooner without it

    found = validate_email(address, check_deliverability=False, globally_deliverable=False)
    return str(found.ascii_domain or found.domain).casefold()


def mail_domains(text: str) -> tuple[str, ...]:
    try:
        return tuple(mail_domain(f"somebody@{name}") for name in names(text))
    except ValueError as cause:
        raise Invalid("expected domains of e-mail addresses, e.g. example.org,example.com") from cause


def boolean(text: str) -> bool:
    if text not in ("true", "false"):
        raise Invalid("expected true or false")
    return text == "true"


def whole_number(least: int, most: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise Invalid(f"expected a whole number from {least} to {most}")
        return int(text)

    return parse


def one_of(*choices: str, not_yet: tuple[str, ...] = ()) -> Callable[[str], str]:
    """Accept the choices; those in `not_yet` are known names that this version cannot keep its word on."""

    def parse(text: str) -> str:
        if text in not_yet:
            raise Invalid(f"`{text}` is not available in this version; possible: {', '.join(choices)}")
        if text not in choices:
            raise Invalid(f"possible: {', '.join(choices)}")
        return text

    return parse


def issuer_url(text: str) -> str:
    """Accept the issuer: no path, no trailing slash; https unless the host is loopback (RFC 8414 §2)."""
    if text != text.lower():
        raise Invalid("expected lower case")
    found = _ISSUER.fullmatch(text)
    if not found:
        raise Invalid("expected an address with scheme and host, no path and no trailing slash")
    scheme, port = found[1], int(found[2] or 0)
    if port > 65535 or port == _DEFAULT_PORT[scheme]:
        raise Invalid("expected another port, or none: browsers leave out 80 for http and 443 for https")
    if scheme == "http" and not is_loopback(_hostname(text)):
        raise Invalid("expected https: plain http is for localhost only")
    return text


def _hostname(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError as cause:
        raise Invalid("expected a host name or an address") from cause


def is_loopback(host: str) -> bool:
    """Tell whether a host name means this machine: `localhost` or a loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def networks(text: str) -> tuple[Network, ...]:
    try:
        return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as cause:
        raise Invalid("expected addresses or networks, e.g. 127.0.0.1,10.0.0.0/8") from cause


def names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def hosts(text: str) -> tuple[str, ...]:
    """Accept hosts, each with or without a port, in the form in which they are compared: lower case."""
    found = tuple(name.lower() for name in names(text))
    if not all(re.fullmatch(r"(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", name) for name in found):
        raise Invalid("expected hosts with or without a port, e.g. intranet.example.org,10.0.0.5:8443")
    return found


def host_rules(text: str) -> tuple[str, ...]:
    """Accept hosts, `*.` before one for all below it, `!` before that for what is never accepted; lower case."""
    found = tuple(name.lower() for name in names(text))
    if not all(re.fullmatch(r"!?(?:\*\.)?[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d{1,5})?", rule) for rule in found):
        raise Invalid("expected hosts, e.g. app.example.org,*.example.com,!old.example.com")
    return found


def header_name(text: str) -> str:
    """Accept a header's name, without underscores, which many programs take for hyphens; "" is none."""
    if text and not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{4,60}", text):
        raise Invalid("expected a name of letters, digits and hyphens")
    if text.lower() in _TAKEN_HEADERS:
        raise Invalid("expected a header that means nothing else")
    return text


def ca_file(text: str) -> str:
    """Accept the path of a file with certificates in PEM form; "" is none."""
    try:
        if text:
            ssl.create_default_context(cafile=text)
    except OSError as cause:  # `SSLError` is one
        raise Invalid("expected a readable file with certificates in PEM form") from cause
    return text


def authorities_file(text: str) -> str:
    """Accept the path of a file with certificates of authorities in PEM form; "" is none."""
    from cryptography import x509

    try:
        if text:
            x509.load_pem_x509_certificates(Path(text).read_bytes())
    except (OSError, ValueError) as cause:
        raise Invalid("expected a readable file with certificates in PEM form") from cause
    return text


def country_file(text: str) -> str:
    """Accept the path of a file in MaxMind's format; "" is none."""
    import maxminddb

    try:
        if text:
            maxminddb.open_database(text).close()
    except (OSError, ValueError, maxminddb.InvalidDatabaseError) as cause:
        raise Invalid("expected a readable file in MaxMind's format (.mmdb)") from cause
    return text


def database_url(text: str) -> str:
    if not re.match(r"sqlite:///.+|postgresql\+psycopg://.+", text):
        raise Invalid("expected sqlite:///path or postgresql+psycopg://user:password@host/name")
    return text


def secret(text: str) -> str:
    if len(text) < _LEAST_SECRET_LENGTH or len(set(text)) < 10:
        raise Invalid(
            f"expected at least {_LEAST_SECRET_LENGTH} random characters, e.g. from `openssl rand -base64 48`"
        )
    return text


def text(value: str) -> str:
    return value
