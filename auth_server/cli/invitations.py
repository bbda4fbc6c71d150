"""`invitations`: links that open an account."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import click

from auth_server.access import invitations as rows
from auth_server.access.invitations import Invitation
from auth_server.cli.root import confirm, example, in_app, json_option, refuse, say, show, yes_option


@click.group(epilog=example("invitations create ada@example.org --group staff"))
def invitations() -> None:
    """Invitations: create, list, revoke."""


@invitations.command("create", epilog=example("invitations create ada@example.org --name Ada --group staff --days 14"))
@click.argument("email")
@click.option("--name", default="", help="The name to begin with; whoever accepts may change it.")
@click.option("--group", "group_names", multiple=True, help="A group of the new account; may be repeated.")
@click.option("--role", "role_names", multiple=True, help="A role of the new account; may be repeated.")
@click.option(
    "--days", type=click.IntRange(1, rows.LONGEST_DAYS), default=rows.LIFE.days, help="How long it is good; default: 7."
)
@json_option
@in_app
def create(
    email: str, name: str, group_names: tuple[str, ...], role_names: tuple[str, ...], days: int, as_json: bool
) -> None:
    """Invite an address by mail, and print the link. A former invitation for it ends."""
    life = timedelta(days=days)
    invited, url = rows.invite(email, name, group_names=group_names, role_names=role_names, life=life)
    say("The link is on its way by mail, too. It opens the account once, for this address.")
    show({"url": url, "email": invited.email, "expires": invited.expires}, as_json, url)


@invitations.command("list", epilog=example("invitations list --json"))
@json_option
@in_app
def list_invitations(as_json: bool) -> None:
    """List invitations that can still be accepted."""
    show([_view(row) for row in rows.listing()], as_json)


@invitations.command("revoke", epilog=example("invitations revoke ada@example.org"))
@click.argument("email")
@yes_option
@in_app
def revoke(email: str, yes: bool) -> None:
    """End the invitation for an address."""
    confirm(f"End the invitation for {email}?", yes)
    if not rows.revoke(email):
        refuse(f"no invitation for {email}")
    say(f"ended the invitation for {email}")


def _view(row: Invitation) -> dict[str, Any]:
    about = {"email": row.email, "name": row.name, "groups": list(row.groups), "roles": list(row.roles)}
    return {**about, "created": row.created, "expires": row.expires}
