"""`apply`: makes the database what a file says, and prints the difference."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from auth_server.access import apis, groups, roles
from auth_server.accounts import passwords, users
from auth_server.cli.declaration import BadFile, Declared, read
from auth_server.cli.root import CHANGES, confirm, in_app, json_option, refuse, say, show, yes_option
from auth_server.clients import client as clients
from auth_server.clients import metadata
from auth_server.database import db
from auth_server.errors import RefusedInput
from auth_server.tokens import ending


@dataclass(frozen=True)
class Change:
    """One line of the difference: what happens to which object. It never holds a secret."""

    act: str
    kind: str
    id: str
    fields: tuple[str, ...] = ()

    def __str__(self) -> str:
        about = f" ({', '.join(self.fields)})" if self.fields else ""
        return f"{self.act} {self.kind} {self.id}{about}"


@click.command("apply")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Change nothing; exit 10 when something would change.")
@click.option("--prune", is_flag=True, help="Delete what an earlier apply made and the file no longer has.")
@yes_option
@json_option
@in_app
def apply(file: Path, dry_run: bool, prune: bool, yes: bool, as_json: bool) -> None:
    """Make groups, roles, APIs, clients and people what FILE says; safe to repeat. People are never pruned.

    \b
    Example:
      auth-server apply auth-server.toml --dry-run
    """
    changes = bring_about(file, prune=prune)
    rows = [{"act": c.act, "kind": c.kind, "id": c.id, "fields": list(c.fields)} for c in changes]
    show(rows, as_json, "\n".join(map(str, changes)) or "nothing to change")
    if dry_run:
        db.session.rollback()
        sys.exit(CHANGES if changes else 0)
    pruned = [change for change in changes if change.act == "delete"]
    if pruned:
        confirm(f"Delete {len(pruned)} objects that the file no longer has?", yes)


def bring_about(file: Path, *, prune: bool = False) -> list[Change]:
    """Change the database, within the caller's transaction, and return the difference."""
    try:
        declared = read(file)
    except BadFile as refusal:
        refuse("\n".join(refusal.problems))
    changes: list[Change] = []
    for item in declared:
        try:
            changes += _BRING[item.kind](item)
        except RefusedInput as refusal:
            refuse(f"{file}: {item.kind}.{item.id}: {refusal.message}")
    return changes + (_prune(declared) if prune else [])


def _group(item: Declared) -> list[Change]:
    title = str(item.values.get("name", item.id))
    present = {row["name"]: row["title"] for row in groups.listing()}
    if item.id not in present:
        groups.create(item.id, title, by_apply=True)
        return [Change("create", "group", item.id)]
    if present[item.id] == title:
        return []
    groups.rename(item.id, title)
    return [Change("change", "group", item.id, ("name",))]


def _role(item: Declared) -> list[Change]:
    wanted = {name: sorted(set(item.values.get(name, ()))) for name in ("scopes", "groups")}
    present = {row["name"]: row for row in roles.listing()}.get(item.id)
    changed = tuple(name for name in wanted if present is None or present[name] != wanted[name])
    if present and not changed:
        return []
    roles.save(item.id, scopes=wanted["scopes"], member_groups=wanted["groups"], by_apply=True)
    return [Change("change", "role", item.id, changed) if present else Change("create", "role", item.id)]


def _api(item: Declared) -> list[Change]:
    wanted: dict[str, Any] = {
        "name": item.values.get("name", item.id),
        "scopes": dict(item.values.get("scopes", {})),
        "token_format": item.values.get("token_format", "jwt"),
        "alg": item.values.get("alg", "RS256"),
        "token_ttl_seconds": item.values.get("token_ttl"),
    }
    digest = item.secret.stored if item.secret else None
    present = {api.identifier: api for api in apis.listing()}.get(item.id)
    if present is None:
        _api_made, raw_secret = apis.create(item.id, **wanted, secret_digest=digest, by_apply=True)
        if raw_secret:
            say(f"api {item.id}: make credentials with `auth-server clients secrets {_api_made.client_id} --add`")
        return [Change("create", "api", item.id)]
    ttl = int(present.token_ttl.total_seconds()) if present.token_ttl else None
    held: dict[str, Any] = {"name": present.name, "scopes": dict(present.scopes), "token_format": present.token_format}
    held |= {"alg": present.alg, "token_ttl_seconds": ttl}
    changed = tuple(name for name in wanted if held[name] != wanted[name])
    if changed:
        apis.change(present, **wanted)
    return _as_change("api", item.id, changed + _new_secret(present.client_id, digest))


