"""The issuer as an API knows it: its metadata and keys, fetched when they are first needed, and its introspection."""

from __future__ import annotations

import functools
import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from urllib.parse import quote_plus, urlencode

from auth_server.errors import TemporarilyUnavailable
from auth_server.keys import jose

_LEAST_CACHE_SECONDS, _MOST_CACHE_SECONDS = 60, 3600
_COOL_DOWN_SECONDS = 10
"""An unknown `kid` makes us fetch the key set again, at most this often."""
_RETRY_SECONDS = 1
"""An issuer that did not answer is left alone for so long."""
_LARGEST_ANSWER = 2 * 1024 * 1024
METADATA_PATH = "/.well-known/oauth-authorization-server"
Headers = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What a fetch brought: status, headers with lower-case names, and the body."""

    status: int
    headers: Headers
    body: bytes


Fetch = Callable[[str, Headers, bytes | None], Answer]
"""Called with URL, headers and, for a POST, the form; raises `OSError` when the issuer cannot be reached."""


@dataclass
class Issuer:
    """The issuer as this process knows it: its metadata and keys, fetched when they are first needed."""

    url: str
    fetch: Fetch
    credentials: tuple[str, str]
    _metadata: dict[str, Any] = field(default_factory=dict)
    _keys: dict[str, jose.Key] = field(default_factory=dict)
    _good_until: float = float("-inf")
    _next_try: float = float("-inf")
    _is_down: bool = False
    _lock: Lock = field(default_factory=Lock)

    def key(self, kid: str) -> jose.Key | None:
        """Return a signing key; the key set is fetched again when it is old, or, now and then, for an unknown kid."""
        known = self._keys.get(kid) if time.monotonic() < self._good_until else None
        return known or self._sought(kid)

    def introspect(self, token: str) -> dict[str, Any]:
        """Return what the issuer says about a token."""
        basic = b64encode(":".join(map(quote_plus, self.credentials)).encode()).decode()  # RFC 6749 §2.3.1
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        return self._json(self._endpoint("introspection_endpoint"), headers, urlencode({"token": token}).encode())[0]

    def _sought(self, kid: str) -> jose.Key | None:
        """Ask the issuer, unless somebody just did: nobody's tokens make us a hammer."""
        with self._lock:
            if time.monotonic() >= self._next_try:
                self._is_down = True  # unless what follows says otherwise
                try:
                    self._load_keys()
                finally:
                    self._next_try = time.monotonic() + (_RETRY_SECONDS if self._is_down else _COOL_DOWN_SECONDS)
            if self._is_down:
                raise self._unreachable("it did not answer a moment ago")
            return self._keys.get(kid)

    def _load_keys(self) -> None:
        found, headers = self._json(self._endpoint("jwks_uri"), {}, None)
        listed = found.get("keys")
        keys = {}
        for jwk in listed if isinstance(listed, list) else ():
            with suppress(jose.BadToken, AttributeError):  # a kind of key that is not for us
                key = jose.import_public(jwk)
                keys[key.kid] = key
        age = re.search(r"max-age=(\d{1,9})", headers.get("cache-control", ""))
        seconds = min(max(int(age[1]) if age else 0, _LEAST_CACHE_SECONDS), _MOST_CACHE_SECONDS)
        self._keys, self._good_until, self._is_down = keys, time.monotonic() + seconds, False

    def _endpoint(self, name: str) -> str:
        """Return an address from the metadata (RFC 8414 §3), whose `issuer` must be the one we were given."""
        found = self._metadata or self._json(self.url + METADATA_PATH, {}, None)[0]
        address = found.get(name)
        if found.get("issuer") != self.url or not isinstance(address, str):
            raise self._unreachable(f"its metadata names another issuer, or no {name}")
        self._metadata = found
        return address

    def _json(self, url: str, headers: Headers, body: bytes | None) -> tuple[dict[str, Any], Headers]:
        try:
            answer = self.fetch(url, headers, body)
            found = json.loads(answer.body) if answer.status == 200 else None
        except (OSError, ValueError, RecursionError) as cause:
            raise self._unreachable(type(cause).__name__) from cause
        if not isinstance(found, dict):
            raise self._unreachable(f"status {answer.status}")
        return found, answer.headers

    def _unreachable(self, detail: str) -> TemporarilyUnavailable:
        self._metadata = {}  # perhaps its addresses are not right any more
        return cannot_ask(detail)


def cannot_ask(detail: str) -> TemporarilyUnavailable:
    refusal = TemporarilyUnavailable("the issuer cannot be asked now", detail=detail, retry_after_seconds=5)
    refusal.status = 503
    return refusal


@functools.cache
def _http_client() -> Any:
    import httpx2  # only where a fetch is really made

    return httpx2.Client(timeout=5, trust_env=False)  # it keeps its connections and its trust store


def fetch_with_httpx2(url: str, headers: Headers, body: bytes | None) -> Answer:
    import httpx2

    content = bytearray()
    try:
        with _http_client().stream("POST" if body else "GET", url, headers=dict(headers), content=body) as answer:
            for piece in answer.iter_bytes():
                content += piece
                if len(content) > _LARGEST_ANSWER:
                    raise OSError("the answer is too large")
    except httpx2.HTTPError as cause:
        raise OSError(str(cause)) from cause
    found = {name.lower(): value for name, value in answer.headers.items()}
    return Answer(answer.status_code, found, bytes(content))
