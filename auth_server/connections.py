"""What SQLite's and PostgreSQL's connections need before they behave alike; `database` says in what way."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine, PoolProxiedConnection, event
from sqlalchemy.exc import InvalidatePoolError

BEGIN = {"sqlite": "BEGIN IMMEDIATE", "postgresql": "BEGIN"}
_RESTED_SECONDS = 2.0
_CHECKPOINT = "wal_autocheckpoint=4000"  # pages, 16 MB: each checkpoint copies the same hot pages again
_COMMON_OPTIONS = {
    "pool_size": 10,
    "max_overflow": 20,
    "hide_parameters": True,  # an error's text must not carry what was stored
    "execution_options": {"preserve_rowcount": True},  # INSERT … ON CONFLICT answers by its row count too
}
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "CREATE", "ALTER ", "DROP T", "DROP I"})


def sqlite_options() -> dict[str, Any]:
    return {**_COMMON_OPTIONS, "connect_args": {"timeout": 5, "check_same_thread": False}}


def postgresql_options() -> dict[str, Any]:
    bounds = "-c lock_timeout=5000 -c statement_timeout=10000 -c idle_in_transaction_session_timeout=60000"
    return {
        **_COMMON_OPTIONS,
        "pool_recycle": 1800,
        "pool_timeout": 5,
        "pool_reset_on_return": None,  # see `undo_what_is_open`
        "connect_args": {"connect_timeout": 5, "options": bounds, "autocommit": True},
    }


def prepare_sqlite(engine: Engine) -> None:
    """Give each SQLite connection WAL, foreign keys and the lazy `BEGIN IMMEDIATE`."""

    @event.listens_for(engine, "connect")
    def configure(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the driver must not start transactions of its own
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY", _CHECKPOINT):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "before_cursor_execute")
    def begin_before_the_first_write(
        connection: Connection, cursor: sqlite3.Cursor, statement: str, *_: object
    ) -> None:
        if statement[:6].upper() in _WRITES and not cursor.connection.in_transaction:
            cursor.execute(BEGIN["sqlite"])


def prepare_postgresql(engine: Engine) -> None:
    """Begin at the first write, undo what was not committed, and ask whether a rested connection still lives."""

    @event.listens_for(engine, "before_cursor_execute")
    def begin_before_the_first_write(connection: Connection, cursor: Any, statement: str, *_: object) -> None:
        if statement[:6].upper() in _WRITES and not is_in_transaction(cursor.connection):
            cursor.execute(BEGIN["postgresql"])

    @event.listens_for(engine, "reset")
    def undo_what_is_open(connection: Any, _record: Any, _state: Any) -> None:
        if is_in_transaction(connection):  # psycopg's own look takes longer, and most requests only read
            connection.rollback()

    @event.listens_for(engine, "checkin")
    def remember(_connection: Any, record: Any) -> None:
        record.info["rested_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ask_the_rested(connection: Any, record: Any, _proxy: Any) -> None:
        if time.monotonic() - record.info.get("rested_since", 0.0) < _RESTED_SECONDS:
            return  # a ping before every request would cost a round trip each
        try:
            connection.execute("SELECT 1")
        except Exception as cause:
            raise InvalidatePoolError from cause


def new_cursor(pooled: PoolProxiedConnection) -> Callable[[], Any]:
    """Return what gives the cursor for a statement.

    psycopg's holds only the last answer and takes longer to make than to use: a connection keeps one. SQLite's must be
    a new one each time, because a SELECT that is not read to its end keeps its snapshot.
    """
    driver: Any = pooled.dbapi_connection
    if isinstance(driver, sqlite3.Connection):
        return driver.cursor
    kept = pooled.info.get("cursor")
    if kept is None:
        kept = pooled.info["cursor"] = driver.cursor()
    return lambda: kept


def is_in_transaction(driver: Any) -> bool:
    """Tell whether the driver's connection has begun a transaction, which only a write does."""
    if isinstance(driver, sqlite3.Connection):
        return driver.in_transaction
    return bool(driver.info.transaction_status)  # psycopg: 0 is idle
