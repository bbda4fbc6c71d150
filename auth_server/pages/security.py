"""How the person signs in, at a glance, and the password. Second factors: `factors`, `passkeys`."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, redirect, render_template, request

from auth_server import config
from auth_server.access import assurance
from auth_server.accounts import browsers, ceremony, passkeys, passwords, recovery_codes, sessions, sign_in, totp
from auth_server.accounts.users import User
from auth_server.errors import Busy, PageError, RefusedInput
from auth_server.infra import events
from auth_server.pages import factors
from auth_server.pages.factors import PATH
from auth_server.tokens import ending
from auth_server.web import browser, guards, words
from auth_server.web.i18n import busy_text, wait_text
from auth_server.web.i18n import gettext as _


def setup_security(app: Flask) -> None:
    blueprint = Blueprint("security", __name__, url_prefix=PATH)
    signed_in = guards.signed_in
    blueprint.add_url_rule("", "overview", signed_in(overview))
    blueprint.add_url_rule("", "decide", signed_in(decide), methods=["POST"])
    blueprint.add_url_rule(
        "/password", "password", signed_in(change_password, on_the_way=True), methods=["GET", "POST"]
    )
    app.register_blueprint(blueprint)


def overview() -> str:
    user = guards.the_person()
    return render_template(
        "account/security.html",
        has_password=passwords.exists(user.id),
        password_since=passwords.changed_at(user.id),
        app_since=totp.since(user.id),
        passkeys=passkeys.listing(user.id),
        may_add_passkey=ceremony.is_possible(),
        may_add=assurance.is_offered(user.id),
        codes_left=recovery_codes.left(user.id),
        few=recovery_codes.FEW,
        browsers=[_trusted(found) for found in browsers.trusted(user.id)],
    )


def decide() -> Response:
    """Trust one browser or all of them no more; or go on after the recovery codes were saved."""
    decision = request.form.get("decision")
    if decision == "saved":
        if "saved" not in request.form:
            return factors.not_saved()
        return redirect(guards.safe_next(request.form.get("next", ""), PATH), 303)  # type: ignore[return-value]
    if decision == "forget_one":
        if not browsers.forget_one(guards.the_person().id, request.form.get("browser", "")):
            raise PageError("not_found", 404, detail="no such trusted browser of this person")
        return factors.back()
    if decision != "forget_trust":
        raise PageError("invalid_request", detail="no decision")
    browsers.forget_trust(guards.the_person().id, cause="taken_back")
    return factors.back()


def _trusted(found: browsers.Trusted) -> dict[str, object]:
    return {
        "id": found.handle,
        "name": words.browser(found.user_agent) or _("Unknown browser"),
        "country": words.country(found.country),
        "since": found.since,
        "until": found.until,
        "current": found.digest == browser.digest(),
    }


def change_password() -> Response:
    """The current password is the proof; guesses at it count like those at the login page."""
    user = guards.the_person()
    if request.method != "POST":
        return _password_form(user, {})
    new_password = request.form.get("password", "")
    former = passwords.changed_at(user.id)
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
        return _password_form(user, {"password": refusal.text(_)}, 422)
    except Busy as cause:
        return _password_form(user, {"form": busy_text()}, 503, cause.retry_after_seconds)
    here = guards.the_session().id
    if not sessions.hold(here):  # somebody has signed this browser out during the hash
        return guards.to_login(f"{PATH}/password")
    if not passwords.replace_hash(user.id, stored, of=former):
        return _wrong_password(user, 0)
    ending.password_changed(user.id, here)
    return factors.back()


def _wrong_password(user: User, retry_after_seconds: int) -> Response:
    if retry_after_seconds:
        return _password_form(user, {"form": wait_text(retry_after_seconds)}, 429, retry_after_seconds)
    return _password_form(user, {"current": _("This is not your current password.")}, 401)


def _password_form(user: User, errors: dict[str, str], status: int = 200, retry_after: int = 0) -> Response:
    least = config.current().password_min_length
    text = render_template("account/password.html", email=user.email, errors=errors, min_length=least)
    return Response(text, status, {"Retry-After": str(retry_after)} if retry_after else None)
