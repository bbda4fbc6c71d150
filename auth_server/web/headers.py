"""Security headers on every page; what machine endpoints answer with is in `web.machines`."""

from __future__ import annotations

from collections.abc import Iterable

from flask import Flask, Response, g, request

from auth_server import config
from auth_server.infra import language
from auth_server.web import i18n, surface
from auth_server.web.answers import Headers

_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
_YEAR_SECONDS = 365 * 86400


def transport_security(settings: config.Settings) -> Headers:
    """Return the header that keeps a browser on https, where the issuer is there."""
    return (("Strict-Transport-Security", f"max-age={_YEAR_SECONDS}"),) if settings.is_https else ()


def setup_headers(app: Flask) -> None:
    app.after_request(protect)


def protect(response: Response) -> Response:
    """Add the headers; a view's own Cache-Control stays."""
    headers = response.headers
    headers["X-Content-Type-Options"] = "nosniff"
    # Not `no-referrer`: with it a browser sends its own forms with `Origin: null`.
    headers["Referrer-Policy"] = "strict-origin" if surface.is_link_page(request.path) else "same-origin"
    if "Cache-Control" not in headers:
        headers["Cache-Control"] = "no-store"
    headers.extend(transport_security(config.current()))
    if not surface.is_static(request.path):
        headers.add("Vary", "Cookie")
    if i18n.was_spoken():
        headers["Content-Language"] = language.current()
        headers.add("Vary", "Accept-Language")
    _protect_page(response)
    return response


def let_in_frames(origins: Iterable[str]) -> None:
    """Let this request's page show these origins in frames: they are registered addresses of apps."""
    listed = " ".join(sorted(set(origins)))
    if listed:
        g.frame_sources = f"; frame-src {listed}"


def _protect_page(response: Response) -> None:
    headers = response.headers
    headers["X-Frame-Options"] = "DENY"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=(), payment=()"
    if surface.is_flow_page(request.path):
        # No form-action here: Chromium checks it against the redirect to the app that follows a form. And no
        # Cross-Origin-Opener-Policy: apps that open the flow in a pop-up would lose the window.
        headers["Content-Security-Policy"] = _CSP + g.get("frame_sources", "")
        return
    headers["Content-Security-Policy"] = _CSP + "; form-action 'self'"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
