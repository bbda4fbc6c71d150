"""CORS for machine endpoints: any origin, never with credentials. Pages have none."""

from __future__ import annotations

from flask import Flask, Response, request

from auth_server.web import surface

_CACHE_SECONDS = "3600"


def setup_cors(app: Flask) -> None:
    """Answer preflights, and mark every answer of a machine endpoint, errors included."""

    @app.before_request
    def preflight() -> Response | None:
        if (
            request.method == "OPTIONS"
            and _concerns(request.path)
            and "Access-Control-Request-Method" in request.headers
        ):
            return Response(status=204)
        return None

    app.after_request(allow)


def allow(response: Response) -> Response:
    if not _concerns(request.path):
        return response
    headers = response.headers
    headers["Access-Control-Allow-Origin"] = "*"
    headers["Access-Control-Expose-Headers"] = "WWW-Authenticate, DPoP-Nonce, X-Request-Id"
    if request.method == "OPTIONS":
        headers["Access-Control-Allow-Methods"] = "GET, POST, OPTIONS"
        headers["Access-Control-Allow-Headers"] = "Authorization, Content-Type, DPoP"
        headers["Access-Control-Max-Age"] = _CACHE_SECONDS
    return response


def _concerns(path: str) -> bool:
    return surface.is_for_machines(path) and path not in surface.PROBES
