"""Client certificates at other APIs (RFC 8705 §3): a token that is bound to one comes over a connection that shows it.

TLS ends at a proxy in front of most APIs. What it tells of the certificate may be believed when it comes from that
proxy alone, and the proxy overwrites the header whatever a client sends; a name without a hyphen has one spelling only.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, datetime

from flask import request

from auth_server.errors import InvalidToken
from auth_server.keys import certificate
from auth_server.keys.confirmation import Confirmation

Tell = Callable[[], str]
"""Returns the certificate of the current request's client: PEM, also escaped, or base64; "" when there is none."""


def nothing() -> str:
    """Tell of no certificate: tokens that are bound to one are refused."""
    return ""


def certificate_header(name: str, *proxies: str) -> Tell:
    """Return what reads a header that these proxies (addresses or networks) set, and nobody else's."""
    trusted = [ipaddress.ip_network(proxy) for proxy in proxies]
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]{4,60}", name) or not trusted:
        raise ValueError("a header's name without underscores, and the proxies that set it")

    def tell() -> str:
        try:
            peer = ipaddress.ip_address(_peer())
        except ValueError:
            return ""
        return request.headers.get(name, "") if any(peer in network for network in trusted) else ""

    return tell


def check(bound_to: Confirmation, tell: Tell) -> None:
    """Refuse a token without the certificate that it is bound to; raise `InvalidToken`."""
    shown = certificate.read(tell(), datetime.now(UTC))
    if shown.certificate is None or shown.certificate.confirmation != bound_to:
        raise InvalidToken(detail=shown.problem or "bound to another certificate")


def _peer() -> str:
    """Return who is connected, also behind Werkzeug's `ProxyFix`, which says whom the proxy speaks for."""
    before = request.environ.get("werkzeug.proxy_fix.orig", request.environ)
    return str(before.get("REMOTE_ADDR", ""))
