"""Clients that nobody registers: the id is the address of a document that describes the client, and we read it there
(OAuth Client ID Metadata Document, draft-ietf-oauth-client-id-metadata-document).

Such a client has a row as others have, made when its document is read first and kept in step with it; what an operator
decides about it stays. The document counts as long as its server says, within bounds; of all requests that need it at
once, one reads it. When it cannot be read, the row bridges a day: but what the document says, bad or gone, counts at
once. Only where somebody is to be asked for consent is it read anew; tokens are renewed by what the row says.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update

from auth_server import config, database
from auth_server.clients import client as clients
from auth_server.clients import document_address, metadata, registration, sectors
from auth_server.clients.client import Client
from auth_server.clients.models import CLIENT
from auth_server.errors import InvalidClientMetadata, ProtocolError, RefusedInput, TemporarilyUnavailable
from auth_server.infra import clock, limits, outbound, strict_json
from auth_server.infra.outbound import Unreachable

LARGEST = 10 * 1024
KEPT_UNLESS_SAID = timedelta(hours=1)
KEPT_AT_LEAST = timedelta(minutes=5)
KEPT_AT_MOST = timedelta(days=1)
USED_WHEN_UNREACHABLE = timedelta(days=1)
ASK_AGAIN_AFTER = timedelta(minutes=1)
"""An address that gave nothing usable is left alone for so long."""
_MOST_WAITING = 10
_MOST_AT_ONCE = 4
_TRY_AGAIN_SECONDS = 2
_MOST_ENTRIES = 4096
_GRANT_TYPES = ("authorization_code", "refresh_token")
_METHODS = ("none", metadata.SIGNS_WITH_KEY)
_FOR_ALL = {"token_endpoint_auth_method": "none"}
"""A document cannot hold what RFC 7591 takes for the usual method, a secret."""
_WITHDRAWN = (404, 410)
_TELLABLE = {
    "the answer is not 200": "its status is not 200",
    "a redirect, which is not followed": "it redirects, which is not followed",
    "another content type than expected": "its Content-Type is not application/json",
    "a compressed answer, which was not asked for": "it is compressed, which was not asked for",
    "the answer is too large": f"it is larger than {LARGEST} bytes",
}
"""What only a server that may be asked can cause; the rest would tell strangers about the network that we stand in."""


@dataclass(frozen=True)
class _Failure:
    """Why an address gave nothing usable. `is_outage`: it said nothing, so what it said before may still count."""

    description: str
    detail: str
    is_outage: bool
    until: datetime

    def error(self) -> InvalidClientMetadata:
        return InvalidClientMetadata(self.description, detail=self.detail)


def find(client_id: str, asker: str) -> Client | None:
    """Return a client as its document describes it now, or a registered one; None when it is neither.

    `asker` is the address that counts a look at an unknown document. What the request has done so far is committed.
    Raises `InvalidClientMetadata` with what the developer must change, or `TemporarilyUnavailable`.
    """
    client = clients.find(client_id)
    if not document_address.is_one(client_id) or (client and not client.is_described):
        return client
    refusal = document_address.refusal_of(client_id)
    if refusal:
        raise InvalidClientMetadata(refusal, detail="a document that is not accepted here")
    if client and (client.is_disabled or clock.now() < _until(client_id)):
        return client
    return _read_once(client_id, asker)


def renewed(client: Client) -> Client | None:
    """Return a client as its document describes it now, for the sake of its keys; as it was, when that is unknown.

    None when the document is gone, or describes no client any more.
    """
    if not client.is_described:
        return client
    try:
        return find(client.client_id, "")
    except TemporarilyUnavailable:
        return client
    except InvalidClientMetadata:
        failure = _failures.get(client.client_id)
        return client if failure and failure.is_outage else None


def forget() -> None:
    """Drop what this process remembers of addresses that gave nothing."""
    _failures.clear()


def _until(client_id: str) -> datetime:
    found = database.execute(select(CLIENT.c.document_until).where(CLIENT.c.client_id == client_id)).scalar()
    return found or clock.now()


def _read_once(client_id: str, asker: str) -> Client:
    """Read the document unless somebody else just did, outside of everybody's way."""
    with database.aside(), _turn(client_id):
        with database.work():
            before, until = clients.find_now(client_id), _until(client_id)
        if before and (before.is_disabled or not before.is_described or clock.now() < until):
            return before  # somebody has read it meanwhile
        failure = _failures.get(client_id)
        if failure is None or clock.now() >= failure.until:
            found = _read(client_id, before, asker)
            if isinstance(found, Client):
                _failures.pop(client_id, None)
                return found
            failure = found
            if len(_failures) >= _MOST_ENTRIES:
                _failures.clear()
            _failures[client_id] = failure
    if before and failure.is_outage and clock.now() < until + USED_WHEN_UNREACHABLE:
        return before
    raise failure.error()


@contextmanager
def _turn(client_id: str) -> Iterator[None]:
    """Let one request at a time ask an address; a few wait, and the rest comes again."""
    if not _waiting.acquire(blocking=False):
        raise _busy()
    try:
        with _flights.setdefault(client_id, threading.Lock()):
            yield
    finally:
        _flights.pop(client_id, None)
        _waiting.release()


