"""Statements that are compiled once and then run by the driver itself: the hot path's.

SQLAlchemy compiles the statement and converts its values, for whichever database is in use; only its execution, which
costs several times what SQLite's does, is left out. Everything else goes through `database.execute`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, Insert, Select, Table
from sqlalchemy.engine import Dialect

Convert = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Form:
    """A statement as one database's driver takes it."""

    sql: str
    is_write: bool
    _names: tuple[str, ...] | None
    """Names in the order of their places, or None where the driver takes them by name."""
    _constants: Mapping[str, Any]
    _binders: tuple[tuple[str, Convert], ...]
    _readers: tuple[tuple[int, Convert], ...]

    def parameters(self, given: Mapping[str, Any]) -> Any:
        """Return the parameters as the driver wants them."""
        values = {**self._constants, **given}
        for name, bind in self._binders:
            values[name] = bind(values[name])
        return values if self._names is None else [values[name] for name in self._names]

    def row(self, raw: Any) -> list[Any]:
        """Return a row's values in the order of the selected columns."""
        values = list(raw)
        for place, read in self._readers:
            values[place] = read(values[place])
        return values


class Prepared:
    """A statement with named parameters (`bindparam`); made once, when a module is loaded."""

    def __init__(self, statement: Executable) -> None:
        self.statement: Any = statement
        self._forms: dict[str, Form] = {}

    def form(self, dialect: Dialect) -> Form:
        """Return the statement for one database."""
        found = self._forms.get(dialect.name)
        if found is None:
            found = self._forms[dialect.name] = self._compile(dialect)
        return found

    def _compile(self, dialect: Dialect) -> Form:
        compiled: Any = self.statement.compile(dialect=dialect, column_keys=self._columns())
        binders = [
            (name, bind.type.dialect_impl(dialect).bind_processor(dialect)) for name, bind in compiled.binds.items()
        ]
        readers = []
        if isinstance(self.statement, Select):
            types = [column.type.dialect_impl(dialect) for column in self.statement.selected_columns]
            readers = [(place, kind.result_processor(dialect, None)) for place, kind in enumerate(types)]
        return Form(
            compiled.string,
            not isinstance(self.statement, Select),
            tuple(compiled.positiontup) if compiled.positional else None,
            {name: bind.value for name, bind in compiled.binds.items() if not bind.required},
            tuple((name, bind) for name, bind in binders if bind),
            tuple((place, read) for place, read in readers if read),
        )

    def _columns(self) -> list[str] | None:
        """Return the columns that an INSERT gives: all but a number that the database counts up."""
        if not isinstance(self.statement, Insert) or not isinstance(self.statement.table, Table):
            return None
        table = self.statement.table
        return [column.name for column in table.columns if column is not table.autoincrement_column]
