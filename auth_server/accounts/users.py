"""Users: an immutable random `sub`, an address that may change, and the standard claims."""

from __future__ import annotations

import json
import unicodedata
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from email_validator import EmailNotValidError, validate_email
from sqlalchemy import JSON, Boolean, String, bindparam, delete, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base, Moment, db
from auth_server.errors import RefusedInput
from auth_server.infra import clock
from auth_server.infra.events import Event, record
from auth_server.infra.language import mark
from auth_server.prepared import Prepared

RESERVED_CLAIMS = frozenset(
    [
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "auth_time",
        "nonce",
        "acr",
        "amr",
        "azp",
        "sid",
        "at_hash",
        "c_hash",
        "s_hash",
        "client_id",
        "scope",
        "cnf",
        "act",
        "fam",
        "roles",
        "groups",
        "email",
        "email_verified",
        "name",
        "updated_at",
        "events",
        "status",
    ]
)
"""What a user's free claims may not set: it has a field of its own or a meaning for the protocol."""
_LONGEST_NAME = 200
_LONGEST_KEY = 255
"""Case-folding can make three characters of one; links are kept under the folded address."""
_NO_ADDRESS = mark("This is not an e-mail address.")
_TAKEN = mark("This address has an account already.")
_BAD_NAME = mark("A name has at most %(count)s characters and no control characters.")
SYSTEM = "system"
THEMES = (SYSTEM, "light", "dark")


class User(Base):
    """A person. The row ends with the account; `id` is the `sub` and never comes back."""

    __tablename__ = "user_account"
    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    email: Mapped[str] = mapped_column(String(320))
    email_key: Mapped[str] = mapped_column(String(320), unique=True)
    email_verified: Mapped[bool] = mapped_column(Boolean)
    name: Mapped[str] = mapped_column(String(_LONGEST_NAME))
    claims: Mapped[dict[str, Any]] = mapped_column(JSON)
    created_at: Mapped[datetime] = mapped_column(Moment)
    updated_at: Mapped[datetime] = mapped_column(Moment)
    disabled_at: Mapped[datetime | None] = mapped_column(Moment)
    theme: Mapped[str] = mapped_column(String(10))
    """How our own pages look to the person; no app is told."""

    @property
    def is_disabled(self) -> bool:
        return self.disabled_at is not None


TABLE: Any = User.__table__
_PERSON = ("id", "email", "email_verified", "name", "claims", "updated_at", "disabled_at")
PERSON_COLUMNS = tuple(TABLE.c[name] for name in _PERSON)
_FIND_PERSON = Prepared(select(*PERSON_COLUMNS).where(TABLE.c.id == bindparam("which")))


@dataclass(frozen=True)
class Person:
    """A user as the token path sees one: a value, no ORM object."""

    id: str
    email: str
    email_verified: bool
    name: str
    claims: Mapping[str, Any]
    updated_at: datetime
    is_disabled: bool


def person(row: Sequence[Any]) -> Person:
    """Make a `Person` of the values of `PERSON_COLUMNS`."""
    user_id, email, email_verified, name, claims, updated_at, disabled_at = row
    return Person(user_id, email, email_verified, name, claims, updated_at, disabled_at is not None)


def find_person(user_id: str) -> Person | None:
    """Return a person by `sub`, without the ORM."""
    row = database.first(_FIND_PERSON, {"which": user_id})
    return None if row is None else person(row)


def find_person_by_email(address: str) -> Person | None:
    """Return the person with this address, compared case-folded, without the ORM."""
    row = database.execute(select(*PERSON_COLUMNS).where(TABLE.c.email_key == email_key(address))).first()
    return None if row is None else person(row)


def email_key(address: str) -> str:
    """Return the form in which addresses are compared: NFKC, case-folded, and without NUL, which PostgreSQL refuses."""
    return unicodedata.normalize("NFKC", address.strip()).casefold().replace("\x00", "\ufffd")


def create(
    email: str, name: str, *, verified: bool, claims: Mapping[str, Any] | None = None, user_id: str = ""
) -> User:
    """Add a person; raise `RefusedInput` when the address is no address or is taken.

    `user_id` is a random UUID that was promised before, for a passkey that names its person.
    """
    address = checked_email(email)
    now = clock.now()
    user = User(
        id=user_id or str(uuid.uuid4()),
        email=address,
        email_key=email_key(address),
        email_verified=verified,
        name=checked_name(name),
        claims=_checked_claims(claims or {}),
        created_at=now,
        updated_at=now,
        disabled_at=None,
        theme=SYSTEM,
    )
    values = {column.name: getattr(user, column.name) for column in TABLE.columns}
    statement = database.insert(TABLE).values(values).on_conflict_do_nothing(index_elements=["email_key"])
    if database.execute(statement).rowcount != 1:
        raise RefusedInput(_TAKEN, "email")
    record(Event.USER_CREATED, subject=user.id)
    created: User = db.session.get_one(User, user.id)
    return created


def check_new(email: str, name: str) -> None:
    """Raise `RefusedInput` where `create` would, without writing: before something is consumed that opens the way."""
    address = checked_email(email)
    checked_name(name)
    if find_by_email(address):
        raise RefusedInput(_TAKEN, "email")