def _read(client_id: str, before: Client | None, asker: str) -> Client | _Failure:
    if before is None and asker:
        _count(asker)
    if not _reading.acquire(blocking=False):
        raise _busy()
    try:
        response = outbound.fetch(client_id, outbound.JSON, most_bytes=LARGEST)
        details = _details(client_id, response.body, before)
    except Unreachable as cause:
        return _failed(_told(cause), f"client_id: {cause.detail}", is_outage=cause.status not in _WITHDRAWN)
    except ProtocolError as refusal:
        return _failed(refusal.description, f"client_id: {refusal.description}", is_outage=False)
    finally:
        _reading.release()
    said = KEPT_UNLESS_SAID if response.max_age is None else response.max_age
    until = clock.now() + min(max(said, KEPT_AT_LEAST), KEPT_AT_MOST)
    with database.work():
        client = _stored(client_id, details, until, before)
        database.release()
    return client


def _count(asker: str) -> None:
    """A stranger's look at an address that nobody has come with counts, through whichever door."""
    counted = limits.reserve([f"document:{asker}"], config.current().create_rate_limit)
    if counted.refused:
        raise TemporarilyUnavailable("too many unknown clients; wait", retry_after_seconds=counted.retry_after_seconds)


def _failed(description: str, detail: str, *, is_outage: bool) -> _Failure:
    return _Failure(description, detail[:255], is_outage, clock.now() + ASK_AGAIN_AFTER)


def _told(cause: Unreachable) -> str:
    reason = _TELLABLE.get(cause.detail)
    if reason:
        return f"the document at client_id cannot be used: {reason}"
    return (
        "the document at client_id did not arrive: it must be at a public address, with a certificate that is trusted, "
        "and come within 5 seconds"
    )


def _details(client_id: str, body: bytes, before: Client | None) -> dict[str, Any]:
    """Return what a document says of its client, checked, with what an operator has decided about it."""
    document = _document(client_id, body)
    held = before.scopes if before else ()
    given = [scope for scope in held if scope not in registration.STANDARD_SCOPES]
    chosen = registration.taken(document, held=tuple(given))
    chosen["scope"] = " ".join(dict.fromkeys([*chosen.get("scope", metadata.DEFAULT_SCOPE).split(), *given]))
    kept = {name: value for name, value in (before.details if before else {}).items() if name not in registration.TAKEN}
    chosen.pop("sector_identifier_uri", None)  # no second address of a stranger is asked
    details = metadata.validate({**chosen, **kept})
    sectors.check_self_registered(details)
    return details


def _document(client_id: str, body: bytes) -> dict[str, Any]:
    """Take a document apart and check what is demanded of it beyond other registrations."""
    try:
        document = strict_json.read_object(body.decode("utf-8"))
    except ValueError:
        raise InvalidClientMetadata("the document is no JSON object, or has a member twice") from None
    if document.get("client_id") != client_id:
        raise InvalidClientMetadata("client_id: must be the address of the document, character by character")
    for name in ("client_secret", "client_secret_expires_at", "registration_access_token"):
        if name in document:
            raise InvalidClientMetadata(f"{name}: everybody can read this document; leave it out")
    for name in ("client_name", "redirect_uris"):
        if not document.get(name):
            raise InvalidClientMetadata(f"{name}: is missing")
    if document.get("token_endpoint_auth_method", "none") not in _METHODS:
        raise InvalidClientMetadata(f"token_endpoint_auth_method: possible are {', '.join(_METHODS)}")
    return {**_FOR_ALL, **document, **_what_we_have(document)}


def _what_we_have(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document is for all servers alike: what it names counts as far as we have it (RFC 7591 §2)."""
    found: dict[str, Any] = {"software_statement": None}
    for name, ours in (("grant_types", _GRANT_TYPES), ("response_types", ("code",))):
        named = document.get(name)
        if isinstance(named, list):
            found[name] = [value for value in named if value in ours]
            if ours[0] not in found[name]:
                raise InvalidClientMetadata(f"{name}: {ours[0]} must be among them")
    return found


def _stored(client_id: str, details: dict[str, Any], until: datetime, before: Client | None) -> Client:
    """Put the row in step with the document."""
    try:
        if before is None:
            return clients.add(details, client_id=client_id, document_until=until)[0]
        changed = clients.replace(before, details) if details != before.details else before
    except RefusedInput:  # another process was first
        return clients.find_now(client_id) or _gone()
    except LookupError:  # deleted at this very moment
        return _gone()
    database.execute(update(CLIENT).where(CLIENT.c.client_id == client_id).values(document_until=until))
    return changed


def _gone() -> Client:
    raise _busy()


def _busy() -> TemporarilyUnavailable:
    return TemporarilyUnavailable("too many clients are being looked up; wait", retry_after_seconds=_TRY_AGAIN_SECONDS)


_failures: dict[str, _Failure] = {}
_flights: dict[str, threading.Lock] = {}
_waiting = threading.BoundedSemaphore(_MOST_WAITING)
_reading = threading.BoundedSemaphore(_MOST_AT_ONCE)
