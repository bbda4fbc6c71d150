"""A new password for whoever forgot theirs: asked for by mail, and set by the link or the code of the letter."""

from __future__ import annotations

from urllib.parse import urlencode

from flask import Blueprint, Flask, Response, redirect, render_template, request
from flask_limiter import Limiter

from auth_server import config
from auth_server.errors import PageError, RefusedInput
from auth_server.infra import crypto
from auth_server.infra.crypto import CannotUnseal
from auth_server.pages import links
from auth_server.tokens import ending, resetting
from auth_server.tokens.resetting import Good, make_link
from auth_server.web import browser, guards
from auth_server.web.i18n import gettext as _
from auth_server.web.i18n import wait_text
from auth_server.web.limits import limit_created

__all__ = ["PATH", "make_link", "password_form", "setup_recover", "to_code"]

PATH = "/recover"
_CODE_PATH = "/recover/code"
_LONGEST_SHOWN = 320
_SEALED_FOR = "recover-asked"


def setup_recover(app: Flask, limiter: Limiter) -> None:
    limited = limit_created(limiter, config.current().create_rate_limit)
    blueprint = Blueprint("recover", __name__)
    blueprint.add_url_rule(PATH, "recover", recover)
    blueprint.add_url_rule(PATH, "ask", limited(ask), methods=["POST"])
    blueprint.add_url_rule(_CODE_PATH, "sent", sent)
    blueprint.add_url_rule(_CODE_PATH, "code", limited(code), methods=["POST"])
    blueprint.add_url_rule(resetting.PATH, "reset", reset, methods=["GET", "POST"])
    app.register_blueprint(blueprint)


def recover() -> str:
    return render_template("recover/recover.html", next=_then(), email="", errors={})


def ask() -> Response | str:
    """Answer the same to every address, known or not, and to every further try: the page that takes the code."""
    email = request.form.get("email", "").strip()
    if not email or len(email) > _LONGEST_SHOWN:
        errors = {"email": _("Type your e-mail address.")}
        return Response(render_template("recover/recover.html", next=_then(), email="", errors=errors), 422)
    resetting.ask(email, browser_digest=browser.digest(), then=_then())
    return to_code(email, _then())


def to_code(email: str, then: str = "") -> Response:
    """Send the browser to the page that takes the code; the address that was typed travels sealed, for it alone."""
    query = {"asked": crypto.seal(_SEALED_FOR, email.encode(), browser.digest()), **({"next": then} if then else {})}
    return redirect(f"{_CODE_PATH}?{urlencode(query)}", 303)  # type: ignore[return-value]


def sent() -> Response:
    """Show the field for the code, however often it is looked at; without an address to go with it, ask for one."""
    try:
        email = crypto.unseal(_SEALED_FOR, request.args.get("asked", ""), browser.digest()).decode()
    except CannotUnseal:
        again = _then()
        return redirect(PATH + (f"?{urlencode({'next': again})}" if again else ""), 303)  # type: ignore[return-value]
    return _sent_page(email, {})


def code() -> Response:
    """Take the code; the right one leads to the page that sets the password."""
    email = request.form.get("email", "")[:_LONGEST_SHOWN]
    tried = resetting.by_code(email, request.form.get("code", ""), browser_digest=browser.digest())
    if tried.raw_secret:
        return redirect(f"{resetting.PATH}?token={tried.raw_secret}", 303)  # type: ignore[return-value]
    if tried.retry_after_seconds:
        words = _("The link in the mail still works.")
        errors = {"form": f"{wait_text(tried.retry_after_seconds)} {words}"}
        response = _sent_page(email, errors, 429)
        response.headers["Retry-After"] = str(tried.retry_after_seconds)
        return response
    wrong = _("This code is not right, or no longer good. Look at the newest mail.")
    return _sent_page(email, {"code": wrong}, 401)


def reset() -> Response:
    """GET changes nothing; POST sets the password, once."""
    token = request.values.get("token", "")
    good = resetting.find(token, browser_digest=browser.digest())
    if good is None:
        raise _over(token)
    if request.method != "POST":
        return password_form(token, good.person.email, {})
    try:
        is_set = resetting.use(token, good, request.form.get("password", ""))
    except RefusedInput as refusal:
        return password_form(token, good.person.email, {"password": refusal.text(_)}, 422)
    if not is_set:
        raise _over(token)
    return _done(good)


def password_form(
    token: str, email: str, errors: dict[str, str], status: int = 200, *, removes_factor: bool = False
) -> Response:
    """Show the form that sets a new password."""
    text = render_template(
        "recover/reset.html",
        token=token,
        email=email,
        errors=errors,
        removes_factor=removes_factor,
        min_length=config.current().password_min_length,
    )
    return Response(text, status)


def _over(token: str) -> PageError:
    return links.over(ending.RESET_LINK, token, way_on=PATH, label=_("Get a new link"))


def _done(good: Good) -> Response:
    then = guards.safe_next(good.then, "")
    text = render_template("recover/done.html", next=then if then != "/account" else "", factor="kept")
    return Response(text)


def _sent_page(email: str, errors: dict[str, str], status: int = 200) -> Response:
    return Response(render_template("recover/sent.html", email=email, next=_then(), errors=errors), status)


def _then() -> str:
    return guards.safe_next(request.values.get("next", ""), "")
