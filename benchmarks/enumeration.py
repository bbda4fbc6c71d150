"""`enumeration`: how long answers take for accounts of each kind and for none, as distributions.

Whoever may ask often enough averages noise away, so the question is whether there is a difference: that of the medians,
with the interval in which it lies (bootstrap, 95 %). With bcrypt at its cheapest everything else stands out.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from auth_server import config, create_app
from auth_server.access import roles
from auth_server.accounts import passwords, users
from auth_server.database import db
from auth_server.infra import events
from benchmarks import servers

KINDS = ("with a password", "without one", "disabled", "unverified")
_UNKNOWN = "unknown"
_ACCOUNTS = 20
"""Of each kind, so that no single row is always at hand."""
_ROUNDS = (4, 12)
_WARM_UP = 20
_RESAMPLED = 2000
_TOKEN = re.compile(rb'name="csrf_token" value="([^"]+)"')

Try = Callable[["Visitor", str], tuple[float, int]]


class Visitor:
    """A browser that is new to every account: one connection, one cookie."""

    def __init__(self, port: int) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=60)
        self._headers = {"Host": f"localhost:{port}", "Content-Type": "application/x-www-form-urlencoded"}
        self._tokens: dict[str, str] = {}

    def send(self, path: str, fields: dict[str, str]) -> tuple[float, int]:
        """Send the form of a page, which is looked at once; return the milliseconds of the answer and its status."""
        if path not in self._tokens:
            _took, _status, body = self._ask("GET", path, None)
            found = _TOKEN.search(body)
            assert found, body[:500]
            self._tokens[path] = found[1].decode()
        took, status, _body = self._ask("POST", path, urlencode({**fields, "csrf_token": self._tokens[path]}))
        return took, status

    def _ask(self, method: str, path: str, body: str | None) -> tuple[float, int, bytes]:
        started = time.perf_counter()
        self._connection.request(method, path, body, self._headers)
        response = self._connection.getresponse()
        text = response.read()
        took = (time.perf_counter() - started) * 1000
        for name, value in response.headers.items():
            if name.lower() == "set-cookie":
                self._headers["Cookie"] = value.partition(";")[0]
        return took, response.status, text


def sign_in(visitor: Visitor, email: str) -> tuple[float, int]:
    """Try a wrong password."""
    return visitor.send("/login", {"email": email, "password": "a wrong password"})


CASES: dict[str, Try] = {"sign-in": sign_in}
"""One try each with an address that has an account, or none; both must be answered with the same status."""


def run_enumeration(options: argparse.Namespace) -> int:
    """Measure every case at both costs of the hash; return 1 when the statuses differ."""
    found = [row for rounds in _ROUNDS for row in _measure(rounds, options)]
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        _report(found)
    return int(not all(row["same_status"] for row in found))


def _measure(rounds: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        port, folder = servers.free_port(), Path(name)
        environ = servers.environment(folder / "instance", port)
        environ |= {"AUTH_SERVER_LOGIN_RATE_LIMIT": "off", "AUTH_SERVER_BCRYPT_ROUNDS": str(rounds)}
        servers.initialise(environ)
        _make_accounts(environ)
        with servers.running(servers.serve_command(port), port, environ, folder / "server.log", "/readyz"):
            samples = options.samples if rounds == _ROUNDS[0] else max(20, options.samples // 5)
            return [row for case in CASES for row in _rows(case, rounds, Visitor(port), samples)]


def _make_accounts(environ: dict[str, str]) -> None:
    app = create_app(config.from_env({**environ, "AUTH_SERVER_LOG_LEVEL": "error"}))
    with app.app_context():
        events.begin(events.Context(actor_kind="job", actor="benchmark"))
        for kind in KINDS:
            for number in range(_ACCOUNTS):
                user = users.create(_address(kind, number), "Ada Lovelace", verified=kind != "unverified")
                db.session.flush()
                if kind != "without one":
                    passwords.store(user.id, secrets.token_urlsafe(24))
                if kind == "disabled":
                    users.disable(user)
        roles.put(user.id, [roles.ADMINISTRATOR])  # without an administrator every page leads to the set-up
        db.session.commit()


def _address(kind: str, number: int) -> str:
    """Return addresses that are of one length, whatever they stand for."""
    return f"{kind.replace(' ', '-'):x<16}-{number:02}@example.org"


def _rows(case: str, rounds: int, visitor: Visitor, samples: int) -> list[dict[str, Any]]:
    """Try all kinds by turns, in another order each time."""
    took: dict[str, list[float]] = {kind: [] for kind in (_UNKNOWN, *KINDS)}
    statuses: dict[str, set[int]] = {kind: set() for kind in took}
    for number in range(_WARM_UP + samples):
        for kind in random.sample(list(took), len(took)):
            milliseconds, status = CASES[case](visitor, _address(kind, random.randrange(_ACCOUNTS)))
            statuses[kind].add(status)
            if number >= _WARM_UP:
                took[kind].append(milliseconds)
    same = len(set().union(*statuses.values())) == 1
    return [_row(f"{case}, bcrypt {rounds}", kind, took[kind], took[_UNKNOWN], same) for kind in took]


def _row(case: str, kind: str, one: list[float], unknown: list[float], same_status: bool) -> dict[str, Any]:
    low, high = _interval(one, unknown) if kind != _UNKNOWN else (0.0, 0.0)
    deciles = statistics.quantiles(one, n=10)
    return {
        **{"case": case, "kind": kind, "samples": len(one), "same_status": same_status},
        **{"p10_ms": deciles[0], "p50_ms": statistics.median(one), "p90_ms": deciles[8]},
        "difference_ms": statistics.median(one) - statistics.median(unknown),
        "interval_ms": (low, high),
    }


def _interval(one: list[float], other: list[float]) -> tuple[float, float]:
    """Return where the difference of the medians lies in 95 of 100 resamplings."""
    differences = sorted(
        statistics.median(random.choices(one, k=len(one))) - statistics.median(random.choices(other, k=len(other)))
        for _ in range(_RESAMPLED)
    )
    return differences[_RESAMPLED // 40], differences[-_RESAMPLED // 40 - 1]


def _report(found: list[dict[str, Any]]) -> None:
    print("Milliseconds; difference: of the medians, from `unknown`, with the interval in which it lies (95 %)\n")
    print(f"{'case':22}{'account':18}{'n':>5}{'p10':>9}{'p50':>9}{'p90':>9}{'difference':>12}{'interval':>20}")
    for row in found:
        low, high = row["interval_ms"]
        about = f"{row['case']:22}{row['kind']:18}{row['samples']:5}"
        about += f"{row['p10_ms']:9.2f}{row['p50_ms']:9.2f}{row['p90_ms']:9.2f}"
        if row["kind"] == _UNKNOWN:
            print(about)
            continue
        verdict = "" if low <= 0 <= high else "  differs"
        print(f"{about}{row['difference_ms']:+12.3f}{f'{low:+.3f} to {high:+.3f}':>20}{verdict}")
    if not all(row["same_status"] for row in found):
        print("ERROR: the statuses differ")
