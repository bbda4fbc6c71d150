"""`keys`: signing keys."""

from __future__ import annotations

import click

from auth_server.cli.root import confirm, in_app, json_option, refuse, say, show, yes_option
from auth_server.keys import keyring


@click.group()
def keys() -> None:
    """Signing keys: list, rotate, revoke.

    \b
    Example:
      auth-server keys rotate
    """


@keys.command("list")
@json_option
@in_app
def list_keys(as_json: bool) -> None:
    """List keys with their state."""
    show(keyring.listing(), as_json)


@keys.command("rotate")
@json_option
@in_app
def rotate(as_json: bool) -> None:
    """Promote the next keys at once; old ones verify until their last token has expired."""
    keyring.rotate()
    show(keyring.listing(), as_json)


@keys.command("revoke")
@click.argument("kid")
@yes_option
@json_option
@in_app
def revoke(kid: str, yes: bool, as_json: bool) -> None:
    """Replace a key at once and refuse everything it signed."""
    confirm(f"Refuse every token signed by {kid}?", yes)
    if not keyring.revoke(kid):
        refuse(f"no such live key: {kid}")
    say(f"revoked {kid}")
    show(keyring.listing(), as_json)
