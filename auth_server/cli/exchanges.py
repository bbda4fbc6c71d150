"""`exchanges`: which clients may exchange tokens of people."""

from __future__ import annotations

from typing import Any

import click

from auth_server.access import exchanges as rules
from auth_server.access.exchanges import Rule
from auth_server.cli.root import confirm, example, in_app, json_option, refuse, say, show, yes_option

_EXAMPLE = (
    "exchanges create orders-to-files --client orders-backend --from-audience https://orders.example.org"
    " --to-audience https://files.example.org --scope files:read"
)


@click.group(epilog=example("exchanges list"))
def exchanges() -> None:
    """Rules of token exchange (RFC 8693), without which nothing is exchanged: create, list, delete."""


@exchanges.command("create", epilog=example(_EXAMPLE))
@click.argument("name")
@click.option("--client", "client_id", required=True, help="Who exchanges; its grant_types name token exchange.")
@click.option("--from-audience", required=True, metavar="API", help="The API that the tokens shown are for.")
@click.option("--to-audience", required=True, metavar="API", help="The API that the new tokens are for.")
@click.option("--scope", "scopes", multiple=True, required=True, help="The most that they may have; repeatable.")
@click.option("--from-client", "from_clients", multiple=True, help="Only tokens issued to this client; repeatable.")
@click.option("--impersonation", is_flag=True, help="New tokens need not say who acts.")
@click.option("--bound-tokens", is_flag=True, help="Take tokens that are bound to a key of the app's.")
@json_option
@in_app
def create(name: str, as_json: bool, **given: Any) -> None:
    """Let a client exchange tokens for one API into tokens for another."""
    if name in {rule.name for rule in rules.listing()}:
        refuse(f"there is a rule {name} already")
    given |= {option: tuple(sorted(set(given[option]))) for option in ("scopes", "from_clients")}
    rule = Rule(name, **given)
    rules.save(rule)
    show(_view(rule), as_json)


@exchanges.command("list", epilog=example("exchanges list --json"))
@json_option
@in_app
def list_exchanges(as_json: bool) -> None:
    """List rules, in the order in which they are tried."""
    show([_view(rule) for rule in rules.listing()], as_json)


@exchanges.command("delete", epilog=example("exchanges delete orders-to-files"))
@click.argument("name")
@yes_option
@in_app
def delete(name: str, yes: bool) -> None:
    """Delete a rule; tokens that it has let through live until they expire."""
    confirm(f"Delete the rule {name}?", yes)
    if not rules.remove(name):
        refuse(f"no such rule: {name}")
    say(f"deleted {name}")


def _view(rule: Rule) -> dict[str, Any]:
    """Return a rule as the commands answer it, named as in the file of `apply`."""
    return {
        "name": rule.name,
        "client": rule.client_id,
        "from_audience": rule.from_audience,
        "from_clients": list(rule.from_clients),
        "to_audience": rule.to_audience,
        "scopes": list(rule.scopes),
        "impersonation": rule.impersonation,
        "bound_tokens": rule.bound_tokens,
    }
