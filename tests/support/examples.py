"""Settings for made-up examples: a slow machine is no failure."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

STEADY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
