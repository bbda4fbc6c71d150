"""GET and POST /oauth/userinfo (OpenID Connect Core §5.3): JSON, or a signed or encrypted JWT."""

from __future__ import annotations

import json
from typing import Any

from auth_server import config
from auth_server.access import policy
from auth_server.access.policy import USERINFO_PATH
from auth_server.accounts.users import Person
from auth_server.clients import client as clients
from auth_server.clients import encryption
from auth_server.clients.client import Client
from auth_server.errors import InvalidToken
from auth_server.keys import access_token, jose, keyring
from auth_server.oauth.protector import Protector
from auth_server.tokens import claims
from auth_server.tokens.checking import Live
from auth_server.web import answers
from auth_server.web.answers import Answer
from auth_server.web.machines import Machines, Request

PATH = USERINFO_PATH
TYP = "userinfo+jwt"
"""Ours: nobody shall take a signed answer for an ID token (RFC 8725 §3.11)."""


def setup_userinfo(machines: Machines) -> None:
    protector = Protector(config.current().url(PATH))

    def userinfo(request: Request) -> Answer:
        token = protector.token(request, ["openid"])
        client = clients.find(token.claims["client_id"])
        if token.person is None or client is None:
            raise protector.refused(InvalidToken(detail="the token acts for no person"))
        return _answer(client, _told(token, token.person, client))

    machines.add(PATH, userinfo, ("GET", "POST"), limited=True)


def _told(token: Live, person: Person, client: Client) -> dict[str, Any]:
    """Return what the scopes of the token release, and what was allowed by name when it was authorized (§5.5)."""
    scopes = access_token.scopes_of(token.claims)
    found = {"sub": token.claims["sub"], **claims.of_person(person, scopes)}
    if token.asked:
        possible = policy.possible_scopes(client, for_person=True)
        found |= claims.asked_for(person, claims.USERINFO, token.asked, scopes, possible)
    return found


def _answer(client: Client, told: dict[str, Any]) -> Answer:
    """Answer as the client has registered: JSON, or a JWT that is signed, encrypted, or signed and then encrypted.

    A JWT says whose and for whom it is (§5.3.2).
    """
    alg = client.details.get("userinfo_signed_response_alg")
    if alg is None and not encryption.is_wanted(client, encryption.USERINFO):
        return answers.as_json(told)
    body = {"iss": config.current().issuer, "aud": client.client_id, **told}
    content = jose.sign(body, keyring.signer(alg), typ=TYP) if alg else json.dumps(body)
    return answers.as_jwt(encryption.for_client(client, encryption.USERINFO, content, is_jwt=alg is not None))
