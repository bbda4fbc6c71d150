"""`apply`: the database becomes what a file says."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from flask import Flask

from tests.cli.conftest import PROGRAM, Run
from tests.support import asserts
from tests.support.declared import SECRET


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


FAPI = """
[client.payments]
redirect_uris = ["https://payments.example.org/callback"]
token_endpoint_auth_method = "private_key_jwt"
jwks_uri = "https://payments.example.org/jwks"
profile = "fapi2"
"""


def test_a_profile_is_a_word_of_the_file(run: Run, file: Path) -> None:
    """What it implies is no difference the next time; what contradicts it is refused with file and line."""
    file.write_text(FAPI)
    assert run("apply", str(file)).out.strip() == "create client payments"
    assert run("apply", str(file)).out.strip() == "nothing to change"
    shown = run("clients", "show", "payments", "--json").json
    assert (shown["dpop_bound_access_tokens"], shown["require_pushed_authorization_requests"]) == (True, True)
    file.write_text(FAPI + "refresh_token_rotation = true\n")
    assert "refresh_token_rotation: leave it out: profile fapi2 means false" in run("apply", str(file), code=1).err


def test_a_dry_run_changes_nothing_and_exits_10(app: Flask, run: Run, file: Path) -> None:
    """Scripts can branch on it; without differences it is 0. Neither a row nor an audit event is left."""
    before = asserts.rows(app)
    assert "create client grafana" in run("apply", str(file), "--dry-run", code=10).out
    assert asserts.rows(app) == before
    assert asserts.events_of(app, "client.created") == []
    assert run("clients", "list", "--json").json == []
    run("apply", str(file))
    assert asserts.events_of(app, "client.created")
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
    """All at once and in order, what the database refuses too; nothing is changed."""
    text = file.read_text().replace("first_party", "first_pary").replace("[role.support]", "[roll.support]")
    text = text.replace('{ env = "GRAFANA_SECRET" }', '"in the clear, which is wrong"')
    text = text.replace('["https://grafana.example.org/login/generic_oauth"]', '[\n  "http://grafana.example.org",\n]')
    file.write_text(text.replace('groups   = ["staff"]', 'groups   = ["nobody"]'))
    done = run("apply", str(file), "--json", code=1)
    assert [line.removeprefix(str(file)) for line in done.err.strip().splitlines()] == [
        ":4: client.grafana: redirect_uris: plain http is for localhost and loopback addresses only",
        ':8: client.grafana: client_secret: a secret is { env = "NAME" }, { file = "/path" } or { hash = "…" }, '
        "never in the clear",
        ":9: client.grafana: first_pary: no such key; did you mean first_party?",
        ":18: roll: no such table; did you mean role?",
        ":24: user.ada@example.org: no such group: nobody",
    ]
    assert done.out == ""
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
        ("[group.staff]", "[provider.google]\nissuer = 'x'\n[group.staff]", ":13: provider: sign-in through another"),
        ("[group.staff]", "[group.staff", "Expected"),
        ("[group.staff]", "[[group]]", 'tables of the form [group."id"]'),
        ('"Staff"', "5", ":14: group.staff: name: expected a text"),
        ('"Staff"', '"Sta\\u0000ff"', "control characters"),
        ('"Staff"', f'"{"x" * 201}"', "at most 200 characters"),
        ('scopes = ["orders:read"]', 'scopes = "orders:read"', ":17: role.support: scopes: expected a list"),
        ('scopes = ["orders:read"]', 'scopes = ["orders read"]', "without spaces"),
        ("[role.support]", "[role.administrator]", "not possible for a role"),
        ('"Orders"', '"Orders"\ntoken_ttl = "5m"', "expected seconds"),
        ('"Orders"', '"Orders"\ntoken_ttl = 7200', "30 to 3600"),
        ('"Orders"', '"Orders"\nalg = "HS256"', "RS256, ES256, EdDSA"),
        ('"Read your orders"', "1", "a title for each scope"),
        ("first_party   = true", 'first_party   = "yes"', "expected true or false"),
        ("first_party   = true", 'token_endpoint_auth_method = "none"', "a client with the method none has none"),
        ('"Ada"', '"Ada"\nverified = "no"', "expected true or false"),
        ('"Ada"', '"Ada"\nclaims = { birthdate = 1815-12-10 }', ":22: user.ada@example.org: a JSON value"),
        ('"Ada"', '"Ada"\nclaims = { email = "eve@example.org" }', "cannot be set freely"),
        ('"Ada"', '"Ada"\nroles = ["king"]', "no such role: king"),
        ('"Ada"', '"Ada"\n[user."ADA@example.org"]', "this address already"),
        ("{ file =", "{ fle =", "env, file or hash"),
        ("{ file =", '{ hash = "plain text" }\n# ', "bcrypt"),
        ("{ file =", '{ env = "SHORT_PASSWORD" }\n# ', "at least 15 characters"),
    ],
)
def test_a_wrong_file_changes_nothing(run: Run, file: Path, old: str, new: str, word: str) -> None:
    """Exit 1 and one transaction: all or nothing; the right file beside it is taken."""
    good = file.read_text()
    assert good.count(old) == 1
    file.write_text(good.replace(old, new))
    assert word in run("apply", str(file), code=1).err
    assert run("groups", "list", "--json").json == []
    file.write_text(good)
    run("apply", str(file))


def test_what_the_file_does_not_name_of_a_person_stays(run: Run, file: Path) -> None:
    """Groups and roles named by the file are made so; claims are joined."""
    run("groups", "create", "editors")
    run("apply", str(file))
    run("users", "set", "ada@example.org", "--group", "editors", "--claim", 'zoneinfo="Europe/Berlin"')
    file.write_text(file.read_text() + 'claims = { locale = "de" }\nroles = ["developer"]\nverified = false\n')
    line = "change user ada@example.org (claims, verified, groups, roles)"
    assert run("apply", str(file)).out.strip() == line
    ada = run("users", "show", "ada@example.org", "--json").json
    assert (ada["groups"], ada["verified"]) == (["staff"], False)
    assert ada["claims"] == {"zoneinfo": "Europe/Berlin", "locale": "de"}
    assert ada["roles"] == ["developer", "support"]
    assert run("apply", str(file)).out.strip() == "nothing to change"


def test_an_api_and_a_role_follow_the_file(run: Run, file: Path) -> None:
    """Each field is compared; a field that left the file goes back to its default."""
    run("apply", str(file))
    text = file.read_text()
    file.write_text(text.replace('"Orders"', '"Orders"\ntoken_format = "opaque"\ntoken_ttl = 60'))
    assert run("apply", str(file)).out.strip() == "change api https://orders.example.org (token_format, token_ttl)"
    assert run("apis", "list", "--json").json[0]["token_ttl"] == 60
    file.write_text(text.replace('scopes = ["orders:read"]', 'scopes = ["orders:read", "orders:write"]'))
    assert run("apply", str(file)).out.splitlines() == [
        "change role support (scopes)",
        "change api https://orders.example.org (token_format, token_ttl)",
    ]
    assert run("apis", "list", "--json").json[0]["token_ttl"] is None
    assert run("apply", str(file)).out.strip() == "nothing to change"


def test_strengths_follow_the_file(run: Run, file: Path) -> None:
    """Of an API, of its scopes and of a client; what left the file is demanded no more."""
    run("apply", str(file))
    text = file.read_text()
    demanding = text.replace('"Orders"', '"Orders"\nminimum_acr = "aal1"\nscope_acr = { "orders:write" = "aal2" }')
    file.write_text(demanding.replace("first_party   = true", 'minimum_acr = "aal2"\ndefault_acr_values = ["aal2"]'))
    assert run("apply", str(file)).out.splitlines() == [
        "change api https://orders.example.org (minimum_acr, scope_acr)",
        "change client grafana (default_acr_values, first_party, minimum_acr)",
    ]
    assert run("apis", "list", "--json").json[0]["scope_acr"] == {"orders:write": "aal2"}
    assert run("apply", str(file)).out.strip() == "nothing to change"
    file.write_text(text)
    run("apply", str(file))
    api = run("apis", "list", "--json").json[0]
    assert (api["minimum_acr"], api["scope_acr"]) == (None, {})


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ('minimum_acr = "gold"', "minimum_acr: expected a strength of a sign-in: aal1 or aal2"),
        ('scope_acr = "aal2"', "scope_acr: expected a strength for each scope"),
        ('scope_acr = { "orders:read" = 2 }', "scope_acr: expected a strength of a sign-in"),
        ('scope_acr = { "orders:refund" = "aal2" }', "this API has no scope 'orders:refund'"),
    ],
)
def test_a_strength_that_cannot_be_is_refused(run: Run, file: Path, line: str, problem: str) -> None:
    file.write_text(file.read_text().replace('"Orders"', f'"Orders"\n{line}'))
    assert problem in run("apply", str(file), code=1).err
    assert run("apis", "list", "--json").json == []


def test_hand_made_things_are_taken_over_and_never_pruned(run: Run, tmp_path: Path) -> None:
    """`--prune` deletes only what an earlier apply made."""
    metadata = '{"client_id": "wiki", "redirect_uris": ["https://wiki.example.org/cb"]}'
    run("clients", "create", "--metadata", "-", given=metadata)
    file = tmp_path / "wiki.toml"
    file.write_text('[client.wiki]\nredirect_uris = ["https://wiki.example.org/cb"]\nclient_name = "Wiki"\n')
    assert run("apply", str(file)).out.strip() == "change client wiki (client_name)"
    file.write_text("")
    assert run("apply", str(file), "--prune").out.strip() == "nothing to change"
    assert [row["client_id"] for row in run("clients", "list", "--json").json] == ["wiki"]


def test_a_scope_may_move_to_another_api(run: Run, file: Path) -> None:
    """What is pruned gives way to what is new; without `--prune` the scope belongs to the old one."""
    run("apply", str(file))
    file.write_text(file.read_text().replace("https://orders.example.org", "https://shop.example.org"))
    assert "belongs to https://orders.example.org" in run("apply", str(file), code=1).err
    assert run("apply", str(file), "--prune", "--dry-run", code=10).out.splitlines() == [
        "delete api https://orders.example.org",
        "create api https://shop.example.org",
    ]
    assert run("apis", "list", "--json").json[0]["identifier"] == "https://orders.example.org"
    run("apply", str(file), "--prune", "--yes")
    assert [row["identifier"] for row in run("apis", "list", "--json").json] == ["https://shop.example.org"]


def test_without_a_declared_secret_it_says_how_to_get_one(run: Run, file: Path) -> None:
    """No secret is made up that nobody can read; a dry run, which makes nothing, says nothing."""
    file.write_text(file.read_text().replace("client_secret = ", "# "))
    assert run("apply", str(file), "--dry-run", code=10).err == ""
    assert "client grafana: for a secret: auth-server clients secrets grafana --add" in run("apply", str(file)).err
    assert run("clients", "secrets", "grafana", "--add", "--json").json["client_secret"]


def test_an_unreadable_file_is_refused(run: Run, tmp_path: Path) -> None:
    """Missing, a folder, or no text: one line, no trace of the program."""
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("missing.toml", "", "binary"):
        path = tmp_path / name
        assert run("apply", str(path), code=1).err.startswith(f"{path}: ")


def test_the_file_of_the_settings_is_applied_at_the_start(program: Run, run: Run, file: Path) -> None:
    """CONFIG_FILE: `init` and `serve` bring it about."""
    program("init", AUTH_SERVER_CONFIG_FILE=str(file))
    assert [row["name"] for row in run("groups", "list", "--json").json] == ["staff"]


def test_a_wrong_file_of_the_settings_stops_the_start(program: Run, run: Run, file: Path) -> None:
    """Exit 3 with every problem; the right file beside it is applied, and said so."""
    good = file.read_text()
    file.write_text(good.replace("first_party", "first_pary"))
    err = program("init", code=3, AUTH_SERVER_CONFIG_FILE=str(file)).err
    assert "AUTH_SERVER_CONFIG_FILE" in err
    assert f"{file}:7: client.grafana: first_pary: no such key" in err
    assert run("groups", "list", "--json").json == []
    file.write_text(good)
    assert "create client grafana" in program("init", AUTH_SERVER_CONFIG_FILE=str(file)).err


def test_servers_that_start_at_once_apply_one_file_once(
    environment: dict[str, str], run: Run, file: Path, tmp_path: Path
) -> None:
    """They take turns, and each finds what the former made."""
    settings = {**os.environ, **environment, "AUTH_SERVER_CONFIG_FILE": str(file)}
    starting = [subprocess.Popen([*PROGRAM, "init"], env=settings, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    messages = [process.communicate(timeout=60)[1] for process in starting]
    assert [process.returncode for process in starting] == [0, 0, 0], messages
    assert sum("create client grafana" in text for text in messages) == 1
    assert len(run("clients", "secrets", "grafana", "--json").json["secrets"]) == 1
