"""`registration-tokens` on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from tests.cli.conftest import Run


def test_a_token_is_made_listed_and_ended(run: Run) -> None:
    """JSON as documented; the token is shown once; the list has what ends it."""
    made = run("registration-tokens", "create", "--days", "2", "--json").json
    assert set(made) == {"token"}
    assert len(made["token"]) >= 32
    (row,) = run("registration-tokens", "list", "--json").json
    assert set(row) == {"id", "created", "expires"}
    left = datetime.fromisoformat(row["expires"]) - datetime.now(UTC)
    assert timedelta(days=1) < left <= timedelta(days=2)
    assert "--yes" in run("registration-tokens", "revoke", row["id"], code=1).err
    run("registration-tokens", "revoke", row["id"], "--yes")
    assert run("registration-tokens", "list", "--json").json == []
    assert "no such" in run("registration-tokens", "revoke", row["id"], "--yes", code=1).err


def test_a_life_has_bounds(run: Run) -> None:
    """A day to ninety."""
    for days in ("0", "91"):
        run("registration-tokens", "create", "--days", days, code=2)
    assert run("registration-tokens", "list", "--json").json == []
