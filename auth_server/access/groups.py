"""Groups of people: a claim for apps, and members of roles."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Boolean, ForeignKey, String, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.database import Base
from auth_server.errors import RefusedInput
from auth_server.infra.events import Event, record

_LONGEST_TITLE = 200
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@/-]{0,99}\Z")


class Group(Base):
    """A named set of people."""

    __tablename__ = "group_of_people"
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    title: Mapped[str] = mapped_column(String(_LONGEST_TITLE))
    made_by_apply: Mapped[bool] = mapped_column(Boolean)


class Membership(Base):
    """One person in one group; ends with either."""

    __tablename__ = "group_membership"
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True)
    group_name: Mapped[str] = mapped_column(
        ForeignKey("group_of_people.name", ondelete="CASCADE"), primary_key=True, index=True
    )


_GROUP: Any = Group.__table__
_MEMBER: Any = Membership.__table__


def create(name: str, title: str = "", *, by_apply: bool = False) -> None:
    """Add a group; raise `RefusedInput` for a bad or taken name."""
    if not NAME.match(name):
        raise RefusedInput("a group's name has letters, digits and . _ : @ / - only", "name")
    values = {"title": _checked_title(title) or name, "made_by_apply": by_apply}
    statement = database.insert(_GROUP).values(name=name, **values)
    if database.execute(statement.on_conflict_do_nothing(index_elements=["name"])).rowcount != 1:
        raise RefusedInput("this group exists already", "name")
    record(Event.GROUP_CREATED, group=name)


def rename(name: str, title: str) -> None:
    """Change the title that people see; raise `RefusedInput` for a bad one."""
    database.execute(update(_GROUP).where(_GROUP.c.name == name).values(title=_checked_title(title) or name))
    record(Event.GROUP_CHANGED, group=name)


def remove(name: str) -> bool:
    """Delete a group; False when there is none."""
    database.execute(delete(_MEMBER).where(_MEMBER.c.group_name == name))
    found = database.execute(delete(_GROUP).where(_GROUP.c.name == name)).rowcount == 1
    if found:
        record(Event.GROUP_DELETED, group=name)
    return found


def listing() -> list[dict[str, Any]]:
    """Return `name` and `title` (and who made it) of every group, by name."""
    return [dict(row._mapping) for row in database.execute(select(_GROUP).order_by(_GROUP.c.name))]


def of_user(user_id: str) -> tuple[str, ...]:
    """Return the names of a person's groups, sorted."""
    statement = select(_MEMBER.c.group_name).where(_MEMBER.c.user_id == user_id).order_by(_MEMBER.c.group_name)
    return tuple(row.group_name for row in database.execute(statement))


def put(user_id: str, names: Iterable[str]) -> None:
    """Make these the person's groups; raise `RefusedInput` when one does not exist."""
    wanted = set(names)
    known = {row["name"] for row in listing()}
    if wanted - known:
        raise RefusedInput(f"no such group: {', '.join(sorted(wanted - known))}", "group")
    database.execute(delete(_MEMBER).where(_MEMBER.c.user_id == user_id))
    for name in sorted(wanted):
        database.execute(_MEMBER.insert().values(user_id=user_id, group_name=name))


def _checked_title(title: str) -> str:
    text = title.strip()
    if len(text) > _LONGEST_TITLE or any(unicodedata.category(char) == "Cc" for char in text):
        raise RefusedInput(f"a title has at most {_LONGEST_TITLE} characters and no control characters", "name")
    return text
