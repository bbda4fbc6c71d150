"""The way back in: a one-time link from an administrator sets a new password and ends everything else."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, Flask, Response, render_template, request

from auth_server import config
from auth_server.accounts import passwords, users
from auth_server.errors import PageError, RefusedInput
from auth_server.infra import once
from auth_server.infra.events import Event, record
from auth_server.tokens import ending
from auth_server.web.i18n import gettext as _

RESET_PATH = "/recover/reset"
_LINK_LIFE = timedelta(minutes=30)


def setup_recover(app: Flask) -> None:
    blueprint = Blueprint("recover", __name__)
    blueprint.add_url_rule("/recover", "recover", recover)
    blueprint.add_url_rule(RESET_PATH, "reset", reset, methods=["GET", "POST"])
    app.register_blueprint(blueprint)


def make_link(user: users.User) -> str:
    """Return a one-time link that sets the person's password; it replaces earlier ones."""
    once.revoke(ending.RESET_LINK, user.id)
    raw_secret = once.make(ending.RESET_LINK, user.id, _LINK_LIFE)
    record(Event.RESET_LINK_MADE, subject=user.id)
    return config.current().url(f"{RESET_PATH}?token={raw_secret}")


def recover() -> str:
    return render_template("recover/recover.html", contact="")


def reset() -> Response:
    """GET changes nothing; POST sets the password, once."""
    token = request.values.get("token", "")
    user_id = once.subject_of(ending.RESET_LINK, token)
    user = users.find(user_id) if user_id else None
    if user is None or user.is_disabled:
        raise PageError("flow_expired", detail="unknown or used reset link")
    if request.method != "POST":
        return _form(token, user, {})
    try:
        new_password = request.form.get("password", "")
        passwords.check_rules(new_password, context=(user.email, user.name))
    except RefusedInput as refusal:
        return _form(token, user, {"password": refusal.text(_)}, 422)
    stored = passwords.hash_password(new_password)
    if once.spend(ending.RESET_LINK, token) is None:
        raise PageError("flow_expired", detail="the reset link was used meanwhile")
    passwords.store_hash(user.id, stored)
    ending.sign_out_everywhere(user.id, "password_reset")
    text = render_template(
        "done.html",
        heading=_("Your password is set"),
        text=_("You are signed out everywhere. Sign in with the new password."),
        href="/login",
        label=_("Sign in"),
    )
    return Response(text)


def _form(token: str, user: users.User, errors: dict[str, str], status: int = 200) -> Response:
    text = render_template(
        "recover/reset.html",
        token=token,
        email=user.email,
        errors=errors,
        min_length=config.current().password_min_length,
    )
    return Response(text, status)
