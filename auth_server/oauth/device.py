"""POST /oauth/device_authorization (RFC 8628 §3.1): a device asks for codes, one for itself and one for a person.

What the person sees and decides is in `pages.device`, what the device gets then in `grants.device_code`.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from authlib.oauth2.rfc6749 import TokenEndpoint

from auth_server import config
from auth_server.access import policy
from auth_server.clients.authentication import Authenticated
from auth_server.clients.client import Client
from auth_server.clients.metadata import DEVICE_CODE
from auth_server.errors import UnauthorizedClient
from auth_server.oauth import parameters
from auth_server.oauth.server import Server, TokenRequest
from auth_server.tokens import devices
from auth_server.tokens.devices import Codes
from auth_server.web.answers import Answer
from auth_server.web.machines import Machines, Request

PATH = "/oauth/device_authorization"
PAGE = "/device"
"""Where people type the code."""


class DeviceAuthorizationEndpoint(TokenEndpoint):  # type: ignore[misc]
    ENDPOINT_NAME = "device_authorization"
    CLIENT_AUTH_METHODS = ("client_secret_basic", "client_secret_post", "none")

    def create_endpoint_response(self, request: TokenRequest) -> tuple[int, dict[str, Any], list[Any]]:
        caller: Authenticated = self.authenticate_endpoint_client(request)
        if not caller.client.may_use(DEVICE_CODE):
            raise UnauthorizedClient("this client is not registered for this grant type")
        scopes, resources = _asked(caller.client, request)
        return 200, _answer(devices.begin(caller.client, scopes, resources)), []


def setup_device(machines: Machines, server: Server) -> None:
    server.register_endpoint(DeviceAuthorizationEndpoint)

    def authorize(request: Request) -> Answer:
        return server.create_endpoint_response(DeviceAuthorizationEndpoint.ENDPOINT_NAME, request)  # type: ignore[no-any-return]

    machines.add(PATH, authorize, ("POST",), limited=True, writes=True, creates=True)


def _asked(client: Client, request: TokenRequest) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return scopes and APIs, checked as for an authorization request; raise `InvalidScope` or `InvalidTarget`."""
    scopes = policy.scopes_for_client(client, request.fields.get("scope"), for_person=True)
    named = parameters.resources(client, request.values("resource"))
    if named:
        scopes = policy.narrowed_to([api.identifier for api in named], scopes)
    policy.target(scopes, named)  # different formats are refused before anybody signs in
    return scopes, tuple(api.identifier for api in named)


def _answer(codes: Codes) -> dict[str, Any]:
    """RFC 8628 §3.2."""
    page = config.current().url(PAGE)
    return {
        "device_code": codes.raw_device_code,
        "user_code": codes.user_code,
        "verification_uri": page,
        "verification_uri_complete": f"{page}?{urlencode({'user_code': codes.user_code})}",
        "expires_in": int(devices.LIFE.total_seconds()),
        "interval": devices.INTERVAL_SECONDS,
    }
