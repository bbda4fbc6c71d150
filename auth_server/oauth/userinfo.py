"""GET and POST /oauth/userinfo (OpenID Connect Core §5.3)."""

from __future__ import annotations

from auth_server import config
from auth_server.access.policy import USERINFO_PATH
from auth_server.errors import InvalidToken
from auth_server.keys import access_token
from auth_server.oauth.protector import Protector
from auth_server.tokens import claims
from auth_server.web.answers import Answer, as_json
from auth_server.web.machines import Machines, Request

PATH = USERINFO_PATH


def setup_userinfo(machines: Machines) -> None:
    protector = Protector(config.current().url(PATH))

    def userinfo(request: Request) -> Answer:
        token = protector.token(request, ["openid"])
        if token.person is None:
            raise protector.refused(InvalidToken(detail="the token acts for no person"))
        scopes = access_token.scopes_of(token.claims)
        return as_json({"sub": token.person.id, **claims.of_person(token.person, scopes)})

    machines.add(PATH, userinfo, ("GET", "POST"), limited=True)
