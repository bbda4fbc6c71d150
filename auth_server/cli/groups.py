"""`groups`: groups of people."""

from __future__ import annotations

import click

from auth_server.access import groups as group_rows
from auth_server.cli.root import confirm, example, in_app, json_option, refuse, say, show, yes_option


@click.group(epilog=example("groups create staff --title Staff"))
def groups() -> None:
    """Groups of people: create, list, delete."""


@groups.command("create", epilog=example("groups create staff --title Staff"))
@click.argument("name")
@click.option("--title", default="", help="What people see.")
@json_option
@in_app
def create_group(name: str, title: str, as_json: bool) -> None:
    """Create a group."""
    group_rows.create(name, title)
    show({"name": name, "title": title or name}, as_json)


@groups.command("list", epilog=example("groups list --json"))
@json_option
@in_app
def list_groups(as_json: bool) -> None:
    """List groups."""
    show([{"name": row["name"], "title": row["title"]} for row in group_rows.listing()], as_json)


@groups.command("delete", epilog=example("groups delete staff"))
@click.argument("name")
@yes_option
@in_app
def delete_group(name: str, yes: bool) -> None:
    """Delete a group; its people stay."""
    confirm(f"Delete the group {name}?", yes)
    if not group_rows.remove(name):
        refuse(f"no such group: {name}")
    say(f"deleted {name}")
