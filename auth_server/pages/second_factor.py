"""The second step of a sign-in: a code from the authenticator app, a passkey, or a recovery code.

What was used last is asked for first; "Try another way" lists what else the person has.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, redirect, render_template, request

from auth_server import config
from auth_server.access import assurance
from auth_server.accounts import ceremony, pending, recovery_codes, second_factor, sign_in, users
from auth_server.accounts.pending import Pending
from auth_server.accounts.second_factor import APP, METHODS, PASSKEY, RECOVERY
from auth_server.accounts.sign_in import Guess
from auth_server.errors import PageError
from auth_server.web import browser, guards, session
from auth_server.web.i18n import gettext as _
from auth_server.web.i18n import ngettext, wait_text

PATH = guards.LOGIN_PATH + "/mfa"
PASSKEY_PATH = PATH + "/passkey"


@dataclass(frozen=True)
class _Step:
    """Where the person is: the waiting sign-in, how they want to go on, and where to afterwards."""

    raw_handle: str
    found: Pending
    method: str
    then: str


def setup_second_factor(app: Flask) -> None:
    blueprint = Blueprint("second_factor", __name__)
    blueprint.add_url_rule(PATH, "ask", ask, methods=["GET", "POST"])
    blueprint.add_url_rule(guards.STEP_UP_PATH, "step_up", guards.signed_in(step_up, on_the_way=True))
    blueprint.add_url_rule(PASSKEY_PATH, "passkey", passkey_options)
    app.register_blueprint(blueprint)


def begin(user_id: str, *, amr: tuple[str, ...], remember: bool, then: str) -> Response:
    """Go on to the second factor, and from there to `then`."""
    raw_handle = pending.begin(user_id, amr=amr, remember=remember, browser_digest=browser.digest())
    return _ask_first(user_id, raw_handle, then)


def step_up() -> Response:
    """Ask whoever is signed in for the second factor alone, where that is what is missing; then on to `next`."""
    here, then = guards.the_session(), guards.safe_next(request.args.get("next", ""))
    if here.acr == sign_in.ACR_TWO_FACTORS:
        return redirect(then, 303)  # type: ignore[return-value]
    if not assurance.has_second_factor(here.user_id):
        return guards.to_enrolment(then)
    return _ask_first(here.user_id, pending.begin_step_up(here, browser.digest()), then)


def _ask_first(user_id: str, raw_handle: str, then: str) -> Response:
    """Ask for what the person used last."""
    first = next(iter(second_factor.methods(user_id)), APP)
    return redirect(_url(first, raw_handle, then), 303)  # type: ignore[return-value]


def ask() -> Response:
    """Show the form, or take it; the sign-in is finished by the right answer alone."""
    then = guards.safe_next(request.values.get("next", ""))
    method = request.values.get("method", APP)
    raw_handle = request.values.get("pending", "")
    found = pending.find(raw_handle, browser.digest())
    if found is None or method not in METHODS:
        again = f"{guards.LOGIN_PATH}?{urlencode({'next': then})}"
        raise PageError("flow_expired", restart_url=again, detail="no sign-in waits for a second factor here")
    if _is_finished_elsewhere(found):
        pending.close(found)
        return redirect(then, 303)  # type: ignore[return-value]
    here = _Step(raw_handle, found, method, then)
    if request.method != "POST":
        return _form(here, {})
    presented = request.form.get("credential" if method == PASSKEY else "code", "")
    guess = second_factor.check(found.user_id, presented, method=method, browser_digest=browser.digest())
    return _finish(here, guess) if guess.is_right else _failed(here, guess)


def _is_finished_elsewhere(found: Pending) -> bool:
    """Tell whether the person has meanwhile signed in with both factors in another tab: nothing is left to ask."""
    here = session.current()
    same = here is not None and here.user_id == found.user_id and here.acr == sign_in.ACR_TWO_FACTORS
    return here is not None and same and here.auth_time >= found.began_at


def passkey_options() -> dict[str, Any]:
    """Answer what the page that was open for a while asks the browser for; nothing is stored."""
    found = pending.find(request.args.get("pending", ""), browser.digest())
    if found is None:
        raise PageError("flow_expired", detail="no sign-in waits for a second factor here")
    return ceremony.second_factor_options(found.user_id, browser.digest())


def _finish(here: _Step, guess: Guess) -> Response:
    found, then = here.found, here.then
    user = users.find(found.user_id)
    if user is None or not _stands(found) or not pending.close(found):
        raise PageError("flow_expired", detail="the sign-in was finished or ended meanwhile")
    proved = sign_in.complete(
        user,
        amr=sign_in.with_second_factor(found.amr, guess.amr),
        browser_digest=browser.digest(),
        trust="trust_device" in request.form,
        shown_since=found.shown_since,
        is_step_up=found.session_id is not None,
    )
    session.begin(proved, remember=found.remember)
    left = recovery_codes.left(user.id)
    if here.method == RECOVERY and left <= recovery_codes.FEW:
        return _few_left(left, then)
    return redirect(then, 303)  # type: ignore[return-value]


def _stands(found: Pending) -> bool:
    """Tell whether what was proved before still counts: a step-up ends with the session it belongs to."""
    here = session.current()
    return found.session_id is None or (here is not None and here.id == found.session_id)


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


def _failed(here: _Step, guess: Guess) -> Response:
    if guess.retry_after_seconds:
        response = _form(here, {"form": wait_text(guess.retry_after_seconds)}, 429)
        response.headers["Retry-After"] = str(guess.retry_after_seconds)
        return response
    if here.method == PASSKEY:
        return _form(here, {"form": _("This passkey was not accepted. Try again, or another way.")}, 401)
    return _form(here, {"code": _("This code is not right, or has been used.")}, 401)


def _form(here: _Step, errors: dict[str, str], status: int = 200) -> Response:
    others = [name for name in second_factor.methods(here.found.user_id) if name != here.method]
    is_passkey = here.method == PASSKEY
    text = render_template(
        "login/mfa.html",
        pending=here.raw_handle,
        method=here.method,
        next=here.then,
        errors=errors,
        others=[{"method": name, "url": _url(name, here.raw_handle, here.then)} for name in others],
        trust_days=config.current().trusted_browser_ttl.days,
        clock_hint="code" in errors and here.method == APP and "failed" in request.form,
        passkey=json.dumps(ceremony.second_factor_options(here.found.user_id, browser.digest())) if is_passkey else "",
        passkey_again=f"{PASSKEY_PATH}?{urlencode({'pending': here.raw_handle})}",
    )
    return Response(text, status)


def _url(method: str, raw_handle: str, then: str) -> str:
    return f"{PATH}?{urlencode({'pending': raw_handle, 'method': method, 'next': then})}"
