"""What nothing can be faster than: a route of Flask that does nothing, and a signature alone."""

from __future__ import annotations

import time
from typing import Any

from auth_server.keys import jose
from benchmarks import load
from benchmarks.load import Source
from benchmarks.rows import Row

_BARE_REQUEST = load.get("/bare")
BARE = Row("flask", "a bare Flask route", lambda _ground, _seconds: Source(lambda: _BARE_REQUEST, b"a bare route"))
"""Only the baseline has it."""


def signatures() -> dict[str, float]:
    """Measure what one signature takes, in microseconds of processor time."""
    claims = {"iss": "http://localhost", "sub": "x" * 36, "exp": 1, "iat": 1, "scope": "openid profile email"}
    found = {}
    for alg, count in (("RS256", 300), ("ES256", 2000)):
        key = jose.Key("kid", alg, jose.wrap(jose.generate(alg)))
        started = time.process_time()
        for _ in range(count):
            jose.sign(claims, key)
        found[alg] = (time.process_time() - started) / count * 1e6
    return found


def line(flask: dict[str, Any], found: dict[str, float]) -> str:
    """Return both in words."""
    signed = ", ".join(f"{alg} {us:,.0f} us" for alg, us in found.items())
    low, high = flask["rate_range"]
    return (
        f"a bare Flask route: {flask['rate']:,.0f} req/s ({low:,.0f}-{high:,.0f}), {flask['cpu_us']:,.0f} us; "
        f"the signature alone: {signed}"
    )
