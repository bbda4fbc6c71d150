"""A protector for other Flask APIs that trust this server's access tokens, on Authlib's `ResourceProtector`.

    protect = resource_server.protector("https://id.example.org", "https://orders.example.org")

    @app.get("/orders")
    @protect("orders:read")
    def orders(): ...

A token is verified locally, with nothing but the issuer's URL: a revocation is noticed when the token expires. Given
`introspection=(client_id, client_secret)` the issuer is asked about every token instead: a revocation shows at once.
Importing this module brings nothing of the server along: no database, no settings.
"""

from __future__ import annotations

import json
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from authlib.integrations.flask_oauth2 import ResourceProtector, current_token
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import MissingAuthorizationError, TokenValidator
from flask import Response, abort

from auth_server.errors import InsufficientScope, InvalidToken, ProtocolError, TemporarilyUnavailable
from auth_server.keys import access_token, jose

__all__ = ["Answer", "current_token", "protector", "require_role"]

LEEWAY = timedelta(seconds=60)
"""How far the clocks of issuer and API may differ."""
METADATA_PATH = "/.well-known/oauth-authorization-server"
_LEAST_CACHE_SECONDS, _MOST_CACHE_SECONDS = 60, 3600
_COOL_DOWN_SECONDS = 10
"""An unknown `kid` makes us fetch the key set again, at most this often."""
_LONGEST_TOKEN = 16_384


