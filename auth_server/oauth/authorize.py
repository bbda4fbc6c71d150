"""The authorization endpoint: a dispatcher. Every step comes back here; the next is decided from stored state."""

from __future__ import annotations

from enum import Enum

from flask import Blueprint, Response, redirect, request
from flask_limiter import Limiter

from auth_server import config
from auth_server.access import policy
from auth_server.accounts import sessions, users
from auth_server.accounts.sessions import Session
from auth_server.errors import (
    AccessDenied,
    AccountSelectionRequired,
    ConsentRequired,
    InteractionRequired,
    LoginRequired,
    ProtocolError,
    UnmetAuthenticationRequirements,
)
from auth_server.infra import clock
from auth_server.infra.events import Event, record
from auth_server.oauth import authorization_request, claims_request, consent, response, step_up, waiting
from auth_server.oauth.authorization_request import PATH, AuthorizationRequest, Refused
from auth_server.oauth.step_up import Missing
from auth_server.tokens import store, subjects
from auth_server.web import browser, csrf, guards, limits, session


class Step(Enum):
    """What is missing before the answer."""

    SIGN_IN = "sign_in"
    CHOOSE_ACCOUNT = "choose_account"
    ENROL = "enrol"
    STEP_UP = "step_up"
    CONSENT = "consent"
    ANSWER = "answer"


def _instead_of(step: Step) -> ProtocolError:
    """Return what `prompt=none` gets instead of a page (OpenID Connect Core §3.1.2.6)."""
    if step is Step.CONSENT:
        return ConsentRequired("the person has not allowed this yet")
    if step is Step.ENROL:
        return InteractionRequired("the person must set up a second factor first")
    if step is Step.CHOOSE_ACCOUNT:
        return AccountSelectionRequired("the person must choose an account")
    return LoginRequired("nobody is signed in, or the sign-in is not the one that was asked for")


def setup_authorize(blueprint: Blueprint, limiter: Limiter) -> None:
    csrf.exempt((PATH, "POST"))  # a request may be posted by the app's page; the consent form checks its own token
    limited = limits.limit_created(limiter, config.current().create_rate_limit)
    begin = limited(_begin)

    def authorize() -> Response:
        flow = request.args.get("flow")
        try:
            if flow is None:
                return begin()  # type: ignore[no-any-return]
            found = authorization_request.load(flow, browser.digest())
            return _answer_consent(found) if request.method == "POST" else go_on(found)
        except Refused as refused:
            return refuse(refused)

    blueprint.add_url_rule(PATH, "authorize", authorize, methods=["GET", "POST"])


def _begin() -> Response:
    try:
        if request.method == "POST":
            return _begin_again_by_get()
        return go_on(authorization_request.receive(browser.digest()))
    except Refused as refused:
        return refuse(refused)


def _begin_again_by_get() -> Response:
    """A cross-site POST carries no cookie: the browser is bound at the GET that follows."""
    params = authorization_request.as_params(request.values.lists())
    if authorization_request.is_reference(params):
        kept = {name: values for name, values in params.items() if name in ("client_id", "request_uri")}
        return redirect(authorization_request.restart_url(kept), 303)  # type: ignore[return-value]
    found = authorization_request.receive(browser.digest())
    return redirect(authorization_request.save(found, None).url, 303)  # type: ignore[return-value]


def go_on(found: AuthorizationRequest) -> Response:
    """Take the next step, or answer."""
    here = session.current()
    step = next_step(found, here)
    if step is Step.ANSWER and here:
        if sessions.hold(here.id):
            return _grant(found, here)
        step = Step.SIGN_IN  # the session is being ended at this very moment
    if "none" in found.prompts:
        raise _refused(found, _instead_of(step))
    if found.id is None:
        found = authorization_request.save(found, browser.digest())
    if step is Step.CONSENT and "flow" not in request.args:
        return redirect(found.url, 303)  # type: ignore[return-value]
    if step is Step.CONSENT and here:
        return consent.page(found, here, _scopes(found, here), _account(here))
    if step is Step.ENROL:
        return guards.to_enrolment(found.url)
    if step is Step.STEP_UP:
        return guards.to_step_up(found.url)
    return guards.to_login(found.url)


