"""The rows: which requests each one sends, to our server and to the baseline alike."""

from __future__ import annotations

import base64
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from auth_server.clients.metadata import DEVICE_CODE
from benchmarks import load
from benchmarks.grounds import (
    APP,
    CHALLENGE,
    DEVICE,
    ES256,
    OPAQUE,
    PERSON,
    REDIRECT_URI,
    RS256,
    SECRET,
    SERVICE,
    VERIFIER,
    Ground,
    OurGround,
)
from benchmarks.load import Source

_MOST_CODES_PER_SECOND = 1500
_FAMILIES_PER_SECOND = 32
"""A family may be refreshed 120 times an hour, so this is enough for 3,840 requests/s."""
_FEWEST_FAMILIES = 256
"""Canaille cannot refresh one family twice within a second."""


_PUSHED = {
    **{"client_id": APP, "redirect_uri": REDIRECT_URI, "response_type": "code", "scope": PERSON, "state": VERIFIER},
    **{"nonce": VERIFIER, "code_challenge": CHALLENGE, "code_challenge_method": "S256"},
}


@dataclass(frozen=True)
class Row:
    """One kind of request. `token_form`: how the access token that it gives must look (an algorithm, or opaque).

    `ours_only`: Authlib has nothing that the baseline could do it with.
    """

    name: str
    about: str
    source: Callable[[Ground, float], Source]
    token_form: str = ""
    ours_only: bool = False
    """The baseline has nothing of the kind."""

    def check(self, body: bytes) -> None:
        """Refuse to measure something else than the row says."""
        if not self.token_form:
            return
        token = json.loads(body)["access_token"]
        head = token.partition(".")[0]
        form = json.loads(base64.urlsafe_b64decode(head + "=="))["alg"] if token.count(".") == 2 else OPAQUE
        if form != self.token_form:
            raise RuntimeError(f"{self.name}: the access token is {form}, expected {self.token_form}")


def _document(path: str, marker: bytes) -> Callable[[Ground, float], Source]:
    request = load.get(path)
    return lambda ground, seconds: Source(lambda: request, marker)


def _token_request(client_id: str, **fields: str) -> bytes:
    return load.form("/oauth/token", fields, Authorization=load.basic(client_id, SECRET))


def _service(scope: str) -> Callable[[Ground, float], Source]:
    request = _token_request(SERVICE, grant_type="client_credentials", scope=scope)
    return lambda ground, seconds: Source(lambda: request, b'"access_token"')


def _exchange(code: str) -> bytes:
    return _token_request(
        APP, grant_type="authorization_code", code=code, redirect_uri=REDIRECT_URI, code_verifier=VERIFIER
    )


def _codes(scope: str) -> Callable[[Ground, float], Source]:
    def source(ground: Ground, seconds: float) -> Source:
        requests = deque(map(_exchange, ground.codes(scope, int(_MOST_CODES_PER_SECOND * seconds))))
        return Source(lambda: requests.popleft() if requests else None, b'"id_token"')

    return source


def _chains(scope: str, marker: bytes) -> Callable[[Ground, float], Source]:
    """Each answer's refresh token goes to the end of the queue: every family in turn."""

    def source(ground: Ground, seconds: float) -> Source:
        waiting = deque(ground.refresh_tokens(scope, max(_FEWEST_FAMILIES, int(_FAMILIES_PER_SECOND * seconds))))
        return Source(
            lambda: _token_request(APP, grant_type="refresh_token", refresh_token=waiting.popleft()),
            marker,
            lambda body: waiting.append(json.loads(body)["refresh_token"]),
        )

    return source


def _polls(ground: Ground, seconds: float) -> Source:
    """Each device asks once, and waits: a second time it would be too early."""
    if not isinstance(ground, OurGround):
        raise TypeError("only our server has devices")
    about = {"grant_type": DEVICE_CODE, "client_id": DEVICE}
    codes = deque(ground.devices(int(_MOST_CODES_PER_SECOND * seconds)))
    return Source(
        lambda: load.form("/oauth/token", {**about, "device_code": codes.popleft()}) if codes else None,
        b'"authorization_pending"',
        status=400,
    )


def _access_token(ground: Ground, scope: str) -> str:
    status, body = load.once(ground.port, _exchange(ground.codes(scope, 1)[0]))
    if status != 200:
        raise RuntimeError(f"no access token: {status} {body[:300]!r}")
    return str(json.loads(body)["access_token"])


def _introspection(scope: str) -> Callable[[Ground, float], Source]:
    def source(ground: Ground, seconds: float) -> Source:
        fields = {"token": _access_token(ground, scope)}
        request = load.form("/oauth/introspect", fields, Authorization=load.basic(APP, SECRET))
        return Source(lambda: request, b'"exp"')  # an inactive token has none

    return source


def _userinfo(scope: str) -> Callable[[Ground, float], Source]:
    def source(ground: Ground, seconds: float) -> Source:
        request = load.get("/oauth/userinfo", Authorization=f"Bearer {_access_token(ground, scope)}")
        return Source(lambda: request, b'"email"')

    return source


def _push(ground: Ground, seconds: float) -> Source:
    request = load.form("/oauth/par", _PUSHED, Authorization=load.basic(APP, SECRET))
    return Source(lambda: request, b'"request_uri"')


STATUS_LIST = Row("status-list", "the status list", _document("/oauth/status/0", b"eyJ"))
"""Not among the others: nobody else has one."""
ROWS = (
    Row("metadata", "OpenID Connect discovery", _document("/.well-known/openid-configuration", b'"issuer"')),
    Row("jwks", "key set", _document("/.well-known/jwks.json", b'"keys"')),
    Row("cc-rs256", "client_credentials, RS256 JWT", _service(RS256), "RS256"),
    Row("cc-es256", "client_credentials, ES256 JWT", _service(ES256), "ES256"),
    Row("cc-opaque", "client_credentials, opaque", _service(OPAQUE), OPAQUE),
    Row("code", "code + PKCE: opaque + refresh + RS256 ID token", _codes(f"{PERSON} {OPAQUE}"), OPAQUE),
    Row("code-jwt", "code + PKCE: RS256 JWT + refresh + RS256 ID token", _codes(PERSON), "RS256"),
    Row("par", "pushed authorization request", _push, ours_only=True),
    Row("refresh", "rotation: opaque + refresh", _chains(f"offline_access {OPAQUE}", b'"refresh_token"'), OPAQUE),
    Row(
        "refresh-openid",
        "rotation: opaque + refresh + RS256 ID token",
        _chains(f"{PERSON} {OPAQUE}", b'"id_token"'),
        OPAQUE,
    ),
    Row(  # Canaille gives no new ID token, so its absence is no error here
        "refresh-jwt",
        "rotation: RS256 JWT + refresh + RS256 ID token",
        _chains(PERSON, b'"refresh_token"'),
        "RS256",
    ),
    Row("introspect", "introspection of an opaque token", _introspection(f"{PERSON} {OPAQUE}")),
    Row("introspect-jwt", "introspection of an RS256 JWT", _introspection(PERSON)),
    Row("userinfo", "userinfo with an opaque token", _userinfo(f"{PERSON} {OPAQUE}")),
    Row("userinfo-jwt", "userinfo with an RS256 JWT", _userinfo(PERSON)),
    Row("device-poll", "a device that asks whether the person has decided: not yet", _polls, ours_only=True),
)
