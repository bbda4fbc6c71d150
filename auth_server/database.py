"""The database: our declarative base, Flask-SQLAlchemy on it, and what SQLite and PostgreSQL connections need.

Both databases behave alike for the code above: a statement sees what was committed before it (READ COMMITTED), reads
take no lock, and whatever must happen once is one conditional UPDATE whose row count is checked. On SQLite this is
reached by letting reads run outside a transaction and by starting `BEGIN IMMEDIATE` at the first statement that
writes, so that a reader never has to be upgraded (which SQLite answers with "database is locked").
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import BigInteger, Connection, CursorResult, Engine, Executable, MetaData, Table, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from auth_server import config

NAMING_CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_COMMON_OPTIONS = {
    "pool_size": 10,
    "max_overflow": 20,
    "hide_parameters": True,  # an error's text must not carry what was stored
    "execution_options": {"preserve_rowcount": True},  # INSERT … ON CONFLICT answers by its row count too
}
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "CREATE", "ALTER ", "DROP T", "DROP I"})


class Base(DeclarativeBase):
    """Every table derives from this; constraints have names, so that migrations can change them on SQLite too."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)


class Moment(TypeDecorator[datetime]):
    """An aware UTC moment, stored as whole microseconds since 1970: SQLite would drop the time zone."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


db = SQLAlchemy(model_class=Base, session_options={"expire_on_commit": False})


def setup_database(app: Flask, settings: config.Settings) -> None:
    """Bind the database to the application; no connection is opened yet."""
    url = make_url(settings.database_url)
    on_sqlite = url.get_backend_name() == "sqlite"
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = _sqlite_options() if on_sqlite else _postgresql_options()
    db.init_app(app)
    if on_sqlite:
        with app.app_context():
            prepare_sqlite(db.engine)


def _sqlite_options() -> dict[str, Any]:
    return {**_COMMON_OPTIONS, "connect_args": {"timeout": 5, "check_same_thread": False}}


def _postgresql_options() -> dict[str, Any]:
    bounds = "-c lock_timeout=5000 -c statement_timeout=10000 -c idle_in_transaction_session_timeout=60000"
    return {
        **_COMMON_OPTIONS,
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        "connect_args": {"connect_timeout": 5, "options": bounds},
    }


def prepare_sqlite(engine: Engine) -> None:
    """Give each SQLite connection WAL, foreign keys and the lazy `BEGIN IMMEDIATE`."""

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver must not start transactions of its own
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "before_cursor_execute")
    def begin_before_the_first_write(
        connection: Connection, cursor: sqlite3.Cursor, statement: str, *_: object
    ) -> None:
        if statement[:6].upper() in _WRITES and not cursor.connection.in_transaction:
            cursor.execute("BEGIN IMMEDIATE")


def execute(statement: Executable, parameters: Any = None) -> CursorResult[Any]:
    """Run a Core statement in the request's transaction, beside the ORM and without its unit of work."""
    result: CursorResult[Any] = db.session.connection().execute(statement, parameters)
    return result


def insert(table: Table) -> sqlite.Insert:
    """Return an INSERT that can say ON CONFLICT, for the database in use (the two dialects share the calls we use)."""
    if db.engine.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)  # type: ignore[return-value]


@contextmanager
def short_transaction() -> Iterator[Connection]:
    """A transaction of its own, committed at the end whatever the request does later.

    The request must not have written yet: on SQLite it would wait for its own lock.
    """
    with db.engine.begin() as connection:
        yield connection


def release() -> None:
    """Commit what the request has done so far and give the connection back, before slow work such as a hash."""
    db.session.commit()
