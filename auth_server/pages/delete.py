"""The end of an account, by the person: what goes, what stays, the address typed once more, and it is gone."""

from __future__ import annotations

from flask import Blueprint, Flask, Response, render_template, request

from auth_server import config
from auth_server.access import roles
from auth_server.accounts import sessions, users
from auth_server.errors import PageError, RefusedInput
from auth_server.tokens import connected, ending
from auth_server.web import guards, session
from auth_server.web.i18n import gettext as _
from auth_server.web.i18n import ngettext

PATH = "/account/delete"


def setup_delete(app: Flask) -> None:
    blueprint = Blueprint("delete", __name__)
    guarded = guards.freshly_signed_in(delete, keep=("email",))
    blueprint.add_url_rule(PATH, "delete", guarded, methods=["GET", "POST"])
    app.register_blueprint(blueprint)


def delete() -> Response:
    """Say what will happen; with the right address typed, do it."""
    user = users.find(guards.the_session().user_id)
    if user is None or config.current().self_delete == "off":
        raise PageError("not_found", 404, detail="people may not delete their accounts here")
    if request.method != "POST":
        return _form(user, {})
    if users.email_key(request.form.get("email", "")) != user.email_key:
        return _form(user, {"email": _("This is not the address of this account.")}, 422)
    try:
        ending.delete_user(user)
    except RefusedInput:
        return _form(user, {}, 422)
    session.end("user_deleted")
    text = render_template(
        "done.html",
        heading=_("Your account is deleted"),
        text=_("You are signed out everywhere. What apps have stored about you is theirs: ask them to delete it too."),
    )
    return Response(text)


def _form(user: users.User, errors: dict[str, str], status: int = 200) -> Response:
    text = render_template(
        "account/delete.html",
        account=user.email,
        typed=guards.typed("email"),
        kept=bool(guards.kept()),
        errors=errors,
        is_last_administrator=roles.is_last_administrator(user.id),
        consequences=_consequences(user.id),
        apps=[app.name for app in connected.apps(user.id)],
    )
    return Response(text, status)


def _consequences(user_id: str) -> list[str]:
    count = len(sessions.listing(user_id))
    signed_out = ngettext("You are signed out in %(num)s browser.", "You are signed out in %(num)s browsers.", count)
    return [
        signed_out % {"num": count},
        _("Your profile, password, second factor and recovery codes are deleted."),
        _("Nobody gets this account back, an administrator neither. A new one with your address is another account."),
        _("The record of what happened stays for a while, under a random number instead of your name."),
    ]
