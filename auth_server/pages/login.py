"""Sign-in and sign-out."""

from __future__ import annotations

import json

from flask import Blueprint, Flask, Response, redirect, render_template, request

from auth_server.access import assurance
from auth_server.accounts import ceremony, second_factor, sign_in, users
from auth_server.accounts.sessions import Session
from auth_server.accounts.sign_in import Attempt
from auth_server.errors import Busy
from auth_server.infra import events
from auth_server.oauth import authorization_request, step_up
from auth_server.oauth import logout as end_session
from auth_server.oauth.authorization_request import AuthorizationRequest
from auth_server.oauth.waiting import note_choice
from auth_server.pages import second_factor as second_factor_page
from auth_server.pages import signup
from auth_server.web import browser, guards, session
from auth_server.web.i18n import busy_text, wait_text
from auth_server.web.i18n import gettext as _

PASSKEY_PATH = guards.LOGIN_PATH + "/passkey"


def setup_login(app: Flask) -> None:
    blueprint = Blueprint("login", __name__)
    blueprint.add_url_rule(guards.LOGIN_PATH, "login", login, methods=["GET", "POST"])
    blueprint.add_url_rule(PASSKEY_PATH, "passkey", passkey_options)
    blueprint.add_url_rule("/logout", "logout", logout, methods=["GET", "POST"])
    blueprint.add_url_rule("/", "home", lambda: redirect("/account", 303))
    app.register_blueprint(blueprint)


def login() -> Response:
    """Show the form, or take it. The answer leads to `next`, where the next step is decided again."""
    then = guards.safe_next(request.values.get("next", ""))
    waiting = authorization_request.peek(then, browser.digest())
    if request.method != "POST":
        return _form(then, waiting, {}, 200)
    here = session.current()
    if request.form.get("decision") == "continue" and here:
        return _continue(then, waiting, here)
    if request.form.get("credential"):
        return _by_passkey(then, waiting)
    try:
        attempt = sign_in.by_password(
            request.form.get("email", ""),
            request.form.get("password", ""),
            browser_digest=browser.digest(),
            address=events.context().address,
        )
    except Busy as cause:
        return _busy(then, waiting, cause)
    if attempt.user is None:
        return _failed(then, waiting, attempt, {"email": _("The e-mail or password is not right.")})
    return _go_on(then, waiting, attempt.user, attempt.amr)


def passkey_options() -> dict[str, object]:
    """Answer what the page that was open for a while asks the browser for; nothing is stored."""
    return ceremony.sign_in_options(browser.digest())


def _by_passkey(then: str, waiting: AuthorizationRequest | None) -> Response:
    """A passkey that knows its person is both factors; nothing more is asked for."""
    found = sign_in.by_passkey(
        request.form["credential"], browser_digest=browser.digest(), address=events.context().address
    )
    if found.user is None:
        return _failed(then, waiting, found, {"form": _("This passkey was not accepted. Try again, or another way.")})
    proved = sign_in.complete(found.user, amr=found.amr, browser_digest=browser.digest())
    session.begin(proved, remember="remember" in request.form)
    return redirect(then, 303)  # type: ignore[return-value]


def _continue(then: str, waiting: AuthorizationRequest | None, here: Session) -> Response:
    """The person stays who they are; what the app wants beyond that is decided where it leads."""
    if waiting:
        note_choice(waiting.id, here.id)
    return redirect(then, 303)  # type: ignore[return-value]


def _go_on(then: str, waiting: AuthorizationRequest | None, user: users.User, amr: tuple[str, ...]) -> Response:
    """The password is right: the second factor, where there is one, or the end of the sign-in."""
    remember = "remember" in request.form
    if waiting and _has_shown_both(user, waiting):
        return redirect(then, 303)  # type: ignore[return-value]
    strictly = _is_again() or (waiting is not None and step_up.wants_second_factor(waiting, user.id))
    offered = assurance.is_offered(user.id)
    if second_factor.is_wanted(user.id, browser.digest(), offered=offered, strictly=strictly):
        return second_factor_page.begin(user.id, amr=amr, remember=remember, then=then)
    session.begin(sign_in.complete(user, amr=amr, browser_digest=browser.digest()), remember=remember)
    return redirect(then, 303)  # type: ignore[return-value]


def _has_shown_both(user: users.User, waiting: AuthorizationRequest) -> bool:
    """Tell whether the person has signed in elsewhere since the app asked, with all that it wants: no second code."""
    here = session.current()
    if here is None or here.user_id != user.id or here.acr != sign_in.ACR_TWO_FACTORS:
        return False
    return here.shown_since >= waiting.created_at


def _is_again() -> bool:
    """Tell whether somebody who is signed in must show again who they are."""
    return "fresh" in request.values


def _failed(then: str, waiting: AuthorizationRequest | None, attempt: Attempt, wrong: dict[str, str]) -> Response:
    if attempt.retry_after_seconds:
        response = _form(then, waiting, {"form": wait_text(attempt.retry_after_seconds)}, 429)
        response.headers["Retry-After"] = str(attempt.retry_after_seconds)
        return response
    return _form(then, waiting, wrong, 401)


def _busy(then: str, waiting: AuthorizationRequest | None, cause: Busy) -> Response:
    response = _form(then, waiting, {"form": busy_text()}, 503)
    response.headers["Retry-After"] = str(cause.retry_after_seconds)
    return response


def _form(then: str, waiting: AuthorizationRequest | None, errors: dict[str, str], status: int) -> Response:
    here = session.current()
    user = users.find(here.user_id) if here else None
    must_show_again = _is_again() or (waiting is not None and "login" in waiting.prompts)
    text = render_template(
        "login/login.html",
        next=then,
        email=request.form.get("email")
        or (waiting.login_hint if waiting else "")
        or (user.email if user and must_show_again else ""),
        remember="remember" in request.form or bool(here and _is_again() and here.remember),
        again=_is_again(),
        errors=errors,
        app_name=waiting.client.name if waiting else "",
        offer_recovery=status == 429 or (bool(errors) and "failed" in request.form),
        accounts=[{"name": user.name, "email": user.email}] if user and not must_show_again else [],
        signup_url=signup.link(then),
        passkey=json.dumps(passkey_options()) if ceremony.is_possible() else "",
        passkey_again=PASSKEY_PATH,
    )
    return Response(text, status)


def logout() -> Response:
    """Ask, then sign this browser out; an app that asked for it may get the browser back."""
    here = session.current()
    if request.method != "POST" and here:
        user = users.find(here.user_id)
        return Response(render_template("login/logout.html", email=user.email if user else "", app_name="", fields=[]))
    if request.method == "POST" and request.form.get("decision") == "stay":
        return redirect("/account", 303)  # type: ignore[return-value]
    found = end_session.unsealed(request.form.get(end_session.FIELD, ""))
    return end_session.finish(found or end_session.LogoutRequest(), "rp_sign_out" if found else "sign_out")
