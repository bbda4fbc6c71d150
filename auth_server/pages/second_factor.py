"""The second step of a sign-in: a code from the authenticator app, or a recovery code."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, redirect, render_template, request

from auth_server import config
from auth_server.accounts import pending, recovery_codes, second_factor, sign_in, users
from auth_server.accounts.pending import Pending
from auth_server.accounts.second_factor import APP, METHODS, RECOVERY
from auth_server.accounts.sign_in import Guess
from auth_server.errors import PageError
from auth_server.web import browser, guards, session
from auth_server.web.i18n import gettext as _
from auth_server.web.i18n import ngettext, wait_text

PATH = guards.LOGIN_PATH + "/mfa"


def setup_second_factor(app: Flask) -> None:
    blueprint = Blueprint("second_factor", __name__)
    blueprint.add_url_rule(PATH, "ask", ask, methods=["GET", "POST"])
    app.register_blueprint(blueprint)


def begin(user_id: str, *, amr: tuple[str, ...], remember: bool, then: str) -> Response:
    """Go on to the second factor, and from there to `then`."""
    raw_handle = pending.begin(user_id, amr=amr, remember=remember, browser_digest=browser.digest())
    return redirect(_url(APP, raw_handle, then), 303)  # type: ignore[return-value]


def ask() -> Response:
    """Show the form, or take it; the sign-in is finished by the right code alone."""
    then = guards.safe_next(request.values.get("next", ""))
    method = request.values.get("method", APP)
    raw_handle = request.values.get("pending", "")
    found = pending.find(raw_handle, browser.digest())
    if found is None or method not in METHODS:
        again = f"{guards.LOGIN_PATH}?{urlencode({'next': then})}"
        raise PageError("flow_expired", restart_url=again, detail="no sign-in waits for a second factor here")
    if request.method != "POST":
        return _form(raw_handle, method, then, {})
    guess = second_factor.check(
        found.user_id, request.form.get("code", ""), method=method, browser_digest=browser.digest()
    )
    if not guess.is_right:
        return _failed(raw_handle, method, then, guess)
    return _finish(found, method, then)


def _finish(found: Pending, method: str, then: str) -> Response:
    user = users.find(found.user_id)
    if user is None or not pending.close(found):
        raise PageError("flow_expired", detail="the sign-in was finished or ended meanwhile")
    proved = sign_in.complete(
        user,
        amr=sign_in.with_second_factor(found.amr),
        browser_digest=browser.digest(),
        trust="trust_device" in request.form,
    )
    session.begin(proved, remember=found.remember)
    left = recovery_codes.left(user.id)
    if method == RECOVERY and left <= recovery_codes.FEW:
        return _few_left(left, then)
    return redirect(then, 303)  # type: ignore[return-value]


def _few_left(left: int, then: str) -> Response:
    text = render_template(
        "done.html",
        heading=_("You are signed in"),
        text=ngettext("You have %(num)s recovery code left.", "You have %(num)s recovery codes left.", left)
        % {"num": left},
        href=then,
        label=_("Continue"),
    )
    return Response(text)


def _failed(raw_handle: str, method: str, then: str, guess: Guess) -> Response:
    if guess.retry_after_seconds:
        response = _form(raw_handle, method, then, {"form": wait_text(guess.retry_after_seconds)}, 429)
        response.headers["Retry-After"] = str(guess.retry_after_seconds)
        return response
    wrong = _("This code is not right, or has been used.")
    return _form(raw_handle, method, then, {"code": wrong}, 401)


def _form(raw_handle: str, method: str, then: str, errors: dict[str, str], status: int = 200) -> Response:
    other = RECOVERY if method == APP else APP
    text = render_template(
        "login/mfa.html",
        pending=raw_handle,
        method=method,
        next=then,
        errors=errors,
        other_url=_url(other, raw_handle, then),
        trust_days=config.current().trusted_browser_ttl.days,
    )
    return Response(text, status)


def _url(method: str, raw_handle: str, then: str) -> str:
    return f"{PATH}?{urlencode({'pending': raw_handle, 'method': method, 'next': then})}"
