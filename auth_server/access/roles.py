"""Roles: the built-in ones for this server, and the operator's own, which say who may be given which API scopes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, String, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.access import apis, groups
from auth_server.accounts import users
from auth_server.database import Base, Moment
from auth_server.errors import RefusedInput
from auth_server.infra import clock, stamp
from auth_server.infra.events import Event, record

ADMINISTRATOR = "administrator"
BUILT_IN = (ADMINISTRATOR, "auditor", "helpdesk", "developer")


class Role(Base):
    """An operator's role: people (named, or by group) who alone may be given its scopes."""

    __tablename__ = "role"
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    scopes: Mapped[list[str]] = mapped_column(JSON)
    groups: Mapped[list[str]] = mapped_column(JSON)
    made_by_apply: Mapped[bool] = mapped_column(Boolean)


class RoleOfUser(Base):
    """One person's role; ends with the account."""

    __tablename__ = "role_of_user"
    user_id: Mapped[str] = mapped_column(ForeignKey("user_account.id", ondelete="CASCADE"), primary_key=True)
    role: Mapped[str] = mapped_column(String(100), primary_key=True, index=True)
    granted_at: Mapped[datetime] = mapped_column(Moment)


_ROLE: Any = Role.__table__
_OF_USER: Any = RoleOfUser.__table__


def save(name: str, *, scopes: Iterable[str], member_groups: Iterable[str], by_apply: bool = False) -> None:
    """Create or change an operator's role; raise `RefusedInput` for a bad name or unknown group."""
    if name in BUILT_IN or not groups.NAME.match(name):
        raise RefusedInput("this name is not possible for a role", "name")
    unknown = set(member_groups) - {row["name"] for row in groups.listing()}
    if unknown:
        raise RefusedInput(f"no such group: {', '.join(sorted(unknown))}", "groups")
    wanted = set(scopes)
    if not all(map(apis.SCOPE.match, wanted)):
        raise RefusedInput("a scope has printable characters without spaces, quotes and backslashes", "scopes")
    values = {"scopes": sorted(wanted), "groups": sorted(set(member_groups))}
    exists = name in {row["name"] for row in listing()}
    statement = database.insert(_ROLE).values(name=name, made_by_apply=by_apply, **values)
    database.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))
    _cache.bump()
    record(Event.ROLE_CHANGED if exists else Event.ROLE_CREATED, role=name)


def remove(name: str) -> bool:
    """Delete an operator's role; False when there is none."""
    database.execute(delete(_OF_USER).where(_OF_USER.c.role == name))
    found = database.execute(delete(_ROLE).where(_ROLE.c.name == name)).rowcount == 1
    if found:
        _cache.bump()
        record(Event.ROLE_DELETED, role=name)
    return found


def listing() -> list[dict[str, Any]]:
    """Return every operator's role, by name."""
    return [dict(row._mapping) for row in database.execute(select(_ROLE).order_by(_ROLE.c.name))]


def of_user(user_id: str, group_names: Iterable[str] | None = None) -> tuple[str, ...]:
    """Return a person's roles, given by name or by group, sorted."""
    held = set(named(user_id))
    by_group = _roles_by_group()
    if by_group:
        for group in groups.of_user(user_id) if group_names is None else group_names:
            held.update(by_group.get(group, ()))
    return tuple(sorted(held))


def named(user_id: str) -> tuple[str, ...]:
    """Return the roles that a person has by name, not by group."""
    statement = select(_OF_USER.c.role).where(_OF_USER.c.user_id == user_id).order_by(_OF_USER.c.role)
    return tuple(row.role for row in database.execute(statement))


def put(user_id: str, names: Iterable[str]) -> None:
    """Make these the roles a person has by name; raise `RefusedInput` for an unknown one or the last administrator."""
    wanted = set(names)
    known = {*BUILT_IN, *(row["name"] for row in listing())}
    if wanted - known:
        raise RefusedInput(f"no such role: {', '.join(sorted(wanted - known))}", "role")
    if ADMINISTRATOR not in wanted:
        keep_an_administrator(user_id)
    database.execute(delete(_OF_USER).where(_OF_USER.c.user_id == user_id, _OF_USER.c.role.not_in(wanted)))
    for name in sorted(wanted):  # a role that is kept keeps the moment since when it is held
        statement = database.insert(_OF_USER).values(user_id=user_id, role=name, granted_at=clock.now())
        database.execute(statement.on_conflict_do_nothing(index_elements=["user_id", "role"]))


def administrator_since(user_id: str) -> datetime | None:
    """Return since when the person has been an administrator; None when they are none."""
    condition = (_OF_USER.c.user_id == user_id, _OF_USER.c.role == ADMINISTRATOR)
    row = database.execute(select(_OF_USER.c.granted_at).where(*condition)).first()
    return None if row is None else row.granted_at


def has_administrator() -> bool:
    """Tell whether an active administrator exists."""
    return _administrators_but("") > 0


def is_last_administrator(user_id: str) -> bool:
    """Tell whether nobody would administer without this person, as far as it can be said now."""
    return ADMINISTRATOR in of_user(user_id) and _administrators_but(user_id) == 0


def keep_an_administrator(user_id: str) -> None:
    """Raise `RefusedInput` when this person is the last active administrator."""
    if ADMINISTRATOR not in of_user(user_id):
        return
    stamp.take_turns("administrators")  # two who demote each other would each count on the other
    if is_last_administrator(user_id):
        raise RefusedInput("this is the last administrator; make another one first")


def restricted_scopes() -> Mapping[str, frozenset[str]]:
    """Return the scopes that roles name, each with the roles that may be given it."""
    return _cached().scopes


class _Loaded:
    def __init__(self, rows: list[dict[str, Any]]) -> None:
        scopes: dict[str, set[str]] = {}
        by_group: dict[str, set[str]] = {}
        for row in rows:
            for scope in row["scopes"]:
                scopes.setdefault(scope, set()).add(row["name"])
            for group in row["groups"]:
                by_group.setdefault(group, set()).add(row["name"])
        self.scopes = MappingProxyType({key: frozenset(value) for key, value in scopes.items()})
        self.by_group = MappingProxyType({key: frozenset(value) for key, value in by_group.items()})


def _roles_by_group() -> Mapping[str, frozenset[str]]:
    return _cached().by_group


def _cached() -> _Loaded:
    return _cache.get("all") or _Loaded([])


def _administrators_but(user_id: str) -> int:
    joined = select(func.count()).select_from(_OF_USER).join(users.TABLE, users.TABLE.c.id == _OF_USER.c.user_id)
    condition = (
        _OF_USER.c.role == ADMINISTRATOR,
        _OF_USER.c.user_id != user_id,
        users.TABLE.c.disabled_at.is_(None),
    )
    return int(database.execute(joined.where(*condition)).scalar_one())


_cache: stamp.Cache[_Loaded] = stamp.Cache("roles", lambda _key: _Loaded(listing()))
