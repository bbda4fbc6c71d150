"""GET and POST /oauth/userinfo (OpenID Connect Core §5.3)."""

from __future__ import annotations

from flask import Blueprint, Response
from flask_limiter import Limiter

from auth_server import config
from auth_server.access.policy import USERINFO_PATH
from auth_server.errors import InvalidToken
from auth_server.keys import access_token
from auth_server.oauth.protector import LiveTokenValidator, Protector
from auth_server.tokens import claims
from auth_server.web import extensions
from auth_server.web.errors import as_json

PATH = USERINFO_PATH


def setup_userinfo(blueprint: Blueprint, limiter: Limiter) -> None:
    protector = Protector()
    protector.register_token_validator(LiveTokenValidator(config.current().url(PATH)))

    def userinfo() -> Response:
        token = protector.token(["openid"])
        if token.person is None:
            raise InvalidToken(detail="the token acts for no person")
        scopes = access_token.scopes_of(token.claims)
        return as_json({"sub": token.person.id, **claims.of_person(token.person, scopes)})

    limited = extensions.limit_refused(limiter, config.current().endpoint_rate_limit)
    blueprint.add_url_rule(PATH, "userinfo", limited(userinfo), methods=["GET", "POST"])
