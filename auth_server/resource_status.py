"""The status lists that an API's process holds, for `resource_server`: fetched when a token names one, kept as long as
the issuer says, by one request at a time.

Like that module it brings nothing of the server along; how to fetch and where keys are is handed to it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Protocol

from auth_server.errors import ProtocolError
from auth_server.keys import jose, status_list
from auth_server.keys.status_list import StatusList

_MOST_LISTS = 64
_EARLY_SECONDS = 1
"""A list is fetched so much before it is too old: the issuer's processes are up to half a second late themselves."""
_LEAST_SECONDS, _MOST_SECONDS = 1, 300
_RETRY_SECONDS = 1
"""An issuer that did not answer is left alone for so long."""


class _Answer(Protocol):
    """What a fetch brought: see `resource_server.Answer`."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


_Fetch = Callable[[str, Mapping[str, str], bytes | None], _Answer]
_FindKey = Callable[[str], jose.Key | None]


@dataclass
class _Kept:
    """One list. Fresh: it need not be asked for; good: it may still be believed when nobody can be asked."""

    content: StatusList | None = None
    fresh_until: float = float("-inf")
    good_until: float = float("-inf")
    next_try: float = float("-inf")
    has_failed: bool = False
    lock: Lock = field(default_factory=Lock)


class StatusLists:
    """What one API knows about recalled tokens."""

    def __init__(self, issuer: str, fetch: _Fetch, find_key: _FindKey, leeway: timedelta) -> None:
        self._issuer, self._fetch, self._find_key, self._leeway = issuer, fetch, find_key, leeway
        self._kept: dict[str, _Kept] = {}

    def is_recalled(self, claims: Mapping[str, Any]) -> bool | None:
        """Tell whether the token was recalled; None when that cannot be known now.

        A token without a `status` was not. Raises `jose.BadToken` for a claim that is not the issuer's way to say it.
        """
        if "status" not in claims:
            return False
        uri, index = self._place(claims["status"])
        if len(self._kept) >= _MOST_LISTS and uri not in self._kept:
            self._kept = {}
        kept = self._kept.setdefault(uri, _Kept())
        self._refresh(uri, kept)
        is_good = time.monotonic() < kept.good_until
        if kept.content is None:
            return None
        recalled = kept.content.is_recalled(index)
        return recalled if is_good else recalled or None  # a bit that was set is not cleared while its token lives

    def _place(self, status: object) -> tuple[str, int]:
        """Return address and index; nothing is ever fetched from elsewhere than the issuer."""
        named = status.get("status_list") if isinstance(status, dict) else None
        uri, index = (named.get("uri"), named.get("idx")) if isinstance(named, dict) else (None, None)
        if not isinstance(uri, str) or not uri.startswith(self._issuer + "/") or type(index) is not int:
            raise jose.BadToken("malformed status, or a list of somebody else's")
        return uri, index

    def _refresh(self, uri: str, kept: _Kept) -> None:
        """Fetch the list when it is old. Others wait for it, but not for an issuer that was away a moment ago."""
        now = time.monotonic()
        if now < kept.fresh_until:
            return
        must_wait = not kept.has_failed or now >= kept.good_until
        if not kept.lock.acquire(blocking=must_wait):
            return
        try:
            if time.monotonic() >= max(kept.fresh_until, kept.next_try):
                self._renew(uri, kept)
        finally:
            kept.lock.release()

    def _renew(self, uri: str, kept: _Kept) -> None:
        asked_at = time.monotonic()
        try:
            answer = self._fetch(uri, {"Accept": status_list.MEDIA_TYPE}, None)
            content = self._verified(uri, answer)
        except (OSError, jose.BadToken, ProtocolError):
            kept.has_failed, kept.next_try = True, time.monotonic() + _RETRY_SECONDS
            return
        said = [seconds for seconds in (_max_age(answer.headers), content.ttl_seconds) if seconds is not None]
        seconds = min(max(min(said, default=0) - _EARLY_SECONDS, _LEAST_SECONDS), _MOST_SECONDS)
        kept.content, kept.has_failed = content, False
        kept.good_until = asked_at + content.life_seconds
        kept.fresh_until = min(asked_at + seconds, kept.good_until)

    def _verified(self, uri: str, answer: _Answer) -> StatusList:
        if answer.status != 200:
            raise OSError(f"status {answer.status}")
        token = answer.body.decode("ascii", "replace")
        about: dict[str, Any] = {"issuer": self._issuer, "uri": uri, "find_key": self._find_key}
        return status_list.verify(token, **about, now=datetime.now(UTC), leeway=self._leeway)


def _max_age(headers: Mapping[str, str]) -> int | None:
    """Return for how many seconds HTTP says that an answer may be kept from now on (RFC 9111 §4.2), or None."""
    said = re.search(r"max-age=([0-9]{1,9})", headers.get("cache-control", ""))
    age = headers.get("age", "")
    passed = int(age) if re.fullmatch(r"[0-9]{1,9}", age) else 0  # in a cache on the way
    return int(said[1]) - passed if said else None
