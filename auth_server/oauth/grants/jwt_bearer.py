"""The JWT bearer grant (RFC 7523 §2.1) for identity assertions: an access token for a person, and nothing after it.

Nobody is asked: the company has decided. So it takes an issuer that the operator trusts with people, a client that the
operator gave the grant, and a person that the issuer may mean; roles and demanded strengths count as for everybody.
"""

from __future__ import annotations

from datetime import timedelta

from auth_server import database
from auth_server.access import assurance, identities, policy
from auth_server.access.apis import Api
from auth_server.access.policy import Target
from auth_server.accounts.users import Person
from auth_server.clients import identity_assertions, issuers, metadata
from auth_server.clients.client import Client
from auth_server.clients.identity_assertions import IdentityAssertion
from auth_server.errors import InvalidGrant, InvalidScope, InvalidTarget, UnauthorizedClient
from auth_server.infra.events import Event, record
from auth_server.keys import access_token
from auth_server.oauth.grants import base
from auth_server.oauth.server import TokenRequest
from auth_server.tokens import families
from auth_server.tokens.families import Asserted, Family
from auth_server.tokens.issuing import Authorization

_LIFE = timedelta(hours=1)
"""No access token lives longer, and nothing follows it."""
_TWO_FACTORS = access_token.ACR_VALUES[1]
_NOBODY = "the assertion's subject is nobody for whom this client may act"


class JwtBearerGrant(base.TokenGrant):
    GRANT_TYPE = metadata.JWT_BEARER

    @classmethod
    def is_on(cls) -> bool:
        return issuers.register().is_any_for(issuers.ID_JAG)

    def authorize(self, client: Client, request: TokenRequest) -> Authorization:
        """A good assertion is used up, and committed so, before anything is signed: nobody waits meanwhile."""
        if client.is_public or client.is_self_registered:
            raise UnauthorizedClient("this grant is for confidential clients that an operator has registered")
        found = identity_assertions.check(client, base.required(request.fields, "assertion"), request.jkt)
        person = _person(found)
        scopes, target = _granted(client, request, found, person)
        identity_assertions.spend(found)
        family = _begun(client, found, person, scopes, target)
        record(
            Event.ASSERTION_ACCEPTED, subject=person.id, client=client.client_id, family=family.id,
            issuer=found.issuer.issuer,
        )  # fmt: skip
        database.release()
        return Authorization(client, self.GRANT_TYPE, scopes, target, family=family, person=person)


def _person(found: IdentityAssertion) -> Person:
    """Return whom the issuer means; the client is not told why it is nobody."""
    person = identities.meant(found.issuer, found.subject, found.verified_email)
    if person is None:
        raise InvalidGrant(_NOBODY, detail="no link for the assertion's subject, and no address that counts")
    if person.is_disabled:
        raise InvalidGrant(_NOBODY, detail="the person is disabled")
    if assurance.rule_for(person.id).required and not access_token.reaches(found.issuer.acr, _TWO_FACTORS):
        raise InvalidGrant(_NOBODY, detail="the person needs two factors; a sign-in at the issuer counts as one")
    return person


def _granted(
    client: Client, request: TokenRequest, found: IdentityAssertion, person: Person
) -> tuple[tuple[str, ...], Target]:
    """Return what the assertion and our own rules allow: scopes of APIs. Who it is, the issuer has told the app."""
    asked = request.fields.get("scope")
    wanted = found.scopes if asked is None else tuple(dict.fromkeys(asked.split()))
    if not set(wanted) <= set(found.scopes):
        raise InvalidScope("scope exceeds what the assertion grants")
    if not access_token.reaches(found.issuer.acr, client.minimum_acr):
        raise InvalidGrant("this client needs a stronger sign-in than the issuer's counts as")
    apis = _resources(client, request, found)
    possible = policy.possible_scopes(client, for_person=False)
    scopes = tuple(scope for scope in wanted if scope in possible)
    if apis:
        scopes = policy.narrowed_to([api.identifier for api in apis], scopes)
    scopes = assurance.within(found.issuer.acr, policy.scopes_for_person(person.id, scopes))
    if not scopes:
        raise InvalidScope("nothing of the scope is allowed for this client and this person")
    return scopes, policy.target(scopes, apis)


def _resources(client: Client, request: TokenRequest, found: IdentityAssertion) -> tuple[Api, ...]:
    """Return the APIs that the request names among the assertion's, or all of these."""
    named = tuple(dict.fromkeys(request.values("resource")))
    if found.resources is not None:
        if not set(named) <= set(found.resources):
            raise InvalidTarget("resource is not part of the assertion")
        named = named or found.resources
    apis = policy.check_resources(client, named)
    if not all(access_token.reaches(found.issuer.acr, api.minimum_acr) for api in apis):
        raise InvalidTarget("resource names an API that needs a stronger sign-in than the issuer's counts as")
    return apis


def _begun(client: Client, found: IdentityAssertion, person: Person, scopes: tuple[str, ...], target: Target) -> Family:
    """Begin a family of one access token, so that everything that ends a person's access ends it too."""
    asserted = Asserted(person.id, found.auth_time, found.issuer.acr)
    family_id = families.begin(client, asserted, scopes=scopes, resources=target.resources, nonce=None, life=_LIFE)
    family = families.find(family_id)
    if family is None:
        raise LookupError(family_id)
    return family
