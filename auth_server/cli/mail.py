"""`mail`: whether mail leaves, and what has not arrived."""

from __future__ import annotations

import click

from auth_server import config
from auth_server.accounts import letters
from auth_server.accounts.letters import Letter
from auth_server.cli.root import confirm, example, in_app, json_option, refuse, say, show, yes_option
from auth_server.infra import mail as post
from auth_server.infra import outbox
from auth_server.infra.outbox import Undeliverable


@click.group(epilog=example("mail test ada@example.org"))
def mail() -> None:
    """Mail: try it out, see what waits, try again."""


@mail.command("test", epilog=example("mail test ada@example.org"))
@click.argument("address")
@json_option
@in_app
def test(address: str, as_json: bool) -> None:
    """Send a message now, past the outbox, and say what came of it."""
    letter = Letter(subject="Test message", paragraphs=("Mail from this server arrives.",))
    text, html = letters.in_text(letter), letters.in_html(letter)
    try:
        message = post.compose(to=address, subject=letter.subject, text=text, html=html, language="en")
    except ValueError:
        refuse("this is not an e-mail address")
    try:
        post.send(message)
    except Undeliverable as cause:
        refuse(f"not sent: {cause}")
    url = config.current().mail_url
    where = f"{url.scheme}://{url.host}:{url.port}" if url and url.host else "the outbox folder"
    show({"to": address, "from": post.sender(), "by": where}, as_json, f"handed over to {where} as {post.sender()}")


@mail.command("list", epilog=example("mail list"))
@json_option
@in_app
def list_waiting(as_json: bool) -> None:
    """List what has not arrived: waiting, failing, or given up (next_try is empty then)."""
    rows = [
        {
            "id": row.id,
            "kind": row.kind,
            "about": row.about,
            "created": row.created_at,
            "tries": row.tries,
            "next_try": row.next_try_at,
            "error": row.last_error,
        }
        for row in outbox.listing()
    ]
    show(rows, as_json)


@mail.command("retry", epilog=example("mail retry ID"))
@click.argument("which")
@in_app
def retry(which: str) -> None:
    """Try to deliver a message at once, whatever has become of it; `all` for every one."""
    chosen = [row.id for row in outbox.listing()] if which == "all" else [which]
    for row_id in chosen:
        if not outbox.try_again(row_id):
            refuse(f"no such message: {row_id}")
    say(f"{len(chosen)} will be tried by the running server within seconds")


@mail.command("drop", epilog=example("mail drop ID"))
@click.argument("which")
@yes_option
@in_app
def drop(which: str, yes: bool) -> None:
    """Forget a message for good."""
    confirm(f"Forget message {which}?", yes)
    if not outbox.drop(which):
        refuse(f"no such message: {which}")
    say("forgotten")
