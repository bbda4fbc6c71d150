"""The first administrator: a one-time link instead of a default password. Also composes all pages."""

from __future__ import annotations

from datetime import timedelta

from flask import Blueprint, Flask, Response, redirect, render_template, request

from auth_server import config
from auth_server.access import roles
from auth_server.accounts import passwords, sign_in, users
from auth_server.errors import PageError, RefusedInput
from auth_server.infra import once
from auth_server.infra.events import Event, record
from auth_server.pages import language
from auth_server.web import browser, session, surface
from auth_server.web.i18n import gettext as _

PATH = "/setup"
PURPOSE = "setup"
_SUBJECT = "first-administrator"
_LINK_LIFE = timedelta(days=1)
_completed: set[str] = set()
"""Databases known to have an administrator: a server is set up once."""


def setup_first_run(app: Flask) -> None:
    blueprint = Blueprint("setup", __name__)
    blueprint.add_url_rule(PATH, "setup", first_administrator, methods=["GET", "POST"])
    app.register_blueprint(blueprint)
    app.before_request(_set_up_first)


def make_link() -> str | None:
    """Return a new set-up link, which replaces earlier ones; None once an administrator exists."""
    if roles.has_administrator():
        return None
    once.revoke(PURPOSE, _SUBJECT)
    raw_secret = once.make(PURPOSE, _SUBJECT, _LINK_LIFE)
    record(Event.SETUP_LINK_MADE)
    return config.current().url(f"{PATH}?token={raw_secret}")


def first_administrator() -> Response | str:
    """Show the form to whoever holds the link, and create the administrator once."""
    if roles.has_administrator():
        raise PageError("not_found", 404, detail="set up already")
    token = request.values.get("token", "")
    if not token or once.subject_of(PURPOSE, token) is None:
        return Response(render_template("setup/needed.html", spent=bool(token)), 403 if token else 200)
    if request.method != "POST":
        return _form(token, {})
    try:
        user = _create(token)
    except RefusedInput as refusal:
        return _form(token, {refusal.field or "form": refusal.text(_)}, 422)
    proved = sign_in.complete(user, amr=(sign_in.AMR_PASSWORD,), browser_digest=browser.digest())
    session.begin(proved, remember=False)
    return redirect("/account", 303)  # type: ignore[return-value]


def _create(token: str) -> users.User:
    email, name, password = (request.form.get(field, "") for field in ("email", "name", "password"))
    passwords.check_rules(password, context=(email, name))
    users.check_new(email, name)
    stored = passwords.hash_password(password)  # before the link is spent: no transaction is open during the hash
    if once.spend(PURPOSE, token) is None:
        raise PageError("flow_expired", detail="the set-up link was used meanwhile")
    user = users.create(email, name, verified=True)
    passwords.store_hash(user.id, stored)
    roles.put(user.id, [roles.ADMINISTRATOR])
    record(Event.SETUP_COMPLETED, subject=user.id)
    return user


def _form(token: str, errors: dict[str, str], status: int = 200) -> Response:
    text = render_template(
        "setup/setup.html",
        token=token,
        email=request.form.get("email", ""),
        name=request.form.get("name", ""),
        errors=errors,
        min_length=config.current().password_min_length,
    )
    return Response(text, status)


def _set_up_first() -> Response | None:
    """Without an administrator every page leads to the set-up."""
    path = request.path
    if surface.is_for_machines(path) or surface.is_static(path) or path in (PATH, language.PATH):
        return None
    key = config.current().database_url
    if key in _completed:
        return None
    if roles.has_administrator():
        _completed.add(key)
        return None
    return redirect(PATH, 303)  # type: ignore[return-value]
