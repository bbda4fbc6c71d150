"""Which clients have gone on in the name of a family, into which APIs: what people see, and what a recall must find."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, literal, select

from auth_server import database
from auth_server.infra import clock
from auth_server.tokens import families, models
from auth_server.tokens.families import Family
from auth_server.tokens.revocations import LONGEST_TOKEN_LIFE

_TABLE: Any = models.Exchange.__table__
_FAMILY: Any = models.Family.__table__


@dataclass(frozen=True)
class Passed:
    """A client that acts in a family's name at an API, and when it asked last."""

    family_id: str
    client_id: str
    audience: str
    last_at: datetime


def note(family: Family, client_id: str, audience: str) -> bool:
    """Note an exchange; False when the family has ended, or ends at this moment."""
    now = clock.now()
    moment = literal(now, _TABLE.c.last_at.type)
    live = (
        select(_FAMILY.c.id, literal(client_id), literal(audience), moment, moment)
        .where(_FAMILY.c.id == family.id, _FAMILY.c.ended_at.is_(None))
        .with_for_update(read=True)  # PostgreSQL: whoever ends it comes before or after, not in between
    )
    statement = database.insert(_TABLE).from_select(["family_id", "client_id", "audience", "first_at", "last_at"], live)
    keys = ["family_id", "client_id", "audience"]
    statement = statement.on_conflict_do_update(index_elements=keys, set_={"last_at": now})
    return database.execute(statement).rowcount == 1


def of_user(user_id: str) -> list[Passed]:
    """Return what was passed on from the person's families, the latest first."""
    statement = (
        select(*(_TABLE.c[name] for name in ("family_id", "client_id", "audience", "last_at")))
        .join(_FAMILY, _FAMILY.c.id == _TABLE.c.family_id)
        .where(_FAMILY.c.user_id == user_id)
        .order_by(_TABLE.c.last_at.desc())
    )
    return [Passed(**row._mapping) for row in database.execute(statement)]


def has_any(family_id: str) -> bool:
    """Tell whether anything was exchanged in a family's name."""
    statement = select(_TABLE.c.family_id).where(_TABLE.c.family_id == family_id).limit(1)
    return database.execute(statement).first() is not None


def live_families(client_id: str) -> list[Family]:
    """Return the live families of which a client may still hold an exchanged token."""
    recent = (_TABLE.c.client_id == bindparam("which"), _TABLE.c.last_at > clock.now() - LONGEST_TOKEN_LIFE)
    some = select(_TABLE.c.family_id).where(*recent)
    live = (_FAMILY.c.ended_at.is_(None), _FAMILY.c.id.in_(some))
    statement = select(*families.COLUMNS).where(*live).order_by(_FAMILY.c.id)
    return [families.of_row(row) for row in database.execute(statement, {"which": client_id})]
