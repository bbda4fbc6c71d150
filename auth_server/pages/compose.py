"""Composes the pages, and what every template can use."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from flask import Flask, Response, g, send_from_directory
from flask_limiter import Limiter
from flask_login import current_user
from werkzeug.exceptions import NotFound

from auth_server import config
from auth_server.infra import events
from auth_server.pages.account import setup_account
from auth_server.pages.delete import setup_delete
from auth_server.pages.device import setup_device
from auth_server.pages.email import setup_email
from auth_server.pages.export import setup_export
from auth_server.pages.factors import setup_factors
from auth_server.pages.history import setup_history
from auth_server.pages.language import setup_language
from auth_server.pages.login import setup_login
from auth_server.pages.passkeys import setup_passkeys
from auth_server.pages.profile import setup_profile
from auth_server.pages.recover import setup_recover
from auth_server.pages.recovery import pending_recovery, setup_recovery
from auth_server.pages.second_factor import setup_second_factor
from auth_server.pages.security import setup_security
from auth_server.pages.setup import setup_first_run
from auth_server.pages.signup import setup_signup
from auth_server.web import session

_STATIC = Path(__file__).resolve().parent.parent / "static"
_YEAR_SECONDS = 365 * 86400


def setup_pages(app: Flask, limiter: Limiter) -> None:
    """Mount every page; `limiter` is for those that create rows for strangers."""
    setup_first_run(app)
    setup_login(app)
    setup_second_factor(app)
    setup_recover(app, limiter)
    setup_recovery(app)
    setup_signup(app, limiter)
    setup_device(app)
    setup_account(app)
    setup_profile(app)
    setup_export(app)
    setup_delete(app)
    setup_email(app)
    setup_security(app)
    setup_factors(app)
    setup_passkeys(app)
    setup_history(app)
    setup_language(app)
    app.add_url_rule("/static/<digest>/<name>", "static_file", static_file)
    app.context_processor(_globals)


def static_url(name: str) -> str:
    """Return the address of a static file; it changes with the content, so it may be cached for ever."""
    return f"/static/{_digest(name)}/{name}"


def static_file(digest: str, name: str) -> Response:
    if digest != _digest(name):
        raise NotFound
    response = send_from_directory(_STATIC, name)
    response.headers["Cache-Control"] = f"public, max-age={_YEAR_SECONDS}, immutable"
    return response


@lru_cache(maxsize=32)
def _digest(name: str) -> str:
    path = _STATIC / name
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12] if path.is_file() else "0"


def _globals() -> dict[str, object]:
    return {
        "static_url": static_url,
        "issuer_host": config.current().issuer_host,
        "request_id": events.context().request_id,
        "current_user": current_user,
        "days_to_enrol": g.get("days_to_enrol"),
        "chosen_theme": session.theme,
        "pending_recovery": pending_recovery,
    }
