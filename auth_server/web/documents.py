"""Metadata and key set answered before Flask sees the request: the same bytes, for at most half a second.

What is kept is the whole answer that the application gave, so there is one place that makes it. It is dropped when
something cached in this process changes; a change in another process is seen within a second (`infra.stamp`).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from flask import Flask

from auth_server.infra import stamp
from auth_server.web.request_id import HEADER

_LIFE_SECONDS = 0.4
_CONDITIONAL = ("HTTP_IF_NONE_MATCH", "HTTP_IF_MODIFIED_SINCE", "HTTP_RANGE")

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Wsgi = Callable[[Environ, StartResponse], Iterable[bytes]]


@dataclass(frozen=True)
class _Kept:
    headers: list[tuple[str, str]]
    body: bytes
    good_until: float
    changes: int


class Documents:
    """WSGI middleware in front of the application."""

    def __init__(self, application: Wsgi, paths: Iterable[str]) -> None:
        self._application = application
        self._paths = frozenset(paths)
        self._kept: dict[str, _Kept] = {}

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path not in self._paths or not _is_plain_get(environ):
            return self._application(environ, start_response)
        kept = self._kept.get(path)
        if kept and time.monotonic() < kept.good_until and kept.changes == stamp.changes():
            start_response("200 OK", [*kept.headers, (HEADER, secrets.token_hex(8))])
            return [kept.body]
        return self._ask(path, environ, start_response)

    def _ask(self, path: str, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Let the application answer, and keep a good answer."""
        changes = stamp.changes()
        begun: list[Any] = []

        def remember(status: str, headers: list[tuple[str, str]], *rest: Any) -> Any:
            begun[:] = status, headers
            return start_response(status, headers, *rest)

        answer = self._application(environ, remember)
        body = b"".join(answer)
        close = getattr(answer, "close", None)
        if close:
            close()
        if begun[0].startswith("200"):
            headers = [(name, value) for name, value in begun[1] if name.lower() != HEADER.lower()]
            self._kept[path] = _Kept(headers, body, time.monotonic() + _LIFE_SECONDS, changes)
        return [body]


def setup_documents(app: Flask, paths: Iterable[str]) -> None:
    app.wsgi_app = Documents(app.wsgi_app, paths)  # type: ignore[method-assign]


def _is_plain_get(environ: Environ) -> bool:
    return environ["REQUEST_METHOD"] == "GET" and not any(name in environ for name in _CONDITIONAL)
