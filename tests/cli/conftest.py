"""The command line on the test's own database: in this process for most tests, as a real program for a few."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from auth_server import database
from auth_server.cli.root import root
from tests.conftest import SECRET_KEY
from tests.support.declared import FILE, SECRET

PROGRAM = (sys.executable, "-c", "from auth_server.cli import main; main()")


@dataclass(frozen=True)
class Done:
    """What a command left: exit code, data, messages."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def environment(database_url: str, tmp_path: Path) -> dict[str, str]:
    """Return the settings of a server that was initialised."""
    return {
        "AUTH_SERVER_INSTANCE_PATH": str(tmp_path),
        "AUTH_SERVER_DATABASE_URL": database_url,
        "AUTH_SERVER_SECRET_KEY": SECRET_KEY,
        "AUTH_SERVER_BCRYPT_ROUNDS": "4",
    }


@pytest.fixture
def run(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs `auth-server` with words, in this process."""
    for name in list(os.environ):
        if name.startswith("AUTH_SERVER_"):
            monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def run(*words: str, given: str = "", code: int = 0) -> Done:
        before = database._engine
        result = CliRunner().invoke(root, list(words), input=given)
        database._engine = before  # each command makes an application; the test goes on with its own
        done = Done(result.exit_code, result.stdout, result.stderr)
        assert done.code == code, (done, result.exception)
        return done

    return run


@pytest.fixture
def program(environment: dict[str, str]) -> Run:
    """Return a function that runs the real program, without a terminal."""

    def run(*words: str, given: str = "", code: int = 0, **changed: str) -> Done:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_SERVER_")}
        done = subprocess.run(
            [*PROGRAM, *words],
            input=given,
            capture_output=True,
            text=True,
            check=False,
            env={**kept, **environment, **changed},
        )
        assert done.returncode == code, done
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a file for `apply`, with its secrets in place."""
    monkeypatch.setenv("GRAFANA_SECRET", SECRET)
    monkeypatch.setenv("SHORT_PASSWORD", "too short")
    password = tmp_path / "password"
    password.write_text("correct horse battery staple\n")
    found = tmp_path / "auth-server.toml"
    found.write_text(FILE.replace("PASSWORD_FILE", str(password)))
    return found
