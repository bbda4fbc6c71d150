"""The check of a JWT access token (RFC 9068 §4): one way for userinfo, our own APIs and `resource_server`."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any

from auth_server.keys import jose

TYPES = frozenset({"at+jwt", "application/at+jwt"})
ACR_VALUES = ("aal1", "aal2")
"""Strengths of a sign-in that this server can reach (NIST SP 800-63B-4 names), the weakest first."""
_FARTHEST_SECONDS = 10**11  # the year 5138
_TEXTS = ("sub", "client_id", "jti")


def verify(
    token: str,
    *,
    issuer: str,
    audiences: Iterable[str] | None,
    find_key: Callable[[str], jose.Key | None],
    now: datetime,
    leeway: timedelta = timedelta(0),
) -> dict[str, Any]:
    """Return the claims of a token that is ours, alive and meant for one of `audiences`; raise `jose.BadToken`.

    `audiences` None is for the issuer itself, which introspects tokens for every API. Revocation is not asked here:
    only the issuer knows it.
    """
    unverified = jose.read(token)
    header = unverified.header
    if str(header.get("typ", "")).lower() not in TYPES:
        raise jose.BadToken("typ is not at+jwt")
    kid = header.get("kid")
    key = find_key(kid) if isinstance(kid, str) else None
    if key is None:
        raise jose.BadToken("unknown kid")
    claims = unverified.verified_by(key)
    if claims.get("iss") != issuer:
        raise jose.BadToken("foreign issuer")
    if audiences is not None and not audience_of(claims) & set(audiences):
        raise jose.BadToken("meant for another audience")
    check_times(claims, now.timestamp(), leeway.total_seconds())
    if not all(isinstance(claims.get(name), str) for name in _TEXTS):
        raise jose.BadToken("a required claim is missing")
    return claims


def audience_of(claims: dict[str, Any]) -> set[str]:
    """Return `aud` as a set, whether it was a string or an array (RFC 7519 §4.1.3)."""
    found = claims.get("aud")
    if isinstance(found, str):
        return {found}
    return {item for item in found if isinstance(item, str)} if isinstance(found, list) else set()


def scopes_of(claims: dict[str, Any]) -> frozenset[str]:
    """Return the granted scopes."""
    found = claims.get("scope")
    return frozenset(found.split()) if isinstance(found, str) else frozenset()


def reaches(held: object, demanded: str | None) -> bool:
    """Tell whether a sign-in of strength `held` (an `acr`) is strong enough; names that are not ours must be equal."""
    if demanded is None or held == demanded:
        return True
    return held in ACR_VALUES and demanded in ACR_VALUES and ACR_VALUES.index(held) > ACR_VALUES.index(demanded)


def strongest(demanded: Iterable[str | None]) -> str | None:
    """Return the strongest of these, or None when none of them names one of ours."""
    wanted = set(demanded)
    return next((acr for acr in reversed(ACR_VALUES) if acr in wanted), None)


def is_recent(claims: dict[str, Any], *, now: datetime, max_age: timedelta) -> bool:
    """Tell whether the person signed in within `max_age`; False when the token does not say when."""
    at = claims.get("auth_time")
    return _is_moment(at) and now.timestamp() - at <= max_age.total_seconds()  # type: ignore[operator]


def check_times(claims: dict[str, Any], now: float, leeway: float) -> None:
    """Raise `jose.BadToken` unless `exp`, `iat` and `nbf` (where there is one) are moments and let it live `now`."""
    exp, iat, nbf = claims.get("exp"), claims.get("iat"), claims.get("nbf", 0)
    if not all(_is_moment(value) for value in (exp, iat, nbf)):
        raise jose.BadToken("exp, iat or nbf is no moment")
    if now >= exp + leeway:  # type: ignore[operator]
        raise jose.BadToken("expired")
    if max(iat, nbf) > now + leeway + 1:  # type: ignore[type-var, operator]
        raise jose.BadToken("from the future")


def _is_moment(value: object) -> bool:
    """Tell whether a value is a NumericDate (RFC 7519 §2): JSON can also carry `1e400`, which is infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _FARTHEST_SECONDS
