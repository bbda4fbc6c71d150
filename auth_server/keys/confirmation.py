"""The key that a token is bound to, `cnf` (RFC 7800 §3.1): whoever presents the token proves that they hold it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auth_server.keys import jose

JKT = "jkt"
"""The thumbprint of a DPoP key (RFC 9449 §6.1)."""
X5T = "x5t#S256"
"""The thumbprint of a client certificate (RFC 8705 §3.1)."""
_MEMBERS = (JKT, X5T)


@dataclass(frozen=True)
class Confirmation:
    """The member of `cnf` and its thumbprint."""

    member: str
    thumbprint: str

    @property
    def claim(self) -> dict[str, Any]:
        return {"cnf": {self.member: self.thumbprint}}

    @property
    def token_type(self) -> str:
        return "DPoP" if self.member == JKT else "Bearer"


def of(claims: Mapping[str, Any]) -> Confirmation | None:
    """Return what a token is bound to, None for a bearer token; raise `jose.BadToken` for a kind we cannot check."""
    if "cnf" not in claims:
        return None
    found = claims["cnf"]
    member = next(iter(found)) if isinstance(found, Mapping) and len(found) == 1 else None
    if member not in _MEMBERS or not isinstance(found[member], str):
        raise jose.BadToken("bound in a way that is unknown here")
    return Confirmation(member, found[member])
