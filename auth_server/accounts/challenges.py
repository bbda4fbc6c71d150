"""Challenges of passkey ceremonies: made and known again by the server alone, each good once, for five minutes.

A challenge is a nonce, the moment it ends, and a keyed digest of both with the ceremony's kind, the browser and, where
it is known, the person. So the server need not store one to recognise it, and a look at the login page writes nothing:
strangers cannot fill a table by loading a page, and no session is begun for them. What is stored is that one was used:
one INSERT that succeeds once, after the signature was found right. Until then a challenge is as good as a stored row:
it cannot be made up, nor taken to another browser, person or ceremony, nor used late or twice. That is how "kept on the
server, random, used once" is meant here (WebAuthn §13.4.3, ASVS 6.7.2).
"""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock, crypto

REGISTER, SIGN_IN, SECOND_FACTOR = "register", "sign_in", "second_factor"
LIFE = timedelta(minutes=5)
_NONCE_BYTES, _TIME_BYTES, _TAG_BYTES = 16, 8, 32
_KEPT_LONGER = timedelta(hours=1)
"""How far the clocks of several servers may differ before a used challenge could be forgotten too early."""


class SpentChallenge(Base):
    """A challenge that was used; may be deleted an hour after `expires_at`, when no server takes it any more."""

    __tablename__ = "spent_challenge"
    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)


_TABLE: Any = SpentChallenge.__table__


def make(kind: str, browser_digest: str, user_id: str = "") -> bytes:
    """Return a new challenge for one ceremony in one browser, of one person where that is known."""
    until = int((clock.now() + LIFE).timestamp())
    head = secrets.token_bytes(_NONCE_BYTES) + until.to_bytes(_TIME_BYTES, "big")
    return head + _tag(head, kind, browser_digest, user_id)


def is_live(challenge: bytes, kind: str, browser_digest: str, user_id: str = "") -> bool:
    """Tell whether this is one of ours for just this ceremony, and not too old. It may have been used."""
    head, tag = challenge[:-_TAG_BYTES], challenge[-_TAG_BYTES:]
    if len(challenge) != _NONCE_BYTES + _TIME_BYTES + _TAG_BYTES:
        return False
    is_ours = crypto.same(tag.hex(), _tag(head, kind, browser_digest, user_id).hex())
    return is_ours and _until(challenge) > clock.now()


def spend(challenge: bytes) -> bool:
    """Use up a live challenge; of several at once, and ever after, the others get False."""
    row = {"digest": crypto.digest(challenge.hex()), "expires_at": _until(challenge)}
    statement = database.insert(_TABLE).values(row).on_conflict_do_nothing(index_elements=["digest"])
    return database.execute(statement).rowcount == 1


def prune() -> int:
    """Forget used ones that are too old to be taken anyway; return how many."""
    return database.delete_some(_TABLE, _TABLE.c.expires_at <= clock.now() - _KEPT_LONGER)


def _until(challenge: bytes) -> datetime:
    seconds = int.from_bytes(challenge[_NONCE_BYTES : _NONCE_BYTES + _TIME_BYTES], "big")
    return datetime.fromtimestamp(seconds, UTC)


def _tag(head: bytes, kind: str, browser_digest: str, user_id: str) -> bytes:
    return bytes.fromhex(crypto.tag("passkey-challenge", f"{head.hex()}:{kind}:{browser_digest}:{user_id}"))
