"""The phases that every grant shares, so that none can forget one: client, permission, proof, issue."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from authlib.oauth2.rfc6749 import BaseGrant, TokenEndpointMixin

from auth_server.access import assurance, policy
from auth_server.access.apis import Api
from auth_server.clients import metadata
from auth_server.clients.client import Client
from auth_server.errors import (
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidTarget,
    ProtocolError,
    UnauthorizedClient,
)
from auth_server.infra.events import Event, record
from auth_server.keys import access_token
from auth_server.oauth import sender
from auth_server.oauth.sender import Sender
from auth_server.oauth.server import TOKEN_PATH, TokenRequest
from auth_server.tokens import issuing
from auth_server.tokens.families import Family
from auth_server.tokens.issuing import Authorization


class TokenGrant(BaseGrant, TokenEndpointMixin):  # type: ignore[misc]
    """A grant type: a subclass names it and writes `authorize`, which only proves and returns a value."""

    GRANT_TYPE: ClassVar[str]
    TOKEN_ENDPOINT_AUTH_METHODS: ClassVar[list[str]] = list(metadata.AUTH_METHODS)

    @classmethod
    def is_on(cls) -> bool:
        """Tell whether anybody may use this grant; one that is off is neither advertised nor known."""
        return True

    @classmethod
    def check_token_endpoint(cls, request: TokenRequest) -> bool:
        return bool(super().check_token_endpoint(request)) and cls.is_on()

    def authorize(self, client: Client, request: TokenRequest) -> Authorization:
        """Say what was proved, and how it is used up; raise a `ProtocolError`. Writes nothing when it succeeds."""
        raise NotImplementedError

    def validate_token_request(self) -> None:
        client = self.server.authenticate_client(self.request, self.TOKEN_ENDPOINT_AUTH_METHODS).client
        if not client.may_use(self.GRANT_TYPE):
            raise self._refused(client, UnauthorizedClient("this client is not registered for this grant type"))
        try:
            self.request.sender = sender.of_token_request(self.request, TOKEN_PATH, client)
            self._authorization = _bound(self.authorize(client, self.request), self.request.sender)
        except ProtocolError as refusal:
            raise self._refused(client, refusal) from None

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        try:
            return 200, issuing.issue(self._authorization), []
        except ProtocolError as refusal:  # somebody was faster
            raise self._refused(self._authorization.client, refusal) from None

    def _refused(self, client: Client, refusal: ProtocolError) -> ProtocolError:
        if not refusal.is_refusal:
            return refusal
        reason = (refusal.detail or refusal.description)[:255]
        record(
            Event.TOKEN_REFUSED, client=client.client_id, reason=reason, error=refusal.code, grant_type=self.GRANT_TYPE
        )
        return refusal


def _bound(authorization: Authorization, proved: Sender | None) -> Authorization:
    """Bind what will be issued to the sender's key; the proof is spent with what it is sent for."""
    if proved is None:
        return authorization

    def consume() -> str | None:
        proved.spend()
        return authorization.consume()

    return replace(authorization, confirmation=proved.confirmation, consume=consume)


UNKNOWN = "the code or token is unknown"
"""One sentence for unknown, malformed and foreign credentials: a stranger learns nothing."""


def required(fields: dict[str, str], name: str) -> str:
    """Return a parameter; raise `InvalidRequest` when it is missing."""
    if name not in fields:
        raise InvalidRequest(f"{name} is missing")
    return fields[name]


def narrowed(
    client: Client, family: Family, request: TokenRequest, asked: str | None
) -> tuple[tuple[str, ...], policy.Target]:
    """Return the scopes and target of one access token of a family.

    `scope` may narrow and never widen (RFC 6749 §6); `resource` picks among the granted APIs (RFC 8707 §2.2). What the
    client or the person may no longer have is left out, and what asks for a stronger sign-in than the family's by now.
    """
    granted = family.scopes
    if asked is not None:
        wanted = tuple(dict.fromkeys(asked.split()))
        if not set(wanted) <= set(granted):
            raise InvalidScope("scope exceeds what was granted")
        granted = wanted
    if not access_token.reaches(family.acr, client.minimum_acr):
        raise InvalidGrant("this client needs a stronger sign-in by now")
    chosen = _chosen(client, family, tuple(dict.fromkeys(request.values("resource"))))
    still_allowed = policy.possible_scopes(client, for_person=True)
    scopes = policy.narrowed_to([api.identifier for api in chosen], (s for s in granted if s in still_allowed))
    scopes = assurance.within(family.acr, policy.scopes_for_person(family.user_id, scopes))
    if family.scopes and not scopes:
        raise InvalidGrant("nothing of the granted scope is allowed any more")
    return scopes, policy.target(scopes, chosen)


def _chosen(client: Client, family: Family, named: tuple[str, ...]) -> tuple[Api, ...]:
    """Return the named ones of the granted APIs, or all of them that may still be used."""
    if not set(named) <= set(family.resources):
        raise InvalidTarget("resource was not part of the authorization request")
    wanted = policy.check_resources(client, named) if named else policy.usable_resources(client, family.resources)
    chosen = tuple(api for api in wanted if access_token.reaches(family.acr, api.minimum_acr))
    if named and chosen != wanted:
        raise InvalidTarget("resource names an API that needs a stronger sign-in by now")
    return chosen
