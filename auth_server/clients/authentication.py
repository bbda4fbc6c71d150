"""Client authentication: one gate for every endpoint, exactly one method per request (OAuth 2.1 §2.4).

Methods are counted over all that are known, then compared with the registered one. A stranger learns nothing from a
refusal; its cause is in `detail`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_plus

from auth_server.clients import assertions, document_address, metadata, mtls, secrets, workload
from auth_server.clients import client as clients
from auth_server.clients.client import Client
from auth_server.errors import InvalidClient, InvalidRequest
from auth_server.keys import certificate
from auth_server.keys.certificate import Shown

_LONGEST_HEADER = 4096


@dataclass(frozen=True)
class Authenticated:
    """A client that has proved who it is, and how; `none` proves nothing: it names a public client."""

    client: Client
    method: str


def authenticate(
    authorization: str | None,
    form: Mapping[str, str],
    audiences: Sequence[str] = (),
    shown: Callable[[], Shown] = lambda: certificate.NOTHING,
) -> Authenticated:
    """Return the client; raise `InvalidClient`, or `InvalidRequest` for more than one method at once.

    `audiences` are our names in assertions. What a good assertion has used up is committed. `shown` is asked for the
    certificate of the connection where a client has no other proof: beside one, it is what tokens are bound to.
    """
    basic = authorization is not None and authorization[:6].lower() == "basic "
    if sum((basic, "client_secret" in form, "client_assertion" in form)) > 1:
        raise InvalidRequest("more than one client authentication method", detail="several methods")
    if not ("client_assertion" in form) == ("client_assertion_type" in form):
        raise InvalidClient(detail="client_assertion and client_assertion_type belong together")
    if "client_assertion" in form:
        return _with_assertion(form, audiences)
    if basic:
        return _basic(authorization or "", form.get("client_id"))
    client_id = form.get("client_id")
    if not client_id:
        raise InvalidClient(detail="no client credentials")
    if "client_secret" in form:
        return _with_secret(client_id, [form["client_secret"]], "client_secret_post")
    client = _known(client_id)
    if client.auth_method in metadata.BY_CERTIFICATE:
        mtls.check(client, shown())
        return Authenticated(client, client.auth_method)
    if not client.is_public:
        raise InvalidClient(detail="a confidential client sent no proof")
    return Authenticated(client, "none")


def claimed_client(form: Mapping[str, str]) -> str:
    """Return the client id that a request's assertion names, which proves nothing; "" when there is none."""
    try:
        return assertions.claimed_client(assertions.read(form.get("client_assertion", "")))
    except InvalidClient:
        return ""


def _basic(authorization: str, body_client_id: str | None) -> Authenticated:
    """RFC 6749 §2.3.1. Id and secret are form-encoded there; many clients send them raw, so both are tried."""
    name, secret = _decoded(authorization)
    decoded = unquote_plus(name)
    client_id = name if clients.find(name) or not clients.find(decoded) else decoded
    if body_client_id is not None and body_client_id != client_id:
        raise InvalidRequest("client_id differs from the authenticated client", detail="two client ids")
    return _with_secret(client_id, [secret, unquote_plus(secret)], "client_secret_basic")


def _decoded(authorization: str) -> tuple[str, str]:
    token = authorization[6:].strip()
    try:
        if len(token) > _LONGEST_HEADER:
            raise ValueError("too long")
        text = base64.b64decode(token, validate=True).decode("utf-8")
    except (ValueError, binascii.Error):
        raise InvalidClient(detail="malformed Basic credentials") from None
    name, colon, secret = text.partition(":")
    if not colon:
        raise InvalidClient(detail="Basic credentials without a colon")
    return name, secret


def _with_assertion(form: Mapping[str, str], audiences: Sequence[str]) -> Authenticated:
    """RFC 7521 §4.2: `client_id` is not needed, and must agree when it is there. A workload's token knows none."""
    if form["client_assertion_type"] != assertions.TYPE:
        raise InvalidClient(detail="unknown client_assertion_type")
    assertion = assertions.read(form["client_assertion"])
    client = _known(form.get("client_id") or assertions.claimed_client(assertion))
    if client.auth_method == metadata.WORKLOAD and "client_id" in form:
        workload.check(client, assertion)
        return Authenticated(client, metadata.WORKLOAD)
    method = client.auth_method or "a secret"
    if method not in metadata.ASSERTION_ALGORITHMS:
        raise InvalidClient(detail=f"registered for {method}, used an assertion")
    assertions.check(client, assertion, audiences)
    return Authenticated(client, method)


def _with_secret(client_id: str, candidates: list[str], method: str) -> Authenticated:
    client = _known(client_id)
    if client.auth_method not in (None, method):
        raise InvalidClient(detail=f"registered for {client.auth_method}, used {method}")
    for presented in candidates:
        found = secrets.matching(client.secrets, presented)
        if found:
            secrets.note_use(found)
            return Authenticated(client, method)
    raise InvalidClient(detail="wrong client secret")


def _known(client_id: str) -> Client:
    client = clients.find(client_id)
    if document_address.is_one(client_id) and (client is None or client.is_described):
        refusal = document_address.refusal_of(client_id)
        if refusal:  # which says nothing that the metadata do not
            raise InvalidClient(refusal, detail="a document that is not accepted here")
    if client is None:
        raise InvalidClient(detail="unknown client")
    if client.is_disabled:
        raise InvalidClient(detail="the client is disabled")
    return client
