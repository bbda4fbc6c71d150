"""The commands for people and groups."""

from __future__ import annotations

from typing import Any

import pytest
from flask import Flask

from auth_server.accounts import passkeys
from auth_server.accounts.passkeys import NewPasskey
from tests.cli.conftest import Run
from tests.support import factories

PASSWORD = "correct horse battery"


def create_ada(run: Run, *more: str) -> dict[str, Any]:
    words = ("--name", "Ada", "--password-stdin", "--json", *more)
    answer: dict[str, Any] = run("users", "create", "ada@example.org", *words, given=PASSWORD + "\n").json
    return answer


def test_a_person_is_created_shown_changed_and_deleted(run: Run) -> None:
    """The life of an account by commands; `id` is the `sub` and survives a change of address."""
    ada = create_ada(run)
    assert set(ada) == {"id", "email", "name", "roles", "groups"}
    run("users", "set", "ada@example.org", "--email", "ada@example.net", "--claim", 'locale="de"')
    shown = run("users", "show", ada["id"], "--json").json
    assert (shown["id"], shown["email"], shown["claims"]) == (ada["id"], "ada@example.net", {"locale": "de"})
    assert len(run("users", "list", "--json").json) == 1
    run("users", "delete", "ada@example.net", "--yes")
    assert run("users", "list", "--json").json == []
    run("users", "show", "ada@example.net", code=1)


def test_passkeys_are_counted_and_reset(app: Flask, run: Run) -> None:
    """`show` counts them; `reset-mfa` takes them away, and says what somebody without a password needs."""
    eve = run("users", "create", "eve@example.org", "--json").json
    assert run("users", "show", "eve@example.org", "--json").json["passkeys"] == 0
    run("users", "reset-mfa", "eve@example.org", "--yes", code=1)
    new = NewPasskey("id", b"key", 0, "", ("internal",), backup_eligible=False, backed_up=False)
    factories.within(app, lambda: passkeys.add(eve["id"], new, "Chrome on Linux"))
    assert run("users", "show", "eve@example.org", "--json").json["passkeys"] == 1
    assert "users reset-link" in run("users", "reset-mfa", "eve@example.org", "--yes").err
    assert run("users", "show", "eve@example.org", "--json").json["passkeys"] == 0


def test_without_a_password_a_link_sets_one(run: Run) -> None:
    """The link is on stdout, works once, and `reset-link` replaces it."""
    answer = run("users", "create", "eve@example.org", "--json").json
    assert answer["url"].startswith("http://localhost:8421/recover/reset?token=")
    fresh = run("users", "reset-link", "eve@example.org", "--json").json["url"]
    assert fresh != answer["url"]


def test_a_short_password_is_refused_and_a_middling_one_warned_about(run: Run) -> None:
    """From 8 characters on an operator may set it; nothing is created otherwise."""
    run("users", "create", "eve@example.org", "--password-stdin", given="seven77\n", code=1)
    assert run("users", "list", "--json").json == []
    done = run("users", "create", "eve@example.org", "--password-stdin", given="eight888x\n")
    assert "warning" in done.err


def test_a_taken_or_malformed_address_is_refused(run: Run) -> None:
    """Compared case-folded."""
    create_ada(run)
    assert "account already" in run("users", "create", "ADA@example.org", code=1).err
    run("users", "create", "no address", code=1)


def test_what_ends_things_asks_first(program: Run, run: Run) -> None:
    """Without a terminal and without `--yes` it is refused (exit 1)."""
    create_ada(run)
    for words in (("users", "disable"), ("users", "delete")):
        assert "--yes" in program(*words, "ada@example.org", code=1).err
    run("users", "disable", "ada@example.org", "--yes")
    assert run("users", "show", "ada@example.org", "--json").json["disabled"] is True
    run("users", "enable", "ada@example.org")
    assert run("users", "show", "ada@example.org", "--json").json["disabled"] is False


def test_the_last_administrator_stays(run: Run) -> None:
    """Neither disabled, deleted nor demoted; with a second one it is possible."""
    create_ada(run, "--role", "administrator")
    for words in (("disable",), ("delete",)):
        assert "last administrator" in run("users", *words, "ada@example.org", "--yes", code=1).err
    run("users", "set", "ada@example.org", "--role", "auditor", code=1)
    run("users", "create", "ben@example.org", "--role", "administrator")
    run("users", "set", "ada@example.org", "--role", "auditor")


def test_setup_link_is_for_a_server_without_administrator(run: Run) -> None:
    """Afterwards it points to reset-link."""
    assert run("setup-link", "--json").json["url"].startswith("http://localhost:8421/setup?token=")
    create_ada(run, "--role", "administrator")
    assert "reset-link" in run("setup-link", code=1).err


@pytest.mark.parametrize(
    ("claim", "word"),
    [
        ("locale", "NAME=JSON"),
        ("locale=de", "NAME=JSON"),
        ("sub=1", "cannot be set freely"),
        ("score=NaN", "JSON value"),
        ("score=1e999", "JSON value"),
    ],
)
def test_a_claim_is_json_and_has_no_other_meaning(run: Run, claim: str, word: str) -> None:
    """What an ID token could not carry is refused, and nobody is created."""
    code = 2 if word == "NAME=JSON" else 1
    assert word in run("users", "create", "eve@example.org", "--claim", claim, code=code).err
    assert run("users", "list", "--json").json == []
    ada = create_ada(run, "--claim", 'address={"country": "UK"}', "--claim", "score=1")
    shown = run("users", "set", ada["id"], "--claim", "score=null", "--json").json
    assert shown["id"] == ada["id"]
    assert run("users", "show", ada["id"], "--json").json["claims"] == {"address": {"country": "UK"}}


def test_a_change_of_nothing_is_wrong_usage(run: Run) -> None:
    """Exit 2: a forgotten option is not a success."""
    create_ada(run)
    run("users", "set", "ada@example.org", code=2)
    assert run("users", "set", "ada@example.org", "--name", "", "--json").json["name"] == ""


def test_verified_is_what_the_operator_says(run: Run) -> None:
    """An address that an administrator types counts as verified unless told otherwise."""
    create_ada(run)
    run("users", "create", "eve@example.org", "--unverified")

    def verified(email: str) -> bool:
        return bool(run("users", "show", email, "--json").json["verified"])

    assert (verified("ada@example.org"), verified("eve@example.org")) == (True, False)
    run("users", "set", "ada@example.org", "--unverified")
    assert verified("ada@example.org") is False


def test_a_title_fits_its_column(run: Run) -> None:
    """What PostgreSQL would refuse is refused by name."""
    for title in ("x" * 201, "a\x00b", "a\nb"):
        assert "title" in run("groups", "create", "staff", "--title", title, code=1).err
    run("groups", "create", "staff", "--title", "x" * 200)
    name = ("apis", "create", "https://orders.example.org", "--name")
    assert "at most 200" in run(*name, "x" * 201, code=1).err
    run(*name, "x" * 200)


def test_groups_and_roles_are_checked(run: Run) -> None:
    """An unknown one is refused, and nothing of the command happens."""
    run("groups", "create", "staff", "--title", "Staff")
    assert run("groups", "list", "--json").json == [{"name": "staff", "title": "Staff"}]
    run("groups", "create", "staff", code=1)
    run("users", "create", "eve@example.org", "--group", "nobody", code=1)
    assert run("users", "list", "--json").json == []
    create_ada(run, "--group", "staff")
    assert run("users", "show", "ada@example.org", "--json").json["groups"] == ["staff"]
    run("groups", "delete", "staff", "--yes")
    assert run("users", "show", "ada@example.org", "--json").json["groups"] == []
