"""The request id, and who asks from where: the context that every log line and audit record of a request carries."""

from __future__ import annotations

import ipaddress
import secrets
from collections.abc import Mapping
from typing import Any

from flask import Flask, Response, request

from auth_server import config, values
from auth_server.infra import events
from auth_server.infra.events import Context

HEADER = "X-Request-Id"


def setup_request_id(app: Flask) -> None:
    """Begin each request with a context of its own, and answer with its id."""

    @app.before_request
    def begin() -> None:
        events.begin(context_of(request.environ))

    app.after_request(mark)


def mark(response: Response) -> Response:
    response.headers[HEADER] = events.context().request_id
    return response


def context_of(environ: Mapping[str, Any]) -> Context:
    """Return the context of a new request; who acts is not known yet."""
    return Context(
        request_id=secrets.token_hex(8),
        address=client_address(environ),
        user_agent=environ.get("HTTP_USER_AGENT", ""),
        actor_kind="",
    )


def seen_host() -> str:
    """Return the host that the browser asked for; `X-Forwarded-Host` counts only from a trusted proxy."""
    forwarded = request.headers.get("X-Forwarded-Host", "")
    trusted = config.current().trusted_proxies
    if forwarded and trusted and _is_within(request.remote_addr or "", trusted):
        return forwarded.rpartition(",")[2].strip()
    return request.host


def is_from_proxy(environ: Mapping[str, Any]) -> bool:
    """Tell whether a trusted proxy itself has sent this: whoever the request says it came from does not count."""
    return _is_within(environ.get("REMOTE_ADDR", ""), config.current().trusted_proxies)


def client_address(environ: Mapping[str, Any]) -> str:
    """Return the caller's address; `X-Forwarded-For` counts only from a trusted proxy, read from the right."""
    peer: str = environ.get("REMOTE_ADDR", "")
    trusted = config.current().trusted_proxies
    if not trusted or not _is_within(peer, trusted):
        return peer
    for hop in reversed(environ.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        candidate = hop.strip()
        if not _is_address(candidate):
            return peer
        peer = candidate
        if not _is_within(candidate, trusted):
            break
    return peer


def _is_within(address: str, networks: tuple[values.Network, ...]) -> bool:
    return _is_address(address) and any(ipaddress.ip_address(address) in network for network in networks)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text  # a zone means nothing beyond its machine, and has no bounded length
