"""The authorization request as a row: received, checked in declared order, loaded again at every step.

Client and redirect URI come first: until both hold, errors are pages. Everything else wrong is a redirect. The browser
carries only the row's id; each step checks the stored parameters again, so that a redirect URI that was removed, or a
client that was disabled meanwhile, counts at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import request

from auth_server import config
from auth_server.access import policy
from auth_server.access.apis import Api
from auth_server.clients import client as clients
from auth_server.clients import difference
from auth_server.clients.client import Client
from auth_server.errors import (
    InvalidDpopProof,
    InvalidRequest,
    InvalidRequestObject,
    PageError,
    ProtocolError,
    RegistrationNotSupported,
    RequestUriNotSupported,
    UnsupportedResponseType,
)
from auth_server.infra import clock
from auth_server.oauth import claims_request, described, parameters, request_object, response, waiting, way_back
from auth_server.oauth.claims_request import Wish
from auth_server.oauth.described import shown
from auth_server.oauth.waiting import Params

PATH = "/oauth/authorize"
REFERENCE = "urn:ietf:params:oauth:request_uri:"
"""What a reference to a pushed request begins with (RFC 9126 §2.2)."""


@dataclass(frozen=True)
class AuthorizationRequest:
    """A checked request. `id` is None until it is stored."""

    id: str | None
    params: Params
    client: Client
    redirect_uri: str
    response_mode: str
    state: str | None
    scopes: tuple[str, ...]
    resources: tuple[Api, ...]
    nonce: str | None
    code_challenge: str | None
    dpop_jkt: str | None
    prompts: frozenset[str]
    max_age: timedelta | None
    login_hint: str
    hinted_sub: str | None
    claims: Wish
    created_at: datetime
    is_pushed: bool
    chosen_session: str | None = None
    consented_session: str | None = None
    consented_scopes: frozenset[str] = frozenset()
    consented_claims: frozenset[str] = frozenset()

    @property
    def is_for(self) -> tuple[frozenset[str], ...]:
        """What the person must be called to get an answer: one of the names, of each."""
        hinted = () if self.hinted_sub is None else (frozenset({self.hinted_sub}),)
        return (*self.claims.subs, *hinted)

    @property
    def url(self) -> str:
        """Where every step returns to."""
        return f"{PATH}?flow={self.id}"


class Refused(Exception):
    """A wrong request whose client and redirect URI hold: the answer is a redirect."""

    def __init__(self, error: ProtocolError, client: Client, redirect_uri: str, mode: str, state: str | None) -> None:
        super().__init__(error.code)
        self.error, self.client, self.redirect_uri, self.mode, self.state = error, client, redirect_uri, mode, state


def receive(browser_digest: str) -> AuthorizationRequest:
    """Check the request that just arrived, or find the one that the app has pushed; raise `PageError` or `Refused`.

    A POST's query counts too, as repeated. Beside a reference, only `client_id` is looked at (RFC 9126 §4).
    """
    params = as_params(request.values.lists())
    if is_reference(params):
        return _pushed_before(params, browser_digest)
    return _checked(params, None, clock.now(), is_pushed=False)


def is_reference(params: Params) -> bool:
    """Tell whether these parameters stand for a pushed request."""
    return any(value.startswith(REFERENCE) for value in params.get("request_uri", ()))


def check_pushed(params: Params, jkt: str | None) -> AuthorizationRequest:
    """Check what an app has pushed just as if a browser had brought it; raise `PageError` or `Refused`.

    `jkt` is the key that it proved to hold: the code is for that key alone (RFC 9449 §10.1).
    """
    return _checked(params, None, clock.now(), is_pushed=True, jkt=jkt)


def save(found: AuthorizationRequest, browser_digest: str | None) -> AuthorizationRequest:
    """Store a request that waits for the person; without a browser it is bound at its first GET."""
    flow = waiting.add(found.params, found.created_at, browser_digest)
    return AuthorizationRequest(**{**found.__dict__, "id": flow})


def load(flow: str, browser_digest: str) -> AuthorizationRequest:
    """Return a waiting request of this browser, checked again; raise `PageError` `flow_expired`, or `Refused`."""
    row = waiting.of_flow(flow, browser_digest)
    if row is None:
        raise PageError("flow_expired", detail="unknown request, or one of another browser")
    if row.browser_digest is None and not _is_over(row) and not waiting.bind(flow, browser_digest):
        raise PageError("flow_expired", detail="bound to another browser meanwhile")
    return _checked_again(row)


def peek(url: str, browser_digest: str) -> AuthorizationRequest | None:
    """Return the waiting request that a local URL leads back to, for the pages that lie between; otherwise None."""
    parts = urlsplit(url)
    flow = parse_qs(parts.query).get("flow", [""])[0]
    if parts.path != PATH or not flow:
        return None
    try:
        return load(flow, browser_digest)
    except (PageError, Refused):
        return None


def restart_url(params: Params) -> str:
    """Return the local URL that starts the same request anew."""
    return PATH + "?" + urlencode(params, doseq=True)


def finished(params: Params, *, is_pushed: bool) -> PageError:
    """Return the page for a request that nobody can go on with: it can be sent anew, or the app must push another."""
    detail = "finished or expired"
    client = clients.find(params["client_id"][0])
    if client is not None and (is_pushed or client.require_signed_request):
        return way_back.to_app("flow_expired", client, detail)
    return PageError("flow_expired", restart_url=restart_url(params), detail=detail)


def as_params(sent: Iterable[tuple[str, list[str]]]) -> Params:
    """Empty parameters count as not sent (RFC 6749 §3.1); whether repeated ones are refused is decided later."""
    return {name: [value for value in values if value] for name, values in sent if any(values)}


def _pushed_before(params: Params, browser_digest: str) -> AuthorizationRequest:
    client = _client(params, is_new=False)
    (reference, *others) = params["request_uri"]
    row = None
    if not others:
        row = waiting.of_reference(reference.removeprefix(REFERENCE), client.client_id, browser_digest)
    if row is None:
        detail = "unknown, expired, of another app, or opened in another browser before"
        error = way_back.to_app("invalid_request_uri", client, detail)
        error.facts = [("request_uri", detail)]
        raise error
    return _checked_again(row)


def _checked_again(row: Any) -> AuthorizationRequest:
    """Check what a row says, unless nobody can go on with it."""
    is_pushed = row.reference_digest is not None
    if _is_over(row):
        raise finished(row.params, is_pushed=is_pushed)
    return _checked(row.params, row, row.created_at, is_pushed=is_pushed)


def _is_over(row: Any) -> bool:
    return row.closed_at is not None or row.expires_at <= clock.now()


def _checked(
    params: Params, row: Any, created_at: datetime, *, is_pushed: bool, jkt: str | None = None
) -> AuthorizationRequest:
    client = _client(params, is_new=row is None)
    is_signed = row is not None or request_object.NAME in params
    params = _signed(client, params, is_pushed=is_pushed)
    if jkt and params.setdefault("dpop_jkt", [jkt]) != [jkt]:
        raise InvalidDpopProof("dpop_jkt is not the thumbprint of the DPoP proof's key")
    redirect_uri = _redirect_uri(client, params)
    state = params.get("state", [None])[0] if len(params.get("state", [])) < 2 else None
    state = state if state is not None and parameters.is_sane(state) else None
    mode = params.get("response_mode", ["query"])[0]
    mode = mode if mode in response.MODES else "query"
    try:
        if not is_pushed and (client.require_par or config.current().require_par):
            raise InvalidRequest("authorization requests of this app must be pushed first (RFC 9126)")
        if client.require_signed_request and not is_signed:
            raise InvalidRequest("authorization requests of this app must be signed (RFC 9101)")
        return _rest(params, row, created_at, client, redirect_uri, mode, state, is_pushed=is_pushed)
    except ProtocolError as error:
        raise Refused(error, client, redirect_uri, mode, state) from None


def _signed(client: Client, params: Params, *, is_pushed: bool) -> Params:
    """Return the parameters that count; a bad signature is a page, or, where it was pushed, an answer to the app."""
    try:
        return request_object.opened(client, params)
    except InvalidRequestObject as refusal:
        if is_pushed:
            raise
        facts = [("request", refusal.description)]
        raise PageError(refusal.code, app_name=client.name, facts=facts, detail=refusal.description) from None


def _client(params: Params, *, is_new: bool) -> Client:
    """Return the client; only a new request lets us read the document of one that has a document."""
    sent = params.get("client_id", [])
    if len(sent) != 1:
        raise PageError("unknown_client", detail="client_id is missing or repeated")
    client = described.for_browser(sent[0]) if is_new else clients.find(sent[0])
    if client is None:
        raise PageError("unknown_client", facts=[("client_id", shown(sent[0]))], detail="unknown client")
    described.refuse_blocked(client)
    if client.is_disabled:
        raise PageError("client_disabled", app_name=client.name, detail="client disabled")
    return client


def _redirect_uri(client: Client, params: Params) -> str:
    sent = params.get("redirect_uri", [])
    if not sent:
        raise PageError("redirect_uri_missing", app_name=client.name, detail="redirect_uri missing")
    if len(sent) == 1 and client.accepts_redirect_uri(sent[0]):
        return sent[0]
    kind = difference.kind(sent[0], client.redirect_uris) if len(sent) == 1 else "sent more than once"
    facts = [("redirect_uri", shown(sent[0])), ("What differs", kind)]
    raise PageError("redirect_uri_mismatch", app_name=client.name, facts=facts, detail=f"redirect_uri: {kind}")


def _rest(
    params: Params,
    row: Any,
    created_at: datetime,
    client: Client,
    redirect_uri: str,
    mode: str,
    state: str | None,
    *,
    is_pushed: bool,
) -> AuthorizationRequest:
    _check_form(params)
    prompts = parameters.prompts(_one(params, "prompt"))
    scopes = policy.scopes_for_client(client, _one(params, "scope"), for_person=True)
    resources = parameters.resources(client, params.get("resource", []))
    if resources:
        scopes = policy.narrowed_to([api.identifier for api in resources], scopes)
    policy.target(scopes, resources)  # different formats are refused before anybody signs in
    return AuthorizationRequest(
        params=params,
        client=client,
        redirect_uri=redirect_uri,
        response_mode=mode,
        state=state,
        scopes=scopes,
        resources=resources,
        nonce=_one(params, "nonce"),
        code_challenge=parameters.challenge(
            client, _one(params, "code_challenge"), _one(params, "code_challenge_method")
        ),
        dpop_jkt=parameters.dpop_jkt(_one(params, "dpop_jkt")),
        prompts=prompts,
        max_age=parameters.max_age(client, _one(params, "max_age")),
        login_hint=(_one(params, "login_hint") or "")[:320],
        hinted_sub=parameters.hinted_sub(client, _one(params, "id_token_hint")),
        claims=claims_request.parse(_one(params, "claims")),
        created_at=created_at,
        is_pushed=is_pushed,
        **_progress(row),
    )


def _progress(row: Any) -> dict[str, Any]:
    """Return what the person has said so far; nothing of a request that is not stored."""
    if row is None:
        return {"id": None}
    said: dict[str, Any] = {"chosen_session": row.chosen_session, "consented_session": row.consented_session}
    said |= {name: frozenset(getattr(row, name) or ()) for name in ("consented_scopes", "consented_claims")}
    return {"id": row.id, **said}


def _check_form(params: Params) -> None:
    """What must hold before anything is read: RFC 6749 §3.1, OpenID Connect Core §3.1.2.6."""
    if any(len(sent) > 1 for name, sent in params.items() if name != "resource"):
        raise InvalidRequest("a parameter is repeated")
    if not all(parameters.is_sane(value) for sent in params.values() for value in sent):
        raise InvalidRequest("a parameter is too long or malformed")
    for name, refusal in (
        ("request_uri", RequestUriNotSupported("request_uri is not supported")),
        ("registration", RegistrationNotSupported("the registration parameter is not supported")),
    ):
        if name in params:
            raise refusal
    if "response_type" not in params:
        raise InvalidRequest("response_type is missing")
    if params["response_type"] != ["code"]:
        raise UnsupportedResponseType("response_type must be code")
    if params.get("response_mode", ["query"])[0] not in response.MODES:
        raise InvalidRequest("response_mode is not one that is supported for code")


def _one(params: Params, name: str) -> str | None:
    return params[name][0] if name in params else None
