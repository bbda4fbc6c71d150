"""Writes a small file of countries in MaxMind's format (version 2.0 of its public specification)."""

from __future__ import annotations

import ipaddress
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

BERLIN = {"country": {"iso_code": "DE"}, "location": {"latitude": 52.5, "longitude": 13.4}}
LYON = {"country": {"iso_code": "FR"}, "location": {"latitude": 45.76, "longitude": 4.84}}
TOKYO = {"country": {"iso_code": "JP"}, "location": {"latitude": 35.7, "longitude": 139.7}}
IN_BERLIN, IN_BERLIN_TOO, IN_LYON, IN_TOKYO = "192.0.2.10", "198.51.100.10", "203.0.113.10", "2001:db8:7::1"
AT_HOME = "192.168.7.7"
"""An address that is in no file."""
PLACES = {"192.0.2.0/24": BERLIN, "198.51.100.0/24": BERLIN, "203.0.113.0/24": LYON, "2001:db8:7::/48": TOKYO}
_SEPARATOR = bytes(16)
_METADATA_MARK = b"\xab\xcd\xefMaxMind.com"


def write(path: Path, places: Mapping[str, Mapping[str, Any]] = PLACES) -> str:
    """Write the file, whole, in one move; return its path."""
    nodes: list[list[int | None]] = [[None, None]]
    data = b""
    leaves: dict[tuple[int, int], int] = {}
    for network, about in places.items():
        _place(nodes, leaves, _bits(network), len(data))
        data += _encoded(about)
    tree = b"".join(_record(nodes, leaves, number, side) for number in range(len(nodes)) for side in (0, 1))
    draft = path.with_suffix(".draft")
    draft.write_bytes(tree + _SEPARATOR + data + _METADATA_MARK + _encoded(_metadata(len(nodes))))
    os.replace(draft, path)
    return str(path)


def without_places(places: Mapping[str, Mapping[str, Any]] = PLACES) -> dict[str, dict[str, Any]]:
    """Return the same with countries alone."""
    return {network: {"country": about["country"]} for network, about in places.items()}


def _bits(network: str) -> list[int]:
    """Return the path through the tree: an IPv4 network lies under ::/96."""
    parsed = ipaddress.ip_network(network)
    value, length = int(parsed.network_address), parsed.prefixlen + (96 if parsed.version == 4 else 0)
    return [value >> (127 - place) & 1 for place in range(length)]


def _place(nodes: list[list[int | None]], leaves: dict[tuple[int, int], int], bits: list[int], offset: int) -> None:
    number = 0
    for bit in bits[:-1]:
        child = nodes[number][bit]
        if child is None:
            nodes.append([None, None])
            child = nodes[number][bit] = len(nodes) - 1
        number = child
    leaves[number, bits[-1]] = offset


def _record(nodes: list[list[int | None]], leaves: dict[tuple[int, int], int], number: int, side: int) -> bytes:
    """A record of 24 bits: another node, data, or nothing."""
    value = nodes[number][side]
    if value is None:
        offset = leaves.get((number, side))
        value = len(nodes) if offset is None else len(nodes) + len(_SEPARATOR) + offset
    return value.to_bytes(3, "big")


def _metadata(node_count: int) -> dict[str, Any]:
    return {
        "binary_format_major_version": _uint16(2),
        "binary_format_minor_version": _uint16(0),
        "build_epoch": bytes([8, 2]) + struct.pack(">Q", 1_700_000_000),  # an uint64: type 9, written as 7 + 2
        "database_type": "Test-City",
        "description": {"en": "made by a test"},
        "ip_version": _uint16(6),
        "languages": bytes([1, 4]) + _encoded("en"),  # an array of one: type 11, written as 7 + 4
        "node_count": _control(6, 4) + struct.pack(">I", node_count),
        "record_size": _uint16(24),
    }


def _uint16(value: int) -> bytes:
    return _control(5, 2) + struct.pack(">H", value)


def _encoded(value: Any) -> bytes:
    """Encode texts, numbers of degrees and maps; what is encoded already stays."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        raw = value.encode()
        return _control(2, len(raw)) + raw
    if isinstance(value, float):
        return _control(3, 8) + struct.pack(">d", value)
    return _control(7, len(value)) + b"".join(_encoded(key) + _encoded(part) for key, part in value.items())


def _control(kind: int, size: int) -> bytes:
    return bytes([kind << 5 | size]) if size < 29 else bytes([kind << 5 | 29, size - 29])
