"""How strong the sign-in must be for a request (OpenID Connect Core §3.1.2.1, RFC 9470 §4), and what is missing.

`acr_values` are wishes, the weakest of them the least that will do: somebody without a second factor goes on without
one, and the token's `acr` says so. What the operator demands, for a client, an API or a scope, is no wish.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from auth_server.access import assurance, policy
from auth_server.access.apis import Api
from auth_server.accounts.sessions import Session
from auth_server.clients.client import Client
from auth_server.keys import access_token
from auth_server.oauth.authorization_request import AuthorizationRequest


class Missing(Enum):
    """What a session lacks."""

    NOTHING = "nothing"
    SECOND_FACTOR = "second_factor"
    ENROLMENT = "enrolment"
    OUT_OF_REACH = "out_of_reach"
    """This server lets the person set up nothing that would be strong enough."""


@dataclass(frozen=True)
class Demand:
    """What a request asks of the sign-in: what the app wishes for, and the least that it gets a code for."""

    wished: str | None
    least: str | None

    def is_met_by(self, acr: str) -> bool:
        return access_token.reaches(acr, self.wished) and access_token.reaches(acr, self.least)

    def told(self) -> dict[str, Any]:
        """Return what the audit says of it."""
        return {name: value for name, value in (("wished", self.wished), ("least", self.least)) if value}


def demand(found: AuthorizationRequest, scopes: Iterable[str]) -> Demand:
    """Return the demand of a request that is to be given these scopes."""
    wished = found.params.get("acr_values", [""])[0].split() or found.claims.acr
    return demand_of(found.client, scopes, found.resources, wished, found.claims.demanded_acr)


def demand_of(
    client: Client,
    scopes: Iterable[str],
    resources: Iterable[Api],
    acr_values: Sequence[str] = (),
    demanded: Sequence[str] = (),
) -> Demand:
    """Return the demand of a client for these scopes and APIs, with its own wishes when it sent none.

    `demanded` are strengths of which the app takes one, and nothing else (`claims`, OpenID Connect Core §5.5.1.1).
    """
    least = assurance.least(client, scopes, resources)
    return Demand(
        _weakest(acr_values or client.default_acr_values), access_token.strongest([least, _weakest(demanded)])
    )


def _weakest(listed: Sequence[str]) -> str | None:
    return next((acr for acr in access_token.ACR_VALUES if acr in listed), None)


def missing(demanded: Demand, here: Session) -> Missing:
    """Return what the session lacks, by the demand and by the rule for the person."""
    if assurance.standing(here.user_id).is_due:
        return Missing.ENROLMENT
    if demanded.is_met_by(here.acr):
        return Missing.NOTHING
    if assurance.has_second_factor(here.user_id):
        return Missing.SECOND_FACTOR
    if access_token.reaches(here.acr, demanded.least):
        return Missing.NOTHING
    return Missing.ENROLMENT if assurance.is_offered(here.user_id) else Missing.OUT_OF_REACH


def wants_second_factor(found: AuthorizationRequest, user_id: str) -> bool:
    """Tell before the sign-in whether a password alone will not do for this person."""
    scopes = policy.scopes_for_person(user_id, found.scopes)
    sure = (scope for scope in scopes if scope not in found.client.optional_scopes)
    return not demand(found, sure).is_met_by(access_token.ACR_VALUES[0])
