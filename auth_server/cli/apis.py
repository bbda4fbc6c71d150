"""`apis`: resource servers."""

from __future__ import annotations

from typing import Any

import click

from auth_server.access import apis as api_rows
from auth_server.access.apis import Api
from auth_server.cli.root import confirm, example, in_app, json_option, refuse, say, show, yes_option
from auth_server.keys.access_token import ACR_VALUES
from auth_server.tokens import ending


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
@click.option("--minimum-acr", type=click.Choice(ACR_VALUES), help="The least sign-in for a person's token.")
@click.option("--scope-acr", "scope_acrs", multiple=True, metavar="NAME=ACR", help="That of one scope; repeatable.")
@json_option
@in_app
def create(
    identifier: str,
    name: str,
    scopes: tuple[str, ...],
    token_format: str,
    alg: str,
    token_ttl: int | None,
    minimum_acr: str | None,
    scope_acrs: tuple[str, ...],
    as_json: bool,
) -> None:
    """Register an API; the answer has its credentials for introspection, shown this once."""
    api, raw_secret = api_rows.create(
        identifier,
        name=name,
        scopes=_pairs("--scope takes NAME=TITLE", scopes),
        token_format=token_format,
        alg=alg,
        token_ttl_seconds=token_ttl,
        minimum_acr=minimum_acr,
        scope_acr=_pairs("--scope-acr takes NAME=ACR", scope_acrs),
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
    if not ending.delete_api(identifier):
        refuse(f"no such API: {identifier}")
    say(f"deleted {identifier}")


def _pairs(usage: str, given: tuple[str, ...]) -> dict[str, str]:
    """Parse NAME=VALUE."""
    found = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals:
            raise click.UsageError(f"{usage}, not {item!r}")
        found[name] = value
    return found


def view(api: Api) -> dict[str, Any]:
    """Return an API as the commands answer it."""
    return {
        "identifier": api.identifier,
        "name": api.name,
        "scopes": dict(api.scopes),
        "token_format": api.token_format,
        "alg": api.alg,
        "token_ttl": int(api.token_ttl.total_seconds()) if api.token_ttl else None,
        "minimum_acr": api.minimum_acr,
        "scope_acr": dict(api.scope_acr),
        "client_id": api.client_id,
    }
