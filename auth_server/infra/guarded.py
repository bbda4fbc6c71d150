"""The connection under `outbound`: to checked addresses only, and everything on it before one deadline.

It stands apart from `outbound` because it needs the HTTP library, which most commands never load.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import httpcore2
import httpx2

from auth_server.infra.destination import Destination, Resolve, Unreachable, addresses

_MOST_ADDRESSES = 4
Headers = list[tuple[bytes, bytes]]


class Deadline:
    """The moment by which everything must be done, on a clock that nobody sets."""

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds

    def left(self) -> float:
        """Return the seconds that are left; raise `Unreachable` when there are none."""
        left = self._at - time.monotonic()
        if left <= 0:
            raise Unreachable("it took too long")
        return left


class _Stream(httpcore2.NetworkStream):
    """A connection whose every step has only the time that is left: a server cannot win time by dripping bytes."""

    def __init__(self, inner: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._inner, self._deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.left())

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, self._deadline.left()), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore2.NetworkBackend):
    """Connects to the addresses that were checked, whatever the name says by now; TLS and Host still have the name."""

    def __init__(self, checked: tuple[str, ...], deadline: Deadline) -> None:
        self._checked, self._deadline = checked, deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        failure: Exception = Unreachable("the host has no address")
        for number, address in enumerate(self._checked):
            share = self._deadline.left() / (len(self._checked) - number)
            try:
                stream = httpcore2.SyncBackend().connect_tcp(address, port, share, socket_options=socket_options)
                return _Stream(stream, self._deadline)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as cause:
                failure = cause
        raise failure


def send(
    method: str,
    destination: Destination,
    headers: Headers,
    body: bytes,
    *,
    seconds: float,
    most_bytes: int,
    ca_file: str,
    resolve: Resolve,
) -> tuple[int, Headers, bytes]:
    """Make one request and return status, headers and body, as it came; raise `Unreachable`.

    The body is read up to `most_bytes`, and not at all with 0. Nothing is decompressed, and no redirect is followed.
    """
    deadline = Deadline(seconds)
    checked = addresses(destination, deadline.left(), resolve)[:_MOST_ADDRESSES]
    url = httpcore2.URL(
        scheme=destination.scheme.encode(),
        host=destination.host.encode(),
        port=destination.port,
        target=destination.target.encode(),
    )
    every = [(b"Host", destination.authority.encode()), *headers]
    pool = httpcore2.ConnectionPool(
        ssl_context=_trust(ca_file), http2=False, retries=0, network_backend=_Backend(checked, deadline)
    )
    try:
        with pool, pool.stream(method, url, headers=every, content=body) as response:
            return response.status, response.headers, _read(response, most_bytes) if most_bytes else b""
    except httpcore2.TimeoutException:
        raise Unreachable("it took too long") from None
    except httpcore2.ConnectError:
        raise Unreachable("no connection, or a certificate that is not trusted") from None
    except (httpcore2.NetworkError, httpcore2.ProtocolError):
        raise Unreachable("the connection broke, or the answer is malformed") from None


def _read(response: httpcore2.Response, most_bytes: int) -> bytes:
    found = bytearray()
    for chunk in response.iter_stream():
        found += chunk
        if len(found) > most_bytes:
            raise Unreachable("the answer is too large")
    return bytes(found)


@lru_cache(maxsize=4)
def _trust(ca_file: str) -> ssl.SSLContext:
    """Return the system's trust store with the operator's bundle besides."""
    context = httpx2.create_ssl_context(trust_env=False)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        context.load_verify_locations(ca_file)
    return context
