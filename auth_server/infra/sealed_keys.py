"""Random keys that outlive a change of SECRET_KEY: made once, kept sealed in the database."""

from __future__ import annotations

import secrets
from typing import Any

from sqlalchemy import String, Text, select
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base
from auth_server.infra import crypto, stamp


class SealedKey(Base):
    """A random key with a purpose for a name; never changes, because what it made could not be checked any more."""

    __tablename__ = "sealed_key"
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    sealed: Mapped[str] = mapped_column(Text)


_TABLE: Any = SealedKey.__table__
PASSWORD_PREHASH = "password-prehash"  # noqa: S105 - a key's name
PAIRWISE = "pairwise-subjects"
NAMES = (PASSWORD_PREHASH, PAIRWISE)


def ensure() -> None:
    """Make the missing keys; harmless in several processes at once."""
    for name in NAMES:
        row = {"name": name, "sealed": crypto.seal("sealed-key", secrets.token_bytes(32), name)}
        database.execute(database.insert(_TABLE).values(row).on_conflict_do_nothing(index_elements=["name"]))


def get(name: str) -> bytes:
    """Return a key; raise `LookupError` when the database was not initialised."""
    found = _cache.get(name)
    if found is None:
        raise LookupError(f"no key {name}: run `auth-server init`")
    return found


def _load(name: str) -> bytes | None:
    sealed = database.execute(select(_TABLE.c.sealed).where(_TABLE.c.name == name)).scalar()
    return None if sealed is None else crypto.unseal("sealed-key", sealed, name)


_cache: stamp.Cache[bytes] = stamp.Cache("sealed_keys", _load)
