"""Opening an account: ask, prove the address by link or code, then choose how to sign in. Invitations end here too."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, redirect, render_template, request
from flask_limiter import Limiter

from auth_server import config
from auth_server.access import assurance, invitations
from auth_server.accounts import ceremony, passkeys, passwords, second_factor, sign_in, sign_up, users
from auth_server.accounts.sign_up import Applicant
from auth_server.errors import PageError, RefusedInput
from auth_server.infra import events
from auth_server.infra.language import mark
from auth_server.oauth import authorization_request
from auth_server.pages import factors, links, mailed
from auth_server.web import browser, guards, limits, session, words
from auth_server.web.i18n import gettext as _

PATH = "/signup"
SENT_PATH = PATH + "/sent"


@dataclass(frozen=True)
class _Way:
    """One kind of link that ends in a new account: how it is looked at, and how it is used up."""

    path: str
    purpose: str
    find: Callable[[str], Applicant | None]
    open_account: Callable[[str, str], users.User | None]


_SIGN_UP = _Way(sign_up.FINISH_PATH, sign_up.PURPOSE, sign_up.find, sign_up.open_account)
_INVITATION = _Way(invitations.PATH, invitations.PURPOSE, invitations.find, invitations.accept)


def setup_signup(app: Flask, limiter: Limiter) -> None:
    limited = limits.limit_created(limiter, config.current().create_rate_limit)
    blueprint = Blueprint("signup", __name__)
    blueprint.add_url_rule(PATH, "form", form)
    blueprint.add_url_rule(PATH, "ask", limited(ask), methods=["POST"])
    blueprint.add_url_rule(SENT_PATH, "sent", sent)
    blueprint.add_url_rule(SENT_PATH, "answer", limited(answer), methods=["POST"])
    for name, way in (("finish", _SIGN_UP), ("invitation", _INVITATION)):
        blueprint.add_url_rule(way.path, name, lambda way=way: _finish(way), methods=["GET", "POST"])
        blueprint.add_url_rule(f"{way.path}/passkey", f"{name}_passkey", lambda way=way: _passkey_options(way))
    app.register_blueprint(blueprint)


def link(then: str) -> str:
    """Return where the login page sends somebody without an account; "" when nobody may open one alone."""
    return f"{PATH}?{urlencode({'next': then})}" if sign_up.is_offered() else ""


def form() -> Response:
    """Show the form, with what was typed before when the address is to be corrected; or say whom to ask."""
    if not sign_up.is_offered():
        return Response(render_template("signup/closed.html", by_invitation=config.current().signup == "invite"))
    asked = sign_up.asked_by(request.args.get("handle", ""))
    then = guards.safe_next(request.args.get("next", ""))
    return _form(asked or Applicant("", "", then), {})


def ask() -> Response:
    """Write to the address, or to nobody: the answer is the same."""
    if not sign_up.is_offered():
        return form()
    typed = Applicant(
        request.form.get("email", ""), request.form.get("name", ""), guards.safe_next(request.form.get("next", ""))
    )
    return _ask(typed, lambda errors, status: _form(typed, errors, status))


def sent() -> Response:
    """Say where the letter went, and take its code."""
    return _sent_page(request.args.get("handle", ""), {})


def answer() -> Response:
    """Take the code; or write again, which ends the former letter."""
    raw_handle, decision = request.form.get("handle", ""), request.form.get("decision")
    asked = _asked_by(raw_handle)

    def show(errors: dict[str, str], status: int) -> Response:
        return _sent_page(raw_handle, errors, status)

    if decision == "again" and sign_up.is_offered():
        return _ask(asked, show)
    if decision != "code":
        raise PageError("invalid_request", detail="no decision")
    redeemed = sign_up.redeem(raw_handle, request.form.get("code", ""))
    if not redeemed.raw_secret:
        return mailed.wrong_code(show, redeemed.retry_after_seconds)
    return redirect(f"{_SIGN_UP.path}?{urlencode({'token': redeemed.raw_secret})}", 303)  # type: ignore[return-value]


def _ask(typed: Applicant, show: mailed.Show) -> Response:
    asked_from = events.context().address
    return mailed.ask(
        lambda: sign_up.ask(typed.email, typed.name, typed.then, asked_from=asked_from), show, sent_path=SENT_PATH
    )


def _finish(way: _Way) -> Response:
    """GET changes nothing, however often; POST opens the account, once, and signs in."""
    token = request.values.get("token", "")
    applicant = way.find(token)
    if applicant is None:
        raise _over(way, token)
    if users.find_by_email(applicant.email):
        return _taken()
    if request.method != "POST":
        return _finish_form(way, token, applicant, applicant.name, {})
    name = request.form.get("name", "")
    if request.form.get("credential"):
        return _with_passkey(way, token, applicant, name)
    password = request.form.get("password", "")
    try:
        name = sign_up.named(name)
        passwords.check_rules(password, context=(applicant.email, name))
    except RefusedInput as refusal:
        return _finish_form(way, token, applicant, name, {refusal.field: refusal.text(_)}, 422)
    stored = passwords.hash_password(password)  # before the link is spent: no transaction is open during the hash

    def enter(user: users.User) -> Response:
        passwords.store_hash(user.id, stored)
        return _welcome(user, (sign_in.AMR_PASSWORD,), applicant.then)

    return _opened(way, token, name, enter)


def _with_passkey(way: _Way, token: str, applicant: Applicant, name: str) -> Response:
    """Open the account with a passkey instead of a password; recovery codes come with it."""
    try:
        name = sign_up.named(name)
        new = ceremony.made(ceremony.read(request.form["credential"]), sign_up.future_id(token), browser.digest())
        if new is None:
            raise RefusedInput(mark("The passkey could not be taken. Nothing was changed; try again."), "form")
        passkeys.check_new(new)
    except RefusedInput as refusal:
        return _finish_form(way, token, applicant, name, {refusal.field: refusal.text(_)}, 422)

    def enter(user: users.User) -> Response:
        passkeys.add(user.id, new, words.browser(events.context().user_agent))
        codes = second_factor.new_recovery_codes(user.id) if assurance.is_offered(user.id) else []
        _welcome(user, sign_in.amr_of(new), applicant.then)
        return factors.show_codes(codes, _reachable(applicant.then))

    return _opened(way, token, name, enter)


def _opened(way: _Way, token: str, name: str, enter: Callable[[users.User], Response]) -> Response:
    """Use the link up; `enter` stores what the person signs in with, in the same transaction, and lets them in."""
    try:
        user = way.open_account(token, name)
    except RefusedInput:
        return _taken()
    if user is None:
        raise _over(way, token)
    return enter(user)


def _passkey_options(way: _Way) -> dict[str, Any]:
    """Answer what the page that was open for a while asks the browser for; nothing is stored."""
    token = request.args.get("token", "")
    applicant = way.find(token)
    if applicant is None:
        raise _over(way, token)
    return _passkey_for(token, applicant)


def _passkey_for(token: str, applicant: Applicant) -> dict[str, Any]:
    return ceremony.options_for(sign_up.future_id(token), applicant.email, applicant.name, browser.digest())


def _welcome(user: users.User, amr: tuple[str, ...], then: str) -> Response:
    """Sign the new person in, and go on to where they came from; another person's session in this browser ends."""
    session.begin(sign_in.complete(user, amr=amr, browser_digest=browser.digest()), remember=False)
    return redirect(_reachable(then), 303)  # type: ignore[return-value]