def next_step(found: AuthorizationRequest, here: Session | None) -> Step:
    """Decide what is missing, from the request and the session alone."""
    if here is None or _must_sign_in_again(found, here):
        return Step.SIGN_IN
    fresh = here.shown_since >= found.created_at
    if _is_for_another(found, here):
        if fresh:  # the person insists on another account than the app expects
            raise _refused(found, _instead_of(Step.SIGN_IN))
        return Step.SIGN_IN
    if "select_account" in found.prompts and found.chosen_session != here.id and not fresh:
        return Step.CHOOSE_ACCOUNT
    scopes = _scopes(found, here)
    is_covered = consent.covered(found, here, scopes)
    strength = _strength_step(found, here, consent.certain(found, here, scopes, is_covered=is_covered))
    return strength or (Step.ANSWER if is_covered else Step.CONSENT)


def _is_for_another(found: AuthorizationRequest, here: Session) -> bool:
    """Tell whether a hint, or `claims`, names somebody else (OpenID Connect Core §3.1.2.1)."""
    name = subjects.told(found.client, here.user_id)
    return any(name not in possible for possible in found.is_for)


def _strength_step(found: AuthorizationRequest, here: Session, scopes: tuple[str, ...]) -> Step | None:
    """Return the step that makes the sign-in strong enough for these scopes; None: it is."""
    lacks = step_up.missing(step_up.demand(found, scopes), here)
    if lacks is Missing.OUT_OF_REACH:
        raise _refused(found, UnmetAuthenticationRequirements("this person cannot sign in as strongly as is demanded"))
    return {Missing.SECOND_FACTOR: Step.STEP_UP, Missing.ENROLMENT: Step.ENROL}.get(lacks)


def refuse(refused: Refused) -> Response:
    """Tell the app by redirect what is wrong (RFC 6749 §4.1.2.1)."""
    error = refused.error
    record(
        Event.AUTHORIZATION_REFUSED,
        client=refused.client.client_id,
        reason=(error.detail or error.description)[:255],
        error=error.code,
    )
    parameters = response.error_parameters(error)
    return response.respond(refused.redirect_uri, refused.mode, refused.state, parameters, refused.client)


def _must_sign_in_again(found: AuthorizationRequest, here: Session) -> bool:
    """`prompt=login` and `max_age` want a sign-in that is newer than the request (OpenID Connect Core §3.1.2.1).

    A step-up does not make it newer: each method must have been shown.
    """
    if here.shown_since >= found.created_at:
        return False
    too_old = found.max_age is not None and clock.now() - here.shown_since > found.max_age
    return "login" in found.prompts or too_old


def _answer_consent(found: AuthorizationRequest) -> Response:
    csrf.require_token()
    here = session.current()
    if here is None or next_step(found, here) is not Step.CONSENT:
        return redirect(found.url, 303)  # type: ignore[return-value]
    try:
        return consent.answer(found, here, _scopes(found, here)) or redirect(found.url, 303)  # type: ignore[return-value]
    except Refused:
        _close(found)
        raise


def _grant(found: AuthorizationRequest, here: Session) -> Response:
    possible = _scopes(found, here)
    scopes, details = consent.granted(found, here, possible), consent.granted_claims(found, here, possible)
    demanded = step_up.demand(found, scopes)
    _close(found)
    code, family_id = store.new_code(
        found.client,
        here,
        scopes=scopes,
        resources=policy.target(scopes, found.resources).resources,
        redirect_uri=found.redirect_uri,
        code_challenge=found.code_challenge,
        nonce=found.nonce,
        dpop_jkt=found.dpop_jkt,
        asked=claims_request.kept(found.claims, scopes, details),
    )
    record(
        Event.CODE_ISSUED,
        subject=here.user_id,
        client=found.client.client_id,
        family=family_id,
        acr=here.acr,
        **demanded.told(),
    )
    return response.respond(found.redirect_uri, found.response_mode, found.state, {"code": code}, found.client)


def _close(found: AuthorizationRequest) -> None:
    if not waiting.close(found.id):
        raise authorization_request.finished(found.params, is_pushed=found.is_pushed)


def _scopes(found: AuthorizationRequest, here: Session) -> tuple[str, ...]:
    """Return the requested scopes that this person may have."""
    scopes = policy.scopes_for_person(here.user_id, found.scopes)
    if found.scopes and not scopes:
        raise _refused(found, AccessDenied("this person may not use any of the requested scopes"))
    return scopes


def _account(here: Session) -> dict[str, str]:
    user = users.find(here.user_id)
    return {"name": user.name, "email": user.email} if user else {"name": "", "email": ""}


def _refused(found: AuthorizationRequest, error: ProtocolError) -> Refused:
    return Refused(error, found.client, found.redirect_uri, found.response_mode, found.state)
