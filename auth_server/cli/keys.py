"""`keys`: signing keys."""

from __future__ import annotations

import click

from auth_server.cli.root import confirm, example, in_app, json_option, refuse, say, show, yes_option
from auth_server.keys import keyring


@click.group(epilog=example("keys rotate"))
def keys() -> None:
    """Signing keys: list, rotate, revoke."""


@keys.command("list", epilog=example("keys list --json"))
@json_option
@in_app
def list_keys(as_json: bool) -> None:
    """List keys with their state."""
    show(keyring.listing(), as_json)


@keys.command("rotate", epilog=example("keys rotate"))
@json_option
@in_app
def rotate(as_json: bool) -> None:
    """Promote the next keys at once; old ones verify until their last token has expired."""
    keyring.rotate()
    show(keyring.listing(), as_json)


@keys.command("revoke", epilog=example("keys revoke UYl8l_dFodyqjWUVIy_3jgs9Ib_BuqjFx8WklBSGIIw"))
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
