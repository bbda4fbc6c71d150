"""Which paths are for machines (JSON, no cookies, CORS) and which are for people."""

from __future__ import annotations

WELL_KNOWN = "/.well-known/"
ENDPOINTS = frozenset(
    f"/oauth/{name}"
    for name in ("token", "revoke", "introspect", "userinfo", "register", "par", "device_authorization")
)
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
STATUS_LISTS = "/oauth/status/"
REGISTRATIONS = "/oauth/register/"
STATIC = "/static/"
FLOW_PAGES = (
    *("/login", "/logout", "/oauth/authorize", "/oauth/logout", "/recover", "/setup", "/signup", "/device"),
    *("/account/security/app", "/account/security/second-factor", "/account/security/passkeys/add"),
)
"""Pages inside a flow that may end at an app: their forms must be able to redirect there."""

LINK_PAGES = ("/recover/", "/setup", "/signup/finish", "/signup/invitation", "/account/email/confirm")
"""Pages whose address may hold a secret: no referrer may tell it."""


def is_for_machines(path: str) -> bool:
    """Tell whether a path answers programs: no session, no cookie, JSON errors."""
    return path in ENDPOINTS or path.startswith((WELL_KNOWN, STATUS_LISTS, REGISTRATIONS)) or path in PROBES


def is_static(path: str) -> bool:
    return path.startswith(STATIC)


def is_flow_page(path: str) -> bool:
    return path.startswith(FLOW_PAGES)


def is_link_page(path: str) -> bool:
    return path.startswith(LINK_PAGES)
