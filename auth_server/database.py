"""The database: our declarative base, Flask-SQLAlchemy on it, and what SQLite and PostgreSQL connections need.

Both databases behave alike for the code above: a statement sees what was committed before it (READ COMMITTED), reads
take no lock, and whatever must happen once is one conditional UPDATE whose row count is checked. On SQLite this is
reached by letting reads run outside a transaction and by starting one at the first statement that writes: with `BEGIN
IMMEDIATE` on SQLite, so that a reader never has to be upgraded (which SQLite answers with "database is locked"), and
with a plain `BEGIN` on PostgreSQL, which saves a read its two round trips.

Pages use the ORM's session. Machine endpoints use a `Work`: one connection without the session's bookkeeping. Code that
is called by both says `execute`, which takes whichever is there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

from flask import Flask
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import (
    BigInteger,
    Connection,
    CursorResult,
    Engine,
    Executable,
    MetaData,
    Table,
    delete,
    event,
    select,
    tuple_,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.types import TypeDecorator

from auth_server import config, connections
from auth_server.prepared import Form, Prepared

NAMING_CONVENTION = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
MOST_DELETED = 1000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


watchers: list[Callable[[str], None]] = []
"""Called with each statement that runs past SQLAlchemy's own events: for tests that count statements or break them."""
_engine: Engine | None = None


def setup_database(app: Flask, settings: config.Settings) -> None:
    """Bind the database to the application; no connection is opened yet."""
    global _engine
    url = make_url(settings.database_url)
    on_sqlite = url.get_backend_name() == "sqlite"
    app.config["SQLALCHEMY_DATABASE_URI"] = url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = (
        connections.sqlite_options() if on_sqlite else connections.postgresql_options()
    )
    db.init_app(app)
    with app.app_context():
        _engine = db.engine
    if on_sqlite:
        connections.prepare_sqlite(_engine)
    else:
        connections.prepare_postgresql(_engine)


def engine() -> Engine:
    """Return the engine of this process, for code that has no application context."""
    if _engine is None:
        raise LookupError("no database yet: create_app() first")
    return _engine


def has_one_writer() -> bool:
    """Tell whether the database lets one transaction write at a time."""
    return engine().dialect.name == "sqlite"


class Work:
    """What one request of a machine does with the database: one connection, at most one transaction.

    `notes` are what others remember of the open transaction; `after_commit` runs once, after the next commit. `turn` is
    what the request holds while it works: its place among those that write.
    """

    def __init__(self, turn: AbstractContextManager[Any]) -> None:
        self.turn = turn
        self.notes: dict[str, Any] = {}
        self.after_commit: list[Callable[[], None]] = []
        self._connection: Connection | None = None
        self._driver: Any = None
        self._new_cursor: Any = None

    def execute(self, statement: Executable, parameters: Any) -> CursorResult[Any]:
        result: CursorResult[Any] = self._try(lambda connection: connection.execute(statement, parameters))
        return result

    def run(self, form: Form, parameters: Any) -> Any:
        """Run a prepared statement and return the driver's cursor; raise `DBAPIError`."""
        if self._connection is not None and connections.is_in_transaction(self._driver):
            return self._run(form, parameters)  # what was begun is not repeated
        return self._try(lambda _connection: self._run(form, parameters))

    def _try(self, act: Callable[[Connection], Any]) -> Any:
        """Run a statement. A connection that was lost is replaced once, as long as nothing was written on it."""
        connection = self._connection or self._connect()
        may_repeat = not self.has_written()
        try:
            return act(connection)
        except DBAPIError as cause:
            if not (cause.connection_invalidated and may_repeat):
                raise
        self.close()
        return act(self._connect())

    def _run(self, form: Form, parameters: Any) -> Any:
        cursor = self._new_cursor()
        try:
            if form.is_write and not connections.is_in_transaction(self._driver):
                cursor.execute(connections.BEGIN[engine().dialect.name])
            for watch in watchers:
                watch(form.sql)
            cursor.execute(form.sql, parameters)
        except engine().dialect.loaded_dbapi.Error as cause:
            raise self._failure(form.sql, cause) from cause
        return cursor

    def _commit_driver(self) -> None:
        try:
            for watch in watchers:
                watch("COMMIT")
            self._driver.commit()
        except engine().dialect.loaded_dbapi.Error as cause:
            raise self._failure("COMMIT", cause) from cause

    def _failure(self, sql: str, cause: Any) -> DBAPIError:
        """Return what SQLAlchemy would have raised; a lost connection does not go back to the pool."""
        is_lost = engine().dialect.is_disconnect(cause, self._driver, None)
        if is_lost and self._connection is not None:
            self._connection.invalidate(cause)
        return DBAPIError(sql, None, cause, hide_parameters=True, connection_invalidated=is_lost)

    def has_written(self) -> bool:
        """Tell whether a transaction is open: there is something that a commit would keep."""
        return self._driver is not None and connections.is_in_transaction(self._driver)

    def commit(self) -> None:
        if self._connection is not None:
            if self._connection.in_transaction():
                self._connection.commit()
            elif self.has_written():
                self._commit_driver()
        self.notes.clear()
        while self.after_commit:
            self.after_commit.pop()()

    def close(self) -> None:
        """Give the connection back; what was not committed is undone."""
        if self._connection is not None:
            self._connection.close()
            self._connection = self._driver = None

    def _connect(self) -> Connection:
        self._connection = engine().connect()
        pooled = self._connection.connection
        self._driver, self._new_cursor = pooled.dbapi_connection, connections.new_cursor(pooled)
        return self._connection


