"""Forgery checks on everything that changes something: Flask-WTF's token, and `Origin` and `Sec-Fetch-Site` besides."""

from __future__ import annotations

from flask import Flask, request
from flask_wtf.csrf import CSRFError, CSRFProtect

from auth_server import config
from auth_server.infra import crypto

csrf = CSRFProtect()
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def setup_csrf(app: Flask) -> None:
    """Protect every page's changing methods; machine endpoints take no cookie and need none."""
    app.secret_key = crypto.tag("csrf-signature", "v1")
    app.config.update(
        WTF_CSRF_TIME_LIMIT=None,  # bound to the browser cookie; a page left open for a day still works
        WTF_CSRF_SSL_STRICT=False,  # its Referer check; Origin and Sec-Fetch-Site are checked here
        WTF_CSRF_CHECK_DEFAULT=False,
    )
    csrf.init_app(app)
    app.before_request(_check)


def exempt(path_and_method: tuple[str, str]) -> None:
    """Let one path take a cross-site POST: the authorization request itself (OpenID Connect Core §3.1.2.1)."""
    _EXEMPT.add(path_and_method)


_EXEMPT: set[tuple[str, str]] = set()


def require_token() -> None:
    """Check the token now; raise `CSRFError`."""
    _check_origin()
    csrf.protect()


def _check() -> None:
    if request.method in _SAFE:
        return
    if (request.path, request.method) not in _EXEMPT:
        require_token()


def is_foreign() -> bool:
    """Tell whether the browser says that another site sent this request."""
    origin = request.headers.get("Origin", config.current().issuer)
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    return origin != config.current().issuer or site not in ("same-origin", "none")


def _check_origin() -> None:
    if is_foreign():
        raise CSRFError("foreign Origin or Sec-Fetch-Site")
