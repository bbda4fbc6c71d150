"""The top of the command line: help, exit codes, and the one transaction of a command."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, NoReturn

import click

from auth_server import config
from auth_server.cli.lazy import HELP, LazyGroup
from auth_server.config import ConfigurationError
from auth_server.errors import ProtocolError, RefusedInput

REFUSED, MISUSED, MISCONFIGURED, CHANGES = 1, 2, 3, 10
"""Exit codes."""


@click.command(cls=LazyGroup, context_settings=HELP)
def root() -> None:
    """Auth Server: a self-hosted OAuth 2.1 and OpenID Connect server.

    \b
    Examples:
      auth-server serve
      auth-server clients create --name Wiki --redirect-uri https://wiki.example.org/callback
    """


def in_app(command: Callable[..., Any]) -> Callable[..., Any]:
    """Run a command inside the application, as one transaction, with refusals as exit codes."""

    @functools.wraps(command)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        from auth_server.database import db

        with _application().app_context():
            try:
                return run_in_transaction(lambda: command(*args, **kwargs))
            finally:
                db.session.remove()
                db.engine.dispose()  # a command leaves no connection behind

    return wrapped


def run_in_transaction(act: Callable[[], Any]) -> Any:
    """Commit what a command did, or nothing of it."""
    from sqlalchemy.exc import SQLAlchemyError

    from auth_server.database import db
    from auth_server.infra import events

    events.begin(events.Context(request_id=f"cli-{os.getpid()}", actor_kind="job", actor="command line"))
    try:
        result = act()
        db.session.commit()
    except RefusedInput as refusal:
        db.session.rollback()
        refuse(f"{refusal.field}: {refusal.message}" if refusal.field else refusal.message)
    except ProtocolError as refusal:
        db.session.rollback()
        refuse(refusal.description)
    except SQLAlchemyError as cause:
        db.session.rollback()
        refuse(f"the database cannot answer: {type(cause).__name__}")
    return result


def _application() -> Any:
    from sqlalchemy.exc import SQLAlchemyError

    from auth_server import create_app
    from auth_server.infra import schema

    try:
        app = create_app(load_settings())
    except ConfigurationError as refusal:
        stop("\n".join(refusal.problems))
    _quiet()
    with app.app_context():
        try:
            schema.check_not_newer()
            current = schema.is_current()
        except schema.SchemaTooNew as cause:
            stop(f"the database has revision {cause}, which is newer than this program; install the newer version")
        except SQLAlchemyError as cause:
            stop(
                f"the database cannot be opened ({type(cause).__name__}); run `auth-server init` or check DATABASE_URL"
            )
    if not current:
        stop("the database is not migrated; run `auth-server init`")
    return app


def load_settings(*, create: bool = False) -> config.Settings:
    """Return the settings, or stop with every problem on a line of its own."""
    try:
        return config.from_env(create=create)
    except ConfigurationError as refusal:
        stop("\n".join(refusal.problems))


def _quiet() -> None:
    """A command's log lines would only disturb; warnings stay."""
    import logging

    logging.getLogger("auth_server").setLevel(logging.ERROR)


def example(words: str) -> str:
    """Return an epilogue that shows how a command is called."""
    return f"\b\nExample:\n  auth-server {words}"


def say(text: str) -> None:
    """Tell a person something, on stderr."""
    click.echo(text, err=True)


def stop(text: str) -> NoReturn:
    """Refuse to run: the configuration or the database is not in order."""
    say(text)
    sys.exit(MISCONFIGURED)


def refuse(text: str) -> NoReturn:
    """The command is refused, or what it names does not exist."""
    say(text)
    sys.exit(REFUSED)


def show(data: Any, as_json: bool, text: str | None = None) -> None:
    """Print data: one JSON document, or lines for a person."""
    if as_json:
        click.echo(json.dumps(_plain(data), indent=2, ensure_ascii=False))
    elif text is not None:
        click.echo(text)
    elif isinstance(data, list):
        for row in data:
            click.echo("  ".join(str(_plain(value)) for value in row.values()))
    else:
        for name, value in data.items():
            click.echo(f"{name}: {_line(_plain(value))}")


def confirm(question: str, yes: bool) -> None:
    """Ask before something ends; without a terminal `--yes` must have said so."""
    if yes:
        return
    if not sys.stdin.isatty():
        refuse(f"{question} Say --yes to go on.")
    if not click.confirm(question, err=True):
        refuse("nothing was changed")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    return value


def _line(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
