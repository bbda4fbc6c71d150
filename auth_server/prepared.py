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
    _by_name: bool
    _slots: tuple[tuple[str, Convert | None], ...]
    """The parameters in the order of their places, each with what converts it."""
    _constants: Mapping[str, Any]
    _readers: tuple[tuple[int, Convert], ...]

    def parameters(self, given: Mapping[str, Any]) -> Any:
        """Return the parameters as the driver wants them."""
        if self._constants:
            given = {**self._constants, **given}
        if self._by_name:
            return {name: bind(given[name]) if bind else given[name] for name, bind in self._slots}
        return [bind(given[name]) if bind else given[name] for name, bind in self._slots]

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
        kinds = {name: bind.type.dialect_impl(dialect) for name, bind in compiled.binds.items()}
        binders = {name: kind.bind_processor(dialect) for name, kind in kinds.items()}
        readers = []
        if isinstance(self.statement, Select):
            types = [column.type.dialect_impl(dialect) for column in self.statement.selected_columns]
            readers = [(place, kind.result_processor(dialect, None)) for place, kind in enumerate(types)]
        return Form(
            compiled.string,
            not isinstance(self.statement, Select),
            not compiled.positional,
            tuple((name, binders[name]) for name in (compiled.positiontup if compiled.positional else binders)),
            {name: bind.value for name, bind in compiled.binds.items() if not bind.required},
            tuple((place, read) for place, read in readers if read),
        )

    def _columns(self) -> list[str] | None:
        """Return the columns that an INSERT gives: all but a number that the database counts up."""
        if not isinstance(self.statement, Insert) or not isinstance(self.statement.table, Table):
            return None
        table = self.statement.table
        return [column.name for column in table.columns if column is not table.autoincrement_column]
