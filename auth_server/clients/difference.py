"""How a presented redirect URI differs from the registered ones: the kind, never the registered value."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import SplitResult, unquote, urlsplit

_PARTS = ("scheme", "host", "port", "path", "query")


def kind(presented: str, registered: Iterable[str]) -> str:
    """Return in a few words what differs from the nearest registered URI."""
    candidates = list(registered)
    if not candidates:
        return "no redirect URI is registered for this app"
    found = min((_parts_that_differ(presented, uri), uri) for uri in candidates)
    differing, nearest = found
    if presented.rstrip("/") == nearest.rstrip("/"):
        return "only a trailing slash"
    if presented.casefold() == nearest.casefold():
        return "only upper and lower case"
    if unquote(presented) == nearest or unquote(unquote(presented)) == nearest:
        return "encoded twice"
    names = [_PARTS[index] for index in differing[1]]
    if names == ["query"] and not urlsplit(nearest).query:
        return "a query was added"
    return ", ".join(names) or "not an exact match"


def _parts_that_differ(presented: str, registered: str) -> tuple[int, tuple[int, ...]]:
    one, other = _split(presented), _split(registered)
    differing = tuple(index for index in range(len(_PARTS)) if one[index] != other[index])
    return len(differing), differing


def _split(uri: str) -> tuple[str, str, str, str, str]:
    try:
        parts: SplitResult = urlsplit(uri)
        return parts.scheme, parts.hostname or "", str(parts.port or ""), parts.path, parts.query
    except ValueError:
        return "", "", "", uri, ""
