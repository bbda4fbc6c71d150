"""Telling apps that a session ended (OpenID Connect Back-Channel Logout 1.0): written with the act, posted later.

The request that ends the session waits for nobody; an app that does not answer is asked again, as for any delivery.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from auth_server import config
from auth_server.clients import client as clients
from auth_server.clients import encryption
from auth_server.clients.client import Client
from auth_server.errors import NoEncryptionKey
from auth_server.infra import clock, outbound, outbox
from auth_server.infra.events import Event, record
from auth_server.keys import jose, keyring
from auth_server.tokens import claims, families, subjects

KIND = "backchannel_logout"
"""Kind of outbox rows."""
TYP = "logout+jwt"
EVENT = "http://schemas.openid.net/event/backchannel-logout"
_LIFE = timedelta(minutes=2)
_FORM = "application/x-www-form-urlencoded"


def tell(session_ids: Sequence[str]) -> None:
    """Have every app told that a person used in these sessions, and that wants to know."""
    for session_id, client_id, user_id, subject in families.apps_of_sessions(session_ids):
        if _listener(client_id):
            payload = {"client_id": client_id, "sub": user_id, "sid": session_id, "jti": str(uuid.uuid4())}
            outbox.add(KIND, payload | {"subject": subject}, about=client_id)


def deliver(payload: dict[str, Any]) -> None:
    """Post a logout token (§2.5), encrypted where ID tokens are (§2.6).

    Raises `outbox.Undeliverable` unless the app says that it is done (§2.8).
    """
    client = _listener(payload["client_id"])
    if client is None:  # it has gone meanwhile, was switched off, or does not want to know any more
        return
    try:
        token = encryption.for_client(client, encryption.ID_TOKEN, _logout_token(client, payload))
    except NoEncryptionKey as cause:
        raise outbox.Undeliverable(f"nothing to encrypt to: {cause.detail}") from None
    body = urlencode({"logout_token": token}).encode()
    try:
        status = outbound.post(client.backchannel_logout_uri, body, _FORM, most_bytes=0).status
    except outbound.Unreachable as cause:
        raise outbox.Undeliverable(f"the app could not be reached: {cause}") from None
    if status not in (200, 204):
        raise outbox.Undeliverable(f"the app answered {status}")
    record(Event.APP_TOLD, subject=payload["sub"], client=client.client_id, session=payload["sid"])


def _listener(client_id: str) -> Client | None:
    """Return a client that is to be told."""
    client = clients.find(client_id)
    return client if client and not client.is_disabled and client.backchannel_logout_uri else None


def _logout_token(client: Client, payload: dict[str, Any]) -> str:
    """§2.4; never with a `nonce`, so that nobody takes it for an ID token. The same `jti` at each try."""
    issued = claims.seconds(clock.now())
    subject = payload.get("subject")
    body = {
        "iss": config.current().issuer,
        "sub": subject or payload["sub"],
        "aud": client.client_id,
        "iat": issued,
        "exp": issued + int(_LIFE.total_seconds()),
        "jti": payload["jti"],
        "events": {EVENT: {}},
        "sid": subjects.sid(payload["sid"], subject),
    }
    return jose.sign(body, keyring.signer(client.id_token_alg), typ=TYP)
