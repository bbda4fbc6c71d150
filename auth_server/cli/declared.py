"""`apply`: makes the database what a file says, and prints the difference."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from auth_server.access import apis, exchanges, groups, roles
from auth_server.cli import objects
from auth_server.cli.declaration import BadFile, Declaration, Declared
from auth_server.cli.objects import Change
from auth_server.cli.root import CHANGES, confirm, example, in_app, json_option, refuse, say, show, yes_option
from auth_server.clients import client as clients
from auth_server.clients import issuers
from auth_server.database import db
from auth_server.errors import ProtocolError, RefusedInput
from auth_server.infra import stamp
from auth_server.tokens import ending


@click.command("apply", epilog=example("apply auth-server.toml --dry-run"))
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Change nothing; exit 10 when something would change.")
@click.option("--prune", is_flag=True, help="Delete what an earlier apply made and the file no longer has.")
@yes_option
@json_option
@in_app
def apply(file: Path, dry_run: bool, prune: bool, yes: bool, as_json: bool) -> None:
    """Make groups, roles, APIs, trusted issuers, clients and people what FILE says; safe to repeat.

    It prints the difference. A mistake anywhere in FILE changes nothing. People are never pruned.
    """
    try:
        changes = bring_about(file, prune=prune)
    except BadFile as refusal:
        refuse("\n".join(refusal.problems))
    rows = [{"act": c.act, "kind": c.kind, "id": c.id, "fields": list(c.fields)} for c in changes]
    show(rows, as_json, "\n".join(map(str, changes)) or "nothing to change")
    if dry_run:
        db.session.rollback()
        sys.exit(CHANGES if changes else 0)
    pruned = sum(change.act == "delete" for change in changes)
    if pruned:
        confirm(f"Delete {pruned} objects that the file no longer has?", yes)
    tell_next_steps(changes)


def bring_about(file: Path, *, prune: bool = False) -> list[Change]:
    """Change the database within the caller's transaction; return the difference.

    Raises `BadFile` with every problem; the caller must then roll back.
    """
    declaration = Declaration(file)
    ready = [item for item in (_made_ready(declaration, item) for item in declaration.objects) if item]
    stamp.take_turns("apply")  # servers that start at once apply one file once
    pruned = _prune(declaration.named) if prune else []  # first: what goes may hold a scope that something new claims
    changes = [change for change in (_brought_about(declaration, item) for item in ready) if change]
    declaration.check()
    return pruned + changes


def tell_next_steps(changes: list[Change]) -> None:
    """Say what an operator may want to do now."""
    for change in changes:
        if change.next_step:
            say(f"{change.kind} {change.id}: {change.next_step}")


def _made_ready(declaration: Declaration, item: Declared) -> Declared | None:
    try:
        return objects.made_ready(item)
    except RefusedInput as refusal:
        declaration.refuse(f"password: {refusal.message}", item.kind, item.id, "password")
    except ProtocolError as refusal:
        declaration.refuse(refusal.description, item.kind, item.id)
    return None


def _brought_about(declaration: Declaration, item: Declared) -> Change | None:
    try:
        return objects.BRING_ABOUT[item.kind](item)
    except RefusedInput as refusal:
        key = next((name for name in item.values if name in (refusal.field, refusal.field + "s")), "")
        declaration.refuse(refusal.message, item.kind, item.id, key)
    except ProtocolError as refusal:
        declaration.refuse(refusal.description, item.kind, item.id)
    return None


def _prune(kept: set[tuple[str, str]]) -> list[Change]:
    """Delete what an earlier apply made, in the order in which nothing is left hanging."""
    changes = []
    for name in exchanges.made_by_apply():
        if ("exchange", name) not in kept:
            exchanges.remove(name)
            changes.append(Change("delete", "exchange", name))
    for client_id in clients.made_by_apply():
        if ("client", client_id) not in kept and (client := clients.find(client_id)):
            ending.delete_client(client)
            changes.append(Change("delete", "client", client_id))
    for issuer in issuers.listing():
        if issuer.made_by_apply and ("issuer", issuer.issuer) not in kept:
            ending.distrust_issuer(issuer.issuer)
            changes.append(Change("delete", "issuer", issuer.issuer))
    for api in apis.listing():
        if api.made_by_apply and ("api", api.identifier) not in kept:
            ending.delete_api(api.identifier)
            changes.append(Change("delete", "api", api.identifier))
    for kind, rows, remove in (("role", roles.listing(), roles.remove), ("group", groups.listing(), groups.remove)):
        for row in rows:
            if row["made_by_apply"] and (kind, row["name"]) not in kept:
                remove(row["name"])
                changes.append(Change("delete", kind, row["name"]))
    return changes
