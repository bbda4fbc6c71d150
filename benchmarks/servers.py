"""Processes: start a server on a core of its own, ask the kernel what it used, measure its start and its memory."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks import load

_SERVE = "from auth_server.cli import main; main()"
_TICKS = os.sysconf("SC_CLK_TCK")
_START_PATIENCE_SECONDS = 60


@cache
def cores() -> tuple[int, int] | None:
    """Return the core for the server and the one for the load, as found at the start; None where there are not two."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else None


def environment(folder: Path, port: int, database_url: str | None = None) -> dict[str, str]:
    """Return the settings of our server: a throw-away instance, limits off, everything else as it comes."""
    foreign = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_SERVER_")}
    ours = {
        "AUTH_SERVER_ISSUER": f"http://localhost:{port}",
        "AUTH_SERVER_INSTANCE_PATH": str(folder),
        "AUTH_SERVER_SECRET_KEY": secrets.token_urlsafe(48),
        "AUTH_SERVER_ENDPOINT_RATE_LIMIT": "off",
        "AUTH_SERVER_CREATE_RATE_LIMIT": "off",
    }
    if database_url:
        ours["AUTH_SERVER_DATABASE_URL"] = database_url
    return {**foreign, **ours}


def initialise(environ: dict[str, str]) -> None:
    """Create and migrate the database and make the keys."""
    subprocess.run([sys.executable, "-c", _SERVE, "init"], env=environ, check=True, capture_output=True)


def serve_command(port: int, workers: int = 1) -> list[str]:
    return [sys.executable, "-c", _SERVE, "serve", "--port", str(port), "--workers", str(workers)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server: a supervisor process and its worker."""

    def __init__(self, command: list[str], port: int, environ: dict[str, str], log: Path, core: int | None) -> None:
        self.port = port
        self._log = log
        pin = None if core is None else lambda: os.sched_setaffinity(0, {core})
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # the load generator has no threads: preexec_fn is safe
                command, env=environ, stdout=output, stderr=output, preexec_fn=pin, start_new_session=True
            )

    def wait(self, path: str) -> None:
        """Wait for the first 200; raise with the end of the log when there is none."""
        deadline = time.monotonic() + _START_PATIENCE_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if load.once(self.port, load.get(path))[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.005)
        raise RuntimeError(f"the server did not start:\n{self.log_tail()}")

    def log_tail(self) -> str:
        """Return the end of what it printed."""
        return self._log.read_text(errors="replace")[-2000:]

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def kill(self) -> None:
        """Let the whole process group die at once, wherever it is."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def cpu_seconds(self) -> float:
        """Return the processor time of the whole process tree until now."""
        ticks = 0
        for pid in _tree(self._process.pid):
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])  # utime, stime
        return ticks / _TICKS

    def pss_megabytes(self) -> tuple[float, float]:
        """Return the proportional memory of the worker, and of its supervisor with what else that started."""
        supervisor, *others = [_pss(pid) for pid in _tree(self._process.pid)]
        worker = max(others)
        return worker, supervisor + sum(others) - worker


@contextmanager
def running(
    command: list[str], port: int, environ: dict[str, str], log: Path, ready: str, *, pinned: bool = True
) -> Iterator[Server]:
    """Run a server until the end of the block."""
    chosen = cores() if pinned else None
    server = Server(command, port, environ, log, chosen[0] if chosen else None)
    try:
        server.wait(ready)
        yield server
    finally:
        server.stop()


def seconds_of(name: str) -> float:
    """Return the processor time until now of the processes with this name that live."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            about = stat.read_text()
            if about.partition("(")[2].rpartition(")")[0] == name:
                ticks += sum(map(int, about.rpartition(")")[2].split()[11:13]))
    return ticks / _TICKS


def busy_seconds(core: int) -> float:
    """Return how long a core has worked for anybody."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / _TICKS


def measure_start(folder: Path, times: int) -> dict[str, Any]:
    """Measure cold start to the first 200 of /readyz, and idle memory; medians."""
    port = free_port()
    environ = environment(folder, port)
    first = _start_once(port, environ, folder / "first.log")
    again = [_start_once(port, environ, folder / "again.log") for _ in range(times)]
    columns = {name: [sample[name] for sample in again] for name in first}
    return {
        "times": times,
        "first_start_seconds": first["start_seconds"],
        **{name: statistics.median(values) for name, values in columns.items()},
        "range": {name: [min(values), max(values)] for name, values in columns.items()},
    }


def _start_once(port: int, environ: dict[str, str], log: Path) -> dict[str, float]:
    started = time.perf_counter()
    with running(serve_command(port), port, environ, log, "/readyz", pinned=False) as server:
        seconds = time.perf_counter() - started
        time.sleep(0.5)
        worker, supervisor = server.pss_megabytes()
    return {"start_seconds": seconds, "worker_megabytes": worker, "supervisor_megabytes": supervisor}


def _tree(pid: int) -> list[int]:
    """Return a process and what it started, the process first."""
    children = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
    return [pid, *(found for child in children for found in _tree(int(child)))]


def _pss(pid: int) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("Pss:")).split()[1]) / 1024
