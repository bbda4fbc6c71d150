"""Clients whose id is the address of their document, where a request begins: what is wrong, as a page or as JSON."""

from __future__ import annotations

from auth_server import config
from auth_server.accounts.sign_in import address_bucket
from auth_server.clients import document_address, documents
from auth_server.clients.client import Client
from auth_server.errors import InvalidClient, InvalidClientMetadata, PageError, TemporarilyUnavailable
from auth_server.infra import events
from auth_server.infra.events import Event, record

LONGEST_SHOWN = 300


def told() -> dict[str, bool]:
    """Return what the metadata say of it (§6 of the draft)."""
    return {"client_id_metadata_document_supported": True} if config.current().client_id_metadata == "on" else {}


def for_browser(client_id: str) -> Client | None:
    """Return the client of a request that begins; raise `PageError`."""
    try:
        return documents.find(client_id, _asker())
    except TemporarilyUnavailable as busy:
        seconds = busy.retry_after_seconds
        raise PageError("rate_limited", 429, retry_after_seconds=seconds, detail=busy.description) from None
    except InvalidClientMetadata as refusal:
        facts = [("client_id", shown(client_id)), ("document", refusal.description)]
        code = "unknown_client" if document_address.refusal_of(client_id) else refusal.code
        raise PageError(code, facts=facts, detail=refusal.detail) from None


def for_program(client_id: str, endpoint: str) -> None:
    """Read the document of a client that is about to push a request; raise `InvalidClient`."""
    try:
        documents.find(client_id, _asker())
    except InvalidClientMetadata as refusal:
        record(Event.CLIENT_AUTHENTICATION_FAILED, reason=refusal.detail, endpoint=endpoint)
        raise InvalidClient(refusal.description, detail=refusal.detail) from None


def refuse_blocked(client: Client) -> None:
    """Refuse, at a later step, a client whose documents do not count any more; raise `PageError`."""
    refusal = document_address.refusal_of(client.client_id) if client.is_described else ""
    if refusal:
        facts = [("client_id", shown(client.client_id)), ("document", refusal)]
        raise PageError("unknown_client", facts=facts, detail="a document that is not accepted here")


def shown(text: str) -> str:
    """Return a value of a request cut to what a page may show."""
    return text if len(text) <= LONGEST_SHOWN else text[:LONGEST_SHOWN] + "…"


def _asker() -> str:
    return address_bucket(events.context().address)
