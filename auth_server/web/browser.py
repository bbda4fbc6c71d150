"""The browser cookie: long-lived, not rotated at sign-in, authenticates nobody.

It carries the seed of the CSRF token and the binding of pending requests. Flask's `session` is a view of it, because
Flask-WTF looks for its seed there; nothing else may be kept in it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask, Request, Response, g, request
from flask.sessions import SessionInterface, SessionMixin

from auth_server import config
from auth_server.accounts.browsers import COOKIE_LIFE
from auth_server.infra import crypto
from auth_server.web import surface

CSRF_FIELD = "csrf_token"
_SEED = "csrf-seed"


class BrowserState(dict[str, Any], SessionMixin):
    """What Flask calls the session: the CSRF seed, computed from the browser cookie."""

    modified = False
    accessed = True


class BrowserInterface(SessionInterface):
    """Reads the browser cookie, and sets it where a page needed one."""

    def open_session(self, app: Flask, request: Request) -> BrowserState:
        if surface.is_static(request.path):
            return BrowserState()
        return BrowserState({CSRF_FIELD: crypto.tag(_SEED, _browser_id())})

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if "new_browser_id" in g and response.status_code < 500:
            put_cookie(response, cookie_name("auth_server_browser"), g.new_browser_id, COOKIE_LIFE)


def digest() -> str:
    """Return the digest of this browser's id: what pending requests and known browsers are bound to."""
    return crypto.digest(_browser_id())


def came_with_cookie() -> bool:
    """Tell whether the browser sent our cookie back: it accepts cookies."""
    return "new_browser_id" not in g or not g.new_browser_id


def _browser_id() -> str:
    if "browser_id" not in g:
        sent = read_cookie(cookie_name("auth_server_browser"))
        if sent is None:
            g.new_browser_id = crypto.new_secret()
        g.browser_id = sent or g.new_browser_id
    return str(g.browser_id)


def cookie_name(name: str) -> str:
    """Return the cookie's name: with `__Host-` on https."""
    return f"__Host-{name}" if config.current().is_https else name


def read_cookie(name: str) -> str | None:
    """Return a cookie that was sent exactly once and looks like one of ours, or None."""
    values = request.cookies.getlist(name)
    if len(values) != 1 or not 40 <= len(values[0]) <= 64 or not values[0].isascii():
        return None
    return str(values[0])


def put_cookie(response: Response, name: str, value: str, life: timedelta | None) -> None:
    """Set one of our cookies; `life` None: until the browser closes."""
    response.set_cookie(
        name,
        value,
        max_age=life,
        path="/",
        secure=config.current().is_https,
        httponly=True,
        samesite="Lax",
    )


def drop_cookie(response: Response, name: str) -> None:
    response.delete_cookie(name, path="/", secure=config.current().is_https, httponly=True, samesite="Lax")