_work: ContextVar[Work | None] = ContextVar("auth_server_work", default=None)


@contextmanager
def work(turn: AbstractContextManager[Any] | None = None) -> Iterator[Work]:
    """Let `execute` use a `Work` within the block, once it is its turn; what it does not commit is undone."""
    own = Work(turn or nullcontext())
    with own.turn:
        token = _work.set(own)
        try:
            yield own
        finally:
            _work.reset(token)
            own.close()


@contextmanager
def aside() -> Iterator[None]:
    """Step aside for something slow, such as a request of our own: no connection and no turn is held within the block.

    What the request has done so far is committed.
    """
    own = _work.get()
    release()
    if own is None:
        yield
        return
    own.close()
    own.turn.__exit__(None, None, None)
    try:
        yield
    finally:
        own.turn.__enter__()


def execute(statement: Executable, parameters: Any = None) -> CursorResult[Any]:
    """Run a Core statement in the request's transaction, beside the ORM and without its unit of work."""
    own = _work.get()
    if own is not None:
        return own.execute(statement, parameters)
    result: CursorResult[Any] = db.session.connection().execute(statement, parameters)
    return result


def first(statement: Prepared, parameters: Mapping[str, Any]) -> Sequence[Any] | None:
    """Run a prepared SELECT; return its first row's values in the order of its columns, or None."""
    own = _work.get()
    if own is None:
        row = db.session.connection().execute(statement.statement, parameters).first()
        return None if row is None else tuple(row)
    form = statement.form(engine().dialect)
    raw = own.run(form, form.parameters(parameters)).fetchone()
    return None if raw is None else form.row(raw)


def run(statement: Prepared, parameters: Mapping[str, Any]) -> int:
    """Run a prepared INSERT, UPDATE or DELETE; return how many rows it concerned."""
    own = _work.get()
    if own is None:
        result: CursorResult[Any] = db.session.connection().execute(statement.statement, parameters)
        return result.rowcount
    form = statement.form(engine().dialect)
    count: int = own.run(form, form.parameters(parameters)).rowcount
    return count


def delete_some(table: Any, *conditions: Any) -> int:
    """Delete at most `MOST_DELETED` of the rows that meet the conditions; return how many went.

    Whoever prunes repeats it, with a commit in between: nobody waits long for the lock, however much there is to do.
    """
    columns = list(table.primary_key.columns)
    some = select(*columns).where(*conditions).limit(MOST_DELETED)
    which = columns[0] if len(columns) == 1 else tuple_(*columns)
    return execute(delete(table).where(which.in_(some))).rowcount


def has_written() -> bool:
    """Tell whether the request's transaction has something to commit; asks no session into being."""
    own = _work.get()
    if own is not None:
        return own.has_written()
    return bool(db.session.registry.has()) and connections.is_in_transaction(
        db.session.connection().connection.dbapi_connection
    )


def notes() -> dict[str, Any]:
    """Return what is remembered of the open transaction; its readers must bear that it is empty."""
    own = _work.get()
    if own is not None:
        return own.notes
    notes: dict[str, Any] = db.session.info if db.session.registry.has() else {}
    return notes


def after_commit(act: Callable[[], None]) -> None:
    """Run `act` once, when the request's transaction has been committed."""
    own = _work.get()
    if own is not None:
        own.after_commit.append(act)
    else:
        event.listen(db.session(), "after_commit", lambda _session: act(), once=True)


def insert(table: Table) -> sqlite.Insert:
    """Return an INSERT that can say ON CONFLICT, for the database in use (the two dialects share the calls we use)."""
    if engine().dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)  # type: ignore[return-value]


def release() -> None:
    """Commit what the request has done so far, before slow work such as a hash: nobody waits for its lock meanwhile."""
    own = _work.get()
    if own is not None:
        own.commit()
    else:
        db.session.commit()
