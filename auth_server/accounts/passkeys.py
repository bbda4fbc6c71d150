"""Passkeys (WebAuthn credentials): whose they are, what they are called, and how they were used last.

A passkey belongs to one person; the browser keeps the private part, or a password manager, or a security key. What one
proves is decided in `ceremony`; here are the rows.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from importlib import resources
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    ForeignKey,
    LargeBinary,
    String,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.accounts import passwords, users
from auth_server.database import Base, Moment
from auth_server.errors import RefusedInput
from auth_server.infra import clock, crypto
from auth_server.infra.events import Event, record
from auth_server.infra.language import mark

LONGEST_ID = 1364
"""1023 bytes in base64url (WebAuthn §4, Credential ID)."""
MOST = 20
"""So many passkeys one person may have."""
_LONGEST_NAME = 60
_KNOWN = mark("This passkey is known here already.")
_UNSEEN = frozenset({"Cc", "Cs", "Zl", "Zp"})


class PasskeyRow(Base):
    """One passkey of a person; `id` is the credential's, in base64url, nobody else's. Ends with the account."""

    __tablename__ = "passkey"
    id: Mapped[str] = mapped_column(String(LONGEST_ID), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    public_key: Mapped[bytes] = mapped_column(LargeBinary)
    sign_count: Mapped[int] = mapped_column(BigInteger)
    aaguid: Mapped[str] = mapped_column(String(36))
    transports: Mapped[list[str]] = mapped_column(JSON)
    backup_eligible: Mapped[bool] = mapped_column(Boolean)
    backed_up: Mapped[bool] = mapped_column(Boolean)
    name: Mapped[str] = mapped_column(String(_LONGEST_NAME))
    created_at: Mapped[datetime] = mapped_column(Moment)
    last_used_at: Mapped[datetime | None] = mapped_column(Moment)


_TABLE: Any = PasskeyRow.__table__


@dataclass(frozen=True)
class NewPasskey:
    """What a browser has just made, checked; nobody's yet."""

    id: str
    public_key: bytes
    sign_count: int
    aaguid: str
    transports: tuple[str, ...]
    backup_eligible: bool
    backed_up: bool


@dataclass(frozen=True)
class Passkey(NewPasskey):
    """One that is stored. `backup_eligible`: it may be copied to other devices, and never ceases to."""

    user_id: str
    name: str
    created_at: datetime
    last_used_at: datetime | None


def add(user_id: str, new: NewPasskey, browser_name: str) -> Passkey:
    """Store a new one under the name of what made it, or of the browser. Raises `RefusedInput`."""
    mine = listing(user_id)
    if len(mine) >= MOST:
        raise RefusedInput(mark("You have as many passkeys as one account may have. Remove one first."), "form")
    name = _free_name(_makers().get(new.aaguid) or browser_name, {passkey.name for passkey in mine})
    made = Passkey(**new.__dict__, user_id=user_id, name=name, created_at=clock.now(), last_used_at=None)
    statement = database.insert(_TABLE).values({**made.__dict__, "transports": list(made.transports)})
    if database.execute(statement.on_conflict_do_nothing(index_elements=["id"])).rowcount != 1:
        raise RefusedInput(_KNOWN, "form")
    record(Event.PASSKEY_ADDED, subject=user_id, name=name, passkey=crypto.digest(new.id))
    return made


def check_new(new: NewPasskey) -> None:
    """Raise `RefusedInput` where `add` would for nobody yet: before something is consumed that opens the way."""
    if find(new.id):
        raise RefusedInput(_KNOWN, "form")


def find(passkey_id: str) -> Passkey | None:
    """Return a passkey by its credential id."""
    row = database.execute(select(_TABLE).where(_TABLE.c.id == passkey_id)).first()
    return None if row is None else _value(row)


def of_user(user_id: str, passkey_id: str) -> Passkey | None:
    """Return a passkey of this person; None also for somebody else's."""
    return next((passkey for passkey in listing(user_id) if passkey.id == passkey_id), None)


def by_digest(user_id: str, digest: str) -> Passkey | None:
    """Return a passkey of this person by the digest of its credential id, which notes and links carry."""
    return next((passkey for passkey in listing(user_id) if crypto.digest(passkey.id) == digest), None)


def listing(user_id: str) -> list[Passkey]:
    """Return a person's passkeys, the oldest first."""
    mine = select(_TABLE).where(_TABLE.c.user_id == user_id).order_by(_TABLE.c.created_at, _TABLE.c.id)
    return [_value(row) for row in database.execute(mine)]


