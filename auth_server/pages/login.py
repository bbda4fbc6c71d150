"""Sign-in and sign-out."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, redirect, render_template, request

from auth_server.accounts import sign_in, users
from auth_server.accounts.sign_in import Attempt
from auth_server.errors import Busy
from auth_server.infra import events
from auth_server.oauth import authorization_request
from auth_server.oauth.authorization_request import AuthorizationRequest
from auth_server.web import browser, guards, session
from auth_server.web.i18n import gettext as _
from auth_server.web.i18n import ngettext

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
        if waiting:
            authorization_request.note_choice(waiting, here)
        return redirect(then, 303)  # type: ignore[return-value]
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
    proved = sign_in.complete(attempt.user, amr=(sign_in.AMR_PASSWORD,), browser_digest=browser.digest())
    session.begin(proved, remember="remember" in request.form)
    return redirect(then, 303)  # type: ignore[return-value]


def _failed(then: str, waiting: AuthorizationRequest | None, attempt: Attempt) -> Response:
    if attempt.retry_after_seconds:
        minutes = -(-attempt.retry_after_seconds // 60)
        words = ngettext("Wait %(num)s minute, then try again.", "Wait %(num)s minutes, then try again.", minutes)
        text = f"{_('Too many tries.')} {words % {'num': minutes}}"
        response = _form(then, waiting, {"form": text}, 429)
        response.headers["Retry-After"] = str(attempt.retry_after_seconds)
        return response
    return _form(then, waiting, {"email": _("The e-mail or password is not right.")}, 401)


def _busy(then: str, waiting: AuthorizationRequest | None, cause: Busy) -> Response:
    text = _("Many people are signing in just now. Try again in a few seconds.")
    response = _form(then, waiting, {"form": text}, 503)
    response.headers["Retry-After"] = str(cause.retry_after_seconds)
    return response


def _form(then: str, waiting: AuthorizationRequest | None, errors: dict[str, str], status: int) -> Response:
    here = session.current()
    may_continue = here is not None and (waiting is None or "login" not in waiting.prompts) and not errors
    user = users.find(here.user_id) if here and may_continue else None
    text = render_template(
        "login/login.html",
        next=then,
        email=request.form.get("email") or (waiting.login_hint if waiting else ""),
        remember="remember" in request.form,
        errors=errors,
        app_name=waiting.client.name if waiting else "",
        offer_recovery=bool(errors),
        accounts=[{"name": user.name, "email": user.email}] if user else [],
        signup_url="",
    )
    return Response(text, status)


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
