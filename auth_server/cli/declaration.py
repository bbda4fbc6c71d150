"""The file that `apply` reads (CONTRACT 7): parsed, checked as a whole, with the line of every problem."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auth_server.clients import metadata
from auth_server.errors import ProtocolError
from auth_server.infra import crypto

KINDS = ("group", "role", "api", "client", "user")
_KEYS = {
    "group": frozenset({"name"}),
    "role": frozenset({"scopes", "groups"}),
    "api": frozenset({"name", "scopes", "token_format", "alg", "token_ttl", "secret"}),
    "client": metadata.FIELDS | {"client_secret"},
    "user": frozenset({"name", "groups", "roles", "password", "verified", "claims"}),
}
_SECRETS = {"api": "secret", "client": "client_secret", "user": "password"}
_HEADER = re.compile(r"\s*\[\s*([A-Za-z_-]+)\s*\.\s*(?:\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_.-]+))\s*\]")
_SHORTEST_SECRET = 32


class BadFile(Exception):
    """The file is refused; `problems` has one line each, with file and line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Secret:
    """A declared secret: the digest or hash to store, or a password in the clear that was read from outside."""

    stored: str = ""
    plain: str = field(default="", repr=False)


@dataclass(frozen=True)
class Declared:
    """One object: `values` without its secret."""

    kind: str
    id: str
    values: Mapping[str, Any]
    secret: Secret | None


def read(path: Path) -> list[Declared]:
    """Return every object in the order in which it must be made; raise `BadFile` with all problems."""
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text)
    except (OSError, ValueError) as cause:
        raise BadFile([f"{path}: {cause}"]) from None
    lines = _lines_of(text)
    problems: list[str] = []
    found: list[Declared] = []
    for kind in data:
        if kind not in KINDS:
            why = "providers are not available in this version" if kind == "provider" else f"no such table: {kind}"
            problems.append(f"{path}:{lines.get((kind,), 1)}: {why}")
    for kind in KINDS:
        for name, values in _tables(data, kind, path, lines, problems):
            line = lines.get((kind, name), lines.get((kind,), 1))
            before = len(problems)
            _check(kind, name, values, path, lines, problems)
            if len(problems) == before:
                found += _declared(kind, name, values, f"{path}:{line}", problems)
    if problems:
        raise BadFile(problems)
    return found


def _tables(
    data: dict[str, Any], kind: str, path: Path, lines: dict[tuple[str, ...], int], problems: list[str]
) -> list[tuple[str, dict[str, Any]]]:
    tables = data.get(kind, {})
    if not isinstance(tables, dict) or not all(isinstance(values, dict) for values in tables.values()):
        problems.append(f'{path}:{lines.get((kind,), 1)}: expected tables of the form [{kind}."id"]')
        return []
    return list(tables.items())


def _check(
    kind: str,
    name: str,
    values: dict[str, Any],
    path: Path,
    lines: dict[tuple[str, ...], int],
    problems: list[str],
) -> None:
    for key in values:
        if key not in _KEYS[kind]:
            line = lines.get((kind, name, key), lines.get((kind, name), 1))
            problems.append(f"{path}:{line}: {kind}.{name} has an unknown key: {key}")
    if kind == "client" and values.keys() <= _KEYS[kind]:
        try:
            metadata.validate({key: value for key, value in values.items() if key != "client_secret"})
        except ProtocolError as refusal:
            problems.append(f"{path}:{lines.get((kind, name), 1)}: client.{name}: {refusal.description}")


def _declared(kind: str, name: str, values: dict[str, Any], where: str, problems: list[str]) -> list[Declared]:
    rest = dict(values)
    given = rest.pop(_SECRETS.get(kind, ""), None)
    if given is None:
        return [Declared(kind, name, rest, None)]
    try:
        return [Declared(kind, name, rest, _secret(kind, given))]
    except ValueError as problem:
        problems.append(f"{where}: {kind}.{name}: {problem}")
        return []


def _secret(kind: str, given: Any) -> Secret:
    """Accept `{ env = … }`, `{ file = … }` or `{ hash = … }`, never a secret in the clear; raise `ValueError`."""
    if not isinstance(given, dict) or len(given) != 1 or not isinstance(next(iter(given.values())), str):
        raise ValueError('a secret is { env = "NAME" }, { file = "/path" } or { hash = "…" }, never in the clear')
    source, value = next(iter(given.items()))
    if source == "hash":
        return Secret(stored=_hash(kind, value))
    if source == "env":
        plain = os.environ.get(value)
        if plain is None:
            raise ValueError(f"the environment has no {value}")
    elif source == "file":
        try:
            plain = Path(value).read_text(encoding="utf-8").strip()
        except (OSError, ValueError):
            raise ValueError(f"cannot read {value}") from None
    else:
        raise ValueError(f"a secret comes from env, file or hash, not from {source}")
    if kind == "user":
        return Secret(plain=plain)
    if len(plain) < _SHORTEST_SECRET:
        raise ValueError(f"a secret has at least {_SHORTEST_SECRET} characters")
    return Secret(stored=crypto.digest(plain))


def _hash(kind: str, value: str) -> str:
    pattern = r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}" if kind == "user" else r"sha256:[0-9a-f]{64}"
    if not re.fullmatch(pattern, value):
        raise ValueError("hash: expected a bcrypt string" if kind == "user" else 'hash: expected "sha256:<hex>"')
    return value.removeprefix("sha256:")


def _lines_of(text: str) -> dict[tuple[str, ...], int]:
    """Return the line of each table and key: tomllib tells none."""
    found: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line)
        key = re.match(r"\s*\"?([A-Za-z0-9_.:-]+)\"?\s*=", line)
        if header:
            name = next(part for part in header.groups()[1:] if part is not None)
            table = (header[1], name)
            found.setdefault((header[1],), number)
            found.setdefault(table, number)
        elif key and table:
            found.setdefault((*table, key[1]), number)
    return found
