"""Real server processes: `serve` as operators start it, on a test's database and instance folder."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

_START = "from auth_server.cli import main; main()"
_PATIENCE_SECONDS = 30
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Answer:
    """What a machine endpoint said. `status` 0: the connection broke before there was an answer."""

    status: int
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    """By lower-case name."""

    @property
    def verdict(self) -> tuple[int, str]:
        """Return status and error code, for comparisons."""
        return self.status, self.body.get("error", "")


UNANSWERED = Answer(0)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def environment(**settings: Any) -> dict[str, str]:
    """Return a clean environment with these settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_SERVER_")}
    return {**kept, **{f"AUTH_SERVER_{name.upper()}": str(value) for name, value in settings.items()}}


def command(
    arguments: list[str], settings: dict[str, Any], text: str = "", root: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run one command of the command line in a process of its own, of the program that stands in `root`."""
    return subprocess.run(
        [sys.executable, "-c", _START, *arguments],
        env=environment(**settings), cwd=root, input=text, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


class Server:
    """One `serve --workers 1`."""

    def __init__(self, settings: dict[str, Any], log: Path, root: Path = ROOT) -> None:
        self.port, self.log, self._root = free_port(), log, root
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Server:
        """Start, and wait until it answers."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START, "serve", "--port", str(self.port), "--workers", "1"],
                env=environment(**self._settings), cwd=self._root, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        until = time.monotonic() + _PATIENCE_SECONDS
        while self.get("/healthz").status != 200:
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < until, self.log.read_text()
            time.sleep(0.02)
        return self

    def kill(self) -> None:
        """SIGKILL to the server and its worker at once: nothing can be finished."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop as an operator does; a process that does not follow is killed."""
        try:
            self._end(signal.SIGTERM)
        except subprocess.TimeoutExpired:
            self.kill()

    def get(self, path: str, headers: dict[str, str] | None = None) -> Answer:
        return self._send("GET", path, None, headers)

    def post(self, path: str, fields: dict[str, str], headers: dict[str, str] | None = None) -> Answer:
        """POST a form to a machine endpoint."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        return self._send("POST", path, urlencode(fields), {**form, **(headers or {})})

    def _send(self, method: str, path: str, body: str | None, headers: dict[str, str] | None) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=_PATIENCE_SECONDS)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            text = response.read()
        except (OSError, HTTPException):
            return UNANSWERED
        finally:
            connection.close()
        is_json = response.headers.get_content_type() == "application/json" and text
        return Answer(
            response.status,
            json.loads(text) if is_json else {},
            {name.lower(): value for name, value in response.headers.items()},
        )

    def _end(self, how: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            group = os.getpgid(process.pid)
            os.killpg(group, how) if how == signal.SIGKILL else process.send_signal(how)
        process.wait(15)
        self._process = None
