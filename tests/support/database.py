"""What a test asks of the database as a whole: everything in it, and faults at will."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from flask import Flask
from sqlalchemy import Connection, event, select
from sqlalchemy.exc import OperationalError

from auth_server import database
from auth_server.database import Base, db
from auth_server.infra import batch


def dump(app: Flask, *, but: tuple[str, ...] = ()) -> dict[str, list[str]]:
    """Return every row of every table as text, sorted."""
    batch.flush_all()
    with app.app_context():
        found = {
            table.name: sorted(str(tuple(row)) for row in db.session.execute(select(table)))
            for table in Base.metadata.sorted_tables
            if table.name not in but
        }
        db.session.rollback()
        return found


class Fault:
    """Counts statements (or commits) and fails the one with this number; `hit` tells whether it came to that."""

    def __init__(self, number: int, *, undo: bool) -> None:
        self._left, self._undo = number, undo
        self.hit = False

    def __call__(self, connection: Connection, *_more: Any) -> None:
        if self._is_due():
            if self._undo:
                connection.connection.rollback()  # a COMMIT that fails has ended the transaction
            raise OperationalError("(a statement)", {}, Exception("the disk is gone"))

    def watch(self, sql: str) -> None:
        """Do the same to what runs past SQLAlchemy's events."""
        if (sql == "COMMIT") == self._undo and self._is_due():
            raise OperationalError("(a statement)", {}, Exception("the disk is gone"))

    def _is_due(self) -> bool:
        self._left -= 1
        self.hit = self.hit or self._left == 0
        return self._left == 0


@contextmanager
def failing(app: Flask, number: int = 1, at: str = "before_cursor_execute") -> Iterator[Fault]:
    """Let one statement (or, `at="commit"`, one commit) of the application fail."""
    with app.app_context():
        engine = db.engine
    fault = Fault(number, undo=at == "commit")
    event.listen(engine, at, fault)
    database.watchers.append(fault.watch)
    try:
        yield fault
    finally:
        database.watchers.remove(fault.watch)
        event.remove(engine, at, fault)
