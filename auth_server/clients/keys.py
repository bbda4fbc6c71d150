"""A client's public keys: registered as they are (`jwks`), or fetched from where they are published (`jwks_uri`).

Keys of trusted issuers are fetched and kept in the same way. What was fetched is kept by each process as long as its
server says, within bounds. A key that is not among them is looked for once more, but no address is asked more than once
a minute, whatever strangers send; when it does not answer, what was known goes on for an hour.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from auth_server import database
from auth_server.clients import documents
from auth_server.clients.client import Client
from auth_server.infra import clock, outbound
from auth_server.infra.outbound import Document, Unreachable
from auth_server.keys import foreign
from auth_server.keys.foreign import BadKey
from auth_server.keys.jose import Key

ASK_AGAIN_AFTER = timedelta(minutes=1)
KEPT_UNLESS_SAID = timedelta(minutes=10)
KEPT_AT_MOST = timedelta(days=1)
USED_WHEN_UNREACHABLE = timedelta(hours=1)
_MOST_ENTRIES = 4096
Fits = Callable[[Key], bool]
Fetch = Callable[[str], Document]
"""Brings a key set from the place that its argument names; raises `Unreachable`."""


_Where = tuple[Fetch, str]
"""A client's `jwks_uri` and an issuer of the same address are two sources: neither spoils the other."""


@dataclass(frozen=True)
class Found:
    """The keys that may have made a signature; `problem` says what went wrong on the way, for log and audit."""

    keys: tuple[Key, ...]
    problem: str = ""


@dataclass(frozen=True)
class _Held:
    """What an address gave last: asked for again after `fresh_until`, and used until `usable_until`."""

    keys: tuple[Key, ...]
    asked_at: datetime
    fresh_until: datetime
    usable_until: datetime
    problem: str = ""


def find(client: Client, alg: str, kid: str | None) -> Found:
    """Return the client's keys for an algorithm: those with the `kid`, if one is named, or without any."""
    return find_if(client, for_signature(alg, kid))


def find_if(client: Client, fits: Fits) -> Found:
    """Return the client's keys that fit; those that it publishes are asked for anew when none does."""
    uri = client.details.get("jwks_uri")
    if not uri and client.is_described:
        described = documents.renewed(client)
        if described is None:
            return Found((), "the client's document is gone, or describes no client any more")
        client, uri = described, described.details.get("jwks_uri")
    if not uri:
        return Found(fitting(_registered(client), fits))
    return published(uri, fits)


def published(source: str, fits: Fits, fetch: Fetch = outbound.fetch_json) -> Found:
    """Return the fitting keys that a source publishes: an address, or what `fetch` takes instead."""
    held = _asked((fetch, source), fits)
    usable = held.keys if clock.now() < held.usable_until else ()
    return Found(fitting(usable, fits), held.problem)


def for_signature(alg: str, kid: str | None) -> Fits:
    """Return what tells a key for an algorithm that has the `kid`, if one is named, or no `kid`."""
    return lambda key: key.alg == alg and (kid is None or key.kid in (kid, ""))


def fitting(keys: tuple[Key, ...], fits: Fits) -> tuple[Key, ...]:
    """Return those of the keys that fit."""
    return tuple(filter(fits, keys))


def _registered(client: Client) -> tuple[Key, ...]:
    """Return the keys of the metadata, parsed once for each state of it."""
    known = _parsed.get(client.client_id)
    if known is None or known[0] is not client.details:
        keys = foreign.of_set(client.details["jwks"]) if "jwks" in client.details else ()
        if len(_parsed) >= _MOST_ENTRIES:
            _parsed.clear()
        known = _parsed[client.client_id] = (client.details, keys)
    return known[1]


def _asked(where: _Where, fits: Fits) -> _Held:
    """Return what the source gave, now or before; one request at a time asks it, outside of everybody's way."""
    held = _fetched.get(where)
    if held and not _is_due(held, fits):
        return held
    with database.aside(), _flights.setdefault(where, threading.Lock()):
        held = _fetched.get(where)  # somebody may have asked meanwhile
        if held is None or _is_due(held, fits):
            if len(_fetched) >= _MOST_ENTRIES:
                _fetched.clear()
            held = _fetched[where] = _ask(where, held)
        _flights.pop(where, None)
    return held


def _is_due(held: _Held, fits: Fits) -> bool:
    now = clock.now()
    if now - held.asked_at < ASK_AGAIN_AFTER:
        return False
    return now >= held.fresh_until or not fitting(held.keys, fits)


def _ask(where: _Where, before: _Held | None) -> _Held:
    now = clock.now()
    fetch, source = where
    try:
        document = fetch(source)
        keys = foreign.of_set(document.value)
    except (Unreachable, BadKey) as cause:
        problem = f"jwks_uri: {cause}"
        if before is None:
            return _Held((), now, now, now, problem)
        return _Held(before.keys, now, before.fresh_until, before.usable_until, problem)
    said = KEPT_UNLESS_SAID if document.max_age is None else document.max_age
    fresh_until = now + min(max(said, ASK_AGAIN_AFTER), KEPT_AT_MOST)
    return _Held(keys, now, fresh_until, fresh_until + USED_WHEN_UNREACHABLE)


def forget() -> None:
    """Drop what this process holds."""
    _parsed.clear()
    _fetched.clear()


_parsed: dict[str, tuple[Mapping[str, Any], tuple[Key, ...]]] = {}
_fetched: dict[_Where, _Held] = {}
_flights: dict[_Where, threading.Lock] = {}
