"""How long a signed statement counts, by its `exp`, `iat` and `nbf`, on clocks that differ by a minute."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from auth_server.infra import clock

LEEWAY = timedelta(seconds=60)
LIFE = timedelta(minutes=5)
LONGEST_SAID = timedelta(hours=1)
LONGEST_REUSED = timedelta(hours=24)
"""A cloud's tokens live that long, a cluster's an hour by default, a CI system's minutes."""


class BadLifetime(Exception):
    """The statement does not count at this moment; the message tells its maker what to change."""


def of_single_use(claims: Mapping[str, Any], *, is_strict: bool = False) -> datetime:
    """Check the times of what is made for one request, and return when it is over for good; raise `BadLifetime`.

    Deviation: some libraries say an hour and cannot be told otherwise. Such a statement counts for `LIFE` after `iat`.
    """
    now = clock.now().timestamp()
    expires, issued = _begun(claims, now)
    if expires > now + (LIFE + LEEWAY).total_seconds():
        if is_strict or issued is None or expires > now + (LONGEST_SAID + LEEWAY).total_seconds():
            raise BadLifetime("exp of the assertion is too far ahead: use at most 5 minutes")
        expires = issued + LIFE.total_seconds()
    return _end(expires, now)


def of_reused(claims: Mapping[str, Any]) -> datetime:
    """Do the same for what is shown again and again until it expires: within `LONGEST_REUSED` of its `iat`."""
    now = clock.now().timestamp()
    expires, issued = _begun(claims, now)
    if issued is None:
        raise BadLifetime("the assertion needs an iat")
    if expires > issued + LONGEST_REUSED.total_seconds():
        raise BadLifetime("the assertion lives too long: use at most 24 hours")
    return _end(expires, now)


def moment(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a NumericDate, or None when there is none; raise `BadLifetime`."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > 1e11 or not math.isfinite(value):
        raise BadLifetime(f"{name} of the assertion must be a number of seconds")
    return float(value)


def _begun(claims: Mapping[str, Any], now: float) -> tuple[float, float | None]:
    """Return `exp` and `iat` of what is not from the future."""
    expires, issued, begins = (moment(claims, name) for name in ("exp", "iat", "nbf"))
    if expires is None:
        raise BadLifetime("the assertion needs an exp")
    if max(issued or 0, begins or 0) > now + LEEWAY.total_seconds():
        raise BadLifetime("the assertion is from the future: iat or nbf has not come yet")
    return expires, issued


def _end(expires: float, now: float) -> datetime:
    if expires <= now - LEEWAY.total_seconds():
        raise BadLifetime("the assertion has expired")
    return datetime.fromtimestamp(expires, UTC) + LEEWAY