def _reachable(then: str) -> str:
    """A request of an app belongs to the browser where it began; on another device the account is the end."""
    then = guards.safe_next(then)
    is_request = then.startswith(authorization_request.PATH)
    return "/account" if is_request and authorization_request.peek(then, browser.digest()) is None else then


def _over(way: _Way, token: str) -> PageError:
    if way is _INVITATION or not sign_up.is_offered():
        return links.over(way.purpose, token)
    return links.over(way.purpose, token, way_on=PATH, label=_("Get a new link"))


def _asked_by(raw_handle: str) -> Applicant:
    asked = sign_up.asked_by(raw_handle)
    if asked is None:
        raise PageError(
            "flow_expired",
            text=_("The mail was used already, is too old, or a newer one has taken its place."),
            restart_url=PATH, detail="no sign-up waits in this browser",
        )  # fmt: skip
    return asked


def _taken() -> Response:
    text = render_template(
        "done.html",
        heading=_("You already have an account"),
        text=_("This address has got an account meanwhile. Sign in with it, or set a new password there."),
        href=guards.LOGIN_PATH,
        label=_("Sign in"),
    )
    return Response(text, 409)


def _form(typed: Applicant, errors: dict[str, str], status: int = 200) -> Response:
    text = render_template(
        "signup/signup.html",
        email=typed.email,
        name=typed.name,
        next=typed.then,
        errors=errors,
        min_length=config.current().password_min_length,
        domains=config.current().signup_domains if config.current().signup == "domain" else (),
    )
    return Response(text, status)


def _sent_page(raw_handle: str, errors: dict[str, str], status: int = 200) -> Response:
    text = render_template(
        "signup/sent.html",
        email=_asked_by(raw_handle).email,
        handle=raw_handle,
        errors=errors,
        pause_seconds=mailed.PAUSE_SECONDS,
    )
    return Response(text, status)


def _finish_form(
    way: _Way, token: str, applicant: Applicant, name: str, errors: dict[str, str], status: int = 200
) -> Response:
    here = session.current()
    other = users.find(here.user_id) if here else None
    text = render_template(
        "signup/finish.html",
        action=way.path,
        token=token,
        email=applicant.email,
        name=name,
        invited=way is _INVITATION,
        other_account=other.email if other else "",
        errors=errors,
        min_length=config.current().password_min_length,
        passkey=json.dumps(_passkey_for(token, applicant)) if ceremony.is_possible() else "",
        passkey_again=f"{way.path}/passkey?{urlencode({'token': token})}",
    )
    return Response(text, status)
