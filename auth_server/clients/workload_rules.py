"""Which of an issuer's tokens stand for a client: those of a subject, with claims that must be there.

A subject is exact, or has `*` for whole pieces between `:` and `/`: `repo:acme/*:environment:production`. A `*` never
stands for a part of a piece, so that no neighbour's name can match `acme*`, and comes after two fixed pieces at least.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MOST_RULES = 20
MOST_CLAIMS = 20
LONGEST = 255
_DEEPEST = 3
_FIXED_PIECES = 2
_DELIMITERS = re.compile(r"([:/])")
_ANY_PIECE = re.compile(r"[A-Za-z0-9._@%+~=-]+\Z")
_MEMBERS = frozenset({"issuer", "subject", "claims", "audience", "once"})
_OWN_PLACE = frozenset({"iss", "sub", "aud", "exp", "nbf", "iat", "jti"})


@dataclass(frozen=True)
class Rule:
    """One rule. `audience`: the token's `aud`, where it is not the issuer's usual one; `once`: each counts once."""

    issuer: str
    subject: str
    claims: Mapping[str, Any]
    audience: str | None
    once: bool

    def fits(self, claims: Mapping[str, Any]) -> bool:
        """Tell whether a token with these claims is meant."""
        subject = claims.get("sub")
        return isinstance(subject, str) and _matches(self.subject, subject) and holds(self.claims, claims)


def of(details: Mapping[str, Any]) -> tuple[Rule, ...]:
    """Return the rules of checked metadata."""
    return tuple(
        Rule(rule["issuer"], rule["subject"], rule.get("claims", {}), rule.get("audience"), rule.get("once", False))
        for rule in details.get("workload", ())
    )


def checked(value: Any) -> list[dict[str, Any]]:
    """Return rules as they are stored; raise `ValueError` with what is expected."""
    if not isinstance(value, list) or not 0 < len(value) <= MOST_RULES:
        raise ValueError(f"expected a list of 1 to {MOST_RULES} rules with issuer and subject")
    return [_checked(rule) for rule in value]


def checked_claims(value: Any) -> dict[str, Any]:
    """Return required claims as they are stored; raise `ValueError` with what is expected."""
    if not isinstance(value, dict) or len(value) > MOST_CLAIMS or not _OWN_PLACE.isdisjoint(value):
        raise ValueError(f"claims: expected at most {MOST_CLAIMS} claims, none of {', '.join(sorted(_OWN_PLACE))}")
    if not all(_is_plain(name, found, _DEEPEST) for name, found in value.items()):
        raise ValueError("claims: expected texts, numbers, true or false, or tables of these")
    return dict(value)


def checked_text(name: str, value: Any) -> str:
    """Return a printable text; raise `ValueError`."""
    if not isinstance(value, str) or not 0 < len(value) <= LONGEST or not value.isprintable():
        raise ValueError(f"{name}: expected a text of 1 to {LONGEST} printable characters")
    return value


def holds(required: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    """Tell whether every required claim is held with exactly its value; of a table, the members that are named."""
    return all(_is_held(value, held.get(name)) for name, value in required.items())


def _is_held(value: Any, found: Any) -> bool:
    if isinstance(value, dict):
        return isinstance(found, dict) and holds(value, found)
    return type(value) is type(found) and value == found


def _matches(pattern: str, subject: str) -> bool:
    if "*" not in pattern:
        return pattern == subject
    wanted, found = _DELIMITERS.split(pattern), _DELIMITERS.split(subject)
    return len(wanted) == len(found) and all(map(_is_piece, wanted, found))


def _is_piece(wanted: str, found: str) -> bool:
    return bool(_ANY_PIECE.match(found)) if wanted == "*" else wanted == found


def _checked(rule: Any) -> dict[str, Any]:
    if not isinstance(rule, dict) or not rule.keys() <= _MEMBERS:
        raise ValueError(f"a rule has {', '.join(sorted(_MEMBERS))}, and nothing else")
    found = dict(rule)
    for name in ("issuer", "subject"):
        found[name] = checked_text(name, rule.get(name))
    if "audience" in rule:
        found["audience"] = checked_text("audience", rule["audience"])
    if not isinstance(rule.get("once", False), bool):
        raise ValueError("once: expected true or false")
    if "claims" in rule:
        found["claims"] = checked_claims(rule["claims"])
    _check_pattern(found["subject"])
    return found


def _check_pattern(subject: str) -> None:
    pieces = [piece for piece in re.split(r"[:/]", subject) if piece]
    with_star = [number for number, piece in enumerate(pieces) if "*" in piece]
    if any(pieces[number] != "*" for number in with_star):
        raise ValueError("subject: a * stands for a whole piece between : and /, never for a part of one")
    if with_star and with_star[0] < _FIXED_PIECES:
        raise ValueError(f"subject: a * needs {_FIXED_PIECES} fixed pieces before it")


def _is_plain(name: Any, value: Any, depth: int) -> bool:
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST or depth == 0:
        return False
    if isinstance(value, dict):
        return len(value) <= MOST_CLAIMS and all(_is_plain(*member, depth - 1) for member in value.items())
    return isinstance(value, bool | int) or (isinstance(value, str) and len(value) <= LONGEST)
