"""The one way out: every request that the server makes to an address which others have named.

https only; the host is resolved once, each address must be public, and the connection goes to one of these; no
redirect is followed, no proxy or other environment believed; one time limit holds for the whole, one size limit for the
body. A compressed body is refused rather than opened. OUTBOUND_ALLOW_HOSTS names hosts that may be anywhere, and, on a
loopback issuer, be asked by plain http; OUTBOUND_CA_FILE says whom to trust besides the system's authorities.

It may take `LONGEST_SECONDS`: call it in a job, or within `database.aside()`, where nobody waits for us.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from auth_server import config
from auth_server.infra import destination
from auth_server.infra.destination import Resolve
from auth_server.infra.destination import Unreachable as Unreachable

LONGEST_SECONDS = 5.0
LARGEST = 64 * 1024
JSON = ("application/json", "application/*+json")
_MAX_AGE = re.compile(r"(?:^|[\s,])max-age=\"?(\d{1,9})\"?(?:$|[\s,])", re.IGNORECASE)
_AGENT = "auth-server"


@dataclass(frozen=True)
class Response:
    """An answer of any status but a redirect; header names are in lower case. The body is shown to nobody."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def media_type(self) -> str:
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def max_age(self) -> timedelta | None:
        """How long it may be kept (RFC 9111 §5.2.2); None when it does not say."""
        caching = self.headers.get("cache-control", "")
        if re.search(r"(?:^|[\s,])no-(?:store|cache)(?:$|[\s,])", caching, re.IGNORECASE):
            return timedelta(0)
        found = _MAX_AGE.search(caching)
        return timedelta(seconds=int(found[1])) if found else None


@dataclass(frozen=True)
class Document:
    """A JSON document, and how long its server lets it be kept."""

    value: Any
    max_age: timedelta | None


class Outbound:
    """A client with a resolver and a time limit of its own; the functions below use the system's and the usual one."""

    def __init__(self, resolve: Resolve = destination.system_addresses, seconds: float = LONGEST_SECONDS) -> None:
        self._resolve, self._seconds = resolve, seconds

    def fetch(self, url: str, media_types: Sequence[str], *, most_bytes: int = LARGEST) -> Response:
        """GET a document of one of the media types; `Unreachable` for any other answer than 200 with one."""
        response = self._send("GET", url, {"Accept": ", ".join(media_types)}, b"", most_bytes)
        if response.status != 200:
            raise Unreachable("the answer is not 200", response.status)
        if not any(_is_of(response.media_type, wanted) for wanted in media_types):
            raise Unreachable("another content type than expected")
        return response

    def fetch_json(self, url: str, *, media_types: Sequence[str] = JSON, most_bytes: int = LARGEST) -> Document:
        """GET a JSON document; raise `Unreachable`."""
        response = self.fetch(url, media_types, most_bytes=most_bytes)
        try:
            return Document(json.loads(response.body.decode("utf-8")), response.max_age)
        except (ValueError, RecursionError):
            raise Unreachable("the answer is no JSON") from None

    def post(
        self,
        url: str,
        body: bytes,
        content_type: str,
        *,
        headers: Mapping[str, str] | None = None,
        most_bytes: int = LARGEST,
    ) -> Response:
        """POST a body and return the answer whatever its status; with `most_bytes=0` its body is not looked at."""
        return self._send("POST", url, {"Content-Type": content_type, **(headers or {})}, body, most_bytes)

    def _send(self, method: str, url: str, headers: Mapping[str, str], body: bytes, most_bytes: int) -> Response:
        from auth_server.infra import guarded

        where = destination.parse(url)
        every = {"User-Agent": _AGENT, "Accept-Encoding": "identity", "Connection": "close", **headers}
        if method == "POST":
            every["Content-Length"] = str(len(body))
        status, answered, content = guarded.send(
            method,
            where,
            [(name.encode("ascii"), value.encode("ascii")) for name, value in every.items()],
            body,
            seconds=self._seconds,
            most_bytes=most_bytes,
            ca_file=config.current().outbound_ca_file,
            resolve=self._resolve,
        )
        response = Response(status, {n.decode("latin-1").lower(): v.decode("latin-1") for n, v in answered}, content)
        if 300 <= status < 400:
            raise Unreachable("a redirect, which is not followed")
        if most_bytes and response.headers.get("content-encoding", "identity").lower() != "identity":
            raise Unreachable("a compressed answer, which was not asked for")
        return response


def fetch(url: str, media_types: Sequence[str], *, most_bytes: int = LARGEST) -> Response:
    """See `Outbound.fetch`."""
    return _usual.fetch(url, media_types, most_bytes=most_bytes)


def fetch_json(url: str, *, media_types: Sequence[str] = JSON, most_bytes: int = LARGEST) -> Document:
    """See `Outbound.fetch_json`."""
    return _usual.fetch_json(url, media_types=media_types, most_bytes=most_bytes)


def post(
    url: str, body: bytes, content_type: str, *, headers: Mapping[str, str] | None = None, most_bytes: int = LARGEST
) -> Response:
    """See `Outbound.post`."""
    return _usual.post(url, body, content_type, headers=headers, most_bytes=most_bytes)


def _is_of(media_type: str, wanted: str) -> bool:
    """Compare with a media type, or with one of the form `application/*+json`."""
    if "*" not in wanted:
        return media_type == wanted
    head, _, tail = wanted.partition("*")
    return media_type.startswith(head) and media_type.endswith(tail)


_usual = Outbound()
