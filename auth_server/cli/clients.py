"""`clients`: apps and services."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from auth_server.cli.root import confirm, example, in_app, json_option, refuse, say, show, yes_option
from auth_server.clients import client as client_rows
from auth_server.clients import issuers
from auth_server.clients.client import Client
from auth_server.clients.registration import information
from auth_server.clients.secrets import SHORTEST_CHOSEN, New
from auth_server.clients.secrets import of as secrets_of
from auth_server.errors import InvalidClientMetadata, RefusedInput
from auth_server.infra import crypto
from auth_server.tokens import ending


@click.group(epilog=example("clients create --name Wiki --redirect-uri https://wiki.example.org/callback"))
def clients() -> None:
    """Apps and services: create, list, show, set, secrets, disable, enable, delete."""


_options = (
    click.option("--metadata", "file", help="RFC 7591 metadata as a JSON file; - for standard input."),
    click.option("--name", help="The name that people see on the consent page."),
    click.option("--redirect-uri", "redirect_uris", multiple=True, help="May be repeated."),
    click.option("--grant-type", "grant_types", multiple=True, help="May be repeated."),
    click.option("--scope", help="Scopes separated by spaces."),
    click.option("--auth-method", help="How it proves itself: none, private_key_jwt, client_secret_basic …"),
    click.option("--profile", help="What it must do besides: oauth21 (default), oidc or fapi2."),
    click.option("--first-party/--third-party", "first_party", default=None, help="First-party: no consent page."),
)


def _with_options(command: Any) -> Any:
    for option in reversed(_options):
        command = option(command)
    return command


@clients.command(
    "create", epilog=example("clients create --name Wiki --redirect-uri https://wiki.example.org/callback")
)
@_with_options
@json_option
@in_app
def create(file: str | None, as_json: bool, **given: Any) -> None:
    """Register a client; the answer has its secret, shown this once."""
    raw = _metadata(file, given)
    if not raw:
        raise click.UsageError("--metadata FILE, or at least --name and --redirect-uri")
    chosen_id, chosen_secret = raw.pop("client_id", None), raw.pop("client_secret", None)
    secret = None if chosen_secret is None else _chosen(chosen_secret)
    client, raw_secret = client_rows.create(raw, client_id=chosen_id, secret=secret)
    issuers.check_named(client.details)
    if raw_secret:
        say("The client_secret is shown this once.")
    show(information(client, raw_secret), as_json)


@clients.command("list", epilog=example("clients list --json"))
@json_option
@in_app
def list_clients(as_json: bool) -> None:
    """List clients."""
    rows = [
        {"client_id": client.client_id, "client_name": client.name, "disabled": client.is_disabled}
        for client in client_rows.listing()
    ]
    show(rows, as_json)


@clients.command("show", epilog=example("clients show wiki --json"))
@click.argument("client_id")
@json_option
@in_app
def show_client(client_id: str, as_json: bool) -> None:
    """Show a client's metadata."""
    client = find(client_id)
    ours: dict[str, Any] = {"sector": client.sector} if client.sector else {}
    ours |= {"self_registered": client.is_self_registered, "disabled": client.is_disabled}
    show({**information(client, None), **ours}, as_json)


@clients.command("set", epilog=example('clients set wiki --scope "openid profile groups" --first-party'))
@click.argument("client_id")
@_with_options
@json_option
@in_app
def set_client(client_id: str, file: str | None, as_json: bool, **given: Any) -> None:
    """Change the given metadata; null in a file removes a field."""
    client = find(client_id)
    raw = _metadata(file, given)
    if not raw or {"client_id", "client_secret"} & raw.keys():
        raise click.UsageError("nothing to change, or a field that has a command of its own (secrets)")
    changed = client_rows.change(client, raw)
    if "workload" in raw:
        issuers.check_named(changed.details)
    show(information(changed, None), as_json)


@clients.command("secrets", epilog=example("clients secrets wiki --add"))
@click.argument("client_id")
@click.option("--add", is_flag=True, help="Add a secret beside the present ones.")
@click.option("--remove", metavar="ID", help="Remove a secret.")
@yes_option
@json_option
@in_app
def secrets(client_id: str, add: bool, remove: str | None, yes: bool, as_json: bool) -> None:
    """List, add or remove secrets: two may be valid at once."""
    client = find(client_id)
    if remove:
        confirm(f"Remove the secret {remove} of {client.name}?", yes)
        if not client_rows.remove_secret(client, remove):
            refuse(f"no such secret: {remove}")
    raw_secret = client_rows.add_secret(client) if add else None
    rows = [
        {"id": row.id, "prefix": row.prefix, "created": row.created_at, "last_used": row.last_used_at}
        for row in secrets_of(client_id)
    ]
    answer: dict[str, Any] = {"client_id": client_id, "secrets": rows}
    if raw_secret:
        answer["client_secret"] = raw_secret
        say("The client_secret is shown this once.")
    show(answer, as_json)


@clients.command("disable", epilog=example("clients disable wiki"))
@click.argument("client_id")
@yes_option
@in_app
def disable(client_id: str, yes: bool) -> None:
    """Switch a client off and end its tokens."""
    client = find(client_id)
    confirm(f"Disable {client.name} and end its tokens?", yes)
    ending.disable_client(client)
    say(f"disabled {client_id}")


@clients.command("enable", epilog=example("clients enable wiki"))
@click.argument("client_id")
@in_app
def enable(client_id: str) -> None:
    """Switch a client on again."""
    client_rows.switch(find(client_id), enabled=True)
    say(f"enabled {client_id}")


@clients.command("delete", epilog=example("clients delete wiki"))
@click.argument("client_id")
@yes_option
@in_app
def delete(client_id: str, yes: bool) -> None:
    """Delete a client for good."""
    from auth_server.access import apis

    client = find(client_id)
    if client_id in apis.register().by_client_id:
        refuse("these are an API's credentials; use `auth-server apis delete`")
    confirm(f"Delete {client.name} and end its tokens?", yes)
    ending.delete_client(client)
    say(f"deleted {client_id}")


def find(client_id: str) -> Client:
    """Return the client, or refuse."""
    client = client_rows.find(client_id)
    if client is None:
        refuse(f"no such client: {client_id}")
    return client


def _metadata(file: str | None, given: dict[str, Any]) -> dict[str, Any]:
    """Join a file and options; an option wins."""
    raw: dict[str, Any] = {}
    if file:
        try:
            text = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
            raw = json.loads(text)
        except (OSError, ValueError, RecursionError) as cause:
            raise InvalidClientMetadata(f"cannot read the metadata: {type(cause).__name__}") from None
        if not isinstance(raw, dict):
            raise InvalidClientMetadata("the metadata must be a JSON object")
    names = {"name": "client_name", "auth_method": "token_endpoint_auth_method"}
    for option, value in given.items():
        if value not in (None, ()):
            raw[names.get(option, option)] = list(value) if isinstance(value, tuple) else value
    return raw


def _chosen(secret: object) -> New:
    if not isinstance(secret, str) or len(secret) < SHORTEST_CHOSEN:
        raise RefusedInput(f"use at least {SHORTEST_CHOSEN} characters", "client_secret")
    return New(crypto.digest(secret), secret)
