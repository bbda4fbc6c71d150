"""Flask-Limiter, the coarse first wall: per process, or shared through Redis with a fallback in memory.

The counters of record of guess limits are in the database, see `infra.limits`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import Flask, Response, request
from flask_limiter import Limiter
from flask_limiter.errors import RateLimitExceeded

from auth_server import config, values
from auth_server.accounts.sign_in import address_bucket
from auth_server.errors import PageError, TemporarilyUnavailable
from auth_server.infra import events
from auth_server.web import surface

_REDIS_TIMEOUT_SECONDS = 0.2


def make_limiter(settings: config.Settings) -> Limiter:
    """Return the limiter of one application."""
    options: dict[str, Any] = {"storage_uri": "memory://"}
    if settings.redis_url:
        timeouts = {"socket_connect_timeout": _REDIS_TIMEOUT_SECONDS, "socket_timeout": _REDIS_TIMEOUT_SECONDS}
        options = {"storage_uri": settings.redis_url, "storage_options": timeouts, "in_memory_fallback_enabled": True}
    logging.getLogger("flask-limiter").setLevel(logging.ERROR)
    return Limiter(_address, strategy="fixed-window", swallow_errors=False, **options)


def limit_refused(limiter: Limiter, rate: values.Rate | None) -> Callable[[Any], Any]:
    """Limit refused requests to a machine endpoint, per address; never per client, whom strangers could shut out.

    A count per (client, address) at the same rate would never be reached first, so it is not kept.
    """
    if rate is None:
        return lambda view: view
    return limiter.shared_limit(str(rate), "refused", key_func=_address, deduct_when=_was_refused)  # type: ignore[no-any-return]


def limit_created(limiter: Limiter, rate: values.Rate | None) -> Callable[[Any], Any]:
    """Limit requests of strangers that create rows, per address."""
    if rate is None:
        return lambda view: view
    return limiter.shared_limit(str(rate), "created", key_func=_address)  # type: ignore[no-any-return]


def _address() -> str:
    return address_bucket(events.context().address)


def _was_refused(response: Response) -> bool:
    return response.status_code >= 400


def setup_limits(app: Flask, limiter: Limiter) -> None:
    limiter.init_app(app)

    @app.errorhandler(RateLimitExceeded)
    def too_many(error: RateLimitExceeded) -> Response:
        from auth_server.web import errors

        seconds = error.limit.limit.get_expiry() if error.limit else 60
        if surface.is_for_machines(request.path):
            refusal = TemporarilyUnavailable("too many refused requests; wait", retry_after_seconds=seconds)
            return errors.protocol_error(refusal)
        return errors.page_error(PageError("rate_limited", 429, retry_after_seconds=seconds))
