"""Our `AuthorizationServer`: Authlib's dispatch, with our request object, client gate and error answers.

Authlib's stock behaviour that is replaced here, and why, is in ARCHITECTURE.md.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from authlib.integrations.flask_oauth2 import AuthorizationServer
from authlib.oauth2 import OAuth2Error
from authlib.oauth2.rfc6749 import OAuth2Request
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from flask import Response, g, request
from werkzeug.datastructures import MultiDict

from auth_server.clients import authentication
from auth_server.clients import client as clients
from auth_server.clients.authentication import Authenticated
from auth_server.clients.client import Client
from auth_server.errors import InvalidClient, InvalidRequest, UnsupportedGrantType
from auth_server.infra import events
from auth_server.infra.events import Event, record
from auth_server.web import errors

FORM = "application/x-www-form-urlencoded"
LONGEST_VALUE = 8192
REPEATABLE = frozenset({"resource", "audience"})
"""Parameters that may come more than once (RFC 8707 §2, RFC 8693 §2.1)."""


class TokenRequest(OAuth2Request):  # type: ignore[misc]
    """A request to a machine endpoint: the form only, nothing from the query, no parameter twice."""

    def __init__(self) -> None:
        # Deviation: Authlib's transport check is left out; the issuer's scheme was checked at the start.
        self.method = request.method
        self.uri = request.path  # nobody looks at more of it, and putting the whole together costs
        self.headers = request.headers
        self.fields = single_values(form_of_request())
        self.payload = BasicOAuth2Payload(self.fields)
        self.client: Client | None = None
        self.auth_method = None
        self.user = None
        self._scope = None

    @property
    def form(self) -> Mapping[str, str]:
        return self.fields

    @property
    def args(self) -> Mapping[str, str]:
        return {}


class Server(AuthorizationServer):  # type: ignore[misc]
    """One instance per application."""

    def create_oauth2_request(self, request: object) -> TokenRequest:
        return request if isinstance(request, TokenRequest) else TokenRequest()

    def authenticate_client(self, request: TokenRequest, methods: object, endpoint: str = "token") -> Authenticated:
        """The one gate of every endpoint; raises `InvalidClient`."""
        try:
            found = authentication.authenticate(request.headers.get("Authorization"), request.fields)
        except InvalidClient as refusal:
            record(Event.CLIENT_AUTHENTICATION_FAILED, client=_named(request), reason=refusal.detail, endpoint=endpoint)
            raise
        context = events.context()
        context.actor_kind, context.actor = "service", found.client.client_id
        request.client = found.client
        g.authenticated_client = found
        return found

    def create_token_response(self, request: object = None) -> Response:
        token_request = self.create_oauth2_request(request)
        if not token_request.payload.grant_type:
            raise InvalidRequest("grant_type is missing")
        response: Response = super().create_token_response(token_request)
        return response

    def handle_response(self, status: int, body: object, headers: object) -> Response:
        """Answer with JSON, or with nothing at all where the RFC wants nothing (RFC 7009 §2.2)."""
        if body is None:
            response = Response(status=status)
            del response.headers["Content-Type"]
            response.headers["Cache-Control"] = "no-store"
            return response
        return errors.as_json(body, status)

    def handle_error_response(self, request: object, error: OAuth2Error) -> Response:
        """Authlib's own refusals, in our words: its texts may quote the request."""
        if error.error == "unsupported_grant_type":
            raise UnsupportedGrantType("this grant type is not supported")
        raise InvalidRequest("the request is malformed", detail=str(error.error))

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens: `record` is our one way to tell."""


def form_of_request() -> MultiDict[str, str]:
    """Return the form; raise `InvalidRequest` for another content type or undecodable text."""
    if request.mimetype != FORM:
        raise InvalidRequest(f"the body must be {FORM}")
    return request.form


def single_values(values: MultiDict[str, str]) -> dict[str, str]:
    """Return the parameters that were sent, each once; empty ones count as not sent (RFC 6749 §3.2)."""
    found: dict[str, str] = {}
    for name, sent in values.lists():
        if len(sent) > 1 and name not in REPEATABLE:
            raise InvalidRequest("a parameter is repeated")
        if any(len(value) > LONGEST_VALUE or "\x00" in value or "\ufffd" in value for value in (name, *sent)):
            raise InvalidRequest("a parameter is too long or malformed")
        if sent[0]:
            found[name] = sent[0]
    return found


def _named(request: TokenRequest) -> str:
    """Return the client id that a failed request named, when it is one of ours: strangers' text is not recorded."""
    named = request.fields.get("client_id", "")
    authorization = request.headers.get("Authorization", "")
    if authorization[:6].lower() == "basic ":
        try:
            named = base64.b64decode(authorization[6:]).decode().partition(":")[0]
        except (ValueError, binascii.Error):
            named = ""
    found = clients.find(named)
    return found.client_id if found else ""
