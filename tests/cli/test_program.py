"""The program as a whole: streams, exit codes, help, refusals to start."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from auth_server.cli.lazy import NAMES
from tests.cli.conftest import PROGRAM, Run


def test_data_goes_to_stdout_and_messages_to_stderr(program: Run) -> None:
    """`--json` gives exactly one document; the reminder stands beside it (CONTRACT 3)."""
    done = program("clients", "create", "--name", "Wiki", "--redirect-uri", "https://wiki.example.org/cb", "--json")
    assert done.json["client_secret"]
    assert "shown this once" in done.err
    assert done.json["client_secret"] not in done.err


@pytest.mark.parametrize("command", NAMES)
def test_every_command_explains_itself(run: Run, command: str) -> None:
    """`-h` works on each level and says what the command does."""
    done = run(command, "-h")
    assert "Usage:" in done.out
    assert len(done.out.splitlines()) > 3


def test_a_mistyped_command_suggests_the_nearest(run: Run) -> None:
    """Wrong usage is exit 2."""
    assert "did you mean users?" in run("user", "list", code=2).err


def test_missing_arguments_are_wrong_usage(run: Run) -> None:
    """Exit 2, nothing done."""
    run("users", "create", code=2)
    run("tokens", "revoke", "--yes", code=2)
    run("sessions", "revoke", "--all", "--user", "ada@example.org", "--yes", code=2)


def test_every_problem_of_the_configuration_is_told_at_once(program: Run) -> None:
    """One line each with name and example; the start is refused with exit 3."""
    done = program(
        "users",
        "list",
        code=3,
        AUTH_SERVER_ISUER="https://id.example.org",
        AUTH_SERVER_ACCESS_TOKEN_TTL="soon",
        AUTH_SERVER_ISSUER="http://id.example.org",
    )
    lines = done.err.strip().splitlines()
    assert len(lines) == 3
    assert any("did you mean AUTH_SERVER_ISSUER?" in line for line in lines)
    assert any("ACCESS_TOKEN_TTL" in line and "15m" in line for line in lines)
    assert any("https" in line for line in lines)
    assert done.out == ""


def test_without_init_a_command_says_what_to_do(program: Run, tmp_path: Path) -> None:
    """Neither the instance folder nor a database is made by accident."""
    folder = tmp_path / "nothing"
    done = program(
        "users", "list", code=3, AUTH_SERVER_INSTANCE_PATH=str(folder), AUTH_SERVER_DATABASE_URL=f"sqlite:///{folder}/x.db"
    )  # fmt: skip
    assert "auth-server init" in done.err
    assert not folder.exists()


@pytest.mark.sqlite_only
def test_init_makes_a_server_from_nothing_and_may_be_repeated(program: Run, tmp_path: Path) -> None:
    """Folder, secret of mode 0600, database, keys; a second time changes nothing."""
    folder = tmp_path / "fresh"
    changed = {
        "AUTH_SERVER_INSTANCE_PATH": str(folder),
        "AUTH_SERVER_DATABASE_URL": f"sqlite:///{folder}/auth-server.db",
        "AUTH_SERVER_SECRET_KEY": "",
    }
    kept = {name: value for name, value in changed.items() if value}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_SERVER_")}
    for _ in range(2):
        subprocess.run([*PROGRAM, "init"], env={**environment, **kept}, check=True, capture_output=True)
    assert (folder / "secret_key").stat().st_mode & 0o777 == 0o600
    done = subprocess.run(
        [*PROGRAM, "keys", "list"], env={**environment, **kept}, check=True, capture_output=True, text=True
    )
    assert done.stdout.count(" current ") == done.stdout.count(" next ") == 3


@pytest.mark.sqlite_only
def test_serve_greets_and_stops_cleanly(tmp_path: Path) -> None:
    """It prints issuer and set-up link, remembers the issuer for a second shell, and ends on SIGTERM with 0."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_SERVER_")}
    environment["AUTH_SERVER_INSTANCE_PATH"] = str(tmp_path / "instance")
    server = subprocess.Popen(
        [*PROGRAM, "serve", "--port", str(port)], env=environment, stderr=subprocess.PIPE, text=True
    )
    try:
        _wait_until_ready(port, server)
        second = subprocess.run([*PROGRAM, "setup-link"], env=environment, capture_output=True, text=True, check=True)
        assert second.stdout.startswith(f"http://localhost:{port}/setup?token=")
    finally:
        server.send_signal(signal.SIGTERM)
        _out, messages = server.communicate(timeout=30)
    assert server.returncode == 0
    assert f"Issuer    http://localhost:{port}" in messages
    assert f"http://localhost:{port}/setup?token=" in messages
    assert "make demo" in messages


def _wait_until_ready(port: int, server: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urlopen(f"http://localhost:{port}/readyz", timeout=2).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise AssertionError("the server did not become ready")
