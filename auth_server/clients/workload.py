"""Clients that hold no credential: a token of a trusted issuer about the place they run in proves who they are.

It comes as a client assertion (RFC 7521 §4.2) beside `client_id`, and is none of private_key_jwt: the client's
registered method decides which of both is looked for, and here `iss` and `sub` differ, while there they are the same.

The signature shows that the issuer made the token, and many others hold tokens of the same issuer. So a refusal says
nothing until a rule of the client has met subject and claims; afterwards it tells what to change.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from auth_server import config, database
from auth_server.clients import assertions, issued, issuers, lifetimes, workload_rules
from auth_server.clients.client import Client
from auth_server.clients.issuers import TrustedIssuer
from auth_server.clients.lifetimes import BadLifetime
from auth_server.clients.signed import LONGEST_JTI, NotSigned
from auth_server.clients.workload_rules import Rule
from auth_server.errors import InvalidClient
from auth_server.infra import seen
from auth_server.infra.events import Event, record
from auth_server.keys.jose import Unverified

_PURPOSE = "workload-token"
_TYPES = (None, "jwt")
"""Clusters say nothing. An issuer's access tokens and identity assertions are for somebody else to take."""


def check(client: Client, token: Unverified) -> None:
    """Refuse a token that does not prove just now that its holder is the client; raise `InvalidClient`.

    Deviation: unlike a client's own assertion it counts until it expires (RFC 7523 §3 lets `jti` be left alone). A
    cluster writes one token into a file for an hour and a CI system hands one to a job; neither makes one for each
    request. By a rule's `once` it does count once, and that is committed.
    """
    try:
        issuer, claims = issued.verified(token, issuers.WORKLOAD, _TYPES)
    except NotSigned as cause:
        raise InvalidClient(detail=str(cause)) from None
    rules = [rule for rule in workload_rules.of(client.details) if rule.issuer == issuer.issuer and rule.fits(claims)]
    if not rules or claims["sub"] == issuer.issuer:
        raise InvalidClient(detail="no rule of the client has the token's issuer, subject and claims")
    rule = _addressed(rules, issuer, claims)
    try:
        until = lifetimes.of_reused(claims)
    except BadLifetime as cause:
        raise assertions.refused(str(cause)) from None
    if rule.once:
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 0 < len(jti) <= LONGEST_JTI:
            raise assertions.refused(f"the token needs a jti, a text of at most {LONGEST_JTI} characters")
        if not seen.first_time(_PURPOSE, f"{issuer.issuer} {jti}", until):
            raise assertions.refused("the token was used before: the client's rule wants another one for each request")
        database.release()  # nobody should wait while a token is signed
    about = {"issuer": issuer.issuer, "workload": claims["sub"]}
    record(Event.WORKLOAD_ACCEPTED, client=client.client_id, changes_nothing=True, **about)


def _addressed(rules: Sequence[Rule], issuer: TrustedIssuer, claims: dict[str, Any]) -> Rule:
    """Return the rule whose audience the token has; of several the strictest."""
    usual = issuer.audience or config.current().issuer
    fitting = [rule for rule in rules if issued.is_for(claims, rule.audience or usual)]
    if not fitting:
        raise assertions.refused("aud of the token must be this server's issuer, or what the client's rule says, alone")
    return max(fitting, key=lambda rule: rule.once)
