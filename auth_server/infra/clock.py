"""The only clock of the server."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """Return the present moment, aware, in UTC."""
    return datetime.fromtimestamp(time.time(), UTC)


def epoch_seconds(moment: datetime) -> int:
    """Return the moment as a JWT NumericDate (RFC 7519 §2), rounded down."""
    return int(moment.timestamp())
