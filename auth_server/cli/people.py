"""`users`: people."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from auth_server.access import groups as group_rows
from auth_server.access import roles
from auth_server.accounts import passkeys, passwords, sign_in
from auth_server.accounts import users as user_rows
from auth_server.cli.root import confirm, example, in_app, json_option, refuse, say, show, yes_option
from auth_server.errors import RefusedInput
from auth_server.tokens import ending, recovery, resetting

_LEAST_TYPED_PASSWORD = 8


@click.group(epilog=example("users create ada@example.org --name Ada --group staff"))
def users() -> None:
    """People: create, list, show, set, disable, enable, delete, links."""


def _claims(given: tuple[str, ...]) -> dict[str, Any]:
    """Parse NAME=JSON; null removes a claim."""
    found = {}
    for item in given:
        name, equals, text = item.partition("=")
        try:
            if not equals or not name:
                raise ValueError(item)
            found[name] = json.loads(text)
        except (ValueError, RecursionError):
            raise click.UsageError(f"--claim takes NAME=JSON, e.g. locale='\"de\"', not {item!r}") from None
    return found


_set_options = (
    click.option("--name", help="The name that people and apps see."),
    click.option("--role", "role_names", multiple=True, help="A role; may be repeated."),
    click.option("--group", "group_names", multiple=True, help="A group; may be repeated."),
    click.option("--password-stdin", is_flag=True, help="Read the password from standard input."),
    click.option("--verified/--unverified", default=None, help="Whether the address is proved; default: yes."),
    click.option("--claim", "claims", multiple=True, metavar="NAME=JSON", help="A claim; may be repeated."),
)


def _with_set_options(command: Any) -> Any:
    for option in reversed(_set_options):
        command = option(command)
    return command


@users.command("create", epilog=example("users create ada@example.org --name Ada --role administrator"))
@click.argument("email")
@_with_set_options
@json_option
@in_app
def create(
    email: str,
    name: str | None,
    role_names: tuple[str, ...],
    group_names: tuple[str, ...],
    password_stdin: bool,
    verified: bool | None,
    claims: tuple[str, ...],
    as_json: bool,
) -> None:
    """Create a person; without a password a one-time link sets one."""
    password = _password_from_stdin() if password_stdin else None
    user = user_rows.create(email, name or "", verified=verified is not False, claims=_claims(claims))
    groups_and_roles(user.id, group_names, role_names)
    answer = view(user)
    if password is None:
        answer["url"] = resetting.make_link(user)
        say("Give the person this link; it sets a password, works once and for 30 minutes.")
    else:
        _store_typed(user, password)
    show(answer, as_json)


@users.command("list", epilog=example("users list --json"))
@json_option
@in_app
def list_users(as_json: bool) -> None:
    """List everybody."""
    show([view(user) for user in user_rows.listing()], as_json)


@users.command("show", epilog=example("users show ada@example.org"))
@click.argument("who")
@json_option
@in_app
def show_user(who: str, as_json: bool) -> None:
    """Show one person, by e-mail or id."""
    user = find(who)
    more: dict[str, Any] = {"verified": user.email_verified, "disabled": user.is_disabled, "claims": user.claims}
    more["passkeys"] = passkeys.count(user.id)
    show({**view(user), **more, "created": user.created_at}, as_json)


@users.command("set", epilog=example("users set ada@example.org --group staff --group editors"))
@click.argument("who")
@click.option("--email", help="A new address.")
@_with_set_options
@json_option
@in_app
def set_user(
    who: str,
    email: str | None,
    name: str | None,
    role_names: tuple[str, ...],
    group_names: tuple[str, ...],
    password_stdin: bool,
    verified: bool | None,
    claims: tuple[str, ...],
    as_json: bool,
) -> None:
    """Change a person. Given roles or groups replace all former ones; '' alone removes all."""
    if not (email or name is not None or role_names or group_names or password_stdin or claims or verified is not None):
        raise click.UsageError("nothing to change")
    password = _password_from_stdin() if password_stdin else None
    user = find(who)
    former = user.email_key
    verified = True if email is not None and verified is None else verified
    user_rows.change(user, email=email, name=name, verified=verified, claims=_claims(claims) if claims else None)
    if user.email_key != former:
        ending.address_set(user.id)
    groups_and_roles(user.id, group_names, role_names)
    if password is not None:
        _store_typed(user, password)
        ending.password_reset(user.id)
    show(view(user), as_json)


@users.command("disable", epilog=example("users disable ada@example.org"))
@click.argument("who")
@yes_option
@in_app
def disable(who: str, yes: bool) -> None:
    """Switch an account off and end everything it holds."""
    user = find(who)
    confirm(f"Disable {user.email} and end all sessions and tokens?", yes)
    ending.disable_user(user)
    say(f"disabled {user.email}")


@users.command("enable", epilog=example("users enable ada@example.org"))
@click.argument("who")
@in_app
def enable(who: str) -> None:
    """Switch an account on again."""
    user = find(who)
    user_rows.enable(user)
    say(f"enabled {user.email}")


@users.command("delete", epilog=example("users delete ada@example.org"))
@click.argument("who")
@yes_option
@in_app
def delete(who: str, yes: bool) -> None:
    """Delete an account for good."""
    user = find(who)
    email = user.email
    confirm(f"Delete {email} with all sessions, tokens and consents?", yes)
    ending.delete_user(user)
    say(f"deleted {email}")


@users.command("reset-mfa", epilog=example("users reset-mfa ada@example.org"))
@click.argument("who")
@click.option("--checked", default="", help="How you made sure who it is; kept in the audit.")
@yes_option
@in_app
def reset_mfa(who: str, checked: str, yes: bool) -> None:
    """Remove the authenticator app, all passkeys and the recovery codes, and end all sessions and tokens."""
    user = find(who)
    confirm(f"Remove the second factor of {user.email} and end all sessions and tokens?", yes)
    if not ending.reset_second_factor(user.id, checked=checked):
        refuse("this person has no second factor")
    say(f"removed the second factor of {user.email}")
    if not passwords.exists(user.id):
        say("This person has no password: give them a link that sets one (users reset-link).")


@users.command("reset-link", epilog=example("users reset-link ada@example.org"))
@click.argument("who")
@json_option
@in_app
def reset_link(who: str, as_json: bool) -> None:
    """Print a one-time link that sets a new password, for 30 minutes."""
    user = find(who)
    if user.is_disabled:
        refuse("this account is disabled")
    url = resetting.make_link(user)
    show({"url": url}, as_json, url)


@users.command("recovery-link", epilog=example('users recovery-link ada@example.org --checked "passport, at the desk"'))
@click.argument("who")
@click.option("--checked", required=True, help="How you made sure who it is; kept in the audit.")
@json_option
@in_app
def recovery_link(who: str, checked: str, as_json: bool) -> None:
    """Print a link for somebody who lost password and second factor; it waits, and their addresses are told."""
    try:
        started = recovery.start(find(who), checked)
    except RefusedInput as refusal:
        refuse(refusal.message)
    say("Give the person this link. Until it works, whoever reads their mail can stop it.")
    show({"url": started.url, "valid_from": started.valid_from, "expires": started.expires_at}, as_json)


def view(user: user_rows.User) -> dict[str, Any]:
    """Return a person as the commands answer it."""
    return {
        "id": user.id,
        "email": user.email,
        "name": user.name,
        "roles": list(roles.of_user(user.id)),
        "groups": list(group_rows.of_user(user.id)),
    }


def find(who: str) -> user_rows.User:
    """Return the person, or refuse."""
    user = user_rows.find_any(who)
    if user is None:
        refuse(f"no such person: {who}")
    return user


def groups_and_roles(user_id: str, group_names: tuple[str, ...], role_names: tuple[str, ...]) -> None:
    if group_names:
        group_rows.put(user_id, filter(None, group_names))
    if role_names:
        roles.put(user_id, filter(None, role_names))


def _password_from_stdin() -> str:
    """Read one line; a password shorter than the pages ask for is taken with a warning."""
    from auth_server import config

    password = (
        sys.stdin.readline().rstrip("\r\n")
        if not sys.stdin.isatty()
        else click.prompt("Password", hide_input=True, err=True)
    )
    if len(password) < _LEAST_TYPED_PASSWORD:
        raise RefusedInput("Use at least %(count)s characters.", "password", count=_LEAST_TYPED_PASSWORD)
    if len(password) < config.current().password_min_length:
        say("warning: this password is shorter than the pages would accept")
    return str(password)


def _store_typed(user: user_rows.User, password: str) -> None:
    passwords.store(user.id, password, least=_LEAST_TYPED_PASSWORD, context=(user.email, user.name))
    sign_in.forgive(user.email)
