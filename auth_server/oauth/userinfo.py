"""GET and POST /oauth/userinfo (OpenID Connect Core §5.3)."""

from __future__ import annotations

from typing import Any

from auth_server import config
from auth_server.access import policy
from auth_server.access.policy import USERINFO_PATH
from auth_server.accounts.users import Person
from auth_server.clients import client as clients
from auth_server.errors import InvalidToken
from auth_server.keys import access_token
from auth_server.oauth.protector import Protector
from auth_server.tokens import claims
from auth_server.tokens.checking import Live
from auth_server.web.answers import Answer, as_json
from auth_server.web.machines import Machines, Request

PATH = USERINFO_PATH


def setup_userinfo(machines: Machines) -> None:
    protector = Protector(config.current().url(PATH))

    def userinfo(request: Request) -> Answer:
        token = protector.token(request, ["openid"])
        if token.person is None:
            raise InvalidToken(detail="the token acts for no person")
        return as_json(_told(token, token.person))

    machines.add(PATH, userinfo, ("GET", "POST"), limited=True)


def _told(token: Live, person: Person) -> dict[str, Any]:
    """Return what the scopes of the token release, and what was allowed by name when it was authorized (§5.5)."""
    scopes = access_token.scopes_of(token.claims)
    found = {"sub": token.claims["sub"], **claims.of_person(person, scopes)}
    client = clients.find(token.claims["client_id"]) if token.asked else None
    if client:
        possible = policy.possible_scopes(client, for_person=True)
        found |= claims.asked_for(person, claims.USERINFO, token.asked, scopes, possible)
    return found
