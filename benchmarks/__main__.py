"""`python -m benchmarks`: interleaved rounds over our server and the baseline, and what they showed."""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks import baseline, compare, enumeration, failover, goals, limits, loads, parts, servers, status_lists
from benchmarks.grounds import BaselineGround, OurGround
from benchmarks.rows import ROWS, Row
from benchmarks.targets import Target, measure, results

_NOTHING: dict[str, Any] = {"rate": 0.0, "cpu_us": 0.0, "errors": 0}
"""Of a row that the baseline does not do."""


def start_targets(stack: ExitStack, folder: Path, database_url: str | None) -> list[Target]:
    """Start our server and the baseline; both stop with the stack."""
    port = servers.free_port()
    environ = servers.environment(folder / "instance", port, database_url)
    servers.initialise(environ)
    ours = stack.enter_context(
        servers.running(servers.serve_command(port), port, environ, folder / "server.log", "/readyz")
    )
    baseline.make_keys(folder / "keys.json")
    paths = {"BASELINE_KEYS": str(folder / "keys.json"), "BASELINE_DATABASE": str(folder / "baseline.db")}
    port = servers.free_port()
    smallest = stack.enter_context(
        servers.running(
            baseline.serve_command(port), port, {**os.environ, **paths}, folder / "baseline.log", baseline.READY
        )
    )
    return [
        Target("auth-server", ours, OurGround(ours.port, environ), frozenset(row.name for row in ROWS)),
        Target(
            "baseline",
            smallest,
            BaselineGround(smallest.port, folder / "baseline.db"),
            frozenset(row.name for row in (limits.BARE, *ROWS) if not row.ours_only),
        ),
    ]


_NOT_DONE = {"rate": 0.0, "cpu_us": 0.0, "errors": 0}
"""What stands for the baseline where it has nothing of the kind."""


def report(rows: list[Row], found: dict[str, dict[str, Any]]) -> None:
    """Print what was measured."""
    print(
        "Measured now: medians; CPU of the server's processes; others: foreign load on its core; base: the baseline\n"
    )
    print(
        f"{'row':15}{'req/s':>8}{'min-max':>14}{'CPU us':>8}{'p50 ms':>8}{'p99 ms':>8}{'errors':>7}{'others':>7}",
        end="",
    )
    print(f"{'base req/s':>12}{'CPU us':>8}{'errors':>7}{'ratio':>8}{'by CPU':>8}")
    for row in rows:
        ours, base = found[row.name]["auth-server"], found[row.name].get("baseline", _NOT_DONE)
        low, high = ours["rate_range"]
        print(
            f"{row.name:15}{ours['rate']:8,.0f}{f'{low:,.0f}-{high:,.0f}':>14}{ours['cpu_us']:8,.0f}{ours['p50_ms']:8.1f}"
            f"{ours['p99_ms']:8.1f}{ours['errors']:7}{ours['others']:7.0%}{base['rate']:12,.0f}{base['cpu_us']:8,.0f}"
            f"{base['errors']:7}{_ratio(ours['rate'], base['rate']):>8}{_ratio(base['cpu_us'], ours['cpu_us']):>8}"
        )
    for row in rows:
        for name, result in found[row.name].items():
            if result["errors"]:
                print(f"ERRORS in {row.name} at {name}: {result['errors']}, the first: {result['first_error']}")
    for row in rows:
        print("\n".join(f"{row.name:16}{verdict}" for verdict in goals.verdicts(row.name, found)))


def _ratio(one: float, other: float) -> str:
    return f"{one / other:.2f}x" if one and other else "-"


def run(options: argparse.Namespace) -> int:
    """Measure the rows; return 1 when any answer was an error."""
    rows = [row for row in ROWS if not options.only or row.name in options.only]
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder, ExitStack() as stack:
        targets = start_targets(stack, Path(folder), options.database)
        if servers.cores() is None:
            print("NOT PINNED: fewer than two cores, so the load competes with the server", file=sys.stderr)
        measured = [limits.BARE, *rows]
        measure(targets, measured, options.rounds, options.seconds)
        found = results(targets, measured)
    if options.json:
        print(json.dumps({"seconds": options.seconds, "rounds": options.rounds, "rows": found}, indent=2))
    else:
        report(rows, found)
        if options.database:
            spent = ", ".join(f"{row.name} {found[row.name]['auth-server']['postgresql_us']:,.0f}" for row in rows)
            print(f"\nPostgreSQL's own processor time per request, us: {spent}")
        print("\n" + limits.line(found[limits.BARE.name]["baseline"], limits.signatures()))
    return int(any(result["errors"] for about in found.values() for result in about.values()))


def run_peers(options: argparse.Namespace) -> int:
    """Measure ours, the baseline and the peers; return 1 when any answer was an error."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder, ExitStack() as stack:
        return compare.run(options, start_targets(stack, Path(folder), None), stack, Path(folder))


def run_start(options: argparse.Namespace) -> int:
    """Measure cold start and idle memory."""
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        found = servers.measure_start(Path(folder), options.times)
    if options.json:
        print(json.dumps(found, indent=2))
        return 0
    spans = {name: f"{low:.2f} to {high:.2f}" for name, (low, high) in found["range"].items()}
    print(f"start to the first 200 of /readyz   {found['start_seconds']:6.2f} s    ({spans['start_seconds']})")
    print(f"the same on an empty folder, once   {found['first_start_seconds']:6.2f} s")
    print(f"idle memory (PSS), the worker       {found['worker_megabytes']:6.1f} MB   ({spans['worker_megabytes']})")
    print(f"and its supervisor                  {found['supervisor_megabytes']:6.1f} MB")
    print(goals.START)
    return 0


_RUNS = {
    "rows": run,
    "start": run_start,
    "peers": run_peers,
    "workers": loads.run_workers,
    "flood": loads.run_flood,
    "growth": loads.run_growth,
    "status": status_lists.run_status,
    "failover": failover.run_failover,
    "parts": parts.run_parts,
    "enumeration": enumeration.run_enumeration,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("what", nargs="?", choices=tuple(_RUNS), default="rows")
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS], help="one row; may be repeated")
    parser.add_argument("--seconds", type=float, default=2.0, help="length of a sample (2)")
    parser.add_argument("--rounds", type=int, default=4, help="samples of each row (4)")
    parser.add_argument("--times", type=int, default=5, help="starts to take the median of (5)")
    parser.add_argument("--samples", type=int, default=400, help="tries of each kind for `enumeration` (400)")
    parser.add_argument(
        "--case", action="append", choices=tuple(enumeration.CASES), help="one case of `enumeration`; repeatable"
    )
    parser.add_argument("--database", help="SQLAlchemy URL of an empty PostgreSQL database; otherwise SQLite")
    parser.add_argument("--sizes", type=int, action="append", help="a size for `growth`; may be repeated")
    parser.add_argument("--peer", action="append", help="one peer; may be repeated")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    options = parser.parse_args()
    return _RUNS[options.what](options)


if __name__ == "__main__":
    sys.exit(main())
