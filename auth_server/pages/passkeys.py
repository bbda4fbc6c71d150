"""The person's passkeys: add, rename, remove.

Adding and removing need a sign-in of the last ten minutes, with every factor that there is.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, render_template, request

from auth_server.access import assurance
from auth_server.accounts import ceremony, passkeys, passwords, second_factor, sign_in, totp, users
from auth_server.accounts.passkeys import Passkey
from auth_server.errors import PageError, RefusedInput
from auth_server.infra import events
from auth_server.pages import factors
from auth_server.tokens import ending
from auth_server.web import browser, guards, words
from auth_server.web.i18n import gettext as _

PATH = factors.PATH + "/passkeys"


def setup_passkeys(app: Flask) -> None:
    blueprint = Blueprint("passkeys", __name__, url_prefix=PATH)
    fresh, signed_in = guards.freshly_signed_in, guards.signed_in
    blueprint.add_url_rule("/add", "add", fresh(add, keep=("next",), on_the_way=True), methods=["GET", "POST"])
    blueprint.add_url_rule("/options", "options", fresh(options, on_the_way=True))
    blueprint.add_url_rule("/rename", "rename", signed_in(rename), methods=["GET", "POST"])
    blueprint.add_url_rule("/remove", "remove", fresh(remove, keep=("id",)), methods=["GET", "POST"])
    app.register_blueprint(blueprint)


def add() -> Response:
    """Say what a passkey is, or take one. The first second factor ends what was signed in without it."""
    user, then = guards.the_person(), guards.safe_next(request.values.get("next", ""), factors.PATH)
    if not ceremony.is_possible():
        raise PageError("not_found", 404, detail="the issuer's host is an address, which passkeys cannot have")
    if request.method != "POST":
        return _add_form(user, then, {})
    is_first = not second_factor.has_one(user.id)
    try:
        made, codes = second_factor.add_passkey(
            user.id,
            request.form.get("credential", ""),
            browser_digest=browser.digest(),
            offered=assurance.is_offered(user.id),
            browser_name=words.browser(events.context().user_agent),
        )
    except RefusedInput as refusal:
        return _add_form(user, then, {"form": refusal.text(_)}, 422)
    factors.step_up(user, sign_in.amr_of(made))
    if is_first:
        ending.factors_changed(user.id, guards.the_session().id)
    return factors.show_codes(codes, then)


def options() -> dict[str, Any]:
    """Answer what the page that was open for a while asks the browser for; nothing is stored."""
    return ceremony.registration_options(guards.the_person(), browser.digest())


def rename() -> Response:
    passkey = _mine()
    if request.method != "POST":
        return _name_form(passkey, passkey.name, {})
    try:
        passkeys.rename(passkey, request.form.get("name", ""))
    except RefusedInput as refusal:
        return _name_form(passkey, request.form.get("name", ""), {refusal.field: refusal.text(_)}, 422)
    return factors.back()


def remove() -> Response:
    """Ask, then forget it; the last way into the account stays."""
    passkey = _mine()
    if passkeys.is_last_way_in(passkey):
        return _stays(passkey, 200 if request.method != "POST" else 422)
    if request.method != "POST":
        return _confirm_page(passkey)
    try:
        second_factor.remove_passkey(passkey)
    except RefusedInput:
        return _stays(passkey, 422)
    ending.factors_changed(passkey.user_id, guards.the_session().id)
    return factors.back()


def _mine() -> Passkey:
    """Return the passkey that is named; somebody else's is "not found"."""
    found = passkeys.of_user(guards.the_session().user_id, request.values.get("id", ""))
    if found is None:
        raise PageError("not_found", 404, detail="no such passkey of this person")
    return found


def _confirm_page(passkey: Passkey) -> Response:
    is_last = passkeys.count(passkey.user_id) == 1
    is_last_factor = is_last and totp.since(passkey.user_id) is None
    consequences = [
        _("You cannot sign in with it any more. It stays in your browser or password manager: delete it there.")
    ]
    if is_last_factor and assurance.is_offered(passkey.user_id):
        consequences.append(_("From then on the password alone lets you in."))
    consequences += factors.consequences(is_last=is_last_factor)
    heading = _("Remove the passkey “%(name)s”?") % {"name": passkey.name}
    text = _("This is what happens:")
    return factors.confirm(heading, text, consequences, _("Remove"), (("id", passkey.id),))


def _stays(passkey: Passkey, status: int) -> Response:
    text = render_template("account/passkey_stays.html", name=passkey.name, add_url=f"{PATH}/add")
    return Response(text, status)


def _add_form(user: users.User, then: str, errors: dict[str, str], status: int = 200) -> Response:
    text = render_template(
        "account/passkey.html",
        passkey=json.dumps(ceremony.registration_options(user, browser.digest())),
        passkey_again=f"{PATH}/options",
        after_password=passwords.exists(user.id) and assurance.is_offered(user.id),
        next=then,
        errors=errors,
    )
    return Response(text, status)


def _name_form(passkey: Passkey, name: str, errors: dict[str, str], status: int = 200) -> Response:
    action = f"{PATH}/rename?{urlencode({'id': passkey.id})}"
    text = render_template("account/passkey_name.html", action=action, name=name, errors=errors)
    return Response(text, status)
