"""POST /oauth/introspect (RFC 7662): for the API that a token is meant for, and the client that holds it."""

from __future__ import annotations

from typing import Any

from authlib.oauth2.rfc6749 import TokenEndpoint

from auth_server import config
from auth_server.access import apis
from auth_server.clients import metadata
from auth_server.clients.authentication import Authenticated
from auth_server.clients.client import Client
from auth_server.errors import InvalidClient, InvalidRequest
from auth_server.infra import clock
from auth_server.keys import access_token, confirmation
from auth_server.oauth.server import Server, TokenRequest
from auth_server.tokens import checking, claims, store
from auth_server.web.answers import Answer
from auth_server.web.machines import Machines, Request

PATH = "/oauth/introspect"
_INACTIVE = {"active": False}
_PASSED_ON = (
    *("iss", "sub", "aud", "exp", "iat", "jti", "client_id", "scope", "sid"),
    *("auth_time", "acr", "amr", "roles", "groups", "cnf", "act"),
)
"""RFC 7662 §2.2, RFC 9068 §2.2, RFC 9449 §6.2, RFC 8693 §4.1."""


class IntrospectionEndpoint(TokenEndpoint):  # type: ignore[misc]
    ENDPOINT_NAME = "introspection"
    CLIENT_AUTH_METHODS = tuple(method for method in metadata.AUTH_METHODS if method != "none")

    def create_endpoint_response(self, request: TokenRequest) -> tuple[int, dict[str, Any], list[Any]]:
        caller: Authenticated = self.authenticate_endpoint_client(request)
        if caller.client.is_public:
            raise InvalidClient(detail="introspection needs a client that can prove itself")
        presented = request.fields.get("token")
        if presented is None:
            raise InvalidRequest("token is missing")
        return 200, _of_access_token(caller.client, presented) or _of_refresh_token(caller.client, presented), []


def setup_introspection(machines: Machines, server: Server) -> None:
    server.register_endpoint(IntrospectionEndpoint)

    def introspect(request: Request) -> Answer:
        return server.create_endpoint_response(IntrospectionEndpoint.ENDPOINT_NAME, request)  # type: ignore[no-any-return]

    machines.add(PATH, introspect, ("POST",), limited=True)


def _of_access_token(caller: Client, presented: str) -> dict[str, Any] | None:
    live = checking.live(presented)
    if live is None:
        return None
    found = live.claims
    own = apis.register().by_client_id.get(caller.client_id)
    is_meant_for = own is not None and own.identifier in access_token.audience_of(found)
    if not is_meant_for and found["client_id"] != caller.client_id:
        return _INACTIVE
    answer = {"active": True, **{name: found[name] for name in _PASSED_ON if name in found}}
    bound_to = confirmation.of(found)
    return answer | {"token_type": bound_to.token_type if bound_to else "Bearer"}


def _of_refresh_token(caller: Client, presented: str) -> dict[str, Any]:
    """Only to the client that holds it: an API must never take a refresh token for an access token."""
    found = store.find_refresh_token(presented)
    if found is None or found.family.client_id != caller.client_id:
        return _INACTIVE
    expires_at = min(found.expires_at, found.family.expires_at)
    if found.rotated_at or found.family.is_ended or found.person.is_disabled or expires_at <= clock.now():
        return _INACTIVE
    return {
        "active": True,
        "iss": config.current().issuer,
        "sub": found.family.sub,
        "client_id": caller.client_id,
        "scope": " ".join(found.family.scopes),
        "exp": claims.seconds(expires_at),
        "token_type": "refresh_token",
    }
