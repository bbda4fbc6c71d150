"""What an exchanged token takes over from the token it comes from (RFC 8693): who acts, its end, and its sources.

`via` is ours: each token that it comes from, the nearest first. Whatever refuses one of them, or the client that held
it, refuses what came of it too; no row has to be written for that, so nothing can come in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from auth_server import config
from auth_server.tokens import status_index
from auth_server.tokens.families import Family

MOST_EXCHANGES = 4
"""So often in a row: a longer way is a circle."""
VIA = "via"
_LINK = ("jti", "client_id", "iat")


@dataclass(frozen=True)
class Derived:
    """What a new token takes over. `expires` is a NumericDate, `place` that in the status lists."""

    expires: int
    place: int | None
    claims: dict[str, Any]
    noted: dict[str, Any] = field(default_factory=dict)
    """What the audit says of it besides."""


def links(claims: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tokens that one comes from, the nearest first; nothing for one that was not exchanged."""
    return list(claims.get(VIA, ()))


def is_exhausted(claims: Mapping[str, Any]) -> bool:
    """Tell whether a token was exchanged so often that it is not any more."""
    return len(links(claims)) >= MOST_EXCHANGES


def may_act(claims: Mapping[str, Any], client_id: str) -> bool:
    """Tell whether a token lets this client act for its subject: where it says who may, nobody else (RFC 8693 §4.4)."""
    if "may_act" not in claims:
        return True
    named = claims["may_act"]
    if not isinstance(named, Mapping) or named.get("sub") != client_id:
        return False
    return bool(named.get("iss", config.current().issuer) == config.current().issuer)


def derive(claims: Mapping[str, Any], family: Family, *, actor: str | None, rule: str) -> Derived:
    """Return what a token takes over from one with these claims; `actor` None: who acted before stays the last."""
    found: dict[str, Any] = {VIA: [{name: claims[name] for name in _LINK}, *links(claims)]}
    act = claims.get("act")
    if actor is not None:  # RFC 8693 §4.1: the present one outside, all former ones inside
        act = {"sub": actor, **({"act": act} if act else {})}
    if act:
        found["act"] = act
    if "may_act" in claims:
        found["may_act"] = claims["may_act"]
    place = status_index.position_in(claims)
    return Derived(
        expires=int(claims["exp"]),
        place=family.status_index if place is None else place,
        claims=found,
        noted={"rule": rule, "from_client": claims["client_id"], "from_jti": claims["jti"], "act": act or {}},
    )
