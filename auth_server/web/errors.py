"""Errors as answers: JSON for machines, the error page in three layers for people. Never a trace."""

from __future__ import annotations

import json
import logging
from urllib.parse import quote

from flask import Flask, Response, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge

from auth_server.errors import InsufficientScope, InvalidClient, InvalidToken, PageError, ProtocolError
from auth_server.infra import clock, events
from auth_server.infra.events import Event, record
from auth_server.web import browser, guards, i18n, surface

log = logging.getLogger("auth_server.web")
_RETRY_AFTER_SECONDS = 5


def setup_errors(app: Flask) -> None:
    app.register_error_handler(ProtocolError, protocol_error)
    app.register_error_handler(PageError, page_error)
    app.register_error_handler(CSRFError, _forged)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(SQLAlchemyError, _database)
    app.register_error_handler(Exception, _crash)


def protocol_error(error: ProtocolError) -> Response:
    """Answer a client: the RFC's JSON (RFC 6749 §5.2), or a challenge without body for a bare request (RFC 6750 §3)."""
    body = {"error": error.code}
    if error.description:
        body["error_description"] = error.description
    response = as_json(body, error.status)
    if error.retry_after_seconds:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    challenge = _challenge(error)
    if challenge:
        response.headers["WWW-Authenticate"] = challenge
    return response


def as_json(body: object, status: int = 200) -> Response:
    """Return JSON as token answers want it: UTF-8, not to be stored (RFC 6749 §5.1)."""
    response = Response(json.dumps(body, separators=(",", ":")), status, content_type="application/json")
    response.headers["Cache-Control"] = "no-store"
    response.headers["Pragma"] = "no-cache"
    return response


def _challenge(error: ProtocolError) -> str | None:
    """RFC 6750 §3, RFC 9110 §11.6.1."""
    if isinstance(error, InvalidClient):
        return 'Basic realm="oauth", charset="UTF-8"' if "Authorization" in request.headers else None
    if isinstance(error, InvalidToken):
        if "Authorization" not in request.headers:
            return 'Bearer realm="oauth"'
        return f'Bearer realm="oauth", error="{error.code}", error_description="{error.description}"'
    if isinstance(error, InsufficientScope):
        return f'Bearer realm="oauth", error="{error.code}", scope="{error.scope}"'
    return None


def page_error(error: PageError) -> Response:
    """Show the error page."""
    reason = error.detail or error.code
    if error.status < 500:
        record(Event.ERROR_SHOWN, reason=reason[:255], error=error.code)
    response = _page(error)
    if error.retry_after_seconds:
        response.headers["Retry-After"] = str(error.retry_after_seconds)
    return response


def unavailable(path: str) -> Response:
    """Answer 503 when the database cannot: never a false success."""
    if surface.is_for_machines(path):
        response = as_json({"error": "temporarily_unavailable", "error_description": "try again"}, 503)
    else:
        response = _page(PageError("server_error", 503))
    response.headers["Retry-After"] = str(_RETRY_AFTER_SECONDS)
    return response


def _page(error: PageError) -> Response:
    text = render_template(
        "error.html",
        error=error.code,
        at=clock.now(),
        app_name=error.app_name,
        details=[(i18n.gettext("Error"), error.code), *error.facts] if error.facts else [],
        action_href=error.restart_url,
        action_label=i18n.gettext("Start again") if error.restart_url else "",
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


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if surface.is_for_machines(request.path):
        description = "the request is too large" if isinstance(error, RequestEntityTooLarge) else _words(status)
        response = as_json({"error": "invalid_request", "error_description": description}, status)
    elif error.response is not None or status < 400:
        return Response.force_type(error.get_response())  # type: ignore[return-value]
    else:
        response = _page(PageError("not_found" if status == 404 else "invalid_request", status))
    for name, value in error.get_headers():
        if name in ("Allow", "Retry-After"):
            response.headers[name] = value
    return response


def _words(status: int) -> str:
    return {404: "there is no such endpoint", 405: "this endpoint does not take that method"}.get(
        status, "the request is malformed"
    )


def _database(error: SQLAlchemyError) -> Response:
    log.error("the database cannot answer", exc_info=error)
    return unavailable(request.path)


def _crash(error: Exception) -> Response:
    log.error("unexpected failure", exc_info=error)
    if surface.is_for_machines(request.path):
        return as_json({"error": "server_error"}, 500)
    return _page(PageError("server_error", 500))
