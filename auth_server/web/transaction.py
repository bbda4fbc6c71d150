"""One commit per request, in one place: every answer below 500 commits, a crash rolls back.

It is done in `process_response`, after everything else; an `after_request` hook would run before Flask has saved its
session, and again for the error page. A commit that fails becomes a rolled-back 503 without cookies.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from flask import Flask, Response
from sqlalchemy.exc import SQLAlchemyError

from auth_server.database import db

log = logging.getLogger("auth_server.web")


class Application(Flask):
    """A Flask application whose request is one transaction."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view or hook of ours is a coroutine; asking each one costs on every request."""
        return func

    def process_response(self, response: Response) -> Response:
        response = super().process_response(response)
        if not db.session.registry.has():
            return response
        if response.status_code >= 500:
            db.session.rollback()
            return response
        try:
            db.session.commit()
        except SQLAlchemyError:
            log.exception("the commit failed")
            db.session.rollback()
            return self._unavailable()
        return response

    def _unavailable(self) -> Response:
        from auth_server.web import errors, headers, request_id

        answer = errors.unavailable()
        return request_id.mark(headers.protect(answer))
