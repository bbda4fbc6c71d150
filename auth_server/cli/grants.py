"""`sessions` and `tokens`: who is signed in, what was granted, and how it ends."""

from __future__ import annotations

import click

from auth_server.accounts import sessions as session_rows
from auth_server.accounts import users as user_rows
from auth_server.cli.clients import find as find_client
from auth_server.cli.people import find as find_user
from auth_server.cli.root import confirm, example, in_app, json_option, refuse, say, show, yes_option
from auth_server.tokens import ending, families


@click.group(epilog=example("sessions revoke --user ada@example.org"))
def sessions() -> None:
    """Sign-in sessions: list, revoke."""


@sessions.command("list", epilog=example("sessions list --user ada@example.org --json"))
@click.option("--user", "who", help="Only this person's.")
@json_option
@in_app
def list_sessions(who: str | None, as_json: bool) -> None:
    """List live sessions."""
    emails = {user.id: user.email for user in user_rows.listing()}
    rows = [
        {
            "id": row.id,
            "user": emails.get(row.user_id, row.user_id),
            "started": row.created_at,
            "last_seen": row.last_seen_at,
            "amr": list(row.amr),
        }
        for row in session_rows.listing(find_user(who).id if who else None)
    ]
    show(rows, as_json)


@sessions.command("revoke", epilog=example("sessions revoke --user ada@example.org"))
@click.argument("session_id", required=False)
@click.option("--user", "who", help="Sign this person out everywhere.")
@click.option("--all", "everybody", is_flag=True, help="Sign everybody out.")
@yes_option
@json_option
@in_app
def revoke_sessions(session_id: str | None, who: str | None, everybody: bool, yes: bool, as_json: bool) -> None:
    """End one session, a person's, or all; prints how many."""
    if sum((bool(session_id), bool(who), everybody)) != 1:
        raise click.UsageError("one of ID, --user U, --all")
    confirm("End these sessions?", yes)
    if session_id:
        if not ending.end_session(session_id, "ended_by_operator"):
            refuse(f"no such session: {session_id}")
        count = 1
    elif who:
        count, _families = ending.sign_out_everywhere(find_user(who).id, "ended_by_operator")
    else:
        count = ending.end_all_sessions()
    show({"sessions": count}, as_json, f"ended {count}")


@click.group(epilog=example("tokens revoke --client wiki"))
def tokens() -> None:
    """Grants and their tokens: list, revoke."""


@tokens.command("list", epilog=example("tokens list --user ada@example.org --json"))
@click.option("--user", "who", required=True, help="Whose.")
@json_option
@in_app
def list_tokens(who: str, as_json: bool) -> None:
    """List a person's live families, with what a pairwise client calls the person (`sub`)."""
    rows = [
        {
            "family": family.id,
            "client_id": family.client_id,
            "scope": " ".join(family.scopes),
            "started": family.created_at,
            "last_used": used,
            **({"sub": family.subject} if family.subject else {}),
        }
        for family, used in families.of_user(find_user(who).id)
    ]
    show(rows, as_json)


@tokens.command("revoke", epilog=example("tokens revoke --client wiki"))
@click.option("--user", "who", help="Every family of a person.")
@click.option("--client", "client_id", help="Everything a client holds.")
@click.option("--family", "family_id", help="One family.")
@click.option("--all", "everything", is_flag=True, help="Everything issued until now.")
@yes_option
@json_option
@in_app
def revoke_tokens(
    who: str | None, client_id: str | None, family_id: str | None, everything: bool, yes: bool, as_json: bool
) -> None:
    """End families and refuse their access tokens; prints how many."""
    if sum((bool(who), bool(client_id), bool(family_id), everything)) != 1:
        raise click.UsageError("one of --user U, --client C, --family F, --all")
    confirm("End these grants and refuse their tokens?", yes)
    if who:
        count = ending.end_families_of_user(find_user(who).id, "revoked_by_operator")
    elif client_id:
        count = ending.end_client_tokens(find_client(client_id).client_id, "revoked_by_operator")
    elif family_id:
        count = int(ending.end_family(family_id, "revoked_by_operator"))
        if not count:
            refuse(f"no such live family: {family_id}")
    else:
        count = ending.end_all_tokens()
    say("Tokens that an API verifies locally are good there until they expire.")
    show({"families": count}, as_json, f"ended {count}")
