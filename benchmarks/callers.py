"""Apps that keep asking while servers come and go, and notice when an answer contradicts an earlier one."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from benchmarks import load
from benchmarks.grounds import APP, OPAQUE, REDIRECT_URI, RS256, SECRET, SERVICE, VERIFIER

_ASK_AGAIN_SECONDS = 0.05
_SEEN_EVERYWHERE_SECONDS = 1.0
_CODES_LIVE_SECONDS = 15
"""Of the minute that they are good for: on a slow machine an answer takes long."""
_REFRESHES = 100
"""Of one family, which may be refreshed 120 times an hour."""
_NO_ANSWER = (502, 503, 504)


class Caller(threading.Thread):
    """One app. It repeats its act until `over`, and every request until there is an answer."""

    def __init__(self, port: int, over: threading.Event, act: Callable[[Caller], None]) -> None:
        super().__init__()
        self.answered: Counter[int] = Counter()
        self.lost = 0
        self.wrong: list[str] = []
        self._port, self._over, self._act = port, over, act

    def run(self) -> None:
        while not self._over.is_set():
            self._act(self)

    def ask(self, path: str, client_id: str, **fields: str) -> tuple[int, dict[str, Any]]:
        """Send a form as a client; return the status and the answer's object."""
        request = load.form(path, fields, Authorization=load.basic(client_id, SECRET))
        while True:
            try:
                status, body = load.once(self._port, request)
            except (OSError, ValueError):
                status, body = _NO_ANSWER[0], b""
            if status not in _NO_ANSWER:
                self.answered[status] += 1
                return status, json.loads(body or b"{}")
            self.lost += 1
            time.sleep(_ASK_AGAIN_SECONDS)

    def expect(self, is_right: bool, what: str) -> None:
        if not is_right:
            self.wrong.append(what)


def key_set(port: int) -> KeySet:
    """Return the server's published keys."""
    status, body = load.once(port, load.get("/.well-known/jwks.json"))
    if status != 200:
        raise RuntimeError(f"no key set: {status}")
    return KeySet.import_key_set(json.loads(body))


def signs(keys: KeySet) -> Callable[[Caller], None]:
    """Ask for a JWT, verify it by the key set, and introspect it: it must be good everywhere at once."""

    def act(caller: Caller) -> None:
        status, answer = caller.ask("/oauth/token", SERVICE, grant_type="client_credentials", scope=RS256)
        token = answer.get("access_token", "")
        caller.expect(status == 200 and _is_signed(token, keys), f"client_credentials: {status} {answer}")
        status, answer = caller.ask("/oauth/introspect", SERVICE, token=token)
        caller.expect(bool(answer.get("active")), f"a fresh token is not active: {status} {answer}")

    return act


def _is_signed(token: str, keys: KeySet) -> bool:
    try:
        return bool(jwt.decode(token, keys, algorithms=["RS256"]).claims["sub"])
    except (JoseError, ValueError):
        return False


def rotates(families: deque[str]) -> Callable[[Caller], None]:
    """Refresh again and again. An answer that was lost must not sign the person out."""
    turns = itertools.count()
    held = [""]

    def act(caller: Caller) -> None:
        if next(turns) % _REFRESHES == 0:
            held[0] = families.popleft()
        status, answer = caller.ask("/oauth/token", APP, grant_type="refresh_token", refresh_token=held[0])
        caller.expect(status == 200, f"refresh: {status} {answer}")
        held[0] = answer.get("refresh_token", held[0])
        time.sleep(_ASK_AGAIN_SECONDS)

    return act


def redeems(make: Callable[[], list[str]]) -> Callable[[Caller], None]:
    """Present each code twice: it must never be good twice, and is good once unless its answer was lost."""
    codes: list[str] = []
    made_at = time.monotonic()

    def act(caller: Caller) -> None:
        nonlocal codes, made_at
        if not codes or time.monotonic() - made_at > _CODES_LIVE_SECONDS:
            codes, made_at = make(), time.monotonic()
        time.sleep(_ASK_AGAIN_SECONDS)
        lost, code = caller.lost, codes.pop()
        fields = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI, "code_verifier": VERIFIER}
        first, answer = caller.ask("/oauth/token", APP, code=code, **fields)
        caller.expect(first == 200 or caller.lost > lost, f"a fresh code: {first} {answer}")
        second, _answer = caller.ask("/oauth/token", APP, code=code, **fields)
        caller.expect(second == 400, f"a code that was presented before: {second}")

    return act


def revokes(caller: Caller) -> None:
    """Revoke a token; a second later no server may call it active."""
    _status, answer = caller.ask("/oauth/token", SERVICE, grant_type="client_credentials", scope=OPAQUE)
    token = answer["access_token"]
    status, answer = caller.ask("/oauth/revoke", SERVICE, token=token)
    caller.expect(status == 200, f"revocation: {status} {answer}")
    time.sleep(_SEEN_EVERYWHERE_SECONDS)
    for _server in range(4):
        _status, answer = caller.ask("/oauth/introspect", SERVICE, token=token)
        caller.expect(answer.get("active") is False, f"a revoked token: {answer}")
