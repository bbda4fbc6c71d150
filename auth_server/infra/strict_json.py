"""JSON objects of strangers, read as RFC 8259 has them: what two readers could understand differently is refused."""

from __future__ import annotations

import json
from typing import Any


def read_object(text: str) -> dict[str, Any]:
    """Return an object: no name twice, no NaN, nothing that is no Unicode or too deep. Raises `ValueError`.

    The message is a fixed sentence, and what is no object at all is told apart by `NotAnObject`.
    """
    try:
        found = json.loads(text, object_pairs_hook=_members, parse_constant=_no_constant)
        json.dumps(found, ensure_ascii=False).encode()  # half a surrogate pair could not be shown anywhere
    except (ValueError, RecursionError):
        raise ValueError("not well-formed JSON, or a name stands there twice") from None
    if not isinstance(found, dict):
        raise NotAnObject("not a JSON object")
    return found


class NotAnObject(ValueError):
    """A list, a text, a number …"""


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands there twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
