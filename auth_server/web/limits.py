"""Rate limits by address, the coarse first wall: per process, or shared through Redis with a fallback in memory.

Pages ask Flask-Limiter. Machine endpoints count refusals only, so an accepted request costs a look into a dictionary.
The counters of record of guess limits are in the database, see `infra.limits`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from flask_limiter import Limiter
from limits import RateLimitItem, parse
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from auth_server import config, values
from auth_server.accounts.sign_in import address_bucket
from auth_server.infra import events

_REDIS_TIMEOUT_SECONDS = 0.2
_TRY_AGAIN_AFTER_SECONDS = 5
_MOST_BLOCKED = 10_000

log = logging.getLogger("auth_server.web")


def make_limiter(settings: config.Settings) -> Limiter:
    """Return the limiter of one application."""
    options: dict[str, Any] = {"storage_uri": "memory://"}
    if settings.redis_url:
        timeouts = {"socket_connect_timeout": _REDIS_TIMEOUT_SECONDS, "socket_timeout": _REDIS_TIMEOUT_SECONDS}
        options = {"storage_uri": settings.redis_url, "storage_options": timeouts, "in_memory_fallback_enabled": True}
    logging.getLogger("flask-limiter").setLevel(logging.ERROR)
    return Limiter(_address, strategy="fixed-window", swallow_errors=False, **options)


class _Windows:
    """Counts in the storage that processes share, and alone while it cannot be reached."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter
        self._alone = FixedWindowRateLimiter(MemoryStorage())
        self._shared_again_at = 0.0

    def hit(self, rate: RateLimitItem, what: str, bucket: str) -> tuple[bool, Any]:
        """Count one; return whether it is within the rate, and the window (`remaining`, `reset_time`)."""
        try:
            is_shared = time.monotonic() >= self._shared_again_at
            return self._hit(self._limiter.limiter if is_shared else self._alone, rate, what, bucket)
        except Exception as cause:  # whatever the storage's library raises: Redis is away
            log.warning("the shared rate limits cannot be reached; each process counts alone", exc_info=cause)
            self._shared_again_at = time.monotonic() + _TRY_AGAIN_AFTER_SECONDS
            return self._hit(self._alone, rate, what, bucket)

    def _hit(self, strategy: Any, rate: RateLimitItem, what: str, bucket: str) -> tuple[bool, Any]:
        return strategy.hit(rate, what, bucket), strategy.get_window_stats(rate, what, bucket)


class CreatedLimit:
    """Counts the requests of programs that create rows for strangers, per address: as `limit_created` for pages."""

    def __init__(self, limiter: Limiter, rate: values.Rate | None) -> None:
        self._windows = _Windows(limiter)
        self._rate: RateLimitItem | None = parse(str(rate)) if rate else None

    def count(self, address: str) -> int:
        """Count a request; return 0, or the seconds to wait when it is one too many."""
        if self._rate is None:
            return 0
        is_within, window = self._windows.hit(self._rate, "created by programs", address_bucket(address))
        return 0 if is_within else max(1, int(window.reset_time - time.time()) + 1)


class RefusedLimit:
    """Counts refused requests to machine endpoints per address; never per client, whom strangers could shut out.

    A count per (client, address) at the same rate would never be reached first, so it is not kept.
    """

    def __init__(self, limiter: Limiter, rate: values.Rate | None) -> None:
        self._windows = _Windows(limiter)
        self._rate: RateLimitItem | None = parse(str(rate)) if rate else None
        self._blocked_until: dict[str, float] = {}

    def seconds_to_wait(self, address: str) -> int:
        """Return 0 while the address may ask."""
        if not self._blocked_until:
            return 0
        bucket = address_bucket(address)
        left = self._blocked_until.get(bucket, 0.0) - time.time()
        if left <= 0:
            self._blocked_until.pop(bucket, None)
            return 0
        return int(left) + 1

    def count(self, address: str) -> None:
        """Count a refusal; the one that uses up the rate closes the door until the window ends."""
        if self._rate is None:
            return
        bucket = address_bucket(address)
        _is_within, window = self._windows.hit(self._rate, "refused", bucket)
        if window.remaining <= 0:
            if len(self._blocked_until) >= _MOST_BLOCKED:
                self._blocked_until.clear()
            self._blocked_until[bucket] = window.reset_time


def limit_created(limiter: Limiter, rate: values.Rate | None) -> Callable[[Any], Any]:
    """Limit requests of strangers that create rows, per address."""
    if rate is None:
        return lambda view: view
    return limiter.shared_limit(str(rate), "created", key_func=_address)  # type: ignore[no-any-return]


def _address() -> str:
    return address_bucket(events.context().address)
