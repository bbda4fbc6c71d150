"""`apis`: resource servers."""

from __future__ import annotations

from typing import Any

import click

from auth_server.access import apis as api_rows
from auth_server.access.apis import Api
from auth_server.cli.root import confirm, example, in_app, json_option, refuse, say, show, yes_option


@click.group(epilog=example("apis create https://orders.example.org --scope orders:read='Read your orders'"))
def apis() -> None:
    """APIs that trust our tokens: create, list, delete."""


@apis.command("create", epilog=example("apis create https://orders.example.org --scope orders:read='Read your orders'"))
@click.argument("identifier")
@click.option("--name", default="", help="The name that people see.")
@click.option("--scope", "scopes", multiple=True, metavar="NAME=TITLE", help="May be repeated.")
@click.option("--token-format", type=click.Choice(api_rows.FORMATS), default="jwt", show_default=True)
@click.option("--alg", type=click.Choice(api_rows.ALGORITHMS), default="RS256", show_default=True)
@click.option("--token-ttl", type=int, help="Seconds; at most 3600.")
@json_option
@in_app
def create(
    identifier: str,
    name: str,
    scopes: tuple[str, ...],
    token_format: str,
    alg: str,
    token_ttl: int | None,
    as_json: bool,
) -> None:
    """Register an API; the answer has its credentials for introspection, shown this once."""
    titles = {}
    for item in scopes:
        scope, equals, title = item.rpartition("=") if item.count("=") == 1 else item.partition("=")
        if not equals:
            raise click.UsageError(f"--scope takes NAME=TITLE, not {item!r}")
        titles[scope] = title
    api, raw_secret = api_rows.create(
        identifier, name=name, scopes=titles, token_format=token_format, alg=alg, token_ttl_seconds=token_ttl
    )
    say("The client_secret is shown this once.")
    show({**view(api), "client_secret": raw_secret}, as_json)


@apis.command("list", epilog=example("apis list --json"))
@json_option
@in_app
def list_apis(as_json: bool) -> None:
    """List APIs."""
    show([view(api) for api in api_rows.listing()], as_json)


@apis.command("delete", epilog=example("apis delete https://orders.example.org"))
@click.argument("identifier")
@yes_option
@in_app
def delete(identifier: str, yes: bool) -> None:
    """Delete an API and its credentials."""
    confirm(f"Delete the API {identifier}?", yes)
    if not api_rows.remove(identifier):
        refuse(f"no such API: {identifier}")
    say(f"deleted {identifier}")


def view(api: Api) -> dict[str, Any]:
    """Return an API as the commands answer it."""
    return {
        "identifier": api.identifier,
        "name": api.name,
        "scopes": dict(api.scopes),
        "token_format": api.token_format,
        "alg": api.alg,
        "token_ttl": int(api.token_ttl.total_seconds()) if api.token_ttl else None,
        "client_id": api.client_id,
    }