def find(user_id: str) -> User | None:
    """Return a person by `sub`."""
    found: User | None = db.session.get(User, user_id)
    return found


def find_by_email(address: str) -> User | None:
    """Return the person with this address, compared case-folded."""
    if "\x00" in address:
        return None  # PostgreSQL cannot be asked for it
    found: User | None = db.session.scalars(select(User).where(User.email_key == email_key(address))).one_or_none()
    return found


def find_any(email_or_id: str) -> User | None:
    """Return a person by address or `sub`: for operators."""
    condition = or_(User.id == email_or_id, User.email_key == email_key(email_or_id))
    found: User | None = db.session.scalars(select(User).where(condition)).one_or_none()
    return found


def listing() -> list[User]:
    """Return everybody, by address."""
    return list(db.session.scalars(select(User).order_by(User.email_key)))


def count() -> int:
    """Return how many accounts there are."""
    return int(database.execute(select(func.count()).select_from(TABLE)).scalar_one())


def change(
    user: User,
    *,
    email: str | None = None,
    name: str | None = None,
    verified: bool | None = None,
    claims: Mapping[str, Any] | None = None,
) -> None:
    """Change what is given; a new address is unverified unless told otherwise. Raises `RefusedInput`."""
    if email is not None and email_key(email) != user.email_key:
        user.email = checked_email(email)
        user.email_key = email_key(user.email)
        user.email_verified = bool(verified)
    if verified is not None:
        user.email_verified = verified
    if name is not None:
        user.name = checked_name(name)
    if claims is not None:
        merged = {**user.claims, **_checked_claims(claims)}
        user.claims = {key: value for key, value in merged.items() if value is not None}
    user.updated_at = clock.now()
    try:
        db.session.flush()
    except IntegrityError as cause:
        db.session.rollback()
        raise RefusedInput(_TAKEN, "email") from cause
    given = {"email": email, "name": name, "email_verified": verified}
    fields = sorted([*(claims or ()), *(field for field, value in given.items() if value is not None)])
    record(Event.USER_CHANGED, subject=user.id, fields=fields)


def choose_theme(user: User, theme: str) -> None:
    """Note how pages shall look to the person; nothing that apps are told has changed. Raises `RefusedInput`."""
    if theme not in THEMES:
        raise RefusedInput(mark("This look does not exist."), "theme")
    database.execute(update(TABLE).where(TABLE.c.id == user.id).values(theme=theme))
    db.session.expire(user)


def move(user: User, address: str) -> bool:
    """Give the account an address that its owner has proved, in place of the one that it has here.

    False, with nothing of this transaction kept, when the address is taken or the account has another one by now.
    """
    values = {"email": address, "email_key": email_key(address), "email_verified": True, "updated_at": clock.now()}
    condition = (TABLE.c.id == user.id, TABLE.c.email_key == user.email_key)
    try:
        moved = database.execute(update(TABLE).where(*condition).values(**values)).rowcount == 1
    except IntegrityError:
        moved = False
    if moved:
        db.session.expire(user)
    else:
        db.session.rollback()
    return moved


def disable(user: User) -> None:
    """Switch an account off; `tokens.ending` must end what it holds."""
    database.execute(update(TABLE).where(TABLE.c.id == user.id).values(disabled_at=clock.now()))
    db.session.expire(user)
    record(Event.USER_DISABLED, subject=user.id)


def enable(user: User) -> None:
    """Switch an account on again."""
    database.execute(update(TABLE).where(TABLE.c.id == user.id).values(disabled_at=None))
    db.session.expire(user)
    record(Event.USER_ENABLED, subject=user.id)


def remove(user: User) -> None:
    """Delete the account and what hangs on it; `tokens.ending` comes first."""
    if database.execute(delete(TABLE).where(TABLE.c.id == user.id)).rowcount == 1:
        record(Event.USER_DELETED, subject=user.id)
    db.session.expunge(user)


def checked_email(address: str) -> str:
    """Return the address as it is kept and written to; raise `RefusedInput` for none."""
    text = unicodedata.normalize("NFKC", address.strip())
    try:
        found = validate_email(text, check_deliverability=False, globally_deliverable=False).normalized
    except EmailNotValidError as cause:
        raise RefusedInput(_NO_ADDRESS, "email") from cause
    if len(email_key(found)) > _LONGEST_KEY:
        raise RefusedInput(_NO_ADDRESS, "email")
    return found


def checked_name(name: str) -> str:
    """Return the name as it is kept; raise `RefusedInput` for one that is too long or has control characters."""
    text = unicodedata.normalize("NFC", name.strip())
    if len(text) > _LONGEST_NAME or any(unicodedata.category(char) == "Cc" for char in text):
        raise RefusedInput(_BAD_NAME, "name", count=_LONGEST_NAME)
    return text


def _checked_claims(claims: Mapping[str, Any]) -> dict[str, Any]:
    taken = sorted(set(claims) & RESERVED_CLAIMS)
    if taken:
        raise RefusedInput(f"these claims cannot be set freely: {', '.join(taken)}", "claim")
    try:
        json.dumps(dict(claims), allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise RefusedInput("a JSON value is expected: text, number, true, false, list or object", "claim") from None
    return dict(claims)
