"""How a presented redirect URI is compared with the registered ones (OAuth 2.1 §2.3.1, RFC 8252 §7.3)."""

from __future__ import annotations

import re
from collections.abc import Collection

from auth_server.clients import metadata


def matches(presented: str, registered: Collection[str], *, any_port: bool) -> bool:
    """Compare exactly; with `any_port` the port of a loopback address is ignored."""
    if presented in registered:
        return True
    bare = _without_loopback_port(presented) if any_port else None
    return bare is not None and any(_without_loopback_port(uri) == bare for uri in registered)


def _without_loopback_port(uri: str) -> str | None:
    """Return an http loopback URI with its port cut out, or None when it is no such URI."""
    found = re.match(r"(http://(?:127\.0\.0\.1|\[::1\]|localhost))(?::(\d{1,5}))?((?:[/?].*)?)\Z", uri, re.ASCII)
    if not found or not metadata.is_wellformed(uri) or (found[2] and not 0 < int(found[2]) < 65536):
        return None
    return found[1] + found[3]
