"""Migrations: which revision the database has, which the program needs, and the way up (Alembic).

Every start asks the first two, so they are answered without Alembic, which takes long to import: a migration's file
name begins with its revision, and revisions count up.
"""

from __future__ import annotations

import sqlite3
from functools import lru_cache
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.engine import make_url
from sqlalchemy.pool import NullPool

from auth_server import config, database
from auth_server.infra import clock

_PACKAGE = Path(__file__).resolve().parent.parent


class SchemaTooNew(Exception):
    """The database was made by a newer program."""


def shipped(folder: str) -> Path:
    """Return a shipped folder: beside the package in a checkout, inside it when installed from a wheel."""
    beside = _PACKAGE.parent / folder
    return beside if (_PACKAGE.parent / "app.py").is_file() else _PACKAGE / f"_{folder}"


def is_current() -> bool:
    """Tell whether the database has the revision this program needs."""
    return revision() == needed_revision()


def revision() -> str | None:
    """Return the database's revision, or None before the first migration."""
    with database.engine().connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return None
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
        return None if found is None else str(found)


@lru_cache(maxsize=1)
def needed_revision() -> str:
    """Return the newest revision that this program knows."""
    return max(known_revisions())


def known_revisions() -> frozenset[str]:
    """Return the revisions of the shipped migrations."""
    return frozenset(path.name.partition("_")[0] for path in (shipped("migrations") / "versions").glob("[0-9]*.py"))


def check_not_newer() -> None:
    """Raise `SchemaTooNew` for a revision that this program does not know."""
    found = revision()
    if found is not None and found not in known_revisions():
        raise SchemaTooNew(found)


def upgrade(to: str = "head") -> None:
    """Migrate up, on an engine of its own: foreign keys must be off while SQLite rebuilds tables."""
    from alembic import command

    alembic = _alembic()
    alembic.attributes["url"] = config.current().database_url
    command.upgrade(alembic, to)


def downgrade(to: str) -> None:
    """Migrate down to a revision; `base` empties the database."""
    from alembic import command

    alembic = _alembic()
    alembic.attributes["url"] = config.current().database_url
    command.downgrade(alembic, to)


def snapshot() -> Path | None:
    """Copy an SQLite file before a migration; None where there is nothing to copy."""
    settings = config.current()
    url = make_url(settings.database_url)
    source = Path(url.database or "")
    if url.get_backend_name() != "sqlite" or not source.is_file():
        return None
    folder = Path(settings.backup_path) if settings.backup_path else settings.instance_path / "backups"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    target = folder / f"before-migration-{clock.now():%Y%m%dT%H%M%S%f}.db"
    with sqlite3.connect(source) as connection:
        connection.execute("VACUUM INTO ?", (str(target),))
    connection.close()
    target.chmod(0o600)
    return target


def migration_engine(url: str) -> object:
    """Return the engine that migrations run on."""
    engine = create_engine(url, poolclass=NullPool)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def transactional_ddl(connection: sqlite3.Connection, _record: object) -> None:
            connection.isolation_level = None
            connection.execute("PRAGMA busy_timeout=30000")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA foreign_keys=OFF")

        @event.listens_for(engine, "begin")
        def begin(connection: object) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE")  # type: ignore[attr-defined]

    return engine


def _alembic() -> Any:
    from alembic.config import Config

    found = Config()
    found.set_main_option("script_location", str(shipped("migrations")).replace("%", "%%"))
    return found
