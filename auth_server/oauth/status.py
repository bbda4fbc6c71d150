"""GET /oauth/status/<number>: the status lists (Token Status List §8), by which APIs see what was recalled.

A list is kept as signed bytes and made anew when the rows say something else, or when half its time to live has passed.
The rows are looked at twice a second at most, and only when somebody asks: this process is as late as any other. A
version stamp would be earlier by nothing and would make all who end something wait for one row.

Refusals are not limited per address: a stranger behind an API's address could keep the lists from it.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from dataclasses import dataclass

from werkzeug.http import parse_etags

from auth_server import config
from auth_server.infra import clock
from auth_server.keys import keyring, status_list
from auth_server.tokens import status_index
from auth_server.web import answers
from auth_server.web.answers import Answer
from auth_server.web.machines import Machines, Request

PATH = status_index.PATH
LIFE_IN_TTLS = 3
"""A list is good for so many times its time to live: for that long an API goes on without us."""
_ALG = "RS256"
_LOOK_AGAIN_AFTER_SECONDS = 0.5
_NUMBER = re.compile(r"0|[1-9][0-9]{0,2}")


def setup_status(machines: Machines) -> None:
    machines.add(PATH, _Lists().answer)


@dataclass(frozen=True)
class _Made:
    """A list as it is sent. `good_until` and `look_at` are moments of the monotonic clock."""

    recalled: tuple[int, ...]
    etag: str
    answer: Answer
    look_at: float
    good_until: float


class _Lists:
    """The lists of this process, by number; an unknown one is never kept."""

    def __init__(self) -> None:
        self._made: dict[str, _Made] = {}
        self._looking = threading.Lock()

    def answer(self, request: Request) -> Answer:
        """Answer with the list, or 304 (RFC 9110 §13.1.2); we keep no history to answer for a `time` (§8.4)."""
        if "time" in request.query:
            return answers.of_status(501)
        number = request.path.removeprefix(PATH)
        made = self._made.get(number)
        now = time.monotonic()
        if made is None:
            made = self._looked_at(number, None, now)
        elif now >= made.look_at and self._looking.acquire(blocking=False):
            try:  # one looks; the others go on with what it had
                made = self._looked_at(number, made, now)
            finally:
                self._looking.release()
        if made is None:
            return answers.of_status(404)
        known = request.environ.get("HTTP_IF_NONE_MATCH")
        if known is not None and parse_etags(known).contains_weak(made.etag):
            return Answer(304, b"", made.answer.headers[1:])
        return made.answer

    def _looked_at(self, number: str, made: _Made | None, now: float) -> _Made | None:
        recalled = status_index.recalled(int(number)) if _NUMBER.fullmatch(number) else None
        if recalled is None:
            return None
        if made is None or made.recalled != recalled or now >= made.good_until:
            half = config.current().status_list_ttl.total_seconds() / 2
            etag, answer = _render(int(number), recalled)
            made = _Made(recalled, etag, answer, now + min(_LOOK_AGAIN_AFTER_SECONDS, half), now + half)
        else:
            look_at = min(now + _LOOK_AGAIN_AFTER_SECONDS, made.good_until)
            made = _Made(made.recalled, made.etag, made.answer, look_at, made.good_until)
        self._made[number] = made
        return made


def _render(number: int, recalled: tuple[int, ...]) -> tuple[str, Answer]:
    ttl_seconds = int(config.current().status_list_ttl.total_seconds())
    body = status_list.sign(
        recalled,
        keyring.signer(_ALG),
        issuer=config.current().issuer,
        uri=status_index.uri(number),
        now=clock.epoch_seconds(clock.now()),
        ttl_seconds=ttl_seconds,
        life_seconds=LIFE_IN_TTLS * ttl_seconds,
    ).encode()
    etag = hashlib.sha256(body).hexdigest()[:32]
    caching = ("Cache-Control", f"public, max-age={ttl_seconds}")
    return etag, Answer(200, body, (("Content-Type", status_list.MEDIA_TYPE), ("ETag", f'"{etag}"'), caching))
