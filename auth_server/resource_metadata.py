"""Protected resource metadata (RFC 9728): the document in which an API tells whose tokens it takes, and its address.

For our own APIs and, through `resource_server`, for other people's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from auth_server.keys import dpop

WELL_KNOWN = "/.well-known/oauth-protected-resource"
MAX_AGE_SECONDS = 300


def path_of(resource: str) -> str:
    """Return the path of the document on the API's own host (§3.1); raise `ValueError` for what has no such place."""
    parts = urlsplit(resource)
    if parts.scheme not in ("https", "http") or not parts.netloc or parts.query or parts.fragment:
        raise ValueError("expected an https address without query: apps look for the document there")
    return WELL_KNOWN + parts.path.rstrip("/")


def address_of(resource: str) -> str:
    """Return the document's URL; raises as `path_of`."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{path_of(resource)}"


def document(resource: str, issuer: str, scopes: Iterable[str], **more: Any) -> dict[str, Any]:
    """Return the document (§2)."""
    return {
        "resource": resource,
        "authorization_servers": [issuer],
        "scopes_supported": sorted(scopes),
        "bearer_methods_supported": ["header"],
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
        **more,
    }
