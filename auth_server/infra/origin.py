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
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return ""
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return str(ipaddress.ip_network((parsed.packed, _IPV6_PREFIX), strict=False))
        parsed = parsed.ipv4_mapped
    return str(ipaddress.ip_network((parsed, _IPV4_PREFIX), strict=False))


def place_of(network: str) -> geo.Place:
    """Return where a network is: its first address stands for all."""
    return geo.locate(network.partition("/")[0])
