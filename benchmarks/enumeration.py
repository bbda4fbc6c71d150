"""`enumeration`: how long answers take for accounts of each kind and for none, as distributions.

Whoever may ask often enough averages noise away, so the question is whether there is a difference: that of the medians,
with the interval in which it lies (bootstrap, 95 %). With bcrypt at its cheapest everything else stands out.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
from pathlib import Path
from typing import Any

from auth_server import config, create_app
from auth_server.database import db
from auth_server.infra import events
from benchmarks import servers, strangers
from benchmarks.strangers import CASES, Accounts, Visitor

_ROUNDS = (4, 12)
_WARM_UP = 20
_RESAMPLED = 2000


def run_enumeration(options: argparse.Namespace) -> int:
    """Measure every case, those that hash at both costs of it; return 1 when the statuses differ."""
    found = [row for rounds in _ROUNDS for row in _measure(rounds, options)]
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        _report(found)
    return int(any(len(row["statuses"]) > 1 for row in found))


def _measure(rounds: int, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure the cases that were asked for; at the higher cost only those that hash."""
    is_first = rounds == _ROUNDS[0]
    cases = [name for name in options.case or CASES if is_first or CASES[name].hashes]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        port, folder = servers.free_port(), Path(name)
        environ = servers.environment(folder / "instance", port)
        environ |= {"AUTH_SERVER_LOGIN_RATE_LIMIT": "off", "AUTH_SERVER_BCRYPT_ROUNDS": str(rounds)}
        environ |= {"AUTH_SERVER_SIGNUP": "open"}
        servers.initialise(environ)
        accounts = _make_accounts(environ)
        with servers.running(servers.serve_command(port), port, environ, folder / "server.log", "/readyz"):
            samples = options.samples if is_first else max(20, options.samples // 5)
            visitor = Visitor(port, folder / "instance" / "auth-server.db")
            return [row for case in cases for row in _rows(case, rounds, visitor, accounts, samples)]


def _make_accounts(environ: dict[str, str]) -> Accounts:
    app = create_app(config.from_env({**environ, "AUTH_SERVER_LOG_LEVEL": "error"}))
    with app.app_context():
        events.begin(events.Context(actor_kind="job", actor="benchmark"))
        found = strangers.make_accounts()
        db.session.commit()
        return found


def _rows(name: str, rounds: int, visitor: Visitor, accounts: Accounts, samples: int) -> list[dict[str, Any]]:
    """Try all kinds by turns, in another order each time."""
    case = CASES[name]
    took: dict[str, list[float]] = {kind: [] for kind in case.kinds}
    statuses: set[int] = set()
    for number in range(_WARM_UP + samples):
        for kind in random.sample(case.kinds, len(case.kinds)):
            visitor.forget_counts()
            milliseconds, status = case.act(visitor, random.choice(accounts[kind]), kind)
            statuses.add(status)
            if number >= _WARM_UP:
                took[kind].append(milliseconds)
    label = f"{name}, bcrypt {rounds}" if case.hashes else name
    return [_row(label, kind, took[kind], took[case.kinds[0]], statuses) for kind in took]


def _row(case: str, kind: str, one: list[float], first: list[float], statuses: set[int]) -> dict[str, Any]:
    low, high = _interval(one, first) if one is not first else (0.0, 0.0)
    deciles = statistics.quantiles(one, n=10)
    return {
        **{"case": case, "kind": kind, "samples": len(one), "statuses": sorted(statuses), "is_first": one is first},
        **{"p10_ms": deciles[0], "p50_ms": statistics.median(one), "p90_ms": deciles[8]},
        "difference_ms": statistics.median(one) - statistics.median(first),
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
    print(
        "Milliseconds; difference: of the medians, from a case's first row, with the interval in which it lies (95 %)\n"
    )
    print(f"{'case':22}{'account':18}{'n':>5}{'p10':>9}{'p50':>9}{'p90':>9}{'difference':>12}{'interval':>20}")
    for row in found:
        low, high = row["interval_ms"]
        about = f"{row['case']:22}{row['kind']:18}{row['samples']:5}"
        about += f"{row['p10_ms']:9.2f}{row['p50_ms']:9.2f}{row['p90_ms']:9.2f}"
        if row["is_first"]:
            print(about)
            continue
        verdict = "" if low <= 0 <= high else "  differs"
        print(f"{about}{row['difference_ms']:+12.3f}{f'{low:+.3f} to {high:+.3f}':>20}{verdict}")
    for name in sorted({f"{row['case']} {row['statuses']}" for row in found if len(row["statuses"]) > 1}):
        print(f"ERROR: the statuses differ: {name}")
