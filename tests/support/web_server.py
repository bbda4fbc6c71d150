"""A web server of this machine that behaves as badly as it is told to, with or without TLS."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Send = Callable[[bytes], None]
Behave = Callable[[Send], None]
_PATIENCE_SECONDS = 20


@dataclass
class WebServer:
    """`behave` writes the answer; `requests` are those that came whole, `connections` counts all."""

    scheme: str
    port: int
    behave: Behave
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def url(self, path: str = "/", host: str = "127.0.0.1") -> str:
        return f"{self.scheme}://{host}:{self.port}{path}"


def answer(
    body: bytes = b"{}", status: str = "200 OK", content_type: str = "application/json", **headers: str
) -> Behave:
    """Return a behaviour: one whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"Content-Type: {content_type}"] if content_type else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return lambda send: send("\r\n".join([*lines, "", ""]).encode() + body)


def as_json(value: Any, **headers: str) -> Behave:
    return answer(json.dumps(value).encode(), **headers)


def endless(head: bytes, chunk: bytes, pause_seconds: float = 0) -> Behave:
    """Return a behaviour: a beginning, and then the same again and again."""

    def behave(send: Send) -> None:
        send(head)
        until = time.monotonic() + _PATIENCE_SECONDS
        while time.monotonic() < until:
            send(chunk)
            time.sleep(pause_seconds)

    return behave


def silent(send: Send) -> None:
    """A behaviour: nothing."""
    time.sleep(_PATIENCE_SECONDS)


@contextmanager
def running(behave: Behave, certificate: Path | None = None) -> Iterator[WebServer]:
    """Run one on a free port of 127.0.0.1; with a certificate by TLS."""
    listener = socket.create_server(("127.0.0.1", 0))
    found = WebServer("https" if certificate else "http", listener.getsockname()[1], behave)
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
    threading.Thread(target=_accept, args=(listener, context, found), daemon=True).start()
    try:
        yield found
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _accept(listener: socket.socket, context: ssl.SSLContext | None, found: WebServer) -> None:
    while True:
        try:
            connection, _peer = listener.accept()
        except OSError:
            return
        with found.lock:
            found.connections += 1
        threading.Thread(target=_serve, args=(connection, context, found), daemon=True).start()


def _serve(raw: socket.socket, context: ssl.SSLContext | None, found: WebServer) -> None:
    with suppress(OSError), raw:
        connection = context.wrap_socket(raw, server_side=True) if context else raw
        with connection:
            with found.lock:
                found.requests.append(_request(connection))
            found.behave(connection.sendall)
            with suppress(OSError):
                connection.shutdown(socket.SHUT_WR)


def _request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while lengths and len(body) < int(lengths[0]):
        body += _more(connection)
    return head + b"\r\n\r\n" + body


def _more(connection: socket.socket) -> bytes:
    found = connection.recv(65536)
    if not found:
        raise ConnectionError("the client went away")
    return found
