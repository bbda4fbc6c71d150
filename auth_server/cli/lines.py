"""Where tables and keys stand in a TOML text: `tomllib` does not tell."""

from __future__ import annotations

import tomllib
from typing import Any

Where = tuple[str, ...]


def find(text: str) -> dict[Where, int]:
    """Return the line of every table and key of a well-formed text, by its path.

    Each statement is well-formed alone: lines are joined until they can be read.
    """
    found: dict[Where, int] = {}
    table: Where = ()
    statement, start = "", 1
    for number, line in enumerate(text.split("\n"), 1):
        statement += line + "\n"
        try:
            parsed = tomllib.loads(statement)
        except tomllib.TOMLDecodeError:
            continue  # a list or a text goes on in the next line
        is_header = statement.lstrip().startswith("[")
        _note(found, () if is_header else table, parsed, start)
        if is_header:
            table = _deepest(parsed)
        statement, start = "", number + 1
    return found


def nearest(found: dict[Where, int], where: Where) -> int:
    """Return the line of a key, or of the table that it is in."""
    while where and where not in found:
        where = where[:-1]
    return found.get(where, 1)


def _note(found: dict[Where, int], above: Where, parsed: dict[str, Any], line: int) -> None:
    for name, value in parsed.items():
        found.setdefault((*above, name), line)
        if isinstance(value, dict):
            _note(found, (*above, name), value, line)


def _deepest(parsed: Any) -> Where:
    where: Where = ()
    while isinstance(parsed, dict) and parsed:
        name, parsed = next(iter(parsed.items()))
        where = (*where, name)
    return where
