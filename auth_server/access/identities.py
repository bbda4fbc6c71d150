"""Whom a trusted issuer means: a stored link from its subject to a person, or, where the operator's rule says so, the
person with a verified address of the issuer's own domains. Nobody is made here, and without either nobody is meant.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.accounts import users
from auth_server.accounts.users import Person
from auth_server.clients import issuers
from auth_server.clients.issuers import TrustedIssuer
from auth_server.database import Base, Moment
from auth_server.errors import RefusedInput
from auth_server.infra import clock
from auth_server.infra.events import Event, record

_LONGEST = 255


class IdentityLink(Base):
    """A subject of a trusted issuer, and the person it means; goes with either."""

    __tablename__ = "identity_link"
    issuer: Mapped[str] = mapped_column(ForeignKey("trusted_issuer.issuer", ondelete="CASCADE"), primary_key=True)
    subject: Mapped[str] = mapped_column(String(_LONGEST), primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), index=True)
    created_at: Mapped[datetime] = mapped_column(Moment)


_TABLE: Any = IdentityLink.__table__


@dataclass(frozen=True)
class Link:
    """A link, with the address that the person has now."""

    issuer: str
    subject: str
    user_id: str
    email: str
    created_at: datetime


def link(issuer: str, subject: str, user_id: str) -> None:
    """Let a subject of a trusted issuer mean this person; raise `RefusedInput`."""
    if issuer not in {found.issuer for found in issuers.listing()}:
        raise RefusedInput("no such trusted issuer", "issuer")
    if not 0 < len(subject) <= _LONGEST or not subject.isprintable():
        raise RefusedInput(f"a subject has 1 to {_LONGEST} printable characters", "subject")
    row = {"issuer": issuer, "subject": subject, "user_id": user_id, "created_at": clock.now()}
    statement = database.insert(_TABLE).values(row).on_conflict_do_nothing(index_elements=["issuer", "subject"])
    if database.execute(statement).rowcount != 1:
        raise RefusedInput("this subject means somebody already; unlink it first", "subject")
    record(Event.IDENTITY_LINKED, subject=user_id, issuer=issuer)


def unlink(issuer: str, subject: str) -> str | None:
    """Let a subject mean nobody; return whom it meant, or None. `tokens.ending` ends what came of it."""
    its = (_TABLE.c.issuer == issuer, _TABLE.c.subject == subject)
    row = database.execute(delete(_TABLE).where(*its).returning(_TABLE.c.user_id)).first()
    if row is None:
        return None
    record(Event.IDENTITY_UNLINKED, subject=row.user_id, issuer=issuer)
    return str(row.user_id)


def listing() -> list[Link]:
    """Return every link, by issuer and subject."""
    columns = (_TABLE.c.issuer, _TABLE.c.subject, _TABLE.c.user_id, users.TABLE.c.email, _TABLE.c.created_at)
    joined = select(*columns).join(users.TABLE, users.TABLE.c.id == _TABLE.c.user_id)
    return [Link(**row._mapping) for row in database.execute(joined.order_by(_TABLE.c.issuer, _TABLE.c.subject))]


def meant(issuer: TrustedIssuer, subject: str, verified_email: str) -> Person | None:
    """Return the person that an issuer means, disabled ones too, or None; a link outweighs the address."""
    its = (_TABLE.c.issuer == issuer.issuer, _TABLE.c.subject == subject)
    linked = database.execute(select(_TABLE.c.user_id).where(*its)).first()
    if linked is not None:
        return users.find_person(linked.user_id)
    if issuer.people != issuers.BY_EMAIL or not verified_email.isprintable():
        return None
    domain = users.email_key(verified_email).rpartition("@")[2]
    if domain not in issuer.email_domains:
        return None
    found = users.find_person_by_email(verified_email)
    return found if found and found.email_verified else None
