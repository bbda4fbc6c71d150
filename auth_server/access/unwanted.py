"""The end of clients that registered themselves and that nobody allows anything: anybody may make them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import exists

from auth_server.access.consents import Consent
from auth_server.clients import client as clients
from auth_server.clients.models import ClientRow
from auth_server.infra import clock

KEPT_UNWANTED = timedelta(days=30)
_CONSENT: Any = Consent.__table__


def prune() -> int:
    """Delete those that are older than a month and that nobody has allowed, or whom everybody has disconnected.

    Whoever disconnects has ended what was given, so there is nothing left to end. Returns how many went.
    """
    is_allowed = exists().where(_CONSENT.c.client_id == ClientRow.client_id)
    return clients.remove_self_registered(clock.now() - KEPT_UNWANTED, ~is_allowed)
