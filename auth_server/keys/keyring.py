"""The signing keys and their life: next → current → retiring → retired, or revoked from anywhere.

*next* is published and does not sign; *current* signs; *retiring* only verifies, its private part is erased; *retired*
is no longer published, every token it signed has expired. There is a key for each advertised algorithm. Each step is a
conditional UPDATE, and a unique `slot` lets one key be current and one next, so that two processes do no harm.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from sqlalchemy import JSON, String, Text, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment
from auth_server.infra import clock, crypto, stamp
from auth_server.infra.events import Event, record
from auth_server.keys import jose

NEXT, CURRENT, RETIRING, RETIRED, REVOKED = "next", "current", "retiring", "retired", "revoked"
LONGEST_TOKEN_LIFE = timedelta(hours=1, minutes=5)
"""No token lives longer than an hour; five minutes for clocks."""
LEAST_PUBLICATION = timedelta(hours=24)
"""How long the schedule publishes a key before it signs."""

_PUBLISHED = (NEXT, CURRENT, RETIRING)
_SEAL = "signing-key"


class SigningKey(Base):
    """One signing key; the row stays for ever, the private part only while it may sign."""

    __tablename__ = "signing_key"
    kid: Mapped[str] = mapped_column(String(64), primary_key=True)
    alg: Mapped[str] = mapped_column(String(10))
    state: Mapped[str] = mapped_column(String(10), index=True)
    slot: Mapped[str | None] = mapped_column(String(30), unique=True)
    since: Mapped[datetime] = mapped_column(Moment)
    public_jwk: Mapped[dict[str, Any]] = mapped_column(JSON)
    private_sealed: Mapped[str | None] = mapped_column(Text)


_TABLE: Any = SigningKey.__table__


@dataclass(frozen=True)
class Keyring:
    """All keys as one process holds them."""

    signers: MappingProxyType[str, jose.Key]
    verifiers: MappingProxyType[str, jose.Key]
    published: tuple[dict[str, Any], ...]


class NoKey(Exception):
    """There is no current key for the algorithm: the database was not initialised."""


def signer(alg: str) -> jose.Key:
    """Return the current private key of an algorithm; raise `NoKey`."""
    found = _keyring().signers.get(alg)
    if found is None:
        raise NoKey(alg)
    return found


def verifier(kid: str) -> jose.Key | None:
    """Return a public key that may still verify our tokens, or None."""
    return _keyring().verifiers.get(kid)


def published() -> tuple[dict[str, Any], ...]:
    """Return the public JWKs for the key set, current ones first."""
    return _keyring().published


def listing() -> list[dict[str, Any]]:
    """Return `kid`, `alg`, `state`, `since` of every key, newest first."""
    columns = (_TABLE.c.kid, _TABLE.c.alg, _TABLE.c.state, _TABLE.c.since)
    rows = database.execute(select(*columns).order_by(_TABLE.c.since.desc(), _TABLE.c.alg))
    return [dict(row._mapping) for row in rows]


def ensure() -> None:
    """Make the missing current and next keys; harmless in several processes at once."""
    held = {row.slot for row in database.execute(select(_TABLE.c.slot).where(_TABLE.c.slot.is_not(None)))}
    for alg in jose.ALGORITHMS:
        for state in (CURRENT, NEXT):
            if _slot(alg, state) not in held:
                _add(alg, state)


def rotate() -> None:
    """Promote each next key at once and make a new next; the old current retires and its private part is erased."""
    for alg in jose.ALGORITHMS:
        _promote(alg)
    record(Event.KEYS_ROTATED)


def revoke(kid: str) -> bool:
    """Refuse from now on everything the key signed, and replace it; False when there is no such live key."""
    gone = {"state": REVOKED, "slot": None, "private_sealed": None, "since": clock.now()}
    condition = (_TABLE.c.kid == kid, _TABLE.c.state != REVOKED)
    row = database.execute(select(_TABLE.c.alg, _TABLE.c.state).where(*condition)).first()
    if row is None or database.execute(update(_TABLE).where(*condition).values(gone)).rowcount != 1:
        return False
    if row.state == CURRENT:
        _fill_current(row.alg)
    if row.state in (CURRENT, NEXT):
        _add(row.alg, NEXT)
    _cache.bump()
    record(Event.KEY_REVOKED, kid=kid)
    return True


def follow_schedule(interval: timedelta) -> None:
    """Rotate what is due, and retire what nobody can hold a token of any more."""
    now = clock.now()
    old_enough = (_TABLE.c.state == CURRENT, _TABLE.c.since <= now - interval)
    due = {row.alg for row in database.execute(select(_TABLE.c.alg).where(*old_enough))}
    known = (_TABLE.c.state == NEXT, _TABLE.c.since <= now - LEAST_PUBLICATION)
    ready = {row.alg for row in database.execute(select(_TABLE.c.alg).where(*known))}
    for alg in sorted(due & ready):
        _promote(alg)
        record(Event.KEYS_ROTATED, alg=alg)
    finished = (_TABLE.c.state == RETIRING, _TABLE.c.since <= now - LONGEST_TOKEN_LIFE)
    if database.execute(update(_TABLE).where(*finished).values(state=RETIRED, since=now)).rowcount:
        _cache.bump()


def _promote(alg: str) -> None:
    retired = {"state": RETIRING, "slot": None, "private_sealed": None, "since": clock.now()}
    condition = (_TABLE.c.slot == _slot(alg, CURRENT), _TABLE.c.state == CURRENT)
    if database.execute(update(_TABLE).where(*condition).values(retired)).rowcount != 1:
        return  # another process is doing it
    _fill_current(alg)
    _add(alg, NEXT)
    _cache.bump()


def _fill_current(alg: str) -> None:
    promoted = {"state": CURRENT, "slot": _slot(alg, CURRENT), "since": clock.now()}
    condition = _TABLE.c.slot == _slot(alg, NEXT)
    if database.execute(update(_TABLE).where(condition).values(promoted)).rowcount != 1:
        _add(alg, CURRENT)


def _add(alg: str, state: str) -> None:
    native = jose.generate(alg)
    jwk = jose.public_jwk(native, alg)
    row = {
        "kid": jwk["kid"],
        "alg": alg,
        "state": state,
        "slot": _slot(alg, state),
        "since": clock.now(),
        "public_jwk": jwk,
        "private_sealed": crypto.seal(_SEAL, jose.private_bytes(native), jwk["kid"]),
    }
    statement = database.insert(_TABLE).values(row).on_conflict_do_nothing(index_elements=["slot"])
    if database.execute(statement).rowcount == 1:
        _cache.bump()
        record(Event.KEY_CREATED, kid=jwk["kid"], alg=alg)


def _slot(alg: str, state: str) -> str:
    return f"{alg}:{state}"


def _keyring() -> Keyring:
    found = _cache.get("all")
    if found is None:
        raise NoKey("no keys")
    return found


def _load(_key: str) -> Keyring | None:
    condition = _TABLE.c.state.in_(_PUBLISHED)
    rows = database.execute(select(_TABLE).where(condition).order_by(_TABLE.c.state, _TABLE.c.alg.desc())).all()
    verifiers = {row.kid: jose.import_public(row.public_jwk) for row in rows}
    signers = {}
    for row in rows:
        if row.state == CURRENT:
            native = jose.load_private(crypto.unseal(_SEAL, row.private_sealed, row.kid))
            signers[row.alg] = jose.Key(row.kid, row.alg, jose.wrap(native))
    if not signers:
        return None
    published = tuple(row.public_jwk for row in rows)
    return Keyring(MappingProxyType(signers), MappingProxyType(verifiers), published)


_cache: stamp.Cache[Keyring] = stamp.Cache("keys", _load)
