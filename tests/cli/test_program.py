"""The program as a whole: streams, exit codes, help, refusals to start."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import click
import pytest
from sqlalchemy import create_engine, text

from auth_server.cli.lazy import HELP
from auth_server.cli.root import root
from tests.cli.conftest import PROGRAM, Run
from tests.conftest import SECRET_KEY
from tests.support.live import ROOT


def test_data_goes_to_stdout_and_messages_to_stderr(program: Run) -> None:
    """`--json` gives exactly one document; the reminder stands beside it."""
    done = program("clients", "create", "--name", "Wiki", "--redirect-uri", "https://wiki.example.org/cb", "--json")
    assert done.json["client_secret"]
    assert "shown this once" in done.err
    assert done.json["client_secret"] not in done.err


def commands(group: click.Group, *above: str) -> dict[str, click.Command]:
    """Return every command by its words."""
    found: dict[str, click.Command] = {}
    context = click.Context(group, **HELP)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        found[" ".join((*above, name))] = command
        if isinstance(command, click.Group):
            found |= commands(command, *above, name)
    return found


COMMANDS = commands(root)


def test_the_commands_are_the_contracts() -> None:
    """The command names that this version has, no more and no less."""
    users = "create list show set disable enable delete reset-mfa reset-link recovery-link"
    clients = "create list show set secrets disable enable delete"
    inner = {"users": users, "groups": "create list delete", "clients": clients, "apis": "create list delete"}
    inner |= {"registration-tokens": "create list revoke", "issuers": "trust list delete link unlink links"}
    inner |= {"exchanges": "create list delete"}
    inner |= {"invitations": "create list revoke", "mail": "test list retry drop"}
    inner |= {"keys": "list rotate revoke", "sessions": "list revoke", "tokens": "list revoke"}
    expected = {"serve", "init", "setup-link", "apply", *inner}
    expected |= {f"{name} {word}" for name, words in inner.items() for word in words.split()}
    assert set(COMMANDS) == expected


@pytest.mark.parametrize("words", ["", *COMMANDS])
def test_every_level_of_help_has_an_example_that_works(run: Run, words: str) -> None:
    """`-h` and `--help` say what it does and show a call that is taken as it stands."""
    text = run(*words.split(), "-h").out
    assert text.startswith(f"Usage: root {words}".rstrip())
    assert run(*words.split(), "--help").out == text
    lines = [line.strip() for line in text.partition("Example")[2].splitlines()]
    examples = [shlex.split(line)[1:] for line in lines if line.startswith("auth-server ")]
    assert examples
    for given in examples:
        assert " ".join(given).startswith(words)
        name = next(name for name in sorted(COMMANDS, key=len, reverse=True) if " ".join(given).startswith(name))
        assert COMMANDS[name].make_context(name, given[len(name.split()) :], **HELP)


@pytest.mark.parametrize("command", ["disable", "delete", "reset-mfa"])
def test_what_ends_something_can_be_answered_beforehand(run: Run, command: str) -> None:
    """`--yes` is offered wherever a question is asked."""
    assert "--yes" in run("users", command, "-h").out


@pytest.mark.parametrize(
    ("words", "nearest"),
    [
        ("user list", "did you mean users?"),
        ("users lst", "list"),
        ("users create ada@example.org --nam Ada", "--name"),
        ("keys revok", "revoke"),
    ],
)
def test_a_typo_suggests_the_nearest(run: Run, words: str, nearest: str) -> None:
    """On every level; wrong usage is exit 2 and does nothing."""
    assert nearest in run(*words.split(), code=2).err
    assert run("users", "list", "--json").json == []


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("", 1), ("y", 0)])
def test_on_a_terminal_it_asks(environment: dict[str, str], run: Run, answer: str, code: int) -> None:
    """Only a yes is a yes; the question is on stderr."""
    run("groups", "create", "staff")
    ours, theirs = os.openpty()
    os.write(ours, f"{answer}\n".encode())
    done = subprocess.run(
        [*PROGRAM, "groups", "delete", "staff"],
        env={**os.environ, **environment}, stdin=theirs, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    os.close(ours)
    os.close(theirs)
    assert done.returncode == code
    assert "Delete the group staff? [y/N]" in done.stderr
    assert done.stdout == ""
    assert len(run("groups", "list", "--json").json) == code


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


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("BCRYPT_ROUNDS", "11", "12"),
        ("LOGIN_RATE_LIMIT", "off", "5 per 15 minutes"),
        ("ISSUER", "http://id.example.org", "https://id.example.org"),
        ("ISSUER", "https://id.example.org/", "https://id.example.org"),
        ("ACCESS_TOKEN_TTL", "2h", "1h"),
        ("SECRET_KEY", "too short", SECRET_KEY),
    ],
)
def test_what_a_public_host_must_not_have_stops_the_program(
    environment: dict[str, str], program: Run, name: str, wrong: str, right: str
) -> None:
    """Exit 3 with the name and what to write; with the right value it runs."""
    public = {"AUTH_SERVER_ISSUER": "https://id.example.org", "AUTH_SERVER_BCRYPT_ROUNDS": "12"}
    done = program("groups", "list", "--json", code=3, **{**public, f"AUTH_SERVER_{name}": wrong})
    assert done.out == ""
    (line,) = done.err.strip().splitlines()
    assert line.startswith(f"AUTH_SERVER_{name}: ")
    assert program("groups", "list", "--json", **{**public, f"AUTH_SERVER_{name}": right}).json == []


def test_a_secret_that_others_can_read_stops_the_program(
    environment: dict[str, str], program: Run, tmp_path: Path
) -> None:
    """The master secret in the instance folder; exit 3 names the remedy, after which it runs."""
    path = tmp_path / "secret_key"
    path.write_text(environment.pop("AUTH_SERVER_SECRET_KEY"))
    path.chmod(0o644)
    assert f"chmod 600 {path}" in program("groups", "list", code=3).err
    path.chmod(0o600)
    program("groups", "list")


def test_without_init_a_command_says_what_to_do(program: Run, tmp_path: Path) -> None:
    """Neither the instance folder nor a database is made by accident."""
    folder = tmp_path / "nothing"
    done = program(
        "users", "list", code=3, AUTH_SERVER_INSTANCE_PATH=str(folder), AUTH_SERVER_DATABASE_URL=f"sqlite:///{folder}/x.db"
    )  # fmt: skip
    assert "auth-server init" in done.err
    assert not folder.exists()


@pytest.mark.parametrize(
    ("revision", "words"),
    [(None, "not migrated; run `auth-server init`"), ("9999", "newer than this program")],
    ids=["not migrated", "newer"],
)
def test_a_database_of_another_version_is_left_alone(
    program: Run, database_url: str, revision: str | None, words: str
) -> None:
    """Exit 3 from every command; the right revision is taken again."""
    engine = create_engine(database_url)
    with engine.begin() as connection:
        known = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text("DELETE FROM alembic_version"))
        if revision:
            connection.execute(text("INSERT INTO alembic_version VALUES (:revision)"), {"revision": revision})
    for command in (("groups", "list"), ("groups", "create", "staff"), ("apply", "nothing.toml")):
        assert words in program(*command, code=3).err
    if revision:
        assert words in program("init", code=3).err
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM alembic_version"))
        connection.execute(text("INSERT INTO alembic_version VALUES (:known)"), {"known": known})
    engine.dispose()
    assert program("groups", "list", "--json").json == []


def test_a_database_that_does_not_answer_is_told_so(program: Run) -> None:
    """One line, no trace of the program and no password."""
    url = "postgresql+psycopg://somebody:the-password@127.0.0.1:1/nothing"
    done = program("groups", "list", code=3, AUTH_SERVER_DATABASE_URL=url)
    assert "the database cannot be opened" in done.err
    assert "Traceback" not in done.err
    assert "the-password" not in done.err


def test_the_commands_are_under_flask_too(environment: dict[str, str]) -> None:
    """`flask --app app`, with the same data, streams and exit codes."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AUTH_SERVER_")}

    def flask(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "flask", "--app", "app", *words]
        return subprocess.run(
            command, env={**kept, **environment}, cwd=ROOT, capture_output=True, text=True, check=False
        )

    made = flask("groups", "create", "staff", "--title", "Staff", "--json")
    assert (made.returncode, json.loads(made.stdout)) == (0, {"name": "staff", "title": "Staff"})
    assert flask("groups", "create", "staff").returncode == 1
    assert flask("groups", "create").returncode == 2
    assert "Example" in flask("groups", "create", "-h").stdout
    assert flask("groups", "delete", "staff", "--yes").returncode == 0


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
