"""`issuers`: whose tokens count here, and whom they mean."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from auth_server.access import identities
from auth_server.accounts import users
from auth_server.cli.root import confirm, example, in_app, json_option, refuse, say, show, yes_option
from auth_server.clients import issuers as issuer_rows
from auth_server.clients.issuers import TrustedIssuer
from auth_server.errors import RefusedInput
from auth_server.keys import foreign
from auth_server.keys.access_token import ACR_VALUES
from auth_server.tokens import ending

_EXAMPLE = "issuers trust https://token.actions.githubusercontent.com --use workload"


@click.group(epilog=example(_EXAMPLE))
def issuers() -> None:
    """Trusted issuers of tokens about workloads and people: trust, list, delete, link, unlink, links."""


@issuers.command("trust", epilog=example(_EXAMPLE))
@click.argument("issuer")
@click.option("--use", "uses", multiple=True, type=click.Choice(issuer_rows.USES), help="What for; may be repeated.")
@click.option("--jwks", "file", help="Its keys as a JSON file; - for standard input.")
@click.option("--jwks-uri", help="Where its keys are; default: where its metadata say.")
@click.option("--alg", "algorithms", multiple=True, type=click.Choice(foreign.ALGORITHMS), help="Default: all.")
@click.option("--audience", help="The aud of its workloads' tokens; default: this server's issuer.")
@click.option("--claim", "claims", multiple=True, metavar="NAME=VALUE", help="A text that all its tokens must have.")
@click.option("--people", type=click.Choice(issuer_rows.PEOPLE), help="How it may mean people; default: linked.")
@click.option("--email-domain", "email_domains", multiple=True, help="Whose verified addresses it speaks for.")
@click.option("--acr", type=click.Choice(ACR_VALUES), help="What a sign-in there counts as; default: aal1.")
@json_option
@in_app
def trust(issuer: str, file: str | None, as_json: bool, **given: Any) -> None:
    """Trust an issuer, or replace what was said of it before."""
    raw = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}
    raw["claims"] = dict(_pair(item) for item in given["claims"])
    raw["jwks"] = _keys(file) if file else None
    show(view(issuer_rows.save(issuer, {name: value for name, value in raw.items() if value})), as_json)


@issuers.command("list", epilog=example("issuers list --json"))
@json_option
@in_app
def list_issuers(as_json: bool) -> None:
    """List trusted issuers."""
    show([view(found) for found in issuer_rows.listing()], as_json)


@issuers.command("delete", epilog=example("issuers delete https://token.actions.githubusercontent.com"))
@click.argument("issuer")
@yes_option
@in_app
def delete(issuer: str, yes: bool) -> None:
    """Trust an issuer no more, and end what its tokens have brought about."""
    confirm(f"Trust {issuer} no more, and end what came of its tokens?", yes)
    if not ending.distrust_issuer(issuer):
        refuse(f"no such trusted issuer: {issuer}")
    say(f"deleted {issuer}")


@issuers.command("link", epilog=example("issuers link https://id.example.org 00u1a2b3 ada@example.org"))
@click.argument("issuer")
@click.argument("subject")
@click.argument("email")
@in_app
def link(issuer: str, subject: str, email: str) -> None:
    """Let a subject of an issuer mean a person."""
    user = users.find_by_email(email)
    if user is None:
        refuse(f"no such person: {email}")
    identities.link(issuer, subject, user.id)
    say(f"linked {subject} to {user.email}")


@issuers.command("unlink", epilog=example("issuers unlink https://id.example.org 00u1a2b3"))
@click.argument("issuer")
@click.argument("subject")
@yes_option
@in_app
def unlink(issuer: str, subject: str, yes: bool) -> None:
    """Let a subject mean nobody, and end what came of it."""
    confirm(f"Let {subject} of {issuer} mean nobody?", yes)
    if not ending.unlink_identity(issuer, subject):
        refuse(f"no such link: {subject}")
    say(f"unlinked {subject}")


@issuers.command("links", epilog=example("issuers links --json"))
@json_option
@in_app
def links(as_json: bool) -> None:
    """List whom the subjects of issuers mean."""
    rows = [
        {"issuer": row.issuer, "subject": row.subject, "email": row.email, "id": row.user_id}
        for row in identities.listing()
    ]
    show(rows, as_json)


def view(found: TrustedIssuer) -> dict[str, Any]:
    """Return an issuer as the commands answer it."""
    return {"issuer": found.issuer, **found.details}


def _pair(item: str) -> tuple[str, str]:
    name, equals, value = item.partition("=")
    if not equals:
        raise click.UsageError(f"--claim takes NAME=VALUE, not {item!r}")
    return name, value


def _keys(file: str) -> Any:
    try:
        return json.loads(sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as cause:
        raise RefusedInput(f"cannot read the keys: {type(cause).__name__}", "jwks") from None
