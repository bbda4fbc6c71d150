"""`serve`, `init` and `setup-link`: from nothing to a running server."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from auth_server import config, create_app
from auth_server.accounts import hashing
from auth_server.cli import declared
from auth_server.cli.declaration import BadFile
from auth_server.cli.root import (
    example,
    in_app,
    json_option,
    load_settings,
    refuse,
    run_in_transaction,
    say,
    show,
    stop,
)
from auth_server.database import db
from auth_server.infra import batch, schema, sealed_keys
from auth_server.keys import keyring
from auth_server.pages import setup as setup_pages

_THREADS_FOR_ANSWERS = 4
"""Requests that a worker handles beside a full line of sign-ins."""
_MOST_THREADS = 24
"""Each holds a connection to the database at times; the pool has 30."""


@click.command(epilog=example("serve --port 9000"))
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), help="Port to listen on; the issuer's when not given.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes.")
def serve(host: str, port: int | None, workers: int) -> None:
    """Run the production server in the foreground."""
    if port and config.PREFIX + "ISSUER" not in os.environ:
        os.environ[config.PREFIX + "ISSUER"] = "http://localhost" + (f":{port}" if port != 80 else "")
    settings = load_settings(create=True)
    app = create_app(settings)
    initialise(app, settings, may_migrate=settings.database_url.startswith("sqlite"))
    config.remember_issuer(settings)
    os.environ[config.PREFIX + "ISSUER"] = settings.issuer
    _greet(app, settings)
    _run(host, port or _issuer_port(settings), workers)


@click.command(epilog=example("init"))
def init() -> None:
    """Create and migrate the database and make the first signing keys; safe to repeat."""
    settings = load_settings(create=True)
    initialise(create_app(settings), settings, may_migrate=True)
    say("ready")


@click.command("setup-link", epilog=example("setup-link --json"))
@json_option
@in_app
def setup_link(as_json: bool) -> None:
    """Print a new link that creates the first administrator, while there is none."""
    url = setup_pages.make_link()
    if url is None:
        refuse("an administrator exists; use `auth-server users reset-link EMAIL` for somebody who is locked out")
    show({"url": url}, as_json, url)


def initialise(app: Flask, settings: config.Settings, *, may_migrate: bool) -> None:
    """Migrate, after a snapshot of an SQLite file, and make the keys that are missing.

    A shared database is migrated by `init` alone: several servers may be running on it.
    """
    with app.app_context():
        try:
            schema.check_not_newer()
            if not schema.is_current():
                if not may_migrate:
                    stop("the database is not migrated; run `auth-server init` once, then start the servers")
                _migrate()
            run_in_transaction(make_keys)
            if settings.config_file:
                _apply(Path(settings.config_file))
        except schema.SchemaTooNew as cause:
            stop(f"the database has revision {cause}, which is newer than this program; install the newer version")
        except SQLAlchemyError as cause:
            stop(f"the database cannot be opened: {type(cause).__name__}; check AUTH_SERVER_DATABASE_URL")


def _apply(file: Path) -> None:
    """Make the database what the file of the settings says; a mistake in it stops the start."""
    try:
        changes = run_in_transaction(lambda: declared.bring_about(file))
    except BadFile as refusal:
        stop("\n".join([f"{config.PREFIX}CONFIG_FILE: {file} is refused", *refusal.problems]))
    for change in changes:
        say(str(change))
    declared.tell_next_steps(changes)


def _migrate() -> None:
    copy = schema.snapshot() if schema.revision() else None
    if copy:
        say(f"snapshot before the migration: {copy}")
    schema.upgrade()


def make_keys() -> None:
    """Make every key that is missing; harmless to repeat."""
    sealed_keys.ensure()
    keyring.ensure()


def _greet(app: Flask, settings: config.Settings) -> None:
    """Say where the server is and what to do first."""
    with app.app_context():
        link = run_in_transaction(setup_pages.make_link)
        db.engine.dispose()
    say("")
    say(f"  Issuer    {settings.issuer}")
    if link:
        say(f"  Set up    {link}")
        say("            (once, for the first administrator; a new link: auth-server setup-link)")
    say("  Demo      make demo   (people, apps and an API on a throw-away database)")
    say("")
    sys.stderr.flush()


def _issuer_port(settings: config.Settings) -> int:
    """A loopback issuer names the port to listen on; a public one is served by a proxy in front."""
    _host, _colon, port = settings.issuer_host.rpartition(":")
    return int(port) if settings.on_loopback and port.isdigit() else 8421


def _run(host: str, port: int, workers: int) -> None:
    """Supervise workers, which are forks of this process: what is imported is there and its memory is shared."""
    from granian import Granian
    from granian.constants import Interfaces

    os.environ["WEB_CONCURRENCY"] = str(workers)  # by which workers share the cores, see accounts.hashing
    batch.flush_all()
    Granian(
        "auth_server.wsgi:application",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        workers=workers,
        blocking_threads=min(_MOST_THREADS, hashing.places() + _THREADS_FOR_ANSWERS),
        backpressure=256,
        log_access=False,
        log_level="warning",
        respawn_failed_workers=True,
        workers_kill_timeout=10,
    ).serve()
