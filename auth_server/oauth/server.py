"""Our `AuthorizationServer`: Authlib's dispatch, with our request object, client gate and error answers.

Authlib's stock behaviour that is replaced here, and why, is in ARCHITECTURE.md.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from authlib.oauth2 import AuthorizationServer, OAuth2Error
from authlib.oauth2.rfc6749 import OAuth2Request
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload

from auth_server import config
from auth_server.clients import authentication
from auth_server.clients import client as clients
from auth_server.clients.authentication import Authenticated
from auth_server.clients.client import Client
from auth_server.errors import InvalidClient, InvalidRequest, UnsupportedGrantType
from auth_server.infra import events
from auth_server.infra.events import Event, record
from auth_server.keys.certificate import Shown
from auth_server.oauth.sender import Sender
from auth_server.web import answers
from auth_server.web.answers import Answer
from auth_server.web.machines import Request

TOKEN_PATH = "/oauth/token"  # noqa: S105 - an address
LONGEST_VALUE = 8192
REPEATABLE = frozenset({"resource", "audience"})
"""Parameters that may come more than once (RFC 8707 §2, RFC 8693 §2.1)."""


class TokenRequest(OAuth2Request):  # type: ignore[misc]
    """A request to a machine endpoint: the form only, nothing from the query, no parameter twice."""

    def __init__(self, request: Request) -> None:
        # Deviation: Authlib's transport check is left out; the issuer's scheme was checked at the start.
        self.method = request.method
        self.uri = request.path  # nobody looks at more of it, and putting the whole together costs
        self.headers = request.headers
        self.authorization = request.authorization
        self.sent = request.form
        self.fields = single_values(request.form)
        self.payload = BasicOAuth2Payload(self.fields)
        self._request = request
        self.client: Client | None = None
        self.sender: Sender | None = None
        self.auth_method = None
        self.user = None
        self._scope = None

    def values(self, name: str) -> list[str]:
        """Return what was sent under a name that may be repeated, without empty ones."""
        return [value for value in self.sent.get(name, ()) if value]

    @property
    def shown(self) -> Shown:
        return self._request.shown

    @property
    def jkt(self) -> str | None:
        """The thumbprint of the DPoP key that the sender proved to hold."""
        return self.sender.jkt if self.sender else None

    @property
    def thumbprint(self) -> str | None:
        """The thumbprint of the DPoP key or of the certificate that tokens are bound to."""
        return self.sender.confirmation.thumbprint if self.sender else None

    @property
    def form(self) -> Mapping[str, str]:
        return self.fields

    @property
    def args(self) -> Mapping[str, str]:
        return {}


class Server(AuthorizationServer):  # type: ignore[misc]
    """One instance per application. It takes a `web.machines.Request` and returns an `Answer`."""

    def create_oauth2_request(self, request: Request | TokenRequest) -> TokenRequest:
        return request if isinstance(request, TokenRequest) else TokenRequest(request)

    def authenticate_client(self, request: TokenRequest, methods: object, endpoint: str = "token") -> Authenticated:
        """The one gate of every endpoint; raises `InvalidClient`."""
        try:
            found = authentication.authenticate(
                request.authorization, request.fields, _audiences(request), lambda: request.shown
            )
        except InvalidClient as refusal:
            record(Event.CLIENT_AUTHENTICATION_FAILED, client=_named(request), reason=refusal.detail, endpoint=endpoint)
            raise
        context = events.context()
        context.actor_kind, context.actor = "service", found.client.client_id
        request.client = found.client
        return found

    def create_token_response(self, request: Request) -> Answer:
        token_request = self.create_oauth2_request(request)
        if not token_request.payload.grant_type:
            raise InvalidRequest("grant_type is missing")
        answer: Answer = super().create_token_response(token_request)
        return answer

    def handle_response(self, status: int, body: object, headers: object) -> Answer:
        """Answer with JSON, or with nothing at all where the RFC wants nothing (RFC 7009 §2.2)."""
        return Answer(status, b"", answers.NO_STORE) if body is None else answers.as_json(body, status)

    def handle_error_response(self, request: object, error: OAuth2Error) -> Answer:
        """Authlib's own refusals, in our words: its texts may quote the request."""
        if error.error == "unsupported_grant_type":
            raise UnsupportedGrantType("this grant type is not supported")
        raise InvalidRequest("the request is malformed", detail=str(error.error))

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens: `record` is our one way to tell."""


def single_values(values: Mapping[str, list[str]]) -> dict[str, str]:
    """Return the parameters that were sent, each once; empty ones count as not sent (RFC 6749 §3.2)."""
    found: dict[str, str] = {}
    for name, sent in values.items():
        if len(sent) > 1 and name not in REPEATABLE:
            raise InvalidRequest("a parameter is repeated")
        if any(len(value) > LONGEST_VALUE or "\x00" in value or "\ufffd" in value for value in (name, *sent)):
            raise InvalidRequest("a parameter is too long or malformed")
        if sent[0]:
            found[name] = sent[0]
    return found


def _audiences(request: TokenRequest) -> tuple[str, ...]:
    """Return our names that an assertion may carry: the issuer's, the token endpoint's and the called endpoint's."""
    settings = config.current()
    return settings.issuer, *settings.urls(TOKEN_PATH), *settings.urls(request.uri)


def _named(request: TokenRequest) -> str:
    """Return the client id that a failed request named, when it is one of ours: strangers' text is not recorded."""
    named = request.fields.get("client_id") or authentication.claimed_client(request.fields)
    authorization = request.authorization or ""
    if authorization[:6].lower() == "basic ":
        try:
            named = base64.b64decode(authorization[6:]).decode().partition(":")[0]
        except (ValueError, binascii.Error):
            named = ""
    found = clients.find(named)
    return found.client_id if found else ""
