"""POST /oauth/par (RFC 9126): an app leaves its authorization request here and gets a reference for the browser."""

from __future__ import annotations

from typing import Any

from authlib.oauth2.rfc6749 import TokenEndpoint

from auth_server.clients import authentication, metadata
from auth_server.clients.authentication import Authenticated
from auth_server.clients.client import Client
from auth_server.errors import InvalidRequest, PageError, ProtocolError
from auth_server.infra.events import Event, record
from auth_server.oauth import authorization_request, described, sender, waiting
from auth_server.oauth.authorization_request import REFERENCE, AuthorizationRequest, Refused
from auth_server.oauth.server import Server, TokenRequest
from auth_server.oauth.waiting import Params
from auth_server.web.answers import Answer
from auth_server.web.machines import Machines, Request

PATH = "/oauth/par"
_PROOFS = frozenset({"client_secret", "client_assertion", "client_assertion_type"})
"""What proves who the app is; it is no part of the request and never stored."""
_ON_PAGES = {
    "redirect_uri_missing": "redirect_uri is missing",
    "redirect_uri_mismatch": "redirect_uri is not one that is registered for this app",
}
"""What a person would see as a page, in words for the app."""


class PushedRequestEndpoint(TokenEndpoint):  # type: ignore[misc]
    ENDPOINT_NAME = "pushed_authorization_request"
    CLIENT_AUTH_METHODS = metadata.AUTH_METHODS

    def create_endpoint_response(self, request: TokenRequest) -> tuple[int, dict[str, Any], list[Any]]:
        described.for_program(_named(request), self.ENDPOINT_NAME)
        caller: Authenticated = self.authenticate_endpoint_client(request)
        try:
            found = _checked(request, caller.client)
        except ProtocolError as error:
            if error.is_refusal:
                _record(caller.client, error)
            raise
        reference = REFERENCE + waiting.push(found.params, found.created_at)
        return 201, {"request_uri": reference, "expires_in": int(waiting.REFERENCE_LIFE.total_seconds())}, []


def setup_par(machines: Machines, server: Server) -> None:
    server.register_endpoint(PushedRequestEndpoint)

    def push(request: Request) -> Answer:
        return server.create_endpoint_response(PushedRequestEndpoint.ENDPOINT_NAME, request)  # type: ignore[no-any-return]

    machines.add(PATH, push, ("POST",), limited=True, writes=True, creates=True)


def _named(request: TokenRequest) -> str:
    """Return the client that the request names, which proves nothing."""
    return request.fields.get("client_id") or authentication.claimed_client(request.fields)


def _record(client: Client, error: ProtocolError) -> None:
    record(
        Event.AUTHORIZATION_REFUSED,
        client=client.client_id,
        reason=(error.detail or error.description)[:255],
        error=error.code,
        changes_nothing=True,
    )


def _checked(request: TokenRequest, client: Client) -> AuthorizationRequest:
    """Check as at the authorization endpoint; whatever is wrong is JSON here, never a page or a redirect."""
    params = _params(request, client)
    if "request_uri" in params:
        raise InvalidRequest("request_uri cannot be pushed")
    proved = sender.of(request, PATH, client)
    if proved:
        proved.spend()
    try:
        return authorization_request.check_pushed(params, proved.jkt if proved else None)
    except Refused as refused:
        raise refused.error from None
    except PageError as page:
        raise InvalidRequest(_ON_PAGES.get(page.code, "the request is malformed"), detail=page.detail) from None


def _params(request: TokenRequest, client: Client) -> Params:
    """Return the request without the proofs. One that names no client is of the one that proved who it is."""
    sent = authorization_request.as_params(request.sent.items())
    params = {name: values for name, values in sent.items() if name not in _PROOFS}
    if params.setdefault("client_id", [client.client_id]) != [client.client_id]:
        raise InvalidRequest("client_id differs from the authenticated client")
    return params
