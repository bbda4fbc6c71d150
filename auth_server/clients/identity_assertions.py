"""Identity assertions (ID-JAG, draft-ietf-oauth-identity-assertion-authz-grant): a company's identity provider lets an
app act for one of its people here (RFC 7523 §2.1). Only the assertion is judged here; whom it means, `access` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from auth_server import config
from auth_server.clients import issued, issuers, lifetimes, signed
from auth_server.clients.client import Client
from auth_server.clients.issuers import TrustedIssuer
from auth_server.clients.lifetimes import BadLifetime
from auth_server.clients.signed import LONGEST_JTI, NotSigned
from auth_server.errors import InvalidGrant
from auth_server.infra import seen

_PURPOSE = "identity-assertion"
_TYPES = ("oauth-id-jag+jwt",)
_LONGEST_SUBJECT = 255


@dataclass(frozen=True)
class IdentityAssertion:
    """What a good assertion says. `verified_email` is "" and `resources` None where it says nothing of them."""

    issuer: TrustedIssuer
    subject: str
    verified_email: str
    scopes: tuple[str, ...]
    resources: tuple[str, ...] | None
    auth_time: datetime
    until: datetime
    jti: str = field(repr=False)


def check(client: Client, presented: str, jkt: str | None) -> IdentityAssertion:
    """Return what an assertion for this client says; raise `InvalidGrant`. `jkt`: the DPoP key of the request.

    Nothing is used up: `spend` must follow before anything is given for it.
    """
    try:
        issuer, claims = issued.verified(signed.read(presented), issuers.ID_JAG, _TYPES)
        until = lifetimes.of_single_use(claims)
        auth_time = _auth_time(claims)
    except NotSigned as cause:
        raise InvalidGrant(f"the assertion is refused: {cause.sentence}", detail=str(cause)) from None
    except BadLifetime as cause:
        raise InvalidGrant(f"the assertion is refused: {cause}") from None
    _check_addressee(client, claims)
    _check_extent(issuer, claims, jkt)
    return IdentityAssertion(
        issuer=issuer,
        subject=_text(claims, "sub", _LONGEST_SUBJECT),
        verified_email=_verified_email(claims),
        scopes=_scopes(claims),
        resources=_resources(claims),
        auth_time=auth_time,
        until=until,
        jti=_text(claims, "jti", LONGEST_JTI),
    )


def spend(assertion: IdentityAssertion) -> None:
    """Let the assertion count, once in all processes; raise `InvalidGrant` for one that came before."""
    if not seen.first_time(_PURPOSE, f"{assertion.issuer.issuer} {assertion.jti}", assertion.until):
        raise InvalidGrant("the assertion was used before: ask the issuer for a new one")


def _check_addressee(client: Client, claims: Mapping[str, Any]) -> None:
    if not issued.is_for(dict(claims), config.current().issuer):
        raise InvalidGrant("aud of the assertion must be this server's issuer, alone")
    if claims.get("client_id") != client.client_id:
        raise InvalidGrant("client_id of the assertion is not the authenticated client's")


def _check_extent(issuer: TrustedIssuer, claims: Mapping[str, Any], jkt: str | None) -> None:
    """Refuse what limits the assertion in a way that would be lost here."""
    if "cnf" in claims and (jkt is None or claims["cnf"] != {"jkt": jkt}):
        raise InvalidGrant("the assertion is bound to a key: send the DPoP proof of that key")
    if "authorization_details" in claims:
        raise InvalidGrant("the assertion has authorization_details, which are not supported here")
    if "tenant" in claims and "tenant" not in issuer.claims:
        raise InvalidGrant("the assertion is of one tenant of several: the operator must say which is trusted")


def _text(claims: Mapping[str, Any], name: str, longest: int) -> str:
    found = claims.get(name)
    if not isinstance(found, str) or not 0 < len(found) <= longest or not found.isprintable():
        raise InvalidGrant(f"the assertion needs {name}, a text of at most {longest} characters")
    return found


def _verified_email(claims: Mapping[str, Any]) -> str:
    email = claims.get("email")
    return email if isinstance(email, str) and claims.get("email_verified") is True else ""


def _scopes(claims: Mapping[str, Any]) -> tuple[str, ...]:
    scope = claims.get("scope")
    if not isinstance(scope, str) or not scope.split():
        raise InvalidGrant("the assertion grants no scope")
    return tuple(dict.fromkeys(scope.split()))


def _resources(claims: Mapping[str, Any]) -> tuple[str, ...] | None:
    if "resource" not in claims:
        return None
    named = claims["resource"] if isinstance(claims["resource"], list) else [claims["resource"]]
    if not named or not all(isinstance(name, str) for name in named):
        raise InvalidGrant("resource of the assertion must be a text or a list of texts")
    return tuple(dict.fromkeys(named))


def _auth_time(claims: Mapping[str, Any]) -> datetime:
    """Return when the person signed in there, as far as it is said; raise `BadLifetime`."""
    issued_at = lifetimes.moment(claims, "iat")
    if issued_at is None:
        raise BadLifetime("the assertion needs an iat")
    said = lifetimes.moment(claims, "auth_time")
    return datetime.fromtimestamp(max(0, min(issued_at, issued_at if said is None else said)), UTC)
