"""`registration-tokens`: what an app needs to register itself where REGISTRATION is `token`."""

from __future__ import annotations

from datetime import timedelta

import click

from auth_server.cli.root import confirm, example, in_app, json_option, refuse, say, show, yes_option
from auth_server.clients import registration


@click.group(epilog=example("registration-tokens create"))
def registration_tokens() -> None:
    """Initial access tokens for dynamic registration: create, list, revoke."""


@registration_tokens.command("create", epilog=example("registration-tokens create --days 1"))
@click.option(
    "--days",
    type=click.IntRange(1, registration.LONGEST_DAYS),
    default=registration.LIFE.days,
    help="How long it is good; default: 7.",
)
@json_option
@in_app
def create(days: int, as_json: bool) -> None:
    """Make a token that is good for one registration; it is shown this once."""
    raw_token = registration.make_initial_token(timedelta(days=days))
    say("The token is shown this once, and good for one registration.")
    show({"token": raw_token}, as_json, raw_token)


@registration_tokens.command("list", epilog=example("registration-tokens list --json"))
@json_option
@in_app
def list_tokens(as_json: bool) -> None:
    """List tokens that may still be used."""
    rows = registration.initial_tokens()
    show([{"id": row.id, "created": row.created, "expires": row.expires} for row in rows], as_json)


@registration_tokens.command("revoke", epilog=example("registration-tokens revoke ID"))
@click.argument("token_id", metavar="ID")
@yes_option
@in_app
def revoke(token_id: str, yes: bool) -> None:
    """End a token that was not used yet."""
    confirm(f"End the registration token {token_id}?", yes)
    if not registration.revoke_initial_token(token_id):
        refuse(f"no such registration token: {token_id}")
    say(f"ended the registration token {token_id}")
