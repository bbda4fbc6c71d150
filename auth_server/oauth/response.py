"""The answer of the authorization endpoint: one function makes every redirect, always with `state` and `iss`."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from flask import Response, redirect, render_template

from auth_server import config
from auth_server.errors import ProtocolError

MODES = ("query", "form_post")


def respond(redirect_uri: str, mode: str, state: str | None, parameters: Mapping[str, str], app_name: str) -> Response:
    """Send the browser back to the app: by query (RFC 6749 §4.1.2) or by form (OAuth 2.0 Form Post Response Mode)."""
    answer = dict(parameters)
    if state is not None:
        answer["state"] = state
    answer["iss"] = config.current().issuer  # RFC 9207 §2
    if mode == "form_post":
        page = render_template(
            "oauth/form_post.html", action=redirect_uri, fields=list(answer.items()), app_name=app_name
        )
        return Response(page, content_type="text/html; charset=utf-8")
    return redirect(_with_query(redirect_uri, answer), 303)  # type: ignore[return-value]


def error_parameters(error: ProtocolError) -> dict[str, str]:
    """Return `error` and `error_description` (RFC 6749 §4.1.2.1)."""
    found = {"error": error.code}
    if error.description:
        found["error_description"] = error.description
    return found


def _with_query(uri: str, parameters: Mapping[str, str]) -> str:
    """Append to the registered query, which stays as it is."""
    joiner = "&" if urlsplit(uri).query else ("" if uri.endswith("?") else "?")
    return uri + joiner + urlencode(parameters)
