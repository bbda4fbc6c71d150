"""The file that `apply` reads: parsed and checked as a whole, with the line of every problem."""

from __future__ import annotations

import difflib
import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from auth_server.accounts import users
from auth_server.cli import fields, lines
from auth_server.cli.fields import Secret
from auth_server.clients import metadata
from auth_server.errors import ProtocolError, RefusedInput


class BadFile(Exception):
    """The file is refused; `problems` has one line each, with file and line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Declared:
    """One object: `values` without its secret."""

    kind: str
    id: str
    values: Mapping[str, Any]
    secret: Secret | None


class Declaration:
    """A file as it was read: its well-formed objects, in the order in which they must be made, and its problems.

    `named` has kind and id of every table, well-formed or not.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._text = path.read_text(encoding="utf-8")
            data = tomllib.loads(self._text)
        except (OSError, ValueError, RecursionError) as cause:
            raise BadFile([f"{path}: {cause}"]) from None
        self._path = path
        self._problems: list[tuple[int, str]] = []
        self.named: set[tuple[str, str]] = set()
        for name in data.keys() - fields.KEYS.keys():
            providers = "sign-in through another provider is not available in this version"
            self.refuse(providers if name == "provider" else f"no such table{_suggestion(name, fields.KEYS)}", name)
        self.objects = [item for kind in fields.KEYS for item in self._objects(kind, data.get(kind, {}))]
        self._refuse_twins()

    def refuse(self, problem: str, *where: str) -> None:
        """Note a problem of a table or key."""
        line = lines.nearest(self._lines, where)
        self._problems.append((line, f"{self._path}:{line}: {'.'.join(where[:2])}: {problem}"))

    def check(self) -> None:
        """Raise `BadFile` with every problem noted until now, by line."""
        if self._problems:
            raise BadFile([text for _line, text in sorted(self._problems)])

    @functools.cached_property
    def _lines(self) -> dict[lines.Where, int]:
        return lines.find(self._text)

    def _objects(self, kind: str, tables: Any) -> list[Declared]:
        if not isinstance(tables, dict) or not all(isinstance(values, dict) for values in tables.values()):
            self.refuse(f'expected tables of the form [{kind}."id"]', kind)
            return []
        self.named |= {(kind, name) for name in tables}
        found = [self._object(kind, name, values) for name, values in tables.items()]
        return [item for item in found if item]

    def _object(self, kind: str, name: str, given: dict[str, Any]) -> Declared | None:
        values: dict[str, Any] = {}
        for key, value in given.items():
            check = fields.KEYS[kind].get(key)
            try:
                if check is None:
                    raise ValueError(f"no such key{_suggestion(key, fields.KEYS[kind])}")
                values[key] = check(value)
            except ProtocolError as refusal:
                self.refuse(refusal.description, kind, name, key)
            except RefusedInput as refusal:
                self.refuse(f"{key}: {refusal.message}", kind, name, key)
            except ValueError as problem:
                self.refuse(f"{key}: {problem}", kind, name, key)
        secret = next((values.pop(key) for key in list(values) if isinstance(values[key], Secret)), None)
        if len(values) + (secret is not None) != len(given):
            return None
        item = Declared(kind, name, values, secret)
        return item if kind != "client" or self._fits_together(item) else None

    def _fits_together(self, item: Declared) -> bool:
        """Check the rules between a client's fields."""
        try:
            metadata.validate(item.values)
        except ProtocolError as refusal:
            self.refuse(refusal.description, item.kind, item.id, refusal.description.partition(":")[0])
            return False
        method = item.values.get("token_endpoint_auth_method")
        problem = ""
        if item.secret and not metadata.has_secret(method):
            problem = f"a client with the method {method} has none"
        elif item.secret and not item.secret.plain and method == metadata.SIGNS_WITH_SECRET:
            problem = "client_secret_jwt needs the secret itself, from env or file"
        if problem:
            self.refuse(f"client_secret: {problem}", item.kind, item.id, "client_secret")
        return not problem

    def _refuse_twins(self) -> None:
        """Two spellings of one address would change the same person to and fro."""
        seen: set[str] = set()
        for item in self.objects:
            if item.kind == "user":
                key = users.email_key(item.id)
                if key in seen:
                    self.refuse("another table has this address already", item.kind, item.id)
                seen.add(key)


def _suggestion(name: str, known: Mapping[str, object]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
