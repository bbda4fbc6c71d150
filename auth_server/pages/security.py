"""How the person signs in: the password, the authenticator app, recovery codes, trusted browsers.

What adds or removes a second factor needs a sign-in of the last ten minutes, with every factor that there is.
"""

from __future__ import annotations

import segno
from flask import Blueprint, Flask, Response, redirect, render_template, request
from markupsafe import Markup

from auth_server import config
from auth_server.accounts import browsers, passwords, recovery_codes, second_factor, sign_in, totp, users
from auth_server.errors import Busy, PageError, RefusedInput
from auth_server.infra import agents, events
from auth_server.tokens import ending
from auth_server.web import browser, guards, session, words
from auth_server.web.i18n import busy_text, wait_text
from auth_server.web.i18n import gettext as _

PATH = "/account/security"
_GROUP = 4


def setup_security(app: Flask) -> None:
    blueprint = Blueprint("security", __name__, url_prefix=PATH)
    fresh, signed_in = guards.freshly_signed_in, guards.signed_in
    blueprint.add_url_rule("", "overview", signed_in(overview))
    blueprint.add_url_rule("", "decide", signed_in(decide), methods=["POST"])
    blueprint.add_url_rule("/password", "password", signed_in(change_password), methods=["GET", "POST"])
    blueprint.add_url_rule("/app", "app", fresh(set_up_app), methods=["GET", "POST"])
    blueprint.add_url_rule("/app/remove", "remove_app", fresh(remove_app), methods=["GET", "POST"])
    blueprint.add_url_rule("/codes", "codes", fresh(make_codes), methods=["GET", "POST"])
    app.register_blueprint(blueprint)


def overview() -> str:
    user = _me()
    return render_template(
        "account/security.html",
        has_password=passwords.exists(user.id),
        password_since=passwords.changed_at(user.id),
        app_since=totp.since(user.id),
        may_add=config.current().mfa != "off",
        codes_left=recovery_codes.left(user.id),
        few=recovery_codes.FEW,
        browsers=[_trusted(found) for found in browsers.trusted(user.id)],
    )


def decide() -> Response:
    """Trust one browser or all of them no more; or go on after the recovery codes were saved."""
    decision = request.form.get("decision")
    if decision == "saved":
        return redirect(guards.safe_next(request.form.get("next", ""), PATH), 303)  # type: ignore[return-value]
    if decision == "forget_one":
        if not browsers.forget_one(_me().id, request.form.get("browser", "")):
            raise PageError("not_found", 404, detail="no such trusted browser of this person")
        return _back()
    if decision != "forget_trust":
        raise PageError("invalid_request", detail="no decision")
    browsers.forget_trust(_me().id, cause="taken_back")
    return _back()


def _trusted(found: browsers.Trusted) -> dict[str, object]:
    return {
        "id": found.handle,
        "name": agents.describe(found.user_agent) or _("Unknown browser"),
        "country": words.country(found.country),
        "since": found.since,
        "until": found.until,
        "current": found.digest == browser.digest(),
    }


def change_password() -> Response:
    """The current password is the proof; guesses at it count like those at the login page."""
    user = _me()
    if request.method != "POST":
        return _password_form(user, {})
    new_password = request.form.get("password", "")
    try:
        passwords.check_rules(new_password, context=(user.email, user.name))
        attempt = sign_in.by_password(
            user.email,
            request.form.get("current", ""),
            browser_digest=browser.digest(),
            address=events.context().address,
        )
        if attempt.user is None:
            return _wrong_password(user, attempt.retry_after_seconds)
        stored = passwords.hash_password(new_password)
    except RefusedInput as refusal:
        return _password_form(user, {"password": refusal.message}, 422)
    except Busy as cause:
        return _password_form(user, {"form": busy_text()}, 503, cause.retry_after_seconds)
    passwords.store_hash(user.id, stored)
    ending.password_changed(user.id, guards.the_session().id)
    return _back()


