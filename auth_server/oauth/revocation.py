"""POST /oauth/revoke (RFC 7009): tokens of either kind; unknown and foreign ones are answered alike, and left alone."""

from __future__ import annotations

from typing import Any

from authlib.oauth2.rfc6749 import TokenEndpoint

from auth_server.clients import metadata
from auth_server.clients.authentication import Authenticated
from auth_server.errors import InvalidRequest
from auth_server.infra.events import Event, record
from auth_server.oauth.server import Server, TokenRequest
from auth_server.tokens import checking, ending, store
from auth_server.web.answers import Answer
from auth_server.web.machines import Machines, Request

PATH = "/oauth/revoke"


class RevocationEndpoint(TokenEndpoint):  # type: ignore[misc]
    ENDPOINT_NAME = "revocation"
    CLIENT_AUTH_METHODS = metadata.AUTH_METHODS

    def create_endpoint_response(self, request: TokenRequest) -> tuple[int, None, list[Any]]:
        """`token_type_hint` is not needed to find a token, so every hint is ignored (RFC 7009 §2.1)."""
        caller: Authenticated = self.authenticate_endpoint_client(request)
        presented = request.fields.get("token")
        if presented is None:
            raise InvalidRequest("token is missing")
        _revoke(caller.client.client_id, presented)
        return 200, None, []


def setup_revocation(machines: Machines, server: Server) -> None:
    server.register_endpoint(RevocationEndpoint)

    def revoke(request: Request) -> Answer:
        return server.create_endpoint_response(RevocationEndpoint.ENDPOINT_NAME, request)  # type: ignore[no-any-return]

    machines.add(PATH, revoke, ("POST",), limited=True)


def _revoke(client_id: str, presented: str) -> None:
    """A refresh token takes its family along; an access token goes alone."""
    refresh = store.find_refresh_token(presented)
    if refresh is not None:
        if refresh.family.client_id == client_id and ending.end_family(refresh.family.id, "revoked_by_client"):
            record(Event.TOKEN_REVOKED, subject=refresh.person.id, client=client_id, family=refresh.family.id)
        return
    live = checking.live(presented)
    if live is not None and live.claims["client_id"] == client_id:
        ending.revoke_access_token(live.claims)
