"""Runs migrations on SQLite and PostgreSQL, each in one transaction, with foreign keys off while tables are rebuilt."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection, text

from auth_server.database import Base
from auth_server.infra import schema

_ONE_AT_A_TIME = 842_100_001
"""Advisory lock on PostgreSQL: two servers that start at once migrate once."""


def run() -> None:
    engine = schema.migration_engine(context.config.attributes["url"])
    with engine.connect() as connection, connection.begin():
        on_sqlite = connection.dialect.name == "sqlite"
        if not on_sqlite:
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_ONE_AT_A_TIME})"))
        context.configure(
            connection=connection, target_metadata=Base.metadata, render_as_batch=True, transactional_ddl=True
        )
        context.run_migrations()
        if on_sqlite:
            _check_foreign_keys(connection)


def _check_foreign_keys(connection: Connection) -> None:
    broken = connection.execute(text("PRAGMA foreign_key_check")).all()
    if broken:
        raise RuntimeError(f"the migration left {len(broken)} rows without their parent; nothing was changed")


run()
