"""What SQLite's and PostgreSQL's connections need before they behave alike; `database` says in what way."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from sqlalchemy import Connection, Engine, event
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
    """Begin at the first write, and ask a connection that has rested whether it still lives."""

    @event.listens_for(engine, "before_cursor_execute")
    def begin_before_the_first_write(connection: Connection, cursor: Any, statement: str, *_: object) -> None:
        if statement[:6].upper() in _WRITES and not is_in_transaction(cursor.connection):
            cursor.execute(BEGIN["postgresql"])

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


def is_in_transaction(driver: Any) -> bool:
    """Tell whether the driver's connection has begun a transaction, which only a write does."""
    if isinstance(driver, sqlite3.Connection):
        return driver.in_transaction
    return bool(driver.info.transaction_status)  # psycopg: 0 is idle
