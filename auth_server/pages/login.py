"""Sign-in and sign-out."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, redirect, render_template, request

from auth_server.accounts import second_factor, sign_in, users
from auth_server.accounts.sessions import Session
from auth_server.accounts.sign_in import Attempt
from auth_server.errors import Busy
from auth_server.infra import events
from auth_server.oauth import authorization_request, step_up
from auth_server.oauth.authorization_request import AuthorizationRequest
from auth_server.pages import second_factor as second_factor_page
from auth_server.pages import signup
from auth_server.web import browser, guards, session
from auth_server.web.i18n import busy_text, wait_text
from auth_server.web.i18n import gettext as _

_CACHE_ONLY = '"cache"'  # Clear-Site-Data: never cookies, other apps on the host have theirs


def setup_login(app: Flask) -> None:
    blueprint = Blueprint("login", __name__)
    blueprint.add_url_rule(guards.LOGIN_PATH, "login", login, methods=["GET", "POST"])
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
        return _failed(then, waiting, attempt)
    return _go_on(then, waiting, attempt.user)


def _continue(then: str, waiting: AuthorizationRequest | None, here: Session) -> Response:
    """The person stays who they are; what the app wants beyond that is asked for now."""
    if waiting:
        authorization_request.note_choice(waiting, here)
        if step_up.is_missing(waiting, here):
            return second_factor_page.begin(here.user_id, amr=here.amr, remember=here.remember, then=then)
    return redirect(then, 303)  # type: ignore[return-value]


def _go_on(then: str, waiting: AuthorizationRequest | None, user: users.User) -> Response:
    """The password is right: the second factor, where there is one, or the end of the sign-in."""
    amr, remember = (sign_in.AMR_PASSWORD,), "remember" in request.form
    strictly = _is_again() or (waiting is not None and step_up.wants_second_factor(waiting))
    if second_factor.is_wanted(user.id, browser.digest(), strictly=strictly):
        return second_factor_page.begin(user.id, amr=amr, remember=remember, then=then)
    session.begin(sign_in.complete(user, amr=amr, browser_digest=browser.digest()), remember=remember)
    return redirect(then, 303)  # type: ignore[return-value]


def _is_again() -> bool:
    """Tell whether somebody who is signed in must show again who they are."""
    return "fresh" in request.values


def _failed(then: str, waiting: AuthorizationRequest | None, attempt: Attempt) -> Response:
    if attempt.retry_after_seconds:
        response = _form(then, waiting, {"form": wait_text(attempt.retry_after_seconds)}, 429)
        response.headers["Retry-After"] = str(attempt.retry_after_seconds)
        return response
    return _form(then, waiting, {"email": _("The e-mail or password is not right.")}, 401)


def _busy(then: str, waiting: AuthorizationRequest | None, cause: Busy) -> Response:
    response = _form(then, waiting, {"form": busy_text()}, 503)
    response.headers["Retry-After"] = str(cause.retry_after_seconds)
    return response


def _form(then: str, waiting: AuthorizationRequest | None, errors: dict[str, str], status: int) -> Response:
    here = session.current()
    user = users.find(here.user_id) if here else None
    may_continue = (waiting is None or "login" not in waiting.prompts) and not errors and not _is_again()
    text = render_template(
        "login/login.html",
        next=then,
        email=request.form.get("email") or (waiting.login_hint if waiting else "") or _email_again(user),
        remember="remember" in request.form or bool(here and _is_again() and here.remember),
        again=_is_again(),
        errors=errors,
        app_name=waiting.client.name if waiting else "",
        offer_recovery=bool(errors) and status != 503,
        accounts=[{"name": user.name, "email": user.email}] if user and may_continue else [],
        signup_url=signup.link(then),
    )
    return Response(text, status)


def _email_again(user: users.User | None) -> str:
    return user.email if user and _is_again() else ""


def logout() -> Response:
    """Ask, then sign this browser out."""
    here = session.current()
    if request.method != "POST" and here:
        user = users.find(here.user_id)
        return Response(render_template("login/logout.html", email=user.email if user else "", app_name="", fields=[]))
    if request.method == "POST" and request.form.get("decision") == "stay":
        return redirect("/account", 303)  # type: ignore[return-value]
    if request.method == "POST":
        session.end("sign_out")
    response = Response(render_template("login/signed_out.html"))
    response.headers["Clear-Site-Data"] = _CACHE_ONLY
    return response
