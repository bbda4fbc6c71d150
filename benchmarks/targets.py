"""Servers under load: samples of each row, in interleaved rounds, and what they showed."""

from __future__ import annotations

import os
import statistics
import sys
from dataclasses import dataclass, field
from typing import Any

from benchmarks import load, servers
from benchmarks.grounds import Ground
from benchmarks.rows import Row

_WARM_UP_SECONDS = 0.3
_MOST_FOREIGN_LOAD = 0.15


@dataclass
class Target:
    """One server under load, and for each row its samples."""

    name: str
    server: servers.Server
    ground: Ground
    rows: frozenset[str] | None = None
    """The rows whose work it does in the same form; None: all."""
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def does(self, row: Row) -> bool:
        return self.rows is None or row.name in self.rows

    def measure(self, row: Row, seconds: float) -> None:
        """Take one sample: rate, latencies, processor time, and what others did on the server's core meanwhile."""
        source = row.source(self.ground, seconds)
        core = servers.cores()
        postgresql = servers.seconds_of("postgres")
        used, busy = self.server.cpu_seconds(), servers.busy_seconds(core[0]) if core else 0.0
        sample = load.run(self.server.port, source, seconds)
        used = self.server.cpu_seconds() - used
        postgresql = servers.seconds_of("postgres") - postgresql
        busy = servers.busy_seconds(core[0]) - busy if core else used
        done = max(1, len(sample.latencies))
        in_order = sorted(sample.latencies) or [0.0]
        self.samples.setdefault(row.name, []).append(
            {
                "rate": sample.rate,
                "cpu_us": used / done * 1e6,
                "postgresql_us": postgresql / done * 1e6,
                "p50_ms": in_order[len(in_order) // 2] * 1e3,
                "p99_ms": in_order[int(len(in_order) * 0.99)] * 1e3,
                "requests": len(sample.latencies),
                "errors": sample.errors,
                "first_error": sample.first_error,
                "others": max(0.0, busy - used) / sample.seconds if sample.seconds else 0.0,
            }
        )

    def warm_up(self, row: Row) -> None:
        """Look at one answer, then let caches and connections settle."""
        source = row.source(self.ground, _WARM_UP_SECONDS)
        status, body = load.once(self.server.port, source.following() or b"")
        if status != source.status or source.marker not in body:
            raise RuntimeError(
                f"{self.name}, {row.name}: {status} {self.server.log_tail()} {body[:300].decode('latin-1')}"
            )
        row.check(body)
        if source.answered:
            source.answered(body)
        load.run(self.server.port, source, _WARM_UP_SECONDS)

    def result(self, row: Row) -> dict[str, Any]:
        """Return medians over the undisturbed samples, or over all where there are none; errors of all."""
        samples = self.samples[row.name]
        calm = [sample for sample in samples if sample["others"] <= _MOST_FOREIGN_LOAD] or samples
        columns = ("rate", "cpu_us", "postgresql_us", "p50_ms", "p99_ms", "others")
        rates = [sample["rate"] for sample in calm]
        return {
            **{name: statistics.median(sample[name] for sample in calm) for name in columns},
            "rate_range": [min(rates), max(rates)],
            "samples": [len(calm), len(samples)],
            "requests": sum(sample["requests"] for sample in samples),
            "errors": sum(sample["errors"] for sample in samples),
            "first_error": next((sample["first_error"] for sample in samples if sample["errors"]), ""),
        }


def measure(targets: list[Target], rows: list[Row], rounds: int, seconds: float, *, pinned: bool = True) -> None:
    """Visit every row in turn, at each server after the other; who is first changes from round to round."""
    if pinned and (chosen := servers.cores()):
        os.sched_setaffinity(0, {chosen[1]})
    for row in rows:
        for target in targets:
            if target.does(row):
                target.warm_up(row)
    for number in range(rounds):
        first = number % len(targets)
        for row in rows:
            _tell(f"round {number + 1} of {rounds}: {row.name}")
            for target in targets[first:] + targets[:first]:
                if target.does(row):
                    target.measure(row, seconds)
    _tell("")


def results(targets: list[Target], rows: list[Row]) -> dict[str, dict[str, Any]]:
    """Return for each row what each server that does it showed."""
    return {row.name: {target.name: target.result(row) for target in targets if target.does(row)} for row in rows}


def _tell(what: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{what}", end="", file=sys.stderr, flush=True)
