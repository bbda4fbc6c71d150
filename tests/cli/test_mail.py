"""`mail`: trying it out, and what has not arrived."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flask import Flask

from auth_server.infra import outbox
from tests.cli.conftest import Run
from tests.support import factories, mail_server


def test_a_test_message_leaves_at_once(run: Run, tmp_path: Path) -> None:
    """Without a mail server into the outbox folder; the answer says by which way."""
    answer = run("mail", "test", "ben@example.org", "--json").json
    assert answer == {"to": "ben@example.org", "from": "auth-server@localhost", "by": "the outbox folder"}
    (path,) = (tmp_path / "outbox").iterdir()
    assert "To: ben@example.org" in path.read_text()


def test_by_a_mail_server(run: Run, monkeypatch: Any) -> None:
    """What it refuses is said in words, exit 1; then the same is taken."""
    with mail_server.running() as server:
        monkeypatch.setenv("AUTH_SERVER_MAIL_URL", f"smtp://127.0.0.1:{server.port}")
        server.answer = "554 no"
        assert "not sent: the mail server answered 554" in run("mail", "test", "ben@example.org", code=1).err
        server.answer = "250 taken"
        assert "handed over to smtp://127.0.0.1" in run("mail", "test", "ben@example.org").out
    assert len(server.letters) == 1


def test_no_address(run: Run) -> None:
    assert "not an e-mail address" in run("mail", "test", "ben\nBcc: x", code=1).err


def test_a_wrong_mail_url_refuses_to_start(run: Run, monkeypatch: Any) -> None:
    monkeypatch.setenv("AUTH_SERVER_MAIL_URL", "mail.example.org")
    assert "AUTH_SERVER_MAIL_URL: expected smtp://" in run("mail", "list", code=3).err


def test_what_has_not_arrived_is_listed_retried_and_dropped(app: Flask, run: Run) -> None:
    """Never what is in it; an unknown id is refused."""
    factories.within(app, lambda: outbox.add("mail", {"link": "s3cret-link"}, about="notice 42"))
    (row,) = run("mail", "list", "--json").json
    assert set(row) == {"id", "kind", "about", "created", "tries", "next_try", "error"}
    assert (row["about"], row["tries"], row["error"]) == ("notice 42", 0, "")
    assert "s3cret" not in run("mail", "list").out
    assert "1 will be tried" in run("mail", "retry", row["id"]).err
    assert "1 will be tried" in run("mail", "retry", "all").err
    run("mail", "retry", "nothing", code=1)
    run("mail", "drop", row["id"], code=1)  # it asks first
    run("mail", "drop", row["id"], "--yes")
    run("mail", "drop", row["id"], "--yes", code=1)
    assert run("mail", "list", "--json").json == []
