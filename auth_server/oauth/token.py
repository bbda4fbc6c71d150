"""POST /oauth/token: the door to the grants (RFC 6749 §3.2)."""

from __future__ import annotations

from flask import Blueprint, Response
from flask_limiter import Limiter

from auth_server import config
from auth_server.oauth.server import Server
from auth_server.web import extensions

PATH = "/oauth/token"


def setup_token(blueprint: Blueprint, server: Server, limiter: Limiter) -> None:
    def token() -> Response:
        return server.create_token_response()

    limited = extensions.limit_refused(limiter, config.current().endpoint_rate_limit)
    blueprint.add_url_rule(PATH, "token", limited(token), methods=["POST"])
