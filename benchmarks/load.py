"""A load generator: keep-alive connections over raw sockets in one thread, a request in flight on each.

It knows just enough HTTP/1.1 (a status line and a Content-Length) to stay out of the measurement's way: 32 to 65 us a
request, so one core of it outruns any server here.
"""

from __future__ import annotations

import base64
import selectors
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlencode

CONNECTIONS = 8
_PATIENCE_SECONDS = 30.0
_HEADERS_END = b"\r\n\r\n"


@dataclass
class Source:
    """Where requests come from. `following` returns the next one, or None when the stock is used up."""

    following: Callable[[], bytes | None]
    marker: bytes
    """What every good answer contains; one without it is an error."""
    answered: Callable[[bytes], None] | None = None
    status: int = 200
    """What every good answer has: 400 where a refusal is what is wanted."""


@dataclass
class Sample:
    """What one stretch of load saw."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0
    first_error: str = ""

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def note_error(self, what: str) -> None:
        self.errors += 1
        self.first_error = self.first_error or what


def get(path: str, **headers: str) -> bytes:
    """Return a GET request."""
    return _head("GET", path, headers) + b"\r\n"


def form(path: str, fields: dict[str, str], **headers: str) -> bytes:
    """Return a POST request with a form."""
    body = urlencode(fields).encode()
    about = {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}
    return _head("POST", path, {**headers, **about}) + b"\r\n" + body


def basic(client_id: str, secret: str) -> str:
    """Return the value of a Basic `Authorization` header."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def _head(method: str, path: str, headers: dict[str, str]) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n").encode()


def once(port: int, request: bytes) -> tuple[int, bytes]:
    """Send one request on a connection of its own; return status and body."""
    connection = _Connection(port)
    try:
        connection.socket.setblocking(True)
        connection.socket.settimeout(_PATIENCE_SECONDS)
        connection.send(request)
        while True:
            found = connection.receive()
            if found is not None:
                return found
    finally:
        connection.socket.close()


def run(port: int, source: Source, seconds: float) -> Sample:
    """Keep `CONNECTIONS` busy for a while, or until the source is used up."""
    sample = Sample()
    with selectors.DefaultSelector() as selector:
        for connection in [_Connection(port) for _ in range(CONNECTIONS)]:
            selector.register(connection.socket, selectors.EVENT_READ, connection)
        started = time.perf_counter()
        deadline = started + seconds
        _send_first(selector, source)
        while selector.get_map():
            ready = selector.select(_PATIENCE_SECONDS)
            if not ready:
                sample.note_error("no answer")
                break
            for key, _events in ready:
                _go_on(selector, key.data, source, sample, deadline)
        sample.seconds = time.perf_counter() - started
        for key in list(selector.get_map().values()):
            key.data.socket.close()
    return sample


def _send_first(selector: selectors.BaseSelector, source: Source) -> None:
    for key in list(selector.get_map().values()):
        request = source.following()
        if request is None:
            _drop(selector, key.data)
        else:
            key.data.send(request)


def _go_on(
    selector: selectors.BaseSelector, connection: _Connection, source: Source, sample: Sample, deadline: float
) -> None:
    """Take what has arrived; after a whole answer, send the next request."""
    try:
        found = connection.receive()
    except (OSError, ValueError) as cause:
        sample.note_error(f"connection: {cause!r}")
        _drop(selector, connection)
        return
    if found is None:
        return
    now = time.perf_counter()
    status, body = found
    if status == source.status and source.marker in body:
        sample.latencies.append(now - connection.sent_at)
        if source.answered:
            source.answered(body)
    else:
        sample.note_error(f"{status} {body[:200].decode('latin-1')}")
    request = source.following() if now < deadline else None
    if request is None:
        _drop(selector, connection)
    else:
        connection.send(request)


def _drop(selector: selectors.BaseSelector, connection: _Connection) -> None:
    selector.unregister(connection.socket)
    connection.socket.close()


class _Connection:
    """One keep-alive connection with at most one request in flight."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), _PATIENCE_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.sent_at = 0.0
        self._buffer = b""

    def send(self, request: bytes) -> None:
        self.sent_at = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes] | None:
        """Return status and body once the answer is whole; raise `OSError` when the connection ends."""
        chunk = self.socket.recv(65536)
        if not chunk:
            raise ConnectionError("closed by the server")
        self._buffer += chunk
        head, end, body = self._buffer.partition(_HEADERS_END)
        if not end or len(body) < _content_length(head):
            return None
        self._buffer = b""
        return int(head[9:12]), body


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(b"content-length:")
    if at < 0:
        raise ValueError("an answer without Content-Length")
    return int(lowered[at + 15 :].partition(b"\r\n")[0])
