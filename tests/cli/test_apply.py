"""`apply`: the database becomes what a file says (CONTRACT 7)."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Run

SECRET = "a-secret-of-more-than-32-characters-0123"
FILE = """
[client.grafana]
client_name   = "Grafana"
redirect_uris = ["https://grafana.example.org/login/generic_oauth"]
scope         = "openid profile email groups orders:read"
client_secret = { env = "GRAFANA_SECRET" }
first_party   = true

[api."https://orders.example.org"]
name   = "Orders"
scopes = { "orders:read" = "Read your orders", "orders:write" = "Change your orders" }

[group.staff]
name = "Staff"

[role.support]
scopes = ["orders:read"]
groups = ["staff"]

[user."ada@example.org"]
name     = "Ada"
groups   = ["staff"]
password = { file = "PASSWORD_FILE" }
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the file, with its secrets in place."""
    monkeypatch.setenv("GRAFANA_SECRET", SECRET)
    password = tmp_path / "password"
    password.write_text("correct horse battery staple\n")
    found = tmp_path / "auth-server.toml"
    found.write_text(FILE.replace("PASSWORD_FILE", str(password)))
    return found


def test_it_makes_everything_and_then_nothing(run: Run, file: Path) -> None:
    """Idempotent: the second time there is no difference, and no secret is ever printed."""
    done = run("apply", str(file))
    assert done.out.splitlines() == [
        "create group staff",
        "create role support",
        "create api https://orders.example.org",
        "create client grafana",
        "create user ada@example.org",
    ]
    assert SECRET not in done.out + done.err
    assert run("apply", str(file)).out.strip() == "nothing to change"
    assert run("apply", str(file), "--json").json == []
    assert run("users", "show", "ada@example.org", "--json").json["roles"] == ["support"]


def test_a_dry_run_changes_nothing_and_exits_10(run: Run, file: Path) -> None:
    """Scripts can branch on it; without differences it is 0."""
    assert "create client grafana" in run("apply", str(file), "--dry-run", code=10).out
    assert run("clients", "list", "--json").json == []
    run("apply", str(file))
    run("apply", str(file), "--dry-run")


def test_a_change_is_named_by_its_fields(run: Run, file: Path) -> None:
    """Only what differs is touched; a new secret is added beside the old one."""
    run("apply", str(file))
    file.write_text(file.read_text().replace('"Grafana"', '"Dashboards"').replace('"Staff"', '"All staff"'))
    assert run("apply", str(file)).out.splitlines() == [
        "change group staff (name)",
        "change client grafana (client_name)",
    ]
    assert len(run("clients", "secrets", "grafana", "--json").json["secrets"]) == 1


def test_a_declared_secret_rotates_with_overlap(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old secret stays valid until it is removed by hand."""
    run("apply", str(file))
    monkeypatch.setenv("GRAFANA_SECRET", SECRET + "-new")
    assert run("apply", str(file)).out.strip() == "change client grafana (secret)"
    assert len(run("clients", "secrets", "grafana", "--json").json["secrets"]) == 2


def test_prune_deletes_only_what_apply_made(run: Run, file: Path) -> None:
    """Hand-made objects and people stay; without `--yes` nothing happens."""
    run("groups", "create", "by-hand")
    run("apply", str(file))
    file.write_text("")
    run("apply", str(file), "--prune", code=1)
    assert len(run("clients", "list", "--json").json) == 2  # Grafana and the API's credentials
    assert run("apply", str(file), "--prune", "--yes").out.splitlines() == [
        "delete client grafana",
        "delete api https://orders.example.org",
        "delete role support",
        "delete group staff",
    ]
    assert run("groups", "list", "--json").json == [{"name": "by-hand", "title": "by-hand"}]
    assert len(run("users", "list", "--json").json) == 1


def test_every_problem_is_told_with_its_line(run: Run, file: Path) -> None:
    """All at once, and nothing is changed."""
    text = file.read_text().replace("first_party", "first_pary").replace("[role.support]", "[roll.support]")
    file.write_text(text.replace('{ env = "GRAFANA_SECRET" }', '"in the clear, which is wrong"'))
    lines = run("apply", str(file), code=1).err.strip().splitlines()
    assert f"{file}:7: client.grafana has an unknown key: first_pary" in lines
    assert any(f"{file}:16: no such table: roll" in line for line in lines)
    assert run("groups", "list", "--json").json == []


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ('{ env = "GRAFANA_SECRET" }', '"a-secret-in-the-clear-of-32-chars-or-more"', "never in the clear"),
        ('{ env = "GRAFANA_SECRET" }', '{ env = "NOT_SET" }', "NOT_SET"),
        ('{ env = "GRAFANA_SECRET" }', '{ file = "/nowhere" }', "/nowhere"),
        ('{ env = "GRAFANA_SECRET" }', '{ hash = "md5:abc" }', "sha256"),
        ("https://grafana.example.org/login", "http://grafana.example.org/login", "plain http"),
        ('groups   = ["staff"]', 'groups   = ["nobody"]', "no such group"),
        ("[group.staff]", "[provider.google]\nissuer = 'x'\n[group.staff]", "not available"),
        ("[group.staff]", "[group.staff", "Expected"),
    ],
)
def test_a_wrong_file_changes_nothing(run: Run, file: Path, old: str, new: str, word: str) -> None:
    """Exit 1 and one transaction: all or nothing."""
    good = file.read_text()
    file.write_text(good.replace(old, new))
    assert word in run("apply", str(file), code=1).err
    assert run("groups", "list", "--json").json == []
    file.write_text(good)
    run("apply", str(file))


def test_the_file_of_the_settings_is_applied_at_the_start(program: Run, run: Run, file: Path) -> None:
    """CONFIG_FILE: `init` and `serve` bring it about (CONTRACT 2)."""
    program("init", AUTH_SERVER_CONFIG_FILE=str(file))
    assert [row["name"] for row in run("groups", "list", "--json").json] == ["staff"]
