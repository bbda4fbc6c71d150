"""Errors as pages: the error page in three layers, for people. Never a trace. For programs see `web.answers`."""

from __future__ import annotations

import logging
from urllib.parse import quote

from flask import Flask, Response, render_template, request
from flask_limiter.errors import RateLimitExceeded
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException

from auth_server.errors import Busy, PageError
from auth_server.infra import clock, events
from auth_server.infra.events import Event, record
from auth_server.web import browser, guards, i18n

log = logging.getLogger("auth_server.web")
_RETRY_AFTER_SECONDS = 5


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
    text = render_template(
        "error.html",
        error=error.code,
        at=clock.now(),
        heading=error.heading,
        text=error.text,
        app_name=error.app_name,
        details=[(i18n.gettext("Error"), error.code), *error.facts] if error.facts else [],
        action_href=error.restart_url,
        action_label=error.restart_label or (i18n.gettext("Start again") if error.restart_url else ""),
        wait_minutes=-(-(error.retry_after_seconds or 0) // 60),
        request_id=events.context().request_id,
    )
    return Response(text, error.status, content_type="text/html; charset=utf-8")


def _forged(error: CSRFError) -> Response:
    facts = [] if browser.came_with_cookie() else [(i18n.gettext("Cookies"), i18n.gettext("the browser sent none"))]
    again = request.full_path.rstrip("?")
    if "next" in request.form and "next" not in request.args:  # the login form carries where it leads to
        again = f"{request.path}?next={quote(request.form['next'][:4000], safe='')}"
    again = again if guards.is_local(again) else "/"
    return page_error(PageError("csrf", 403, facts=facts, detail=str(error.description), restart_url=again))


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
