"""`parts`: where a request's processor time goes, and what refusals cost, in one thread and without a network."""

from __future__ import annotations

import argparse
import io
import itertools
import json
import os
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from flask import Flask

from auth_server import database
from auth_server.keys import jose
from benchmarks import load, servers
from benchmarks.grounds import APP, OPAQUE, SECRET, SERVICE, OurGround
from benchmarks.rows import ROWS

PART_ROWS = ("cc-opaque", "cc-es256", "refresh", "refresh-openid", "code", "introspect", "userinfo")
_WARM_UP, _COUNT = 200, 2000
_MEASURED = (
    (database.Work, "_run", "database"),
    (database.Work, "_commit_driver", "database"),
    (database.Work, "_connect", "database"),
    (database.Work, "close", "database"),
    (jose, "sign", "signature"),
)


def run_parts(options: argparse.Namespace) -> int:
    """Measure the rows and the refusals; an unexpected answer raises."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        port = servers.free_port()
        environ = servers.environment(Path(name), port, options.database)
        os.environ.update({key: value for key, value in environ.items() if key.startswith("AUTH_SERVER_")})
        servers.initialise(environ)
        ground = OurGround(port, environ)
        app = ground.app
        load.once = lambda _port, request: _send(app, request)  # the rows ask for their first token so
        spent: Counter[str] = Counter()
        _watch(spent)
        found = {row.name: _row(app, ground, row, spent) for row in ROWS if row.name in (options.only or PART_ROWS)}
        refused = {name: _cost(app, request, status) for name, (request, status) in _refusals().items()}
    if options.json:
        print(json.dumps({"rows": found, "refusals_us": refused}, indent=2))
        return 0
    print(f"{'CPU us':28}{'all':>8}{'signature':>11}{'database':>10}{'the rest':>10}")
    for name, part in found.items():
        rest = part["all"] - part["signature"] - part["database"]
        print(f"{name:28}{part['all']:8,.0f}{part['signature']:11,.0f}{part['database']:10,.0f}{rest:10,.0f}")
    for name, cost in refused.items():
        print(f"{name:28}{cost:8,.0f}")
    return 0


def _row(app: Flask, ground: OurGround, row: Any, spent: Counter[str]) -> dict[str, float]:
    source = row.source(ground, (_WARM_UP + _COUNT) / 1000)

    def one() -> None:
        status, body = _send(app, source.following() or b"")
        if status != source.status or source.marker not in body:
            raise RuntimeError(f"{row.name}: {status} {body[:200]!r}")
        if source.answered:
            source.answered(body)

    for _ in range(_WARM_UP):
        one()
    spent.clear()
    started = time.process_time()
    for _ in range(_COUNT):
        one()
    used = time.process_time() - started
    return {"all": used / _COUNT * 1e6, **{part: spent[part] / _COUNT * 1e6 for part in ("signature", "database")}}


def _refusals() -> dict[str, tuple[Callable[[], bytes], int]]:
    """Return what strangers send, each time another, with the status it gets."""
    numbers = itertools.count()
    grant = {"grant_type": "client_credentials", "scope": OPAQUE}
    code = {"grant_type": "authorization_code", "redirect_uri": "https://x", "code_verifier": "v" * 43}
    app = load.basic(APP, SECRET)

    def service(client_id: str, secret: str) -> bytes:
        return load.form("/oauth/token", grant, Authorization=load.basic(client_id, secret))

    def introspect() -> bytes:
        return load.form("/oauth/introspect", {"token": secrets.token_urlsafe(32)}, Authorization=app)

    return {
        "wrong secret": (lambda: service(SERVICE, f"wrong{next(numbers)}"), 401),
        "unknown client": (lambda: service(f"nobody{next(numbers)}", "x"), 401),
        "unknown code": (
            lambda: load.form("/oauth/token", {**code, "code": secrets.token_urlsafe(32)}, Authorization=app),
            400,
        ),
        "unknown token introspected": (introspect, 200),
        "unknown token at userinfo": (
            lambda: load.get("/oauth/userinfo", Authorization=f"Bearer {secrets.token_urlsafe(32)}"),
            401,
        ),
    }


def _cost(app: Flask, request: Callable[[], bytes], status: int) -> float:
    requests = [request() for _ in range(_WARM_UP + _COUNT)]
    started = 0.0
    for number, raw in enumerate(requests):
        if number == _WARM_UP:
            started = time.process_time()
        if _send(app, raw)[0] != status:
            raise RuntimeError(f"expected {status}")
    return (time.process_time() - started) / _COUNT * 1e6


def _watch(spent: Counter[str]) -> None:
    """Add up what is spent in the functions that stand for a part."""
    for owner, name, part in _MEASURED:
        setattr(owner, name, _timed(getattr(owner, name), part, spent))


def _timed(act: Callable[..., Any], part: str, spent: Counter[str]) -> Callable[..., Any]:
    def timed(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        try:
            return act(*args, **kwargs)
        finally:
            spent[part] += time.perf_counter() - started  # type: ignore[assignment]

    return timed


def _send(app: Flask, request: bytes) -> tuple[int, bytes]:
    """Send a request of the load generator straight into the application."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *headers = head.decode("latin-1").split("\r\n")
    method, path, _version = first.split()
    environ: dict[str, Any] = {
        **{"REQUEST_METHOD": method, "PATH_INFO": path, "QUERY_STRING": "", "SERVER_PROTOCOL": "HTTP/1.1"},
        **{"SERVER_NAME": "localhost", "SERVER_PORT": "80", "REMOTE_ADDR": "127.0.0.1", "wsgi.url_scheme": "http"},
        **{"wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))},
    }
    for line in headers:
        name, _, value = line.partition(": ")
        key = name.upper().replace("-", "_")
        environ[key if key == "CONTENT_TYPE" else f"HTTP_{key}"] = value
    statuses: list[str] = []
    answer = b"".join(app(environ, lambda status, _headers, _failure=None: statuses.append(status)))
    return int(statuses[0][:3]), answer
