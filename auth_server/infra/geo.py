"""Where on earth an address is, from the operator's own file (`GEOIP_FILE`, MaxMind's format). Nobody is asked.

Without a file, and for an address that is not in it, the answer is "nowhere", and everything works without countries.
The file is mapped into memory; a new one, moved into its place, is noticed by its time.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import os
import threading
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from auth_server import config

if TYPE_CHECKING:
    import maxminddb

log = logging.getLogger("auth_server.geo")
_EARTH_RADIUS_KM = 6371.0


@dataclass(frozen=True, slots=True)
class Place:
    """A country (ISO 3166-1, two letters) and, where the file knows them, degrees north and east."""

    country: str = ""
    latitude: float | None = None
    longitude: float | None = None


NOWHERE = Place()


class _File:
    """The file that is open now. An unreadable one leaves the former in use: the start has refused a bad one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: tuple[str, int, int] | None = None
        self.reader: maxminddb.Reader | None = None

    def look(self, path: str) -> maxminddb.Reader | None:
        """Return a reader of the file as it is now."""
        seen = _version(path)
        if seen != self._seen:
            with self._lock:
                if seen != self._seen:
                    self._reopen(path, seen)
        return self.reader

    def _reopen(self, path: str, seen: tuple[str, int, int]) -> None:
        import maxminddb

        if self._seen is not None and self._seen[0] != path:
            self.reader = None
        try:
            self.reader = maxminddb.open_database(path)
        except (OSError, ValueError, maxminddb.InvalidDatabaseError):
            log.warning("the country file cannot be read; the former one is used, if there was one")
        self._seen = seen
        _place.cache_clear()


_file = _File()


def locate(address: str) -> Place:
    """Return where an address is; `NOWHERE` when nobody knows."""
    path = config.current().geoip_file
    if not path or not address:
        return NOWHERE
    reader = _file.look(path)
    return _place(address, reader) if reader else NOWHERE


def kilometres(one: Place, other: Place) -> float | None:
    """Return the distance along the globe; None where a place has no coordinates."""
    if one.latitude is None or one.longitude is None or other.latitude is None or other.longitude is None:
        return None
    north, north_too = math.radians(one.latitude), math.radians(other.latitude)
    east = math.radians(other.longitude - one.longitude)
    half = math.sin((north_too - north) / 2) ** 2 + math.cos(north) * math.cos(north_too) * math.sin(east / 2) ** 2
    return 2 * _EARTH_RADIUS_KM * math.asin(min(1.0, math.sqrt(half)))


def _version(path: str) -> tuple[str, int, int]:
    try:
        found = os.stat(path)
    except OSError:
        return path, 0, 0
    return path, found.st_mtime_ns, found.st_ino


@lru_cache(maxsize=4096)
def _place(address: str, reader: maxminddb.Reader) -> Place:
    import maxminddb

    try:
        parsed = ipaddress.ip_address(address)
        found: Any = reader.get(getattr(parsed, "ipv4_mapped", None) or parsed)
    except (ValueError, maxminddb.InvalidDatabaseError):
        return NOWHERE
    if not isinstance(found, dict):
        return NOWHERE
    country, location = _part(found, "country"), _part(found, "location")
    code = country.get("iso_code", "")
    latitude, longitude = location.get("latitude"), location.get("longitude")
    if not (isinstance(latitude, float) and isinstance(longitude, float)):
        latitude = longitude = None
    return Place(code if isinstance(code, str) and len(code) == 2 else "", latitude, longitude)


def _part(found: dict[str, Any], name: str) -> dict[str, Any]:
    part = found.get(name)
    return part if isinstance(part, dict) else {}
