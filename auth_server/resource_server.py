"""A protector for other Flask APIs that trust this server's access tokens, on Authlib's `ResourceProtector`.

    protect = resource_server.protector(issuer="https://id.example.org", audience="https://orders.example.org")

    @app.get("/orders")
    @protect("orders:read")
    def orders(): ...

`protect("orders:refund", acr="aal2", max_age=300)` also asks how strong and how recent the person's sign-in was, and
tells the app what to ask for (RFC 9470).

A token is verified locally, with nothing but the issuer's URL. What was revoked is seen within seconds in the issuer's
status list, which is fetched now and then for all tokens together. Given `introspection=(client_id, client_secret)` the
issuer is asked about every token instead: a revocation shows at once.
Importing this module brings nothing of the server along: no database, no settings.
"""

from __future__ import annotations

import functools
import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any, Literal
from urllib.parse import quote_plus, urlencode

from authlib.integrations.flask_oauth2 import ResourceProtector, current_token
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import TokenValidator
from flask import Response, abort

from auth_server.errors import (
    AccessDenied,
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidToken,
    ProtocolError,
    TemporarilyUnavailable,
)
from auth_server.keys import access_token, jose
from auth_server.resource_status import StatusLists

__all__ = ["Answer", "Fetch", "current_token", "protector", "require_role"]

LEEWAY = timedelta(seconds=60)
"""How far the clocks of issuer and API may differ."""
METADATA_PATH = "/.well-known/oauth-authorization-server"
_LEAST_CACHE_SECONDS, _MOST_CACHE_SECONDS = 60, 3600
_COOL_DOWN_SECONDS = 10
"""An unknown `kid` makes us fetch the key set again, at most this often."""
_RETRY_SECONDS = 1
"""An issuer that did not answer is left alone for so long."""
_LARGEST_ANSWER = 2 * 1024 * 1024
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*")  # RFC 6750 §2.1
Headers = Mapping[str, str]


@dataclass(frozen=True)
class Answer:
    """What a fetch brought: status, headers with lower-case names, and the body."""

    status: int
    headers: Headers
    body: bytes


Fetch = Callable[[str, Headers, bytes | None], Answer]
"""Called with URL, headers and, for a POST, the form; raises `OSError` when the issuer cannot be reached."""


def protector(
    issuer: str,
    audience: str,
    *,
    introspection: tuple[str, str] | None = None,
    fetch: Fetch | None = None,
    status_lists: Literal["strict", "lenient", "off"] = "strict",
) -> Protector:
    """Return a decorator maker: `protect("scope")` lets a request in whose token is for `audience` and has the scope.

    With `introspection`, the API's client id and secret, the issuer is asked about each token. Otherwise `status_lists`
    says what becomes of a token that names a list when none can be had that is still good: "strict" answers 503,
    "lenient" lets it in; "off" never looks.
    """
    if status_lists not in ("strict", "lenient", "off"):
        raise ValueError("status_lists is strict, lenient or off")
    source = _Issuer(issuer, fetch or _fetch_with_httpx2, introspection or ("", ""))
    return Protector(_Introspecting(source, audience) if introspection else _Verifying(source, audience, status_lists))


def require_role(role: str) -> None:
    """Answer 403 unless the token says that the person has this role (the `roles` scope must have been granted)."""
    held = current_token.get("roles")
    if not isinstance(held, list) or role not in held:
        refusal = AccessDenied("the person lacks the role that this needs")
        refusal.status = 403
        abort(_refusal(refusal))  # without a challenge: no other token would help


