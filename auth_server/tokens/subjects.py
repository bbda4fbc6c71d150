"""What an app calls a person, and a session: one name for all apps, or one for each sector (OpenID Connect Core §8).

A pairwise name is a keyed digest of sector and person. Its key is random, sealed in the database and never changes, so
that neither a new SECRET_KEY nor a rotation of signing keys makes anybody a stranger. The session's name follows the
person's, because two apps of different sectors could otherwise compare that.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

from auth_server.clients.client import Client
from auth_server.infra import sealed_keys


def told(client: Client, user_id: str) -> str:
    """Return the `sub` that a client is told from now on."""
    return pairwise(client, user_id) or user_id


def pairwise(client: Client, user_id: str) -> str | None:
    """Return the person's name in the client's sector, None for a client that is told their id."""
    return _made("sub", client.sector, user_id) if client.sector else None


def sid(session_id: str, subject: str | None) -> str:
    """Return the session's name for an app that calls the person `subject`."""
    return session_id if subject is None else _made("sid", subject, session_id)


def _made(kind: str, *parts: str) -> str:
    text = "\0".join((kind, *parts))
    digest = hmac.new(sealed_keys.get(sealed_keys.PAIRWISE), text.encode(), hashlib.sha256).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
