"""Where the server's own requests may go: an address taken apart, its host resolved once, every answer checked.

What others register (key sets, documents, notices) must not reach into the network that the server stands in. The check
is of resolved addresses, so it does not matter how a host is spelt; whoever connects must use just these addresses.
"""

from __future__ import annotations

import ipaddress
import queue
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from auth_server import config

Resolve = Callable[[str, int], Sequence[str]]
"""Returns the addresses of a host; raises `OSError`."""

_LONGEST_URL = 2000
_CHARACTERS = re.compile(r"[!$%&'()*+,\-./0-9:;=?@A-Z_a-z~\[\]]+\Z")
_DEFAULT_PORT = {"https": 443, "http": 80}
_LEAST_FREE_PORT = 1024
_NEVER_WEB = frozenset({3306, 5432, 5672, 6379, 9200, 11211, 27017})
"""Ports from `_LEAST_FREE_PORT` on where databases and queues listen."""
_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_MOST_RESOLVING_AT_ONCE = 32
_resolving = threading.BoundedSemaphore(_MOST_RESOLVING_AT_ONCE)


class Unreachable(Exception):
    """A request was not made, or brought nothing usable; `detail` says why in fixed words, for log and audit alone."""

    def __init__(self, detail: str, status: int = 0) -> None:
        super().__init__(detail)
        self.detail = detail
        self.status = status
        """Of an answer that was not 200."""


@dataclass(frozen=True)
class Destination:
    """A URL that may be asked. `is_exempt`: the operator has named the host, whatever its addresses are."""

    scheme: str
    host: str
    port: int
    target: str
    is_exempt: bool

    @property
    def authority(self) -> str:
        """Return host and port as the Host header wants them (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORT[self.scheme] else f"{host}:{self.port}"


def parse(url: str) -> Destination:
    """Take a URL apart; raise `Unreachable` when it is none that may be asked."""
    if not len(url) <= _LONGEST_URL or not _CHARACTERS.match(url):
        raise Unreachable("malformed address")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        raise Unreachable("malformed address") from None
    if parts.scheme not in _DEFAULT_PORT or not host or "@" in parts.netloc:
        raise Unreachable("no https address")
    port = _DEFAULT_PORT[parts.scheme] if port is None else port
    is_exempt = _is_exempt(host, port)
    if parts.scheme == "http" and not (is_exempt and config.current().on_loopback):
        raise Unreachable("no https address")
    if not is_exempt and not _is_for_the_web(port):
        raise Unreachable("a port that is not for the web")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(parts.scheme, host, port, target, is_exempt)


def addresses(destination: Destination, seconds: float, resolve: Resolve) -> tuple[str, ...]:
    """Resolve the host, once and within the time, and return what may be connected to; raise `Unreachable`.

    One address that is not public refuses all: an answer that mixes them is an attack or a mistake.
    """
    found = tuple(dict.fromkeys(_resolved(destination, seconds, resolve)))
    if not found:
        raise Unreachable("the host has no address")
    if not destination.is_exempt and not all(map(is_public, found)):
        raise Unreachable("an address that is not public")
    return found


def is_public(address: str) -> bool:
    """Tell whether an address is one of the public Internet's; what embeds another is judged by that one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:  # no address, or one with a zone, which is link-local
        return False
    if isinstance(found, ipaddress.IPv6Address):
        embedded = _embedded(found)
        if embedded is None:
            return found in _GLOBAL_UNICAST and _is_global(found)
        found = embedded
    return _is_global(found)


def system_addresses(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address that a mapped, 6to4 or NAT64 address leads to."""
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour


def _is_global(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    is_special = address.is_multicast or address.is_reserved or address.is_link_local or address.is_unspecified
    return address.is_global and not (is_special or address.is_private or address.is_loopback)


def _is_for_the_web(port: int) -> bool:
    return port == _DEFAULT_PORT["https"] or (port >= _LEAST_FREE_PORT and port not in _NEVER_WEB)


def _is_exempt(host: str, port: int) -> bool:
    name = f"[{host}]" if ":" in host else host
    return not {name, f"{name}:{port}"}.isdisjoint(config.current().outbound_allow_hosts)


def _resolved(destination: Destination, seconds: float, resolve: Resolve) -> Sequence[str]:
    """Resolve in a thread of its own: the system's resolver knows no time limit."""
    if not _resolving.acquire(blocking=False):
        raise Unreachable("too many names are being resolved")
    answers: queue.SimpleQueue[Sequence[str] | None] = queue.SimpleQueue()

    def ask() -> None:
        try:
            answers.put(resolve(destination.host, destination.port))
        except (OSError, UnicodeError):
            answers.put(None)
        finally:
            _resolving.release()

    threading.Thread(target=ask, name="resolving", daemon=True).start()
    try:
        found = answers.get(timeout=max(seconds, 0))
    except queue.Empty:
        raise Unreachable("resolving took too long") from None
    if found is None:
        raise Unreachable("the host is unknown")
    return found
