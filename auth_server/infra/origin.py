"""Where a request comes from, coarsely: its network, its country, and what kind of program asks.

Coarse on purpose: it is kept beside browsers and tokens, and is to say "elsewhere", not who.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from functools import lru_cache

from auth_server.infra import agents, events, geo

_IPV4_PREFIX, _IPV6_PREFIX = 24, 48


@dataclass(frozen=True, slots=True)
class Origin:
    """A part that nobody knows is ""."""

    network: str = ""
    country: str = ""
    agent: str = ""


def here() -> Origin:
    """Return where the request at hand comes from."""
    context = events.context()
    return Origin(network_of(context.address), geo.locate(context.address).country, agents.kind_of(context.user_agent))


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return the network of an address: IPv4 by /24, IPv6 by /48; "" for what is no address."""
    found = parsed(address)
    if found is None:
        return ""
    prefix = _IPV6_PREFIX if found.version == 6 else _IPV4_PREFIX
    return str(ipaddress.ip_network((found.packed, prefix), strict=False))


def parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """Return an address, one of IPv4 also when it is written as IPv6; None for what is no address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def place_of(network: str) -> geo.Place:
    """Return where a network is: its first address stands for all."""
    return geo.locate(network.partition("/")[0])
