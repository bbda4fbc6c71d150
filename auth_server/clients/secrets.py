"""Client secrets: several may be valid at once, so that they rotate with overlap. `client` adds and removes them.

A secret is stored as its digest. Only where its client signs with it (client_secret_jwt) must it be read again, and is
kept sealed besides, bound to its row, for as long as the client does so.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, ForeignKey, String, Text, bindparam, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock, crypto
from auth_server.infra.batch import Batch

SHORTEST_CHOSEN = 32
_TOUCH_EVERY = timedelta(hours=1)
_PREFIX_LENGTH = 6
_SEAL = "client-secret"


class ClientSecretRow(Base):
    """One of a client's secrets; deleted with the client."""

    __tablename__ = "client_secret"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("client.client_id", ondelete="CASCADE"), index=True)
    digest: Mapped[str] = mapped_column(String(64))
    prefix: Mapped[str] = mapped_column(String(8))
    created_at: Mapped[datetime] = mapped_column(Moment)
    last_used_at: Mapped[datetime | None] = mapped_column(Moment)
    sealed: Mapped[str | None] = mapped_column(Text)


_TABLE: Any = ClientSecretRow.__table__


@dataclass(frozen=True)
class Secret:
    """A stored secret. `prefix` is shown so that people can tell secrets apart."""

    id: str
    digest: str
    prefix: str
    created_at: datetime
    last_used_at: datetime | None
    sealed: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class New:
    """A secret to be stored: made up here, chosen outside, or known by its digest alone."""

    digest: str
    raw: str | None = field(default=None, repr=False)
    is_ours: bool = False


def make_up() -> New:
    """Return a fresh secret of ours, which its owner must be shown once."""
    raw_secret = crypto.new_alphanumeric_secret()
    return New(crypto.digest(raw_secret), raw_secret, is_ours=True)


def of(client_id: str) -> tuple[Secret, ...]:
    """Return a client's secrets as the database has them now, oldest first."""
    columns = [column for column in _TABLE.columns if column.name != "client_id"]
    rows = database.execute(
        select(*columns).where(_TABLE.c.client_id == client_id).order_by(_TABLE.c.created_at, _TABLE.c.id)
    )
    return tuple(Secret(**row._mapping) for row in rows)


def insert(client_id: str, new: New, *, readable: bool) -> None:
    """Store a secret; with `readable`, so that it can be read again."""
    chosen_id = str(uuid.uuid4())
    sealed = crypto.seal(_SEAL, new.raw.encode(), chosen_id) if readable and new.raw else None
    row = {"digest": new.digest, "prefix": (new.raw or "")[:_PREFIX_LENGTH] if new.is_ours else "", "sealed": sealed}
    statement = _TABLE.insert().values(id=chosen_id, client_id=client_id, created_at=clock.now(), **row)
    database.execute(statement)


def remove(client_id: str, secret_id: str) -> bool:
    """Delete a secret; False when the client has no such secret."""
    condition = (_TABLE.c.id == secret_id, _TABLE.c.client_id == client_id)
    return database.execute(delete(_TABLE).where(*condition)).rowcount == 1


def keep_digests_only(client_id: str) -> None:
    """Forget what could be read: the client does not sign with its secrets any more."""
    condition = (_TABLE.c.client_id == client_id, _TABLE.c.sealed.is_not(None))
    database.execute(update(_TABLE).where(*condition).values(sealed=None))


def read(secret: Secret) -> str | None:
    """Return the secret itself, or None when only its digest is kept or its seal cannot be opened."""
    try:
        return crypto.unseal(_SEAL, secret.sealed, secret.id).decode() if secret.sealed else None
    except crypto.CannotUnseal:
        return None


def matching(secrets: Iterable[Secret], presented: str) -> Secret | None:
    """Return the stored secret that was presented, or None; compares all of them in constant time."""
    digest = crypto.digest(presented)
    found = None
    for secret in secrets:
        if crypto.same(secret.digest, digest):
            found = secret
    return found


def note_use(secret: Secret) -> None:
    """Remember that a secret was used: at most once an hour, and with the next batch rather than now."""
    now = clock.now()
    last = _noted.get(secret.id) or secret.last_used_at
    if last is None or now - last >= _TOUCH_EVERY:
        _noted[secret.id] = now
        _uses.add({"which": secret.id, "now": now})


def _write_uses(connection: Connection, uses: list[dict[str, Any]]) -> None:
    connection.execute(_NOTE_USE, uses)


_NOTE_USE = update(_TABLE).where(_TABLE.c.id == bindparam("which")).values(last_used_at=bindparam("now"))
_uses = Batch(_write_uses)
_noted: dict[str, datetime] = {}
"""When this process last noted a secret's use; one entry a secret."""
