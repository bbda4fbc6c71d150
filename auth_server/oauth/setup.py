"""Composes the protocol: one server, its grants and endpoints, on one blueprint."""

from __future__ import annotations

from flask import Blueprint, Flask
from flask_limiter import Limiter

from auth_server.oauth.authorize import setup_authorize
from auth_server.oauth.device import setup_device
from auth_server.oauth.discovery import setup_discovery
from auth_server.oauth.grants.authorization_code import AuthorizationCodeGrant
from auth_server.oauth.grants.client_credentials import ClientCredentialsGrant
from auth_server.oauth.grants.device_code import DeviceCodeGrant
from auth_server.oauth.grants.jwt_bearer import JwtBearerGrant
from auth_server.oauth.grants.refresh_token import RefreshTokenGrant
from auth_server.oauth.grants.token_exchange import TokenExchangeGrant
from auth_server.oauth.introspection import setup_introspection
from auth_server.oauth.languages import setup_languages
from auth_server.oauth.logout import setup_logout
from auth_server.oauth.par import setup_par
from auth_server.oauth.protected_resources import setup_protected_resources
from auth_server.oauth.registration import setup_registration
from auth_server.oauth.revocation import setup_revocation
from auth_server.oauth.server import Server
from auth_server.oauth.status import setup_status
from auth_server.oauth.token import setup_token
from auth_server.oauth.userinfo import setup_userinfo
from auth_server.web.machines import Machines

GRANTS = (
    *(AuthorizationCodeGrant, RefreshTokenGrant, ClientCredentialsGrant, DeviceCodeGrant),
    *(TokenExchangeGrant, JwtBearerGrant),
)


def setup_oauth(app: Flask, machines: Machines, limiter: Limiter) -> None:
    """Mount every protocol endpoint."""
    server = Server()
    setup_languages()
    for grant in GRANTS:
        server.register_grant(grant)
    blueprint = Blueprint("oauth", __name__)
    setup_authorize(blueprint, limiter)
    setup_logout(blueprint)
    app.register_blueprint(blueprint)
    setup_token(machines, server)
    setup_par(machines, server)
    setup_device(machines, server)
    setup_introspection(machines, server)
    setup_revocation(machines, server)
    setup_userinfo(machines)
    setup_protected_resources(machines)
    setup_status(machines)
    setup_registration(machines)
    setup_discovery(machines, server)
