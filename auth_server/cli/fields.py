"""What each table of the file that `apply` reads may hold: every key with the check of its value.

A check returns the value as it is compared and stored, or raises `ValueError` with what is expected.
"""

from __future__ import annotations

import functools
import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from auth_server.clients import issuers, metadata, secrets
from auth_server.infra import crypto
from auth_server.keys.access_token import ACR_VALUES

Check = Callable[[Any], Any]


@dataclass(frozen=True)
class Secret:
    """A declared secret: the digest or hash to store, and what it is in the clear where that was read from outside."""

    stored: str = field(default="", repr=False)
    plain: str = field(default="", repr=False)


def _text(value: Any) -> str:
    if not isinstance(value, str) or any(unicodedata.category(char) == "Cc" for char in value):
        raise ValueError("expected a text without control characters")
    return unicodedata.normalize("NFC", value.strip())


def _texts(value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ValueError('expected a list of texts, e.g. ["staff"]')
    return sorted(set(value))


def _titles(value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(title, str) for title in value.values()):
        raise ValueError('expected a title for each scope, e.g. { "orders:read" = "Read your orders" }')
    return {scope: _text(title) for scope, title in value.items()}


def _strength(value: Any) -> str:
    if value not in ACR_VALUES:
        raise ValueError(f"expected a strength of a sign-in: {' or '.join(ACR_VALUES)}")
    return str(value)


def _strengths(value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise ValueError('expected a strength for each scope, e.g. { "orders:refund" = "aal2" }')
    return {scope: _strength(acr) for scope, acr in value.items()}


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("expected true or false")
    return value


def _seconds(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("expected seconds, e.g. 900")
    return value


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError('expected a table, e.g. { locale = "de" }')
    return value


def _password(value: Any) -> Secret:
    source, content = _outside(value)
    if source != "hash":
        return Secret(plain=content)
    if not re.fullmatch(r"\$2[aby]\$(0[4-9]|1[0-6])\$[./A-Za-z0-9]{53}", content):
        raise ValueError("hash: expected a bcrypt string with a cost from 4 to 16")
    return Secret(stored=content)


def _random_secret(value: Any) -> Secret:
    source, content = _outside(value)
    if source == "hash":
        if not re.fullmatch(r"sha256:[0-9a-f]{64}", content):
            raise ValueError('hash: expected "sha256:<hex>", in lower case')
        return Secret(stored=content.removeprefix("sha256:"))
    if len(content) < secrets.SHORTEST_CHOSEN:
        raise ValueError(f"a secret has at least {secrets.SHORTEST_CHOSEN} characters")
    return Secret(crypto.digest(content), content)


def _outside(value: Any) -> tuple[str, str]:
    """Return where a secret comes from and its text; never one in the clear."""
    if not isinstance(value, dict) or len(value) != 1 or not isinstance(next(iter(value.values())), str):
        raise ValueError('a secret is { env = "NAME" }, { file = "/path" } or { hash = "…" }, never in the clear')
    source, content = next(iter(value.items()))
    if source == "hash":
        return source, content
    if source == "env":
        if content not in os.environ:
            raise ValueError(f"the environment has no {content}")
        return source, os.environ[content]
    if source != "file":
        raise ValueError(f"a secret comes from env, file or hash, not from {source}")
    try:
        return source, Path(content).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError):
        raise ValueError(f"cannot read {content}") from None


KEYS: Mapping[str, Mapping[str, Check]] = {
    "group": {"name": _text},
    "role": {"scopes": _texts, "groups": _texts},
    "api": {
        "name": _text,
        "scopes": _titles,
        "token_format": _text,
        "alg": _text,
        "token_ttl": _seconds,
        "minimum_acr": _strength,
        "scope_acr": _strengths,
        "secret": _random_secret,
    },
    "issuer": {name: functools.partial(issuers.check, name) for name in sorted(issuers.FIELDS)},
    "client": {
        **{name: functools.partial(metadata.check, name) for name in sorted(metadata.FIELDS)},
        "client_secret": _random_secret,
    },
    "exchange": {
        "client": _text,
        "from_audience": _text,
        "to_audience": _text,
        "scopes": _texts,
        "from_clients": _texts,
        "impersonation": _flag,
        "bound_tokens": _flag,
    },
    "user": {
        "name": _text,
        "groups": _texts,
        "roles": _texts,
        "password": _password,
        "verified": _flag,
        "claims": _table,
    },
}
"""The kinds, in the order in which they must be made."""
