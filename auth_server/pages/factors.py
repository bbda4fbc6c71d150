"""The second factor of whoever is signed in: the authenticator app and the recovery codes. Passkeys: `passkeys`.

What adds or removes a second factor needs a sign-in of the last ten minutes, with every factor that there is.
"""

from __future__ import annotations

from urllib.parse import urlencode

import segno
from flask import Blueprint, Flask, Response, redirect, render_template, request
from markupsafe import Markup

from auth_server import config
from auth_server.access import assurance
from auth_server.accounts import ceremony, passkeys, second_factor, sign_in, totp, users
from auth_server.errors import PageError, RefusedInput
from auth_server.infra import clock
from auth_server.oauth import authorization_request
from auth_server.tokens import ending
from auth_server.web import browser, guards, session
from auth_server.web.i18n import gettext as _

PATH = "/account/security"
_GROUP = 4


def setup_factors(app: Flask) -> None:
    blueprint = Blueprint("factors", __name__, url_prefix=PATH)
    fresh = guards.freshly_signed_in
    blueprint.add_url_rule("/second-factor", "enrol", guards.signed_in(enrol, on_the_way=True))
    blueprint.add_url_rule("/app", "app", fresh(set_up_app, keep=("next",), on_the_way=True), methods=["GET", "POST"])
    blueprint.add_url_rule("/app/remove", "remove_app", fresh(remove_app), methods=["GET", "POST"])
    blueprint.add_url_rule("/codes", "codes", fresh(make_codes), methods=["GET", "POST"])
    app.register_blueprint(blueprint)


def enrol() -> Response:
    """Let the person choose a second factor: where a server asks everybody for one, before the first app."""
    user, then = guards.the_person(), guards.safe_next(request.values.get("next", ""), PATH)
    if not assurance.is_offered(user.id):
        raise PageError("not_found", 404, detail="MFA is off")
    if second_factor.has_one(user.id):
        return redirect(then, 303)  # type: ignore[return-value]
    text = render_template(
        "account/second_factor.html",
        next=then,
        who_asks=_who_asks(user, then),
        may_add_passkey=ceremony.is_possible(),
        add_url=f"{PATH}/passkeys/add?{urlencode({'next': then})}",
    )
    return Response(text)


def set_up_app() -> Response:
    """Begin, show, confirm: the app is asked for only after its first right code."""
    user, then = guards.the_person(), guards.safe_next(request.values.get("next", ""), PATH)
    here = guards.the_session().id
    if not assurance.is_offered(user.id):
        raise PageError("not_found", 404, detail="MFA is off")
    if totp.since(user.id):
        return redirect(then, 303)  # type: ignore[return-value]
    decision = request.form.get("decision")
    if request.method == "POST" and decision == "begin":
        totp.begin(user.id, here)
        return redirect(f"{PATH}/app?{urlencode({'next': then})}", 303)  # type: ignore[return-value]
    secret = totp.waiting_secret(user.id, here)
    if secret is None:
        return Response(render_template("account/app_intro.html", next=then, who_asks=_who_asks(user, then)))
    if decision != "confirm":
        return _app_form(user, secret, then, {})
    try:
        codes = second_factor.turn_on(user.id, here, request.form.get("code", ""))
    except RefusedInput as refusal:
        return _app_form(user, secret, then, {refusal.field: refusal.text(_)}, 422)
    step_up(user, (sign_in.AMR_CODE,))
    ending.factors_changed(user.id, guards.the_session().id)
    return show_codes(codes, then)


def remove_app() -> Response:
    """Ask, then forget the app; the recovery codes too, where nothing else is left."""
    user = guards.the_person()
    if totp.since(user.id) is None:
        return back()
    if request.method != "POST":
        is_last = passkeys.count(user.id) == 0
        text = _("From then on the password alone lets you in.") if is_last else _("Your passkeys go on working.")
        return confirm(_("Remove the authenticator app?"), text, consequences(is_last=is_last), _("Remove"))
    second_factor.remove_app(user.id)
    ending.factors_changed(user.id, guards.the_session().id)
    return back()


def make_codes() -> Response:
    """Ask, then show ten new recovery codes."""
    user = guards.the_person()
    if not second_factor.has_one(user.id):
        return back()
    if request.method != "POST":
        return confirm(
            _("Make new recovery codes?"), _("The ones that you have stop working."), [], _("Make new codes")
        )
    return show_codes(second_factor.new_recovery_codes(user.id), PATH)


def consequences(*, is_last: bool) -> list[str]:
    """Say what else happens when a second factor goes; `is_last`: there is no other."""
    found = [_("Your recovery codes stop working.")] if is_last else []
    found.append(_("Everywhere else you are signed out."))
    rule = assurance.rule_for(guards.the_session().user_id)
    if not is_last:
        return found
    if rule.required:
        found.append(_("This server asks for one: set up another before you use an app."))
    elif rule.due_at:
        found.append(_("Administrators need a second factor: set up another soon."))
    return found


def step_up(user: users.User, added: tuple[str, ...]) -> None:
    """A second factor was shown just now: the session has both from here on, under a new handle."""
    here = guards.the_session()
    amr = sign_in.with_second_factor(here.amr, added)
    proved = sign_in.complete(user, amr=amr, browser_digest=browser.digest(), shown_since=here.shown_since)
    session.begin(proved, remember=here.remember)


def show_codes(codes: list[str], then: str) -> Response:
    """Show new recovery codes, this once, and lead on; without any, just lead on.

    The file to keep is in the page itself, because they are stored nowhere.
    """
    if not codes:
        return redirect(then, 303)  # type: ignore[return-value]
    account = guards.the_person().email
    lines = [
        _("Recovery codes for %(account)s at %(site)s") % {"account": account, "site": config.current().issuer_host},
        _("Made on %(day)s. Each lets you in once when your phone is gone.") % {"day": clock.now().date().isoformat()},
        "",
        *codes,
    ]
    file = "".join(f"{line}\r\n" for line in lines)
    return Response(render_template("account/codes.html", codes=codes, file=file, then=then, errors={}))


def not_saved() -> Response:
    """The box was not ticked, and the codes are gone: they can be confirmed, or made anew."""
    then = guards.safe_next(request.form.get("next", ""), PATH)
    errors = {"saved": _("Tick the box when you have saved them.")}
    return Response(render_template("account/codes.html", codes=[], file="", then=then, errors=errors), 422)


def confirm(
    heading: str, text: str, consequences: list[str], label: str, fields: tuple[tuple[str, str], ...] = ()
) -> Response:
    """Say what will happen, and ask."""
    page = render_template(
        "account/confirm.html",
        heading=heading,
        text=text,
        consequences=consequences,
        fields=fields,
        confirm_label=label,
        cancel_href=PATH,
        danger=True,
    )
    return Response(page)


def back() -> Response:
    """Return to the page that lists how the person signs in."""
    return redirect(PATH, 303)  # type: ignore[return-value]


def _who_asks(user: users.User, then: str) -> str:
    """Return who wants the person to have a second factor: everybody must, administrators must, the app, or nobody."""
    rule = assurance.rule_for(user.id)
    if rule.required:
        return "server" if config.current().mfa == "required" else "administrators"
    return "app" if authorization_request.peek(then, browser.digest()) else ""


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
        clock_hint=bool(errors) and "failed" in request.form,
    )
    return Response(text, status)
