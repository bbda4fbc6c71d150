"""What people know an app by that nobody has checked: who changes it is somebody else to them, and asks anew."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlsplit

from auth_server.clients.client import Client
from auth_server.infra import crypto

_OF_A_KEY = ("kty", "crv", "n", "e", "x", "y")


def of(client: Client) -> str | None:
    """Return a digest of name, hosts that the browser may be sent to, and keys; None for a client of an operator's."""
    if not client.is_self_registered:
        return None
    places = sorted({":".join(urlsplit(uri)[:2]) for uri in client.redirect_uris})
    jwks = client.details.get("jwks")
    listed: list[Any] = jwks.get("keys", []) if isinstance(jwks, dict) else []
    keys = sorted(json.dumps([key.get(name) for name in _OF_A_KEY]) for key in listed)
    return crypto.digest(json.dumps([client.name, places, keys, client.details.get("jwks_uri")]))