def count(user_id: str) -> int:
    """Return how many passkeys a person has."""
    mine = select(func.count()).select_from(_TABLE).where(_TABLE.c.user_id == user_id)
    return int(database.execute(mine).scalar_one())


def last_used(user_id: str) -> datetime | None:
    """Return when a passkey of the person was used last, or made; None when there is none."""
    newest = func.max(func.coalesce(_TABLE.c.last_used_at, _TABLE.c.created_at))
    found: datetime | None = database.execute(select(newest).where(_TABLE.c.user_id == user_id)).scalar()
    return found


def note_use(passkey: Passkey, sign_count: int, *, backed_up: bool) -> bool:
    """Move the signature counter forward; False when it did not move, or the passkey is gone (WebAuthn §6.1.1)."""
    has_moved = _TABLE.c.sign_count < sign_count if sign_count else _TABLE.c.sign_count == 0  # some never count
    values = {"sign_count": sign_count, "backed_up": backed_up, "last_used_at": clock.now()}
    return database.execute(update(_TABLE).where(_TABLE.c.id == passkey.id, has_moved).values(values)).rowcount == 1


def rename(passkey: Passkey, name: str) -> None:
    """Give it another name. Raises `RefusedInput`."""
    changed = checked_name(name)
    database.execute(update(_TABLE).where(_TABLE.c.id == passkey.id).values(name=changed))
    record(Event.PASSKEY_RENAMED, subject=passkey.user_id, name=changed, former=passkey.name)


def is_last_way_in(passkey: Passkey) -> bool:
    """Tell whether the person could not sign in any more without it."""
    return not passwords.exists(passkey.user_id) and count(passkey.user_id) == 1


def remove(passkey: Passkey) -> None:
    """Forget it. Raises `RefusedInput` when it is the last way in, also when another one goes at the same moment."""
    _take_turns(passkey.user_id)
    others = _TABLE.alias("others")
    another = exists().where(others.c.user_id == passkey.user_id, others.c.id != passkey.id)
    has_password = exists().where(passwords.TABLE.c.user_id == passkey.user_id)
    statement = delete(_TABLE).where(_TABLE.c.id == passkey.id, or_(another, has_password))
    if database.execute(statement).rowcount == 1:
        record(Event.PASSKEY_REMOVED, subject=passkey.user_id, name=passkey.name)
    elif find(passkey.id) is not None:
        raise RefusedInput(mark("This is the only way into your account. Set a password or add another passkey first."))


def remove_all(user_id: str) -> int:
    """Forget every passkey of a person, even the last way in: an operator's act. Returns how many."""
    gone = database.execute(delete(_TABLE).where(_TABLE.c.user_id == user_id).returning(_TABLE.c.name)).all()
    for row in gone:
        record(Event.PASSKEY_REMOVED, subject=user_id, name=row.name)
    return len(gone)


def checked_name(name: str) -> str:
    """Return a name that can be shown: one line, not too long. Raises `RefusedInput`."""
    text = unicodedata.normalize("NFC", name.strip())
    if not text or len(text) > _LONGEST_NAME or any(unicodedata.category(char) in _UNSEEN for char in text):
        raise RefusedInput(mark("Give it a name of one line, with at most 60 characters."), "name")
    return text


def _take_turns(user_id: str) -> None:
    """Let another removal of this person wait until this one has ended: each would count on the other's passkey."""
    own = users.TABLE.c.id == user_id
    database.execute(update(users.TABLE).where(own).values(email=users.TABLE.c.email))  # a write begins a transaction


def _free_name(wanted: str, taken: set[str]) -> str:
    """Return the name, with a number when another passkey of the person has it."""
    base = (wanted or "Passkey")[: _LONGEST_NAME - 4]
    numbered = (base if number == 1 else f"{base} {number}" for number in range(1, MOST + 2))
    return next(name for name in numbered if name not in taken)


def _value(row: Any) -> Passkey:
    values = dict(row._mapping)
    transports: Sequence[str] = values["transports"]
    return Passkey(**{**values, "transports": tuple(transports)})


@lru_cache(maxsize=1)
def _makers() -> dict[str, str]:
    """Return who makes passkeys, by AAGUID."""
    found: dict[str, str] = json.loads(resources.files("auth_server").joinpath("data/aaguid.json").read_text("utf-8"))
    return found