def set_up_app() -> Response:
    """Begin, show, confirm: the app is asked for only after its first right code."""
    user, then = _me(), guards.safe_next(request.values.get("next", ""), PATH)
    if config.current().mfa == "off":
        raise PageError("not_found", 404, detail="MFA is off")
    if totp.since(user.id):
        return redirect(then, 303)  # type: ignore[return-value]
    decision = request.form.get("decision")
    if request.method == "POST" and decision == "begin":
        totp.begin(user.id)
        return guards.to_enrolment(then)
    secret = totp.waiting_secret(user.id)
    if secret is None:
        return Response(render_template("account/app_intro.html", next=then, due=second_factor.is_due(user.id)))
    if decision != "confirm":
        return _app_form(user, secret, then, {})
    try:
        codes = second_factor.turn_on(user.id, request.form.get("code", ""))
    except RefusedInput as refusal:
        return _app_form(user, secret, then, {refusal.field: _(refusal.message)}, 422)
    _step_up(user)
    ending.factors_changed(user.id, guards.the_session().id)
    return _show_codes(codes, then)


def remove_app() -> Response:
    """Ask, then forget the app and its recovery codes."""
    user = _me()
    if totp.since(user.id) is None:
        return _back()
    if request.method != "POST":
        return _confirm(
            _("Remove the authenticator app?"),
            _("From then on the password alone lets you in."),
            _consequences(),
            _("Remove"),
        )
    second_factor.turn_off(user.id)
    ending.factors_changed(user.id, guards.the_session().id)
    return _back()


def _consequences() -> list[str]:
    found = [_("Your recovery codes stop working."), _("Everywhere else you are signed out.")]
    if config.current().mfa == "required":
        found.append(_("This server asks for one: set up another before you use an app."))
    return found


def make_codes() -> Response:
    """Ask, then show ten new recovery codes."""
    user = _me()
    if totp.since(user.id) is None:
        return _back()
    if request.method != "POST":
        return _confirm(
            _("Make new recovery codes?"), _("The ones that you have stop working."), [], _("Make new codes")
        )
    return _show_codes(second_factor.new_recovery_codes(user.id), PATH)


def _step_up(user: users.User) -> None:
    """The code was the second factor, shown just now: the session has both from here on, under a new handle."""
    here = guards.the_session()
    amr = sign_in.with_second_factor(here.amr)
    session.begin(sign_in.complete(user, amr=amr, browser_digest=browser.digest()), remember=here.remember)


def _me() -> users.User:
    user = users.find(guards.the_session().user_id)
    if user is None:
        raise PageError("not_found", 404)
    return user


def _back() -> Response:
    return redirect(PATH, 303)  # type: ignore[return-value]


def _wrong_password(user: users.User, retry_after_seconds: int) -> Response:
    if retry_after_seconds:
        return _password_form(user, {"form": wait_text(retry_after_seconds)}, 429, retry_after_seconds)
    return _password_form(user, {"current": _("This is not your current password.")}, 401)


def _password_form(user: users.User, errors: dict[str, str], status: int = 200, retry_after: int = 0) -> Response:
    least = config.current().password_min_length
    text = render_template("account/password.html", email=user.email, errors=errors, min_length=least)
    return Response(text, status, {"Retry-After": str(retry_after)} if retry_after else None)


def _app_form(user: users.User, secret: str, then: str, errors: dict[str, str], status: int = 200) -> Response:
    issuer = config.current().issuer_host
    uri = totp.uri(secret, account=user.email, issuer=issuer)
    drawn = segno.make(uri, error="m").svg_inline(scale=4, border=4, dark="#000", light="#fff")
    text = render_template(
        "account/app.html",
        qr=Markup(drawn),  # noqa: S704 - drawn by us, of squares
        key=" ".join(secret[start : start + _GROUP] for start in range(0, len(secret), _GROUP)),
        uri=uri,
        account=user.email,
        issuer=issuer,
        next=then,
        errors=errors,
    )
    return Response(text, status)


def _show_codes(codes: list[str], then: str) -> Response:
    return Response(render_template("account/codes.html", codes=codes, then=then))


def _confirm(heading: str, text: str, consequences: list[str], label: str) -> Response:
    page = render_template(
        "account/confirm.html",
        heading=heading,
        text=text,
        consequences=consequences,
        confirm_label=label,
        cancel_href=PATH,
        danger=True,
    )
    return Response(page)
