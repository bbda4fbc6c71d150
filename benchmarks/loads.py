"""`workers`, `flood` and `growth`: more processes, sign-ins that crowd the same process, and tables that are full."""

from __future__ import annotations

import argparse
import http.client
import json
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from benchmarks import servers
from benchmarks.grounds import OurGround
from benchmarks.rows import ROWS, Row
from benchmarks.targets import Target, measure

WORKERS = (1, 2, 4)
WORKER_ROWS = ("cc-rs256", "cc-es256", "code", "refresh-openid", "introspect")
FLOOD_ROWS = ("cc-rs256", "refresh")
GROWTH_ROWS = ("cc-opaque", "code", "refresh", "introspect", "userinfo")
SIZES = (1_000, 100_000, 1_000_000)
_FLOODERS = 16


def _rows(options: argparse.Namespace, names: tuple[str, ...]) -> list[Row]:
    return [row for row in ROWS if row.name in (options.only or names)]


@contextmanager
def ours(options: argparse.Namespace, *, workers: int = 1, pinned: bool = True, **more: str) -> Iterator[Target]:
    """Run our server on a fresh database."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder, port = Path(name), servers.free_port()
        environ = {**servers.environment(folder / "instance", port, options.database), **more}
        servers.initialise(environ)
        command = servers.serve_command(port, workers)
        with servers.running(command, port, environ, folder / "log", "/readyz", pinned=pinned) as server:
            yield Target("auth-server", server, OurGround(port, environ))


def run_workers(options: argparse.Namespace) -> int:
    """Measure rows with one, two and four workers on every core, which the load generator shares."""
    found: dict[str, dict[str, Any]] = {}
    rows = _rows(options, WORKER_ROWS)
    for workers in WORKERS:
        with ours(options, workers=workers, pinned=False) as target:
            measure([target], rows, options.rounds, options.seconds, pinned=False)
            for row in rows:
                found.setdefault(row.name, {})[str(workers)] = target.result(row)
    return report(options, found, "workers", "1")


def run_growth(options: argparse.Namespace) -> int:
    """Measure rows with so many people, families, tokens and events already there."""
    found: dict[str, dict[str, Any]] = {}
    rows, megabytes = _rows(options, GROWTH_ROWS), {}
    for size in options.sizes or SIZES:
        with ours(options) as target:
            target.ground.fill(size)
            megabytes[f"{size:,}"] = target.ground.database_megabytes()
            measure([target], rows, options.rounds, options.seconds)
            for row in rows:
                found.setdefault(row.name, {})[f"{size:,}"] = target.result(row)
    if not options.json:
        print("the database, MB: " + ", ".join(f"{rows} rows {size:,.0f}" for rows, size in megabytes.items()))
    return report(options, found, "rows", next(iter(next(iter(found.values())))))


def run_flood(options: argparse.Namespace) -> int:
    """Measure the token endpoint quiet, then while sign-ins with wrong passwords crowd the same process."""
    found: dict[str, dict[str, Any]] = {}
    answered: Counter[int] = Counter()
    rows = _rows(options, FLOOD_ROWS)
    with ours(options, AUTH_SERVER_LOGIN_RATE_LIMIT="off") as target:
        for state in ("quiet", "flooded"):
            target.samples.clear()
            with _flood(target.server.port, answered) if state == "flooded" else _nothing():
                measure([target], rows, options.rounds, options.seconds)
            for row in rows:
                found.setdefault(row.name, {})[state] = target.result(row)
    status = report(options, found, "state", "quiet")
    if not options.json:
        print("sign-ins answered meanwhile: " + ", ".join(f"{code}: {count}" for code, count in answered.items()))
        for name, states in found.items():
            ratio = states["flooded"]["p99_ms"] / states["quiet"]["p99_ms"]
            print(f"{name}: p99 {ratio:.1f} times the quiet one (target: under 5)")
    return status


@contextmanager
def _nothing() -> Iterator[None]:
    yield


@contextmanager
def _flood(port: int, answered: Counter[int]) -> Iterator[None]:
    """Send wrong passwords on many connections, as fast as they are answered, until the block ends."""
    over = threading.Event()
    threads = [threading.Thread(target=_knock, args=(port, number, over, answered)) for number in range(_FLOODERS)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _knock(port: int, number: int, over: threading.Event, answered: Counter[int]) -> None:
    """Try passwords for accounts that do not exist; each costs a hash."""
    host = f"localhost:{port}"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/login", headers={"Host": host})
    page = connection.getresponse()
    cookie = page.getheader("Set-Cookie", "").partition(";")[0]
    token = re.search(r'name="csrf_token"[^>]*value="([^"]+)"', page.read().decode())
    headers = {"Host": host, "Cookie": cookie, "Content-Type": "application/x-www-form-urlencoded"}
    turn = 0
    while not over.is_set():
        turn += 1
        fields = {"email": f"nobody-{number}-{turn}@example.org", "password": "wrong", "next": "/account"}
        body = urlencode({**fields, "csrf_token": token[1] if token else ""})
        try:
            connection.request("POST", "/login", body, headers)
            response = connection.getresponse()
            response.read()
        except OSError:
            connection.close()
            continue
        answered[response.status] += 1
        time.sleep(float(response.getheader("Retry-After", "0")) / 20 if response.status == 503 else 0)


def report(options: argparse.Namespace, found: dict[str, dict[str, Any]], what: str, first: str) -> int:
    """Print each row at each step, with the ratio to the first; return 1 when any answer was an error."""
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(f"{'row':16}{what:>12}{'req/s':>9}{'CPU us':>8}{'p50 ms':>8}{'p99 ms':>8}{'errors':>7}{'ratio':>8}")
        for row, steps in found.items():
            for step, result in steps.items():
                ratio = result["rate"] / steps[first]["rate"] if steps[first]["rate"] else 0.0
                print(
                    f"{row:16}{step:>12}{result['rate']:9,.0f}{result['cpu_us']:8,.0f}{result['p50_ms']:8.1f}"
                    f"{result['p99_ms']:8.1f}{result['errors']:7}{ratio:7.2f}x"
                )
    errors = [result for steps in found.values() for result in steps.values() if result["errors"]]
    for result in errors:
        print(f"ERRORS: {result['errors']}, the first: {result['first_error']}")
    return int(bool(errors))