class Protector(ResourceProtector):  # type: ignore[misc]
    """Authlib's protector, with complete challenges (RFC 6750 §3) and all named scopes demanded.

    `acr` is the least strength of the person's sign-in, `max_age` the most seconds since then. A service's token, where
    nobody signed in, satisfies neither.
    """

    def __init__(self, validator: _Validator) -> None:
        super().__init__()
        self.register_token_validator(validator)
        self._challenge = f'Bearer realm="{validator.realm}"'

    def __call__(
        self, *scopes: str, acr: str | None = None, max_age: int | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        return super().__call__(list(scopes), needs=_Needs(acr, max_age))  # type: ignore[no-any-return]

    def acquire_token(
        self, scopes: list[str] | None = None, needs: _Needs | None = None, **_claims: Any
    ) -> dict[str, Any]:
        try:
            return super().acquire_token(scopes, needs=needs)  # type: ignore[no-any-return]
        except OAuth2Error:  # no bearer token in the request: no error code either (RFC 6750 §3.1)
            abort(Response(status=401, headers={"WWW-Authenticate": self._challenge}))
        except ProtocolError as refusal:
            abort(_refusal(refusal, self._challenge))


@dataclass(frozen=True)
class _Needs:
    """What a route asks of the person's sign-in."""

    acr: str | None = None
    max_age_seconds: int | None = None

    def check(self, token: dict[str, Any]) -> None:
        """Raise `InsufficientUserAuthentication` (RFC 9470 §3)."""
        is_strong = access_token.reaches(token.get("acr"), self.acr)
        if not is_strong or (self.max_age_seconds is not None and not self._is_recent(token, self.max_age_seconds)):
            raise InsufficientUserAuthentication(self.acr, self.max_age_seconds)

    def _is_recent(self, token: dict[str, Any], seconds: int) -> bool:
        max_age = timedelta(seconds=seconds) + LEEWAY
        return access_token.is_recent(token, now=datetime.now(UTC), max_age=max_age)


class _Validator(TokenValidator):  # type: ignore[misc]
    TOKEN_TYPE = "bearer"  # noqa: S105 - a scheme's name

    def __init__(self, issuer: _Issuer, audience: str) -> None:
        super().__init__(realm=audience)
        self.issuer, self.audience = issuer, audience

    def validate_token(
        self, token: dict[str, Any], scopes: list[str] | None, request: object, needs: _Needs | None = None, **_: Any
    ) -> None:
        if not set(scopes or ()) <= access_token.scopes_of(token):
            raise InsufficientScope(" ".join(scopes or ()))
        if needs:
            needs.check(token)


class _Verifying(_Validator):
    """Checks signature and claims locally (RFC 9068 §4), then the status list (Token Status List §8.3)."""

    def __init__(self, issuer: _Issuer, audience: str, policy: str) -> None:
        super().__init__(issuer, audience)
        self._policy, self._lists = policy, StatusLists(issuer.url, issuer.fetch, issuer.key, LEEWAY)

    def authenticate_token(self, token_string: str) -> dict[str, Any]:
        try:
            claims = access_token.verify(
                token_string.strip(),
                issuer=self.issuer.url,
                audiences=[self.audience],
                find_key=self.issuer.key,
                now=datetime.now(UTC),
                leeway=LEEWAY,
            )
            is_recalled = self._policy != "off" and self._lists.is_recalled(claims)
        except jose.BadToken as cause:
            raise InvalidToken(detail=str(cause)) from None
        if is_recalled:
            raise InvalidToken(detail="the token was recalled")
        if is_recalled is None and self._policy == "strict":
            raise _cannot_ask("no status list that is still good")
        return claims


class _Introspecting(_Validator):
    """Asks the issuer (RFC 7662)."""

    def authenticate_token(self, token_string: str) -> dict[str, Any]:
        presented = token_string.strip()
        if not _TOKEN.fullmatch(presented):
            raise InvalidToken(detail="malformed token")
        found = self.issuer.introspect(presented)
        for_us = self.audience in access_token.audience_of(found) and found.get("iss") == self.issuer.url
        if found.get("active") is not True or not for_us or found.get("token_type") != "Bearer":
            raise InvalidToken(detail="the issuer says that the token is not active here")
        return found


@dataclass
class _Issuer:
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
        return _cannot_ask(detail)


def _cannot_ask(detail: str) -> TemporarilyUnavailable:
    refusal = TemporarilyUnavailable("the issuer cannot be asked now", detail=detail, retry_after_seconds=5)
    refusal.status = 503
    return refusal


def _refusal(error: ProtocolError, challenge: str = "") -> Response:
    """Return the answer to a refused request (RFC 6750 §3)."""
    body = {"error": error.code, "error_description": error.description}
    response = Response(json.dumps(body), error.status, content_type="application/json")
    if challenge and error.status in (401, 403):
        response.headers["WWW-Authenticate"] = f'{challenge}, error="{error.code}"{_what_is_needed(error)}'
    if error.retry_after_seconds:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def _what_is_needed(error: ProtocolError) -> str:
    """Return the parameters of a challenge that say what the next token must have."""
    if isinstance(error, InsufficientScope):
        return f', scope="{error.scope}"'
    if not isinstance(error, InsufficientUserAuthentication):
        return ""
    wanted = (("acr_values", error.acr), ("max_age", error.max_age_seconds))
    return "".join(f', {name}="{value}"' for name, value in wanted if value is not None)


@functools.cache
def _http_client() -> Any:
    import httpx2  # only where a fetch is really made

    return httpx2.Client(timeout=5, trust_env=False)  # it keeps its connections and its trust store


def _fetch_with_httpx2(url: str, headers: Headers, body: bytes | None) -> Answer:
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
