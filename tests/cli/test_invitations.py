"""`invitations` on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.cli.conftest import Run


def test_an_invitation_is_made_listed_and_ended(run: Run) -> None:
    """JSON as documented; the printed link is the mailed one; a second one replaces the first."""
    run("groups", "create", "staff")
    words = ("invitations", "create", "grace@example.org", "--name", "Grace", "--group", "staff", "--role", "auditor")
    made = run(*words, "--days", "14", "--json").json
    assert set(made) == {"url", "email", "expires"}
    assert made["url"].startswith("http://localhost:8421/signup/invitation?token=")
    assert made["email"] == "grace@example.org"
    left = datetime.fromisoformat(made["expires"]) - datetime.now(UTC)
    assert timedelta(days=13) < left <= timedelta(days=14)
    assert [row["about"] for row in run("mail", "list", "--json").json] == ["invitation"]
    again = run(*words).out.strip()
    assert again != made["url"]
    (row,) = run("invitations", "list", "--json").json
    assert (row["email"], row["name"], row["groups"], row["roles"]) == (
        *("grace@example.org", "Grace"), ["staff"], ["auditor"],
    )  # fmt: skip
    assert "token" not in run("invitations", "list").out
    assert "--yes" in run("invitations", "revoke", "grace@example.org", code=1).err
    run("invitations", "revoke", "GRACE@example.org", "--yes")
    assert run("invitations", "list", "--json").json == []
    assert "no invitation" in run("invitations", "revoke", "grace@example.org", "--yes", code=1).err


def test_a_wrong_invitation_is_refused(run: Run) -> None:
    """An address with an account, an unknown group, too many days: said, and nothing is written."""
    run("users", "create", "ada@example.org")
    assert "has an account" in run("invitations", "create", "ada@example.org", code=1).err
    assert "no such group" in run("invitations", "create", "eve@example.org", "--group", "x", code=1).err
    assert "days" in run("invitations", "create", "eve@example.org", "--days", "91", code=2).err
    assert run("invitations", "list", "--json").json == []
    assert run("mail", "list", "--json").json == []
    run("invitations", "create", "eve@example.org")
