"""ID tokens that come back to us as hints about whom an app means."""

from __future__ import annotations

from typing import Any

from auth_server import config
from auth_server.keys import jose, keyring


def read(hint: str) -> dict[str, Any] | None:
    """Return the claims of an ID token of ours, None for anything else; its expiry does not matter.

    OpenID Connect Core §3.1.2.2, RP-Initiated Logout §2.
    """
    try:
        header = jose.header(hint)
        key = keyring.verifier(str(header.get("kid")))
        claims = jose.verify(hint, key) if key and header.get("typ") == "JWT" else {}
    except jose.BadToken:
        return None
    is_ours = claims.get("iss") == config.current().issuer and isinstance(claims.get("sub"), str)
    return claims if is_ours else None
