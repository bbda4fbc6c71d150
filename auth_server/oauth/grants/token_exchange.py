"""Token exchange (RFC 8693): an API that received a person's token gets a narrower one for another API.

Only what a rule of the operator's names (`access.exchanges`), and never more than the token that is shown: not its
scopes, not its life. A token that is refused is `invalid_request` (§2.2.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from auth_server.access import apis, assurance, exchanges, policy
from auth_server.access.apis import Api
from auth_server.access.exchanges import Rule
from auth_server.clients import client as clients
from auth_server.clients import metadata
from auth_server.clients.client import Client
from auth_server.errors import InvalidDpopProof, InvalidRequest, InvalidScope, InvalidTarget, UnauthorizedClient
from auth_server.keys import access_token, confirmation
from auth_server.oauth.grants import base
from auth_server.oauth.server import TokenRequest
from auth_server.tokens import checking, delegation, families
from auth_server.tokens import exchanges as passed_on
from auth_server.tokens.checking import Live
from auth_server.tokens.families import Family
from auth_server.tokens.issuing import Authorization

_KIND = "urn:ietf:params:oauth:token-type:"
ACCESS_TOKEN, JWT = _KIND + "access_token", _KIND + "jwt"
TYPES = (ACCESS_TOKEN, JWT)
"""What may be exchanged, and what for: access tokens of ours; `jwt` says that it is one of those."""
_MOST_TARGETS = 20
_NOT_YOURS = "the subject token is unknown, has ended, or is not one that this client may exchange"
"""One sentence for all of them: whoever tries tokens of others learns nothing."""


@dataclass(frozen=True)
class _Asked:
    """What a request names, each well-formed by itself."""

    subject_token: str
    actor_token: str | None
    wanted_type: str
    api: Api
    scopes: tuple[str, ...] | None


class TokenExchangeGrant(base.TokenGrant):
    GRANT_TYPE = metadata.TOKEN_EXCHANGE

    @classmethod
    def is_on(cls) -> bool:
        return exchanges.is_on()

    def authorize(self, client: Client, request: TokenRequest) -> Authorization:
        if client.is_public:
            raise UnauthorizedClient("a public client cannot exchange tokens")
        asked = self._asked = _asked(request)
        is_delegated = _shows_itself(client, asked, request)
        live, rules = _subject(client, asked)
        rule = _rule(rules, asked.api)
        family = _check_subject(client, rule, live, request)
        scopes = _scopes(client, rule, asked, live.claims, family)
        actor = None if rule.impersonation and not is_delegated else client.client_id
        return Authorization(
            client=client,
            grant_type=self.GRANT_TYPE,
            scopes=scopes,
            target=policy.target(scopes, [asked.api]),
            family=family,
            person=live.person,
            consume=lambda: _note(family, client, asked.api),
            derived=delegation.derive(live.claims, family, actor=actor, rule=rule.name),
        )

    def create_token_response(self) -> tuple[int, dict[str, Any], list[tuple[str, str]]]:
        status, body, headers = super().create_token_response()
        return status, {**body, "issued_token_type": self._asked.wanted_type}, headers


def _asked(request: TokenRequest) -> _Asked:
    """Return what is asked; raise what is wrong with the request, before any token is looked at."""
    fields = request.fields
    subject_token = base.required(fields, "subject_token")
    _check_type(subject_token, fields, "subject_token")
    actor_token = fields.get("actor_token")
    if actor_token is not None:
        _check_type(actor_token, fields, "actor_token")
    elif "actor_token_type" in fields:  # RFC 8693 §2.1
        raise InvalidRequest("actor_token_type was sent without actor_token")
    api = _target(request)
    wanted = fields.get("requested_token_type", ACCESS_TOKEN)
    if wanted not in TYPES:
        raise InvalidRequest(f"requested_token_type: possible are {' and '.join(TYPES)}")
    if wanted == JWT and api.token_format != "jwt":  # noqa: S105 - a format's name
        raise InvalidRequest("requested_token_type: this API takes opaque tokens")
    scope = fields.get("scope")
    return _Asked(subject_token, actor_token, wanted, api, None if scope is None else tuple(scope.split()))


def _check_type(presented: str, fields: dict[str, str], name: str) -> None:
    kind = base.required(fields, f"{name}_type")
    if kind not in TYPES:
        raise InvalidRequest(f"{name}_type: possible are {' and '.join(TYPES)}")
    if kind == JWT and "." not in presented:
        raise InvalidRequest(f"{name} is no JWT, as {name}_type says")


def _target(request: TokenRequest) -> Api:
    """Return the one API that `resource` and `audience` name (RFC 8693 §2.1); here both name it by its identifier."""
    named = [*request.values("resource"), *request.values("audience")]
    if not named:
        raise InvalidRequest("resource is missing: name the API that the token is for; audience will do as well")
    if len(named) > _MOST_TARGETS or len(set(named)) > 1:
        raise InvalidTarget("name one API: a token is exchanged for one at a time")
    if not apis.is_resource_uri(named[0]):
        raise InvalidTarget("resource must be an absolute URI without fragment")
    api = apis.register().by_identifier.get(named[0])
    if api is None:
        raise _no_such_target()
    return api


def _shows_itself(client: Client, asked: _Asked, request: TokenRequest) -> bool:
    """Tell whether the client names itself as the actor; raise for an actor token that is not its own."""
    if asked.actor_token is None:
        return False
    live = checking.live(asked.actor_token)
    if live is None or live.person is not None or live.claims["client_id"] != client.client_id:
        raise InvalidRequest(
            "the actor token is unknown, has ended, or is not this client's own: one by client_credentials is taken"
        )
    bound_to = confirmation.of(live.claims)
    if bound_to and (request.sender is None or request.sender.confirmation != bound_to):
        raise InvalidDpopProof("the actor token is bound to a key: send the DPoP proof of that key, or its certificate")
    return True


def _subject(client: Client, asked: _Asked) -> tuple[Live, list[Rule]]:
    """Return the token and the rules that let the client exchange it for something."""
    live = checking.live(asked.subject_token)
    if live is None:
        raise InvalidRequest(_NOT_YOURS, detail="unknown, malformed, expired or ended subject token")
    claims = live.claims
    audiences = access_token.audience_of(claims)
    rules = exchanges.matching(client.client_id, audiences=audiences, from_client=claims["client_id"])
    if not rules:
        raise InvalidRequest(_NOT_YOURS, detail="no rule for this client and such a token")
    return live, rules


def _rule(rules: list[Rule], api: Api) -> Rule:
    """Return the first rule, by name, that leads to the API: two are not mixed."""
    for rule in rules:
        if rule.to_audience == api.identifier:
            return rule
    raise _no_such_target()


def _no_such_target() -> InvalidTarget:
    return InvalidTarget("no rule lets this client exchange the subject token for one of this API")


def _check_subject(client: Client, rule: Rule, live: Live, request: TokenRequest) -> Family:
    """Return the family that the token is of; raise when it may not be exchanged, or not so."""
    claims = live.claims
    if live.person is None:
        raise InvalidRequest("the subject token acts for no person: a service's own token is not exchanged")
    if not delegation.may_act(claims, client.client_id):
        raise InvalidRequest("may_act of the subject token names another actor")
    if delegation.is_exhausted(claims):
        raise InvalidRequest("the subject token was exchanged too often already")
    if "cnf" in claims:
        _check_bound(rule, request)
    family = families.find(claims["fam"])
    if family is None or family.is_ended:
        raise InvalidRequest(_NOT_YOURS, detail="the family has ended")
    return family


def _check_bound(rule: Rule, request: TokenRequest) -> None:
    """A token that is bound to an app's key (RFC 9449 §7): whoever passes it on holds another one.

    So an operator must say that this client checks the proofs, and what comes of it is bound again, to its own key.
    """
    if not rule.bound_tokens:
        raise InvalidRequest("the subject token is bound to a key, and the rule does not take such tokens")
    if request.sender is None:
        raise InvalidDpopProof("the subject token is bound to a key, so the new one must be too: send a DPoP proof")


def _scopes(client: Client, rule: Rule, asked: _Asked, claims: dict[str, Any], family: Family) -> tuple[str, ...]:
    """Return the scopes: of the subject token, of the rule, and still allowed to app and person; at least one."""
    held = str(claims["scope"]).split()
    within_rule = set(rule.scopes) & {*asked.api.scopes, *exchanges.MEMBERSHIPS}
    wanted = held if asked.scopes is None else asked.scopes
    if not set(wanted) <= set(held):
        raise InvalidScope("scope exceeds that of the subject token")
    if asked.scopes is not None and not set(wanted) <= within_rule:
        raise InvalidScope("scope exceeds what the rule allows")
    wanted = [scope for scope in held if scope in within_rule and scope in wanted]
    found = _still_allowed(client, wanted, family)
    if not set(found) & set(asked.api.scopes):
        raise InvalidScope("the subject token has no scope of this API that may be passed on")
    return found


def _still_allowed(client: Client, scopes: list[str], family: Family) -> tuple[str, ...]:
    """Leave out what the app or the person may no longer have, and what needs a stronger sign-in by now."""
    app = clients.find(family.client_id)
    if app is None:
        return ()
    if not all(access_token.reaches(family.acr, least) for least in (app.minimum_acr, client.minimum_acr)):
        raise InvalidScope("the person's sign-in is not strong enough by now")
    possible = policy.possible_scopes(app, for_person=True)
    held = policy.scopes_for_person(family.user_id, (scope for scope in scopes if scope in possible))
    return assurance.within(family.acr, held)


def _note(family: Family, client: Client, api: Api) -> None:
    """The last look, and the first write: what has ended meanwhile gives nothing any more."""
    if not passed_on.note(family, client.client_id, api.identifier):
        raise InvalidRequest(_NOT_YOURS, detail="the family ended meanwhile")
