"""The choice of a language, in the footer of every page."""

from __future__ import annotations

from datetime import timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

from flask import Blueprint, Flask, Response, redirect, request

from auth_server.errors import PageError
from auth_server.infra import language
from auth_server.oauth import languages
from auth_server.web import browser, guards, i18n

PATH = "/language"
_LIFE = timedelta(days=365)


def setup_language(app: Flask) -> None:
    blueprint = Blueprint("language", __name__)
    blueprint.add_url_rule(PATH, "choose", choose, methods=["POST"])
    app.register_blueprint(blueprint)


def choose() -> Response:
    """Remember the language in this browser, and go back to the page."""
    chosen = request.form.get("language", "")
    if chosen not in language.available():
        raise PageError("invalid_request", detail="no such language")
    back = request.form.get("next", "")
    back = _without_language(back) if guards.is_local(back) else "/"
    languages.put(back, chosen)
    response = redirect(back, 303)
    browser.put_cookie(response, browser.cookie_name(i18n.COOKIE), chosen, _LIFE)  # type: ignore[arg-type]
    return response  # type: ignore[return-value]


def _without_language(url: str) -> str:
    """Drop `ui_locales` from an address: it would outweigh the choice."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    if "ui_locales" not in dict(query):
        return url
    return parts._replace(query=urlencode([pair for pair in query if pair[0] != "ui_locales"])).geturl()
