"""The rows of grants: families, codes and refresh tokens. Nothing is decided here but "once".

Codes and refresh tokens are stored by digest. Whatever may happen once is one conditional UPDATE.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, case, delete, select, update

from auth_server import database
from auth_server.accounts import sessions, users
from auth_server.accounts.users import Person
from auth_server.clients.client import Client
from auth_server.database import Moment
from auth_server.infra import clock, crypto
from auth_server.tokens import models

CODE_LIFE = timedelta(seconds=60)
MOST_REFRESHES = 120
REFRESH_WINDOW = timedelta(hours=1)
_SUCCESSOR = "refresh-successor"

_FAMILY: Any = models.Family.__table__
_CODE: Any = models.AuthorizationCode.__table__
_REFRESH: Any = models.RefreshToken.__table__


_FAMILY_AND_PERSON = (*_FAMILY.columns, *users.PERSON_COLUMNS)

# Statements are built once: building one costs more than running it.
_FIND_CODE = (
    select(*_CODE.columns, *_FAMILY_AND_PERSON, sessions.TABLE.c.id.label("live_session"))
    .join(_FAMILY, _FAMILY.c.id == _CODE.c.family_id)
    .join(users.TABLE, users.TABLE.c.id == _FAMILY.c.user_id)
    .outerjoin(sessions.TABLE, sessions.TABLE.c.id == _FAMILY.c.session_id)
    .where(_CODE.c.digest == bindparam("presented"))
)
_SPEND_CODE = (
    update(_CODE)
    .where(_CODE.c.digest == bindparam("which"), _CODE.c.spent_at.is_(None))
    .values(spent_at=bindparam("now"))
)
_FIND_REFRESH = (
    select(*_REFRESH.columns, *_FAMILY_AND_PERSON)
    .join(_FAMILY, _FAMILY.c.id == _REFRESH.c.family_id)
    .join(users.TABLE, users.TABLE.c.id == _FAMILY.c.user_id)
    .where(_REFRESH.c.digest == bindparam("presented"))
)
_ROTATE = (
    update(_REFRESH)
    .where(_REFRESH.c.digest == bindparam("which"), _REFRESH.c.rotated_at.is_(None))
    .values(rotated_at=bindparam("now"), successor_sealed=bindparam("sealed"))
)
_WINDOW_IS_OVER = _FAMILY.c.refresh_window_ends_at.is_(None) | (_FAMILY.c.refresh_window_ends_at <= bindparam("now"))
_NOTE_USE = update(_FAMILY).where(_FAMILY.c.id == bindparam("which")).values(last_used_at=bindparam("now"))
_NOTE_REFRESH = _NOTE_USE.values(
    refresh_count=case((_WINDOW_IS_OVER, 1), else_=_FAMILY.c.refresh_count + 1),
    refresh_window_ends_at=case(
        (_WINDOW_IS_OVER, bindparam("fresh", type_=Moment())), else_=_FAMILY.c.refresh_window_ends_at
    ),
)
_INSERT_FAMILY, _INSERT_CODE, _INSERT_REFRESH = _FAMILY.insert(), _CODE.insert(), _REFRESH.insert()


@dataclass(frozen=True)
class Family:
    """Everything born from one authorization, and what was authorized."""

    id: str
    client_id: str
    user_id: str
    session_id: str
    scopes: tuple[str, ...]
    resources: tuple[str, ...]
    offline: bool
    auth_time: datetime
    acr: str
    amr: tuple[str, ...]
    nonce: str | None
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None
    is_ended: bool
    refresh_window_ends_at: datetime | None
    refresh_count: int


@dataclass(frozen=True)
class Code:
    """A stored code with its family and person. `session_lives`: the sign-in it was born in has not been ended."""

    digest: str
    redirect_uri: str
    code_challenge: str | None
    expires_at: datetime
    is_spent: bool
    family: Family
    person: Person
    session_lives: bool


@dataclass(frozen=True)
class Refresh:
    """A stored refresh token with its family and person."""

    digest: str
    expires_at: datetime
    rotated_at: datetime | None
    successor_sealed: str | None
    family: Family
    person: Person


def new_code(
    client: Client,
    session: sessions.Session,
    *,
    scopes: Sequence[str],
    resources: Sequence[str],
    redirect_uri: str,
    code_challenge: str | None,
    nonce: str | None,
) -> tuple[str, str]:
    """Begin a family with a code; return the raw code and the family's id."""
    now = clock.now()
    family_id = str(uuid.uuid4())
    family = {
        "id": family_id,
        "client_id": client.client_id,
        "user_id": session.user_id,
        "session_id": session.id,
        "scope": " ".join(scopes),
        "resources": list(resources),
        "offline": "offline_access" in scopes,
        "auth_time": session.auth_time,
        "acr": session.acr,
        "amr": list(session.amr),
        "nonce": nonce,
        "created_at": now,
        "expires_at": now + client.refresh_token_ttl,
        "refresh_count": 0,
    }
    raw_code = crypto.new_secret()
    code = {"family_id": family_id, "redirect_uri": redirect_uri, "code_challenge": code_challenge}
    database.execute(_INSERT_FAMILY, family)
    database.execute(_INSERT_CODE, {**code, "digest": crypto.digest(raw_code), "expires_at": now + CODE_LIFE})
    return raw_code, family_id


def find_code(presented: str) -> Code | None:
    """Return a stored code, spent and expired ones too, or None."""
    row = database.execute(_FIND_CODE, {"presented": crypto.digest(presented)}).first()
    if row is None:
        return None
    values = row._mapping
    return Code(
        digest=values[_CODE.c.digest],
        redirect_uri=values[_CODE.c.redirect_uri],
        code_challenge=values[_CODE.c.code_challenge],
        expires_at=values[_CODE.c.expires_at],
        is_spent=values[_CODE.c.spent_at] is not None,
        family=_family(values),
        person=users.person(row),
        session_lives=row.live_session is not None,
    )


