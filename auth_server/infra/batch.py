"""Rows that need not be written at once: collected in this process and written together within a second.

A kill loses at most the last second's; a stop writes them. Under a flood whoever brings the thousandth row writes
them all. While the database cannot be written they wait, up to a bound; beyond it `add` says no, and the caller writes
its row itself and hears of the fault.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from auth_server import database

log = logging.getLogger("auth_server.batch")

Row = dict[str, Any]

_WAIT_SECONDS = 0.9
_ENOUGH = 1000
_MOST_WAITING = 10_000
_MOST_AT_ONCE = 500
"""Rows in one transaction: other writers wait for it."""


_all: list[Batch] = []


def flush_all() -> None:
    """Write now what waits in this process."""
    for batch in _all:
        batch.flush()


class Batch:
    """Rows of one kind, and how they are written; made once, when a module is loaded."""

    def __init__(self, write: Callable[[Connection, list[Row]], None]) -> None:
        self._write = write
        self._lock = threading.Lock()
        self._waiting: list[tuple[Engine, Row]] = []
        self._timer: threading.Timer | None = None
        self._has_failed = False
        _all.append(self)

    def add(self, row: Row) -> bool:
        """Take a row; False when too many wait already."""
        with self._lock:
            if len(self._waiting) >= _MOST_WAITING:
                return False
            self._waiting.append((database.engine(), row))
            if self._timer is None:
                self._start()
            is_due = len(self._waiting) >= _ENOUGH and not self._has_failed
        if is_due:
            self.flush()
        return True

    def flush(self) -> None:
        """Write now what waits; what cannot be written waits on."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        for start in range(0, len(waiting), _MOST_AT_ONCE):
            try:
                self._write_together(waiting[start : start + _MOST_AT_ONCE])
                self._has_failed = False
            except SQLAlchemyError:
                self._has_failed = True
                self._keep(waiting[start:])
                return

    def _write_together(self, waiting: list[tuple[Engine, Row]]) -> None:
        for engine in dict.fromkeys(engine for engine, _row in waiting):
            with engine.begin() as connection:
                self._write(connection, [row for of, row in waiting if of is engine])

    def _keep(self, unwritten: list[tuple[Engine, Row]]) -> None:
        if not threading.main_thread().is_alive():
            log.exception("the process ends: %d rows that were to be written together are lost", len(unwritten))
            return
        log.exception("rows cannot be written now: %d wait", len(unwritten))
        with self._lock:
            self._waiting[:0] = unwritten
            if self._timer is None:
                self._start()

    def _start(self) -> None:
        """Flush in a while. No daemon, so that a stopping process waits for it."""
        self._timer = threading.Timer(_WAIT_SECONDS, self.flush)
        self._timer.daemon = False
        self._timer.start()