def _client(item: Declared) -> list[Change]:
    digest = item.secret.stored if item.secret else None
    present = clients.find(item.id)
    if present is None:
        _made, raw_secret = clients.create(item.values, client_id=item.id, secret_digest=digest, by_apply=True)
        if raw_secret:
            say(f"client {item.id}: make a secret with `auth-server clients secrets {item.id} --add`")
        return [Change("create", "client", item.id)]
    details = metadata.validate(item.values)
    changed = tuple(
        sorted(name for name in {*details, *present.details} if details.get(name) != present.details.get(name))
    )
    if changed:
        clients.replace(present, details)
    return _as_change("client", item.id, changed + _new_secret(item.id, digest))


def _user(item: Declared) -> list[Change]:
    values = item.values
    user = users.find_by_email(item.id)
    changed: list[str] = []
    created = user is None
    if user is None:
        verified = bool(values.get("verified", True))
        user = users.create(item.id, str(values.get("name", "")), verified=verified, claims=values.get("claims"))
    else:
        changed = _changed_fields(user, values)
        if changed:
            users.change(user, **{field: values[field] for field in changed})
    changed += _memberships(user.id, values)
    if item.secret and not passwords.exists(user.id):  # a password is set once: the person may have changed it since
        _set_password(user.id, item)
        changed.append("password")
    return [Change("create", "user", item.id)] if created else _as_change("user", item.id, tuple(changed))


def _changed_fields(user: users.User, values: Any) -> list[str]:
    held = {"name": user.name, "verified": user.email_verified}
    changed = [name for name in held if name in values and values[name] != held[name]]
    if any(user.claims.get(name) != value for name, value in values.get("claims", {}).items()):
        changed.append("claims")
    return changed


def _memberships(user_id: str, values: Any) -> list[str]:
    changed = []
    if "groups" in values and set(values["groups"]) != set(groups.of_user(user_id)):
        groups.put(user_id, values["groups"])
        changed.append("groups")
    if "roles" in values and set(values["roles"]) != set(roles.named(user_id)):
        roles.put(user_id, values["roles"])
        changed.append("roles")
    return changed


def _set_password(user_id: str, item: Declared) -> None:
    if item.secret is None:
        return
    if item.secret.plain:
        passwords.check_rules(item.secret.plain, context=(item.id,))
        passwords.store_hash(user_id, passwords.hash_now(item.secret.plain))
    else:
        passwords.store_hash(user_id, item.secret.stored)


def _new_secret(client_id: str, digest: str | None) -> tuple[str, ...]:
    """Add a declared secret that the client does not have yet; the others stay, so that rotation overlaps."""
    if digest is None or digest in {secret.digest for secret in clients.secrets_of(client_id)}:
        return ()
    client = clients.find(client_id)
    if client:
        clients.add_secret(client, digest)
    return ("secret",)


def _as_change(kind: str, name: str, changed: tuple[str, ...]) -> list[Change]:
    return [Change("change", kind, name, changed)] if changed else []


def _prune(declared: list[Declared]) -> list[Change]:
    """Delete what an earlier apply made, in the order in which nothing is left hanging."""
    kept = {(item.kind, item.id) for item in declared}
    changes = []
    for client_id in clients.made_by_apply():
        if ("client", client_id) not in kept and (client := clients.find(client_id)):
            ending.delete_client(client)
            changes.append(Change("delete", "client", client_id))
    for api in apis.listing():
        if api.made_by_apply and ("api", api.identifier) not in kept:
            apis.remove(api.identifier)
            changes.append(Change("delete", "api", api.identifier))
    for kind, rows, remove in (("role", roles.listing(), roles.remove), ("group", groups.listing(), groups.remove)):
        for row in rows:
            if row["made_by_apply"] and (kind, row["name"]) not in kept:
                remove(row["name"])
                changes.append(Change("delete", kind, row["name"]))
    return changes


_BRING: dict[str, Callable[[Declared], list[Change]]] = {
    "group": _group,
    "role": _role,
    "api": _api,
    "client": _client,
    "user": _user,
}