def spend_code(code: Code) -> bool:
    """Spend a code once; False when somebody was faster."""
    return database.execute(_SPEND_CODE, {"which": code.digest, "now": clock.now()}).rowcount == 1


def new_refresh_token(family: Family, idle_life: timedelta) -> str:
    """Add the first refresh token of a family and return it."""
    raw_token = crypto.new_secret()
    _insert_refresh_token(family, raw_token, idle_life)
    return raw_token


def find_refresh_token(presented: str) -> Refresh | None:
    """Return a stored refresh token, rotated and expired ones too, or None."""
    row = database.execute(_FIND_REFRESH, {"presented": crypto.digest(presented)}).first()
    if row is None:
        return None
    values = row._mapping
    return Refresh(
        digest=values[_REFRESH.c.digest],
        expires_at=values[_REFRESH.c.expires_at],
        rotated_at=values[_REFRESH.c.rotated_at],
        successor_sealed=values[_REFRESH.c.successor_sealed],
        family=_family(values),
        person=users.person(row),
    )


def rotate(found: Refresh, presented: str, *, idle_life: timedelta, grace: timedelta) -> str | None:
    """Replace a refresh token by its one successor and return that; None when somebody was faster.

    With a grace, the successor is kept sealed under a key that only the presented token gives.
    """
    raw_token = crypto.new_secret()
    sealed = crypto.seal_with_secret(presented, raw_token.encode(), _SUCCESSOR) if grace else None
    parameters = {"which": found.digest, "now": clock.now(), "sealed": sealed}
    if database.execute(_ROTATE, parameters).rowcount != 1:
        return None
    _insert_refresh_token(found.family, raw_token, idle_life)
    return raw_token


def same_successor(found: Refresh, presented: str, grace: timedelta) -> str | None:
    """Return the successor again within the grace after rotation, while it is itself unused; otherwise None."""
    if not grace or not found.rotated_at or not found.successor_sealed or clock.now() > found.rotated_at + grace:
        return None
    successor = crypto.unseal_with_secret(presented, found.successor_sealed, _SUCCESSOR).decode()
    unused = (_REFRESH.c.digest == crypto.digest(successor), _REFRESH.c.rotated_at.is_(None))
    return successor if database.execute(select(_REFRESH.c.digest).where(*unused)).first() else None


def note_use(family: Family, *, refreshed: bool = False) -> None:
    """Remember that a family was used just now, and count refreshes in windows of an hour."""
    now = clock.now()
    if refreshed:
        database.execute(_NOTE_REFRESH, {"which": family.id, "now": now, "fresh": now + REFRESH_WINDOW})
    else:
        database.execute(_NOTE_USE, {"which": family.id, "now": now})


def seconds_until_refresh(family: Family) -> int:
    """Return 0 while the family may refresh, otherwise the seconds until its window ends."""
    ends_at = family.refresh_window_ends_at
    now = clock.now()
    if ends_at is None or ends_at <= now or family.refresh_count < MOST_REFRESHES:
        return 0
    return max(1, int((ends_at - now).total_seconds()) + 1)


def find_family(family_id: str) -> Family | None:
    """Return a family by id, or None."""
    row = database.execute(select(_FAMILY).where(_FAMILY.c.id == family_id)).first()
    return None if row is None else _family(row._mapping)


def families_of(user_id: str) -> list[Family]:
    """Return the person's live families that have produced tokens, the most recently used first."""
    condition = (
        _FAMILY.c.user_id == user_id,
        _FAMILY.c.ended_at.is_(None),
        _FAMILY.c.expires_at > clock.now(),
        _FAMILY.c.last_used_at.is_not(None),
    )
    statement = select(_FAMILY).where(*condition).order_by(_FAMILY.c.last_used_at.desc())
    return [_family(row._mapping) for row in database.execute(statement)]


def prune() -> int:
    """Delete what nobody can present any more; return how many families went."""
    now = clock.now()
    unborn = _FAMILY.c.last_used_at.is_(None) & (_FAMILY.c.created_at <= now - timedelta(hours=2))
    gone = delete(_FAMILY).where((_FAMILY.c.expires_at <= now - timedelta(hours=2)) | unborn)
    return database.execute(gone).rowcount


def _insert_refresh_token(family: Family, raw_token: str, idle_life: timedelta) -> None:
    now = clock.now()
    row = {
        "digest": crypto.digest(raw_token),
        "family_id": family.id,
        "created_at": now,
        "expires_at": min(now + idle_life, family.expires_at),
    }
    database.execute(_INSERT_REFRESH, row)


def _family(values: Any) -> Family:
    columns = _FAMILY.c
    return Family(
        id=values[columns.id],
        client_id=values[columns.client_id],
        user_id=values[columns.user_id],
        session_id=values[columns.session_id],
        scopes=tuple(values[columns.scope].split()),
        resources=tuple(values[columns.resources]),
        offline=values[columns.offline],
        auth_time=values[columns.auth_time],
        acr=values[columns.acr],
        amr=tuple(values[columns.amr]),
        nonce=values[columns.nonce],
        created_at=values[columns.created_at],
        expires_at=values[columns.expires_at],
        last_used_at=values[columns.last_used_at],
        is_ended=values[columns.ended_at] is not None,
        refresh_window_ends_at=values[columns.refresh_window_ends_at],
        refresh_count=values[columns.refresh_count],
    )
