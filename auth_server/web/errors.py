"""Errors as pages: the error page in three layers, for people. Never a trace. For programs see `web.answers`."""

from __future__ import annotations

import logging
from urllib.parse import quote

from flask import Flask, Response, render_template, request
from flask_limiter.errors import RateLimitExceeded
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from auth_server import config
from auth_server.errors import Busy, PageError
from auth_server.infra import clock, events
from auth_server.infra.events import Event, record
from auth_server.web import browser, csrf, guards, i18n, session

log = logging.getLogger("auth_server.web")
_RETRY_AFTER_SECONDS = 5
_STRAYED = ("flow_expired", "not_found")
"""Errors after which nobody knows where the person was going: the page leads home."""


def setup_errors(app: Flask) -> None:
    app.register_error_handler(PageError, page_error)
    app.register_error_handler(CSRFError, _forged)
    app.register_error_handler(RateLimitExceeded, _too_many)
    app.register_error_handler(Busy, _busy)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(SQLAlchemyError, _database)
    app.register_error_handler(Exception, _crash)


def page_error(error: PageError) -> Response:
    """Show the error page."""
    reason = error.detail or error.code
    if error.status < 500:
        record(Event.ERROR_SHOWN, reason=reason[:255], error=error.code)
    response = _page(error)
    if error.retry_after_seconds:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def unavailable() -> Response:
    """Answer 503 when the database cannot: never a false success."""
    response = _page(PageError("server_error", 503))
    response.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return response


def _page(error: PageError) -> Response:
    way_on = "/account" if error.code in _STRAYED else ""
    if error.status >= 500:
        i18n.settle()
    try:
        i18n.choose()
    except SQLAlchemyError as cause:
        return _database(cause)
    text = render_template(
        "error.html",
        error=error.code,
        at=clock.now(),
        heading=error.heading,
        text=error.text,
        app_name=error.app_name,
        details=[(i18n.gettext("Error"), error.code), *error.facts] if error.facts else [],
        action_href=error.restart_url or way_on,
        action_label=error.restart_label
        or (i18n.gettext("Start again") if error.restart_url else i18n.gettext("Go to your account")),
        wait_minutes=-(-(error.retry_after_seconds or 0) // 60),
        request_id=events.context().request_id,
        **({"languages": []} if error.status >= 500 else {}),
        theme=session.theme() if error.status < 500 else "",  # nothing more is asked of a database that fails
    )
    return Response(text, error.status, content_type="text/html; charset=utf-8")


def _forged(error: CSRFError) -> Response:
    refusal = PageError("csrf", 403, detail=str(error.description), restart_url=_again())
    if not browser.came_with_cookie() and not csrf.is_foreign():
        refusal.heading = i18n.gettext("Your browser blocks cookies")
        refusal.text = i18n.gettext(
            "Without them nobody can sign in here. Allow cookies for %(site)s in the browser's settings, "
            "then start again. Nothing was changed."
        ) % {"site": config.current().issuer_host}
    return page_error(refusal)


def _again() -> str:
    """Return the local address of the page that the refused form was on."""
    again = request.full_path.rstrip("?")
    if "next" in request.form and "next" not in request.args:  # the login form carries where it leads to
        again = f"{request.path}?next={quote(request.form['next'][:4000], safe='')}"
    return again if guards.is_local(again) else "/"


def _too_many(error: RateLimitExceeded) -> Response:
    seconds = error.limit.limit.get_expiry() if error.limit else 60
    return page_error(PageError("rate_limited", 429, retry_after_seconds=seconds))


def _busy(error: Busy) -> Response:
    return page_error(PageError("busy", 503, retry_after_seconds=error.retry_after_seconds))


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if error.response is not None or status < 400:
        return Response.force_type(error.get_response())  # type: ignore[return-value]
    response = _page(PageError("not_found" if status == 404 else "invalid_request", status))
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _database(error: SQLAlchemyError) -> Response:
    log.error("the database cannot answer", exc_info=error)
    return unavailable()


def _crash(error: Exception) -> Response:
    log.error("unexpected failure", exc_info=error)
    return _page(PageError("server_error", 500))
