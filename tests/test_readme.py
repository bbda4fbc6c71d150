"""The README and the guides cannot rot: commands run, links lead somewhere, programs in them work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support import live
from tests.support.browser import Page

pytestmark = pytest.mark.sqlite_only
ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", ROOT / "ARCHITECTURE.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
AUTH_SERVER = [sys.executable, "-c", "from auth_server.cli import main; main()"]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[live.Server]:
    """Return a running server, as `make run` leaves it."""
    settings: dict[str, Any] = {"instance_path": tmp_path / "instance", "bcrypt_rounds": 4}
    found = live.Server(settings, tmp_path / "server.log")
    settings["issuer"] = f"http://localhost:{found.port}"
    yield found.start()
    found.stop()


def commands_of(path: Path) -> list[str]:
    """Return the commands of a page's console blocks, in order."""
    blocks = re.findall(r"```console\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    return [line.strip()[2:] for block in blocks for line in block.splitlines() if line.strip().startswith("$ ")]


def run(command: str, server: live.Server) -> str:
    """Run a documented `auth-server` command against the server."""
    words = re.sub(r"^(\.venv/bin/)?auth-server ", "", command.split("   #")[0])
    line = ["bash", "-c", f'"$@" {words}', "bash", *AUTH_SERVER]
    done = subprocess.run(line, env=live.environment(**server._settings), capture_output=True, text=True, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def test_local_links_lead_somewhere() -> None:
    """Every relative link of every page points to a file, every anchor to a heading."""
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_two_commands_exist() -> None:
    """`make run` and `make test` are what the README opens with."""
    commands = commands_of(ROOT / "README.md")
    for target in ("run", "test"):
        assert any(command.startswith(f"make {target}") for command in commands)
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_the_first_five_minutes(server: live.Server) -> None:
    """The README's commands work in their order, down to the curl line that gets a token."""
    commands = commands_of(ROOT / "README.md")
    answers = [run(command, server) for command in commands if "auth-server " in command]
    assert len(answers) == 3
    service = dict(line.split(": ", 1) for line in answers[-1].splitlines())
    curl = next(command for command in commands if command.startswith("curl"))
    curl = curl.replace("CLIENT_ID", service["client_id"]).replace("CLIENT_SECRET", service["client_secret"])
    curl = curl.replace("localhost:8421", f"localhost:{server.port}")
    token = json.loads(subprocess.run(curl + " -s", shell=True, capture_output=True, check=True).stdout)  # noqa: S602
    assert token["scope"] == "orders:read"


def test_the_tutorials_program_signs_somebody_in(server: live.Server, tmp_path: Path) -> None:
    """docs/tutorial/first-app.md: the program as printed, with a stock client."""
    text = (ROOT / "docs" / "tutorial" / "first-app.md").read_text(encoding="utf-8")
    port = live.free_port()
    program = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert program
    source = program[1].replace("localhost:8421", f"localhost:{server.port}").replace("9999", str(port))
    (tmp_path / "app.py").write_text(source)
    words = ["users", "create", "ada@example.org", "--role", "administrator", "--password-stdin"]
    live.command(words, server._settings, "correct horse battery staple")
    commands = commands_of(ROOT / "docs/tutorial/first-app.md")
    create = next(command for command in commands if "clients create" in command)
    client = dict(line.split(": ", 1) for line in run(create.replace("9999", str(port)), server).splitlines())
    words = [sys.executable, "-u", str(tmp_path / "app.py"), client["client_id"], client["client_secret"]]
    app = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    watch = threading.Timer(60, app.kill)
    watch.start()
    assert app.stdout is not None
    url = app.stdout.readline().removeprefix("Open ").strip()
    with httpx2.Client(follow_redirects=True, trust_env=False) as browser:
        page = browser.get(url)
        for given in ({"email": "ada@example.org", "password": "correct horse battery staple"}, {"decision": "allow"}):
            page = browser.post(str(page.url), data={**Page(page.text).inputs, **given})
    output = app.communicate(timeout=30)[0]
    watch.cancel()
    assert page.text == "Signed in. You can close this window."
    assert "'email': 'ada@example.org'" in output


def test_the_guide_to_token_exchange_works(server: live.Server, tmp_path: Path) -> None:
    """docs/how-to/exchange-tokens.md: its file is taken, and its commands do the same."""
    path = ROOT / "docs/how-to/exchange-tokens.md"
    declared = re.search(r"```toml\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    assert declared
    file = tmp_path / "auth-server.toml"
    file.write_text(declared[1].replace('{ env = "ORDERS_SECRET" }', f'{{ hash = "sha256:{"0" * 64}" }}'))
    run(f"auth-server apply {file}", server)
    by_file = json.loads(run("auth-server exchanges list --json", server))
    run("auth-server exchanges delete orders-to-files --yes", server)
    create_client, create_rule = (command for command in commands_of(path) if command.startswith("auth-server"))
    client_id = json.loads(run(f"{create_client} --json", server))["client_id"]
    run(create_rule.replace("CLIENT_ID", client_id), server)
    by_command = json.loads(run("auth-server exchanges list --json", server))
    assert by_command == [{**by_file[0], "client": client_id}]


def test_the_guides_commands_run(server: live.Server, tmp_path: Path) -> None:
    """docs/how-to: each command that can run on a small server does, in the order of a day's work."""
    text = (ROOT / "docs/how-to/declare-in-a-file.md").read_text(encoding="utf-8")
    declared = re.search(r"```toml\n(.*?)```", text, re.DOTALL)
    assert declared
    file = tmp_path / "auth-server.toml"
    file.write_text(declared[1].replace('{ env = "GRAFANA_SECRET" }', f'{{ hash = "sha256:{"0" * 64}" }}'))
    run(f"auth-server apply {file}", server)
    run(f"auth-server apply {file} --dry-run", server)
    run(f"auth-server apply {file} --prune", server)
    for page in ("rotate-a-client-secret.md", "rotate-or-revoke-keys.md"):
        for command in commands_of(ROOT / "docs/how-to" / page):
            if not command.endswith((" ID", " KID")):
                run(command.replace("CLIENT_ID", "grafana"), server)
