"""The client credentials grant (OAuth 2.1 §4.2): a service acts for itself; no person, refresh or ID token."""

from __future__ import annotations

from auth_server.access import policy
from auth_server.clients.client import Client
from auth_server.errors import InvalidScope, UnauthorizedClient
from auth_server.oauth.grants import base
from auth_server.oauth.server import TokenRequest
from auth_server.tokens.issuing import Authorization


class ClientCredentialsGrant(base.TokenGrant):
    GRANT_TYPE = "client_credentials"

    def authorize(self, client: Client, request: TokenRequest) -> Authorization:
        if client.is_public:
            raise UnauthorizedClient("a public client cannot act for itself")
        asked = request.fields.get("scope")
        scopes = policy.scopes_for_client(client, asked, for_person=False)
        named = request.values("resource")
        apis = policy.check_resources(client, named)
        if named:
            scopes = policy.narrowed_to([api.identifier for api in apis], scopes)
        if asked is not None and not scopes:
            raise InvalidScope("none of the requested scopes belongs to the named resource")
        return Authorization(client, self.GRANT_TYPE, scopes, policy.target(scopes, apis))
