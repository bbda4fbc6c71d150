"""Dynamic registration: POST /oauth/register (RFC 7591), and GET, PUT, DELETE at a client's own address (RFC 7592)."""

from __future__ import annotations

from typing import Any

from auth_server import config
from auth_server.clients import registration
from auth_server.clients.registration import Registered
from auth_server.errors import ProtocolError
from auth_server.infra.events import Event, record
from auth_server.tokens import ending
from auth_server.web import surface
from auth_server.web.answers import NO_STORE, Answer, as_json
from auth_server.web.machines import Machines, Request

PATH = "/oauth/register"


def setup_registration(machines: Machines) -> None:
    """Mount both, unless registration is off: then neither exists."""
    if config.current().registration == "off":
        return
    machines.add(PATH, _register, ("POST",), limited=True, writes=True, creates=True)
    machines.add(surface.REGISTRATIONS, _manage, ("GET", "PUT", "DELETE"), limited=True, writes=True)


def told() -> dict[str, str]:
    """Return what the metadata say of it (RFC 8414 §2)."""
    settings = config.current()
    return {} if settings.registration == "off" else {"registration_endpoint": settings.url(PATH)}


def _register(request: Request) -> Answer:
    initial_token = _bearer(request) if config.current().registration == "token" else None
    try:
        made = registration.register(request.json, initial_token=initial_token)
    except ProtocolError as error:
        _note_refusal(error)
        raise
    return as_json({**_information(made), "registration_access_token": made.raw_token}, 201)


def _manage(request: Request) -> Answer:
    client_id = request.path.removeprefix(surface.REGISTRATIONS)
    try:
        client = registration.authenticated(client_id, _bearer(request))
        if request.method == "DELETE":
            ending.delete_client(client)
            return Answer(204, b"", NO_STORE)
        changed = registration.put(client, request.json) if request.method == "PUT" else Registered(client, None)
    except ProtocolError as error:
        _note_refusal(error)
        raise
    return as_json(_information(changed))


def _information(found: Registered) -> dict[str, Any]:
    """Return the client's metadata with its own address; the token that opens it is shown once, when it is made."""
    address = config.current().url(surface.REGISTRATIONS + found.client.client_id)
    return {**registration.information(found.client, found.raw_secret), "registration_client_uri": address}


def _bearer(request: Request) -> str:
    """Return the token of the Authorization header, or "" (RFC 6750 §2.1)."""
    scheme, _space, presented = (request.authorization or "").partition(" ")
    return presented.strip() if scheme.lower() == "bearer" else ""


def _note_refusal(error: ProtocolError) -> None:
    reason = (error.detail or error.description)[:255]
    record(Event.REGISTRATION_REFUSED, reason=reason, error=error.code, changes_nothing=True)
