"""A protector for other Flask APIs that trust this server's access tokens, on Authlib's `ResourceProtector`.

    protect = resource_server.protector(issuer="https://id.example.org", audience="https://orders.example.org")

    @app.get("/orders")
    @protect("orders:read")
    def orders(): ...

`protect("orders:refund", acr="aal2", max_age=300)` also asks how strong and how recent the person's sign-in was, and
tells the app what to ask for (RFC 9470). `protect.tell(app)` serves the API's metadata (RFC 9728) and names their
address in challenges, so that apps that never heard of the API find this server.

A token is verified locally, with nothing but the issuer's URL. What was revoked is seen within seconds in the issuer's
status list, which is fetched now and then for all tokens together. Given `introspection=(client_id, client_secret)` the
issuer is asked about every token instead: a revocation shows at once.
Importing this module brings nothing of the server along: no database, no settings.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from authlib.integrations.flask_oauth2 import ResourceProtector, current_token
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import TokenValidator
from flask import Blueprint, Flask, Response, abort
from flask import request as flask_request

from auth_server import resource_dpop, resource_metadata, resource_mtls
from auth_server.errors import (
    AccessDenied,
    InsufficientScope,
    InsufficientUserAuthentication,
    InvalidToken,
    ProtocolError,
)
from auth_server.keys import access_token, dpop, jose
from auth_server.resource_dpop import FirstTime, Memory
from auth_server.resource_issuer import Answer, Fetch, Issuer, cannot_ask, fetch_with_httpx2
from auth_server.resource_mtls import Tell, certificate_header
from auth_server.resource_status import StatusLists

__all__ = ["Answer", "Fetch", "actors", "certificate_header", "current_token", "protector", "require_role"]

LEEWAY = timedelta(seconds=60)
"""How far the clocks of issuer and API may differ."""
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]{1,16384}=*")  # RFC 6750 §2.1
_MOST_ACTORS = 20
_TOKEN_TYPES = ("Bearer", "DPoP")


def protector(
    issuer: str,
    audience: str,
    *,
    introspection: tuple[str, str] | None = None,
    fetch: Fetch | None = None,
    status_lists: Literal["strict", "lenient", "off"] = "strict",
    first_time: FirstTime | None = None,
    origin: str = "",
    certificate: Tell = resource_mtls.nothing,
) -> Protector:
    """Return a decorator maker: `protect("scope")` lets a request in whose token is for `audience` and has the scope.

    With `introspection`, the API's client id and secret, the issuer is asked about each token. Otherwise `status_lists`
    says what becomes of a token that names a list when none can be had that is still good: "strict" answers 503,
    "lenient" lets it in; "off" never looks. `first_time` remembers DPoP proofs for several processes of this API;
    `origin`, such as "https://orders.example.org", is what proofs must name: without it, what Flask says of a request.
    `certificate` tells of the client's certificate, for tokens that are bound to one: see `certificate_header`.
    """
    if status_lists not in ("strict", "lenient", "off"):
        raise ValueError("status_lists is strict, lenient or off")
    source = Issuer(issuer, fetch or fetch_with_httpx2, introspection or ("", ""))
    validator = _Introspecting(source, audience) if introspection else _Verifying(source, audience, status_lists)
    validator.tell = certificate
    return Protector(validator, first_time or Memory().first_time, origin)


def actors() -> list[str]:
    """Return the client ids of those who act for the token's person, the present one first (RFC 8693 §4.1).

    Nobody: the app came itself. Only the first may be asked whether it is allowed in; the others are history.
    """
    found: list[str] = []
    act = current_token.get("act")
    while isinstance(act, dict) and isinstance(act.get("sub"), str) and len(found) < _MOST_ACTORS:
        found.append(act["sub"])
        act = act.get("act")
    return found


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

    def __init__(self, validator: _Validator, first_time: FirstTime, origin: str) -> None:
        super().__init__()
        self.register_token_validator(validator)
        self.register_token_validator(_ByDpop(validator, first_time, origin))
        self._bearer = f'Bearer realm="{validator.realm}"'
        self._dpop = f'DPoP realm="{validator.realm}", algs="{" ".join(dpop.ALGORITHMS)}"'
        self._validator, self._scopes, self._metadata = validator, set[str](), ""

    def tell(self, app: Flask | Blueprint, *, name: str = "", documentation: str = "") -> None:
        """Serve this API's metadata (RFC 9728) at the well-known path that belongs to its audience, and name it in
        challenges. The audience must be the API's own https address; the scopes are those of its routes.
        """
        resource = self._validator.audience
        told = {"resource_name": name, "resource_documentation": documentation}
        more = {member: value for member, value in told.items() if value}

        def metadata() -> Response:
            found = resource_metadata.document(resource, self._validator.issuer.url, self._scopes, **more)
            response = Response(json.dumps(found), content_type="application/json")
            response.headers["Cache-Control"] = f"public, max-age={resource_metadata.MAX_AGE_SECONDS}"
            response.headers["Access-Control-Allow-Origin"] = "*"
            return response

        app.add_url_rule(resource_metadata.path_of(resource), "oauth_protected_resource", metadata)
        self._metadata = f', resource_metadata="{resource_metadata.address_of(resource)}"'

    def __call__(
        self, *scopes: str, acr: str | None = None, max_age: int | None = None
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        self._scopes.update(scopes)
        return super().__call__(list(scopes), needs=_Needs(acr, max_age))  # type: ignore[no-any-return]

    def acquire_token(
        self, scopes: list[str] | None = None, needs: _Needs | None = None, **_claims: Any
    ) -> dict[str, Any]:
        try:
            return super().acquire_token(scopes, needs=needs)  # type: ignore[no-any-return]
        except OAuth2Error:  # no bearer token in the request: no error code either (RFC 6750 §3.1)
            more = self._metadata + (f', scope="{" ".join(scopes)}"' if self._metadata and scopes else "")
            challenges = [("WWW-Authenticate", scheme + more) for scheme in (self._bearer, self._dpop)]
            abort(Response(status=401, headers=challenges))
        except ProtocolError as refusal:
            by_dpop = (
                getattr(refusal, "by_dpop", False) or flask_request.headers["Authorization"][:5].lower() == "dpop "
            )
            abort(_refusal(refusal, (self._dpop if by_dpop else self._bearer) + self._metadata))


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

    def __init__(self, issuer: Issuer, audience: str) -> None:
        super().__init__(realm=audience)
        self.issuer, self.audience = issuer, audience
        self.tell: Tell = resource_mtls.nothing

    def validate_token(
        self, token: dict[str, Any], scopes: list[str] | None, request: object, needs: _Needs | None = None, **_: Any
    ) -> None:
        self.check_sender(token)
        if not set(scopes or ()) <= access_token.scopes_of(token):
            raise InsufficientScope(" ".join(scopes or ()))
        if needs:
            needs.check(token)

    def check_sender(self, token: dict[str, Any]) -> None:
        bound_to = resource_dpop.check_bearer(token)
        if bound_to is not None:
            resource_mtls.check(bound_to, self.tell)


class _ByDpop(_Validator):
    """Lets the same tokens in by the scheme DPoP, with a proof of the key that they are bound to."""

    TOKEN_TYPE = "dpop"  # noqa: S105 - a scheme's name

    def __init__(self, validator: _Validator, first_time: FirstTime, origin: str) -> None:
        super().__init__(validator.issuer, validator.audience)
        self.authenticate_token = validator.authenticate_token
        self._first_time, self._origin = first_time, origin

    def check_sender(self, token: dict[str, Any]) -> None:
        resource_dpop.check_bound(token, self._first_time, self._origin)


class _Verifying(_Validator):
    """Checks signature and claims locally (RFC 9068 §4), then the status list (Token Status List §8.3)."""

    def __init__(self, issuer: Issuer, audience: str, policy: str) -> None:
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
            raise cannot_ask("no status list that is still good")
        return claims


class _Introspecting(_Validator):
    """Asks the issuer (RFC 7662)."""

    def authenticate_token(self, token_string: str) -> dict[str, Any]:
        presented = token_string.strip()
        if not _TOKEN.fullmatch(presented):
            raise InvalidToken(detail="malformed token")
        found = self.issuer.introspect(presented)
        for_us = self.audience in access_token.audience_of(found) and found.get("iss") == self.issuer.url
        if found.get("active") is not True or not for_us or found.get("token_type") not in _TOKEN_TYPES:
            raise InvalidToken(detail="the issuer says that the token is not active here")
        return found


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
