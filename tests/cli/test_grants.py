"""`sessions` and `tokens`: what people and apps hold, listed and ended by an operator, as seen over HTTP."""

from __future__ import annotations

import pytest

from auth_server.accounts.users import User
from tests.cli.conftest import Run
from tests.support.browser import Browser
from tests.support.rp import RelyingParty


def is_signed_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200


def test_sessions_are_listed_with_what_tells_them_apart(run: Run, browser: Browser, ben: User) -> None:
    """Person, start, last use and how they signed in; of one person or of all."""
    browser.sign_in()
    Browser(browser.app).sign_in(ben.email)
    rows = run("sessions", "list", "--json").json
    assert all(set(row) == {"id", "user", "started", "last_seen", "amr"} for row in rows)
    assert {row["user"] for row in rows} == {"ada@example.org", "ben@example.org"}
    (mine,) = run("sessions", "list", "--user", "ben@example.org", "--json").json
    assert (mine["user"], mine["amr"]) == ("ben@example.org", ["pwd"])


def test_one_session_is_ended(run: Run, browser: Browser) -> None:
    """The other browser of the same person stays signed in."""
    browser.sign_in()
    (row,) = run("sessions", "list", "--json").json
    other = Browser(browser.app)
    other.sign_in()
    assert run("sessions", "revoke", row["id"], "--yes", "--json").json == {"sessions": 1}
    assert not is_signed_in(browser)
    assert is_signed_in(other)
    run("sessions", "revoke", row["id"], "--yes", code=1)


def test_a_person_is_signed_out_everywhere(run: Run, browser: Browser, ben: User) -> None:
    """All their sessions, and nobody else's."""
    browser.sign_in()
    other = Browser(browser.app)
    other.sign_in(ben.email)
    assert run("sessions", "revoke", "--user", "ada@example.org", "--yes", "--json").json == {"sessions": 1}
    assert not is_signed_in(browser)
    assert is_signed_in(other)
    assert run("sessions", "revoke", "--all", "--yes", "--json").json == {"sessions": 1}
    assert not is_signed_in(other)


def test_families_are_listed_without_their_tokens(run: Run, rp: RelyingParty) -> None:
    """Client, scope, start and last use; no token can be read from it."""
    answer = rp.tokens()
    done = run("tokens", "list", "--user", "ada@example.org", "--json")
    (row,) = done.json
    assert set(row) == {"family", "client_id", "scope", "started", "last_used"}
    assert row["client_id"] == rp.client.client_id
    assert set(row["scope"].split()) == {"openid", "profile", "email", "offline_access"}
    assert answer["refresh_token"] not in done.out
    assert answer["access_token"] not in done.out


@pytest.mark.parametrize("which", ["--user", "--client", "--family", "--all"])
def test_tokens_are_revoked_at_once(run: Run, rp: RelyingParty, which: str) -> None:
    """Refresh and access token of what was named are refused; before, they were good."""
    answer = rp.tokens()
    assert rp.introspect(answer["access_token"])["active"] is True
    (row,) = run("tokens", "list", "--user", "ada@example.org", "--json").json
    values = {"--user": "ada@example.org", "--client": rp.client.client_id, "--family": row["family"]}
    words = [which, values[which]] if which in values else [which]
    done = run("tokens", "revoke", *words, "--yes", "--json")
    assert done.json == {"families": 1}
    assert "until they expire" in done.err
    assert rp.introspect(answer["access_token"]) == {"active": False}
    assert rp.userinfo(answer["access_token"]).status_code == 401
    assert rp.refresh(answer["refresh_token"]).json["error"] == "invalid_grant"
    assert run("tokens", "list", "--user", "ada@example.org", "--json").json == []
    assert is_signed_in(rp.browser)


@pytest.mark.parametrize("which", ["--user", "--client", "--family"])
def test_what_was_not_named_lives_on(run: Run, rp: RelyingParty, ben: User, which: str) -> None:
    """The twin: somebody else's, another client's, another family's revocation ends nothing here."""
    answer = rp.tokens()
    other = run("clients", "create", "--name", "B", "--redirect-uri", "https://b.example.org/cb", "--json").json
    values = {"--user": ben.email, "--client": other["client_id"], "--family": "unknown"}
    run("tokens", "revoke", which, values[which], "--yes", code=1 if which == "--family" else 0)
    assert rp.introspect(answer["access_token"])["active"] is True
    assert rp.refresh(answer["refresh_token"]).status_code == 200


@pytest.mark.parametrize(
    "words", [("sessions", "revoke", "--all"), ("tokens", "revoke", "--all"), ("sessions", "revoke", "x")]
)
def test_without_yes_and_terminal_nothing_ends(run: Run, rp: RelyingParty, words: tuple[str, ...]) -> None:
    """Exit 1, and everybody stays signed in."""
    answer = rp.tokens()
    assert "--yes" in run(*words, code=1).err
    assert is_signed_in(rp.browser)
    assert rp.introspect(answer["access_token"])["active"] is True


def test_an_unknown_name_is_refused(run: Run) -> None:
    """Nobody is mistaken for everybody."""
    for words in (
        ("sessions", "list", "--user", "nobody@example.org"),
        ("sessions", "revoke", "--user", "nobody@example.org", "--yes"),
        ("tokens", "list", "--user", "nobody@example.org"),
        ("tokens", "revoke", "--user", "nobody@example.org", "--yes"),
        ("tokens", "revoke", "--client", "nobody", "--yes"),
    ):
        assert "no such" in run(*words, code=1).err


def test_disabling_ends_what_is_held(run: Run, rp: RelyingParty, ben: User) -> None:
    """`users disable` and `clients disable`; a new start is possible after `enable`."""
    run("users", "set", ben.email, "--role", "administrator")
    answer = rp.tokens()
    run("clients", "disable", rp.client.client_id, "--yes")
    run("clients", "enable", rp.client.client_id)
    assert rp.introspect(answer["access_token"]) == {"active": False}
    assert is_signed_in(rp.browser)
    run("users", "disable", "ada@example.org", "--yes")
    assert not is_signed_in(rp.browser)
    assert rp.browser.sign_in().status_code == 401
    run("users", "enable", "ada@example.org")
    assert not is_signed_in(rp.browser)
    assert rp.browser.sign_in().status_code == 303