@dataclass(frozen=True)
class Answer:
    """What a fetch brought: status, headers with lower-case names, and the body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


Fetch = Callable[[str, Mapping[str, str], bytes | None], Answer]
"""Called with URL, headers and, for a POST, the form; raises `OSError` when the issuer cannot be reached."""


def protector(
    issuer: str, audience: str, *, introspection: tuple[str, str] | None = None, fetch: Fetch | None = None
) -> Protector:
    """Return a decorator maker: `protect("scope")` lets a request in whose token is for `audience` and has the scope.

    With `introspection`, the API's client id and secret, the issuer is asked about each token.
    """
    source = _Issuer(issuer, fetch or _fetch_with_httpx2)
    made = Protector()
    if introspection:
        made.register_token_validator(_Introspecting(source, audience, introspection))
    else:
        made.register_token_validator(_Verifying(source, audience))
    return made


def require_role(role: str) -> None:
    """Answer 403 unless the token says that the person has this role (the `roles` scope must have been granted)."""
    if role not in (current_token.get("roles") or ()):
        abort(_refusal(RoleMissing("the person lacks the role that this needs")))


class RoleMissing(ProtocolError):
    """The token is good, the person may not."""

    code = "access_denied"
    status = 403


class Protector(ResourceProtector):  # type: ignore[misc]
    """Authlib's protector, with complete challenges (RFC 6750 §3) and all named scopes demanded."""

    def __call__(self, *scopes: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        decorator: Callable[[Callable[..., Any]], Callable[..., Any]] = super().__call__(list(scopes))
        return decorator

    def acquire_token(self, scopes: list[str] | None = None, **_claims: Any) -> dict[str, Any]:
        try:
            token: dict[str, Any] = super().acquire_token(scopes)
        except MissingAuthorizationError:
            abort(_refusal(InvalidToken(), bare=True))
        except OAuth2Error:
            abort(_refusal(InvalidToken()))
        except ProtocolError as refusal:
            abort(_refusal(refusal))
        return token


class _Validator(TokenValidator):  # type: ignore[misc]
    TOKEN_TYPE = "bearer"  # noqa: S105 - a scheme's name

    def __init__(self, issuer: _Issuer, audience: str) -> None:
        super().__init__(realm=audience)
        self.issuer, self.audience = issuer, audience

    def validate_token(self, token: dict[str, Any], scopes: list[str] | None, request: object, **_: Any) -> None:
        if not set(scopes or ()) <= access_token.scopes_of(token):
            raise InsufficientScope(" ".join(scopes or ()))


class _Verifying(_Validator):
    """Checks signature and claims locally (RFC 9068 §4)."""

    def authenticate_token(self, token_string: str) -> dict[str, Any]:
        presented = token_string.strip()
        try:
            return access_token.verify(
                presented,
                issuer=self.issuer.url,
                audiences=[self.audience],
                find_key=self.issuer.key,
                now=datetime.now(UTC),
                leeway=LEEWAY,
            )
        except jose.BadToken as cause:
            raise InvalidToken(detail=str(cause)) from None


class _Introspecting(_Validator):
    """Asks the issuer (RFC 7662)."""

    def __init__(self, issuer: _Issuer, audience: str, credentials: tuple[str, str]) -> None:
        super().__init__(issuer, audience)
        self.credentials = credentials

    def authenticate_token(self, token_string: str) -> dict[str, Any]:
        presented = token_string.strip()
        if len(presented) > _LONGEST_TOKEN or not re.fullmatch(r"[A-Za-z0-9._~+/=-]+", presented):
            raise InvalidToken(detail="malformed token")
        found = self.issuer.introspect(presented, self.credentials)
        for_us = self.audience in access_token.audience_of(found) and found.get("iss") == self.issuer.url
        if found.get("active") is not True or not for_us or found.get("token_type") != "Bearer":
            raise InvalidToken(detail="the issuer says that the token is not active here")
        return found


@dataclass
class _Issuer:
    """The issuer as this process knows it: its metadata and keys, fetched when they are first needed."""

    url: str
    fetch: Fetch
    _metadata: dict[str, Any] = field(default_factory=dict)
    _keys: dict[str, jose.Key] = field(default_factory=dict)
    _good_until: float = 0.0
    _fetched_at: float = float("-inf")
    _lock: Lock = field(default_factory=Lock)

    def key(self, kid: str) -> jose.Key | None:
        """Return a signing key; the key set is fetched again when it is old, or, now and then, for an unknown kid."""
        with self._lock:
            now = time.monotonic()
            is_new = kid not in self._keys and now - self._fetched_at >= _COOL_DOWN_SECONDS
            if now >= self._good_until or is_new:
                self._load_keys(now)
            return self._keys.get(kid)

    def introspect(self, token: str, credentials: tuple[str, str]) -> dict[str, Any]:
        """Return what the issuer says about a token."""
        basic = b64encode(":".join(credentials).encode()).decode()
        headers = {"Authorization": f"Basic {basic}", "Content-Type": "application/x-www-form-urlencoded"}
        body = b"token=" + token.replace("+", "%2B").replace("=", "%3D").replace("/", "%2F").encode()
        return self._json(self.metadata()["introspection_endpoint"], headers, body)[0]

    def metadata(self) -> dict[str, Any]:
        """Return the issuer's metadata (RFC 8414 §3); its `issuer` must be the one we were given."""
        if not self._metadata:
            found, _headers = self._json(self.url + METADATA_PATH, {}, None)
            if found.get("issuer") != self.url:
                raise _unreachable("its metadata names another issuer")
            self._metadata = found
        return self._metadata

    def _load_keys(self, now: float) -> None:
        found, headers = self._json(self.metadata()["jwks_uri"], {}, None)
        keys = {}
        for jwk in found.get("keys", []):
            try:
                key = jose.import_public(jwk)
            except jose.BadToken:
                continue  # a kind of key that is not for us
            keys[key.kid] = key
        age = re.search(r"max-age=(\d{1,9})", headers.get("cache-control", ""))
        seconds = int(age[1]) if age else _LEAST_CACHE_SECONDS
        self._keys, self._fetched_at = keys, now
        self._good_until = now + min(max(seconds, _LEAST_CACHE_SECONDS), _MOST_CACHE_SECONDS)

    def _json(
        self, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[dict[str, Any], Mapping[str, str]]:
        try:
            answer = self.fetch(url, headers, body)
            found = json.loads(answer.body) if answer.status == 200 else None
        except (OSError, ValueError) as cause:
            raise _unreachable(type(cause).__name__) from cause
        if not isinstance(found, dict):
            raise _unreachable(f"status {answer.status}")
        return found, answer.headers


def _unreachable(detail: str) -> TemporarilyUnavailable:
    refusal = TemporarilyUnavailable("the issuer cannot be asked now", detail=detail, retry_after_seconds=5)
    refusal.status = 503
    return refusal


def _refusal(error: ProtocolError, *, bare: bool = False) -> Response:
    """Return the answer to a refused request; a request without credentials gets no error code (RFC 6750 §3.1)."""
    response = Response(status=error.status)
    if not bare:
        response.set_data(json.dumps({"error": error.code, "error_description": error.description}))
        response.content_type = "application/json"
    if error.status in (401, 403):
        challenge = "Bearer" if bare else f'Bearer error="{error.code}"'
        if isinstance(error, InsufficientScope):
            challenge += f', scope="{error.scope}"'
        response.headers["WWW-Authenticate"] = challenge
    if error.retry_after_seconds:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def _fetch_with_httpx2(url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
    import httpx2  # only where a fetch is really made

    try:
        answer = httpx2.request(
            "GET" if body is None else "POST", url, headers=dict(headers), content=body, timeout=5, trust_env=False
        )
    except httpx2.HTTPError as cause:
        raise OSError(str(cause)) from cause
    return Answer(answer.status_code, {name.lower(): value for name, value in answer.headers.items()}, answer.content)
