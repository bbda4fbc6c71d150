"""The rows of grants: families, codes and refresh tokens. Nothing is decided here but "once".

Codes and refresh tokens are stored by digest. Whatever may happen once is one conditional UPDATE.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select, update

from auth_server import database
from auth_server.accounts import sessions, users
from auth_server.accounts.users import Person
from auth_server.clients.client import Client
from auth_server.infra import clock, crypto
from auth_server.infra.origin import Origin
from auth_server.prepared import Prepared
from auth_server.tokens import families, models
from auth_server.tokens.families import Family

CODE_LIFE = timedelta(seconds=60)
MOST_REFRESHES = 120
REFRESH_WINDOW = timedelta(hours=1)
_SUCCESSOR = "refresh-successor"

_FAMILY: Any = models.Family.__table__
_CODE: Any = models.AuthorizationCode.__table__
_REFRESH: Any = models.RefreshToken.__table__
_DEVICE: Any = models.DeviceGrant.__table__

_FAMILY_AND_PERSON = (*families.COLUMNS, *users.PERSON_COLUMNS)
_CODE_COLUMNS = [_CODE.c[n] for n in ("digest", "redirect_uri", "code_challenge", "dpop_jkt", "expires_at", "spent_at")]
_REFRESH_NAMES = (
    *("digest", "created_at", "expires_at", "rotated_at", "successor_sealed", "window_ends_at", "window_count"),
    *("jkt", "network", "country", "agent"),
)
_REFRESH_COLUMNS = [_REFRESH.c[name] for name in _REFRESH_NAMES]
_FAMILY_FIELDS = len(families.COLUMNS)

# Statements are built once: building one costs more than running it.
_FIND_CODE = Prepared(
    select(*_CODE_COLUMNS, sessions.TABLE.c.id.label("live_session"), *_FAMILY_AND_PERSON)
    .join(_FAMILY, _FAMILY.c.id == _CODE.c.family_id)
    .join(users.TABLE, users.TABLE.c.id == _FAMILY.c.user_id)
    .outerjoin(sessions.TABLE, sessions.TABLE.c.id == _FAMILY.c.session_id)
    .where(_CODE.c.digest == bindparam("presented"))
)
_SPEND_CODE = Prepared(
    update(_CODE)
    .where(_CODE.c.digest == bindparam("which"), _CODE.c.spent_at.is_(None))
    .values(spent_at=bindparam("now"))
)
_FIND_REFRESH = Prepared(
    select(*_REFRESH_COLUMNS, *_FAMILY_AND_PERSON)
    .join(_FAMILY, _FAMILY.c.id == _REFRESH.c.family_id)
    .join(users.TABLE, users.TABLE.c.id == _FAMILY.c.user_id)
    .where(_REFRESH.c.digest == bindparam("presented"))
)
_ROTATE = Prepared(
    update(_REFRESH)
    .where(_REFRESH.c.digest == bindparam("which"), _REFRESH.c.rotated_at.is_(None))
    .values(rotated_at=bindparam("now"), successor_sealed=bindparam("sealed"))
)
_INSERT_CODE = _CODE.insert()
_INSERT_REFRESH = Prepared(_REFRESH.insert())


@dataclass(frozen=True)
class Code:
    """A stored code with its family and person. `session_lives`: the sign-in it was born in has not been ended."""

    digest: str
    redirect_uri: str
    code_challenge: str | None
    dpop_jkt: str | None
    expires_at: datetime
    is_spent: bool
    family: Family
    person: Person
    session_lives: bool


@dataclass(frozen=True)
class Refresh:
    """A stored refresh token with its family and person; it carries on the count of the family's refreshes.

    `created_at` and `origin` are when and where the family was used last.
    """

    digest: str
    created_at: datetime
    expires_at: datetime
    rotated_at: datetime | None
    successor_sealed: str | None
    window_ends_at: datetime | None
    window_count: int
    thumbprint: str | None
    origin: Origin
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
    dpop_jkt: str | None = None,
    asked: Mapping[str, Any] | None = None,
) -> tuple[str, str]:
    """Begin a family with a code; return the raw code and the family's id."""
    family_id = families.begin(client, session, scopes=scopes, resources=resources, nonce=nonce, asked=asked)
    raw_code = crypto.new_secret()
    code = {"family_id": family_id, "redirect_uri": redirect_uri, "code_challenge": code_challenge}
    code |= {"dpop_jkt": dpop_jkt}
    expires_at = clock.now() + CODE_LIFE
    database.execute(_INSERT_CODE, {**code, "digest": crypto.digest(raw_code), "expires_at": expires_at})
    return raw_code, family_id


def find_code(presented: str) -> Code | None:
    """Return a stored code, spent and expired ones too, or None."""
    row = database.first(_FIND_CODE, {"presented": crypto.digest(presented)})
    if row is None:
        return None
    digest, redirect_uri, code_challenge, dpop_jkt, expires_at, spent_at, live_session, *rest = row
    return Code(
        digest=digest,
        redirect_uri=redirect_uri,
        code_challenge=code_challenge,
        dpop_jkt=dpop_jkt,
        expires_at=expires_at,
        is_spent=spent_at is not None,
        session_lives=live_session is not None,
        family=families.of_row(rest[:_FAMILY_FIELDS]),
        person=users.person(rest[_FAMILY_FIELDS:]),
    )


