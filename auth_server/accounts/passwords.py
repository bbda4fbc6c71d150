"""Passwords: bcrypt over a keyed pre-hash, so that long passwords, NUL and every character count.

The pre-hash is HMAC-SHA-256 under a random key of its own, in base64: 44 bytes, under bcrypt's 72. The number of
hashes computed at once is bounded: they must not starve the token endpoint.
"""

from __future__ import annotations

import base64
import hmac
import os
import unicodedata
from datetime import datetime
from functools import lru_cache
from typing import Any

from sqlalchemy import ForeignKey, String, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import config, database
from auth_server.accounts import guessable, hashing
from auth_server.database import Base, Moment
from auth_server.errors import RefusedInput
from auth_server.infra import clock, sealed_keys
from auth_server.infra.events import Event, record
from auth_server.infra.language import mark

MOST_BYTES = 1024
_OURSELVES = ("auth server", "authserver")
_SCHEME = "v1$"
_TOO_SHORT = mark("Use at least %(count)s characters; a few words make a good password.")


class Password(Base):
    """One person's password; the row ends with the account."""

    __tablename__ = "password"
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True)
    hash: Mapped[str] = mapped_column(String(100))
    changed_at: Mapped[datetime] = mapped_column(Moment)


TABLE: Any = Password.__table__


def store(user_id: str, new_password: str, *, least: int | None = None, context: tuple[str, ...] = ()) -> None:
    """Set a password in the open transaction; raise `RefusedInput` for a broken rule.

    `context` are words of which it must not consist.
    """
    check_rules(new_password, least=least, context=context)
    store_hash(user_id, hash_now(new_password))


def store_hash(user_id: str, stored: str) -> None:
    """Set an already hashed password: ours, or plain bcrypt from `apply` and imports."""
    values = {"hash": stored, "changed_at": clock.now()}
    statement = database.insert(TABLE).values(user_id=user_id, **values)
    database.execute(statement.on_conflict_do_update(index_elements=["user_id"], set_=values))
    record(Event.PASSWORD_SET, subject=user_id)


def replace_hash(user_id: str, stored: str, *, of: datetime | None) -> bool:
    """Set a password in place of the one that was set at `of`; False when that is not the present one any more."""
    present = (TABLE.c.user_id == user_id, TABLE.c.changed_at == of)
    changed = update(TABLE).where(*present).values(hash=stored, changed_at=clock.now())
    if database.execute(changed).rowcount != 1:
        return False
    record(Event.PASSWORD_SET, subject=user_id)
    return True


def exists(user_id: str) -> bool:
    """Tell whether the person has a password."""
    return _stored(user_id) is not None


def changed_at(user_id: str) -> datetime | None:
    """Return when the password was set; None when there is none."""
    found: datetime | None = database.execute(select(TABLE.c.changed_at).where(TABLE.c.user_id == user_id)).scalar()
    return found


def check(user_id: str | None, presented: str) -> bool:
    """Tell whether this is the person's password; costs the same for nobody, for no password and for a wrong one.

    The hash takes a while. A password that was replaced meanwhile is wrong, and the right one stays until this
    transaction ends: whoever resets it ends what begins with it.
    """
    stored = _stored(user_id or "")  # asked for nobody too: the same work for everybody
    database.release()  # no transaction stays open during the hash
    if not _matches(presented, stored or _dummy()) or stored is None:
        return False
    present = update(TABLE).where(TABLE.c.user_id == user_id, TABLE.c.hash == stored)
    return database.execute(present.values(hash=stored)).rowcount == 1


def hash_password(password: str) -> str:
    """Return the form that is stored; what the request has written so far is committed before the slow work."""
    database.release()
    return hash_now(password)


def hash_now(password: str) -> str:
    """Return the form that is stored, within the transaction that is open: for commands, which nobody waits for."""
    return _SCHEME + hashing.make(_prehash(password), config.current().bcrypt_rounds).decode()


def check_rules(password: str, *, least: int | None = None, context: tuple[str, ...] = ()) -> None:
    """Raise `RefusedInput` with the one rule that is broken (NIST SP 800-63B-4 §3.1.1.2: length, no composition).

    `context` are words about the person, of which it must not consist; the server's own are added.
    """
    shortest = config.current().password_min_length if least is None else least
    if len(password) < shortest:
        raise RefusedInput(_TOO_SHORT, "password", count=shortest)
    if len(password.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise RefusedInput(mark("Use at most %(count)s bytes."), "password", count=MOST_BYTES)
    if len(set(password)) < 4:
        raise RefusedInput(mark("This is too easy to guess; a few words make a good password."), "password")
    if guessable.is_mostly(password, (*context, config.current().issuer_host, *_OURSELVES)):
        raise RefusedInput(
            mark("This is too easy to guess: little more than your name, your address or this site."), "password"
        )
    if guessable.is_common(password):
        raise RefusedInput(mark("This is too easy to guess: little more than a common password."), "password")


def _stored(user_id: str) -> str | None:
    found = database.execute(select(TABLE.c.hash).where(TABLE.c.user_id == user_id)).scalar()
    return None if found is None else str(found)


def _matches(presented: str, stored: str) -> bool:
    """Never raises: a malformed stored hash is a wrong password."""
    ours = stored.startswith(_SCHEME)
    candidate = _prehash(presented) if ours else presented.encode("utf-8", "surrogatepass")[:72]
    try:
        return hashing.matches(candidate, stored.removeprefix(_SCHEME).encode())
    except ValueError:
        return False


def _prehash(password: str) -> bytes:
    text = unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
    key = sealed_keys.get(sealed_keys.PASSWORD_PREHASH)
    return base64.b64encode(hmac.digest(key, text[: MOST_BYTES + 1], "sha256"))


def _dummy() -> str:
    return _SCHEME + _dummy_bcrypt(config.current().bcrypt_rounds)


@lru_cache(maxsize=4)
def _dummy_bcrypt(rounds: int) -> str:
    return hashing.make(os.urandom(16).hex().encode(), rounds).decode()