def spend_code(code: Code) -> bool:
    """Spend a code once; False when somebody was faster."""
    return database.run(_SPEND_CODE, {"which": code.digest, "now": clock.now()}) == 1


def new_refresh_token(family: Family, idle_life: timedelta, thumbprint: str | None = None) -> str:
    """Add the first refresh token of a family and return it; it and its successors are for the key of `thumbprint`."""
    raw_token = crypto.new_secret()
    _insert_refresh_token(family, raw_token, idle_life, thumbprint)
    return raw_token


def find_refresh_token(presented: str) -> Refresh | None:
    """Return a stored refresh token, rotated and expired ones too, or None."""
    row = database.first(_FIND_REFRESH, {"presented": crypto.digest(presented)})
    if row is None:
        return None
    digest, created_at, expires_at, rotated_at, successor_sealed, window_ends_at, window_count, thumbprint, *rest = row
    used_from, rest = Origin(*rest[:3]), rest[3:]
    return Refresh(
        digest=digest,
        created_at=created_at,
        expires_at=expires_at,
        rotated_at=rotated_at,
        successor_sealed=successor_sealed,
        window_ends_at=window_ends_at,
        window_count=window_count,
        thumbprint=thumbprint,
        origin=used_from,
        family=families.of_row(rest[:_FAMILY_FIELDS]),
        person=users.person(rest[_FAMILY_FIELDS:]),
    )


def rotate(found: Refresh, presented: str, *, idle_life: timedelta, grace: timedelta) -> str | None:
    """Replace a refresh token by its one successor and return that; None when somebody was faster.

    With a grace, the successor is kept sealed under a key that only the presented token gives.
    """
    raw_token = crypto.new_secret()
    sealed = crypto.seal_with_secret(presented, raw_token.encode(), _SUCCESSOR) if grace else None
    parameters = {"which": found.digest, "now": clock.now(), "sealed": sealed}
    if database.run(_ROTATE, parameters) != 1:
        return None
    _insert_refresh_token(found.family, raw_token, idle_life, found.thumbprint, _window_after(found))
    return raw_token


def prolong(found: Refresh, idle_life: timedelta) -> bool:
    """Let a refresh token that is not rotated live on, as one just issued would; False when its family ended."""
    now = clock.now()
    values = {
        "expires_at": min(now + idle_life, found.family.expires_at),
        "created_at": now,
        **families.origin_values(),
    }
    window_ends_at, window_count = _window_after(found)
    values |= {"window_ends_at": window_ends_at, "window_count": window_count}
    lives = select(_FAMILY.c.id).where(_FAMILY.c.id == found.family.id, _FAMILY.c.ended_at.is_(None)).exists()
    condition = (_REFRESH.c.digest == found.digest, _REFRESH.c.rotated_at.is_(None), lives)
    return database.execute(update(_REFRESH).where(*condition).values(values)).rowcount == 1


def same_successor(found: Refresh, presented: str, grace: timedelta) -> str | None:
    """Return the successor again within the grace after rotation, while it is itself unused; otherwise None."""
    if not grace or not found.rotated_at or not found.successor_sealed or clock.now() > found.rotated_at + grace:
        return None
    successor = crypto.unseal_with_secret(presented, found.successor_sealed, _SUCCESSOR).decode()
    unused = (_REFRESH.c.digest == crypto.digest(successor), _REFRESH.c.rotated_at.is_(None))
    return successor if database.execute(select(_REFRESH.c.digest).where(*unused)).first() else None


def seconds_until_refresh(found: Refresh) -> int:
    """Return 0 while the family may refresh, otherwise the seconds until its window ends."""
    ends_at = found.window_ends_at
    now = clock.now()
    if ends_at is None or ends_at <= now or found.window_count < MOST_REFRESHES:
        return 0
    return max(1, int((ends_at - now).total_seconds()) + 1)


def _insert_refresh_token(
    family: Family,
    raw_token: str,
    idle_life: timedelta,
    thumbprint: str | None,
    window: tuple[datetime | None, int] = (None, 0),
) -> None:
    now = clock.now()
    row = {
        "digest": crypto.digest(raw_token),
        "family_id": family.id,
        "created_at": now,
        "expires_at": min(now + idle_life, family.expires_at),
        "rotated_at": None,
        "successor_sealed": None,
        "window_ends_at": window[0],
        "window_count": window[1],
        "jkt": thumbprint,
        **families.origin_values(),
    }
    database.run(_INSERT_REFRESH, row)


def _window_after(found: Refresh) -> tuple[datetime, int]:
    """Count one refresh: in the running window of an hour, or in a new one."""
    now = clock.now()
    if found.window_ends_at is None or found.window_ends_at <= now:
        return now + REFRESH_WINDOW, 1
    return found.window_ends_at, found.window_count + 1
