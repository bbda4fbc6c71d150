"""The rows of grants: families, codes and refresh tokens. Nothing is decided here but "once".

Codes and refresh tokens are stored by digest. Whatever may happen once is one conditional UPDATE.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, func, select, update

from auth_server import database
from auth_server.accounts import sessions, users
from auth_server.accounts.users import Person
from auth_server.clients.client import Client
from auth_server.infra import clock, crypto, origin
from auth_server.infra.origin import Origin
from auth_server.prepared import Prepared
from auth_server.tokens import models, status_index

CODE_LIFE = timedelta(seconds=60)
MOST_REFRESHES = 120
REFRESH_WINDOW = timedelta(hours=1)
KEPT_AFTER_THE_END = timedelta(hours=2)
"""Longer than any token lives."""
CONFIDENTIAL, NATIVE, BROWSER = "confidential", "native", "browser"
"""Kinds of apps: with a secret; on a phone or desktop; in a web page."""
_SUCCESSOR = "refresh-successor"
_MOST_SESSIONS = 500
"""So many are asked about in one statement."""

_FAMILY: Any = models.Family.__table__
_CODE: Any = models.AuthorizationCode.__table__
_REFRESH: Any = models.RefreshToken.__table__
_DEVICE: Any = models.DeviceGrant.__table__

_FAMILY_AND_PERSON = (*_FAMILY.columns, *users.PERSON_COLUMNS)
_CODE_COLUMNS = [_CODE.c[n] for n in ("digest", "redirect_uri", "code_challenge", "dpop_jkt", "expires_at", "spent_at")]
_REFRESH_NAMES = (
    *("digest", "created_at", "expires_at", "rotated_at", "successor_sealed", "window_ends_at", "window_count"),
    *("jkt", "network", "country", "agent"),
)
_REFRESH_COLUMNS = [_REFRESH.c[name] for name in _REFRESH_NAMES]
_FAMILY_FIELDS = len(_FAMILY.columns)

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
_LAST_USED = func.coalesce(
    select(func.max(_REFRESH.c.created_at)).where(_REFRESH.c.family_id == _FAMILY.c.id).scalar_subquery(),
    select(func.max(_CODE.c.spent_at)).where(_CODE.c.family_id == _FAMILY.c.id).scalar_subquery(),
    select(func.max(_DEVICE.c.redeemed_at)).where(_DEVICE.c.family_id == _FAMILY.c.id).scalar_subquery(),
)
"""When a family gave tokens last: no write of its own on every use."""
_FAMILY_NAMES = tuple(_FAMILY.columns.keys())
_INSERT_FAMILY, _INSERT_CODE = _FAMILY.insert(), _CODE.insert()
_INSERT_REFRESH = Prepared(_REFRESH.insert())


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
    is_ended: bool
    client_class: str
    network: str
    country: str
    agent: str
    status_index: int | None


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
    jkt: str | None
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
) -> tuple[str, str]:
    """Begin a family with a code; return the raw code and the family's id."""
    family_id = new_family(client, session, scopes=scopes, resources=resources, nonce=nonce)
    raw_code = crypto.new_secret()
    code = {"family_id": family_id, "redirect_uri": redirect_uri, "code_challenge": code_challenge}
    code |= {"dpop_jkt": dpop_jkt}
    expires_at = clock.now() + CODE_LIFE
    database.execute(_INSERT_CODE, {**code, "digest": crypto.digest(raw_code), "expires_at": expires_at})
    return raw_code, family_id


def new_family(
    client: Client, session: sessions.Session, *, scopes: Sequence[str], resources: Sequence[str], nonce: str | None
) -> str:
    """Begin a family; return its id."""
    now = clock.now()
    expires_at = now + client.refresh_token_ttl
    family = {
        "id": str(uuid.uuid4()),
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
        "expires_at": expires_at,
        "client_class": class_of(client),
        "status_index": status_index.take(expires_at + KEPT_AFTER_THE_END),
        **_origin_values(),
    }
    database.execute(_INSERT_FAMILY, family)
    return str(family["id"])


def class_of(client: Client) -> str:
    """Return the kind of app, by what a stolen token of it is worth and how much it travels."""
    if not client.is_public:
        return CONFIDENTIAL
    return NATIVE if client.is_native or not client.redirect_uris else BROWSER


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
        family=_family(rest[:_FAMILY_FIELDS]),
        person=users.person(rest[_FAMILY_FIELDS:]),
    )


def spend_code(code: Code) -> bool:
    """Spend a code once; False when somebody was faster."""
    return database.run(_SPEND_CODE, {"which": code.digest, "now": clock.now()}) == 1


def new_refresh_token(family: Family, idle_life: timedelta, jkt: str | None = None) -> str:
    """Add the first refresh token of a family and return it; `jkt` is the key that it is bound to, and all after it."""
    raw_token = crypto.new_secret()
    _insert_refresh_token(family, raw_token, idle_life, jkt)
    return raw_token


def find_refresh_token(presented: str) -> Refresh | None:
    """Return a stored refresh token, rotated and expired ones too, or None."""
    row = database.first(_FIND_REFRESH, {"presented": crypto.digest(presented)})
    if row is None:
        return None
    digest, created_at, expires_at, rotated_at, successor_sealed, window_ends_at, window_count, jkt, *rest = row
    used_from, rest = Origin(*rest[:3]), rest[3:]
    return Refresh(
        digest=digest,
        created_at=created_at,
        expires_at=expires_at,
        rotated_at=rotated_at,
        successor_sealed=successor_sealed,
        window_ends_at=window_ends_at,
        window_count=window_count,
        jkt=jkt,
        origin=used_from,
        family=_family(rest[:_FAMILY_FIELDS]),
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
    _insert_refresh_token(found.family, raw_token, idle_life, found.jkt, _window_after(found))
    return raw_token


def prolong(found: Refresh, idle_life: timedelta) -> bool:
    """Let a refresh token that is not rotated live on, as one just issued would; False when its family ended."""
    now = clock.now()
    values = {"expires_at": min(now + idle_life, found.family.expires_at), "created_at": now, **_origin_values()}
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


def find_family(family_id: str) -> Family | None:
    """Return a family by id, or None."""
    row = database.execute(select(_FAMILY).where(_FAMILY.c.id == family_id)).first()
    return None if row is None else _family(row)


def apps_of_sessions(session_ids: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return each app that got tokens in these sessions: session, client, person."""
    columns = (_FAMILY.c.session_id, _FAMILY.c.client_id, _FAMILY.c.user_id)
    found: list[tuple[str, str, str]] = []
    for start in range(0, len(session_ids), _MOST_SESSIONS):
        some = session_ids[start : start + _MOST_SESSIONS]
        found += [tuple(row) for row in database.execute(select(*columns).where(columns[0].in_(some)).distinct())]
    return found


def families_of(user_id: str) -> list[tuple[Family, datetime]]:
    """Return the person's live families that have produced tokens, each with its last use, the latest first."""
    used = _LAST_USED.label("used")
    condition = (
        _FAMILY.c.user_id == user_id,
        _FAMILY.c.ended_at.is_(None),
        _FAMILY.c.expires_at > clock.now(),
        _LAST_USED.is_not(None),
    )
    statement = select(*_FAMILY.columns, used).where(*condition).order_by(used.desc())
    return [(_family(row[:-1]), row.used) for row in database.execute(statement)]


def prune_tokens() -> int:
    """Delete refresh tokens of families that are over; return how many.

    A month of an app that refreshes every few minutes leaves thousands, too many to go with their family at once.
    """
    over = select(_FAMILY.c.id).where(_is_over())
    return database.delete_some(_REFRESH, _REFRESH.c.family_id.in_(over))


def prune() -> int:
    """Delete families that are over and whose refresh tokens are gone, with their codes; return how many."""
    has_tokens = select(_REFRESH.c.digest).where(_REFRESH.c.family_id == _FAMILY.c.id).exists()
    return database.delete_some(_FAMILY, _is_over(), ~has_tokens)


def _is_over() -> Any:
    return _FAMILY.c.expires_at <= clock.now() - KEPT_AFTER_THE_END


def _insert_refresh_token(
    family: Family,
    raw_token: str,
    idle_life: timedelta,
    jkt: str | None,
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
        "jkt": jkt,
        **_origin_values(),
    }
    database.run(_INSERT_REFRESH, row)


def _origin_values() -> dict[str, str]:
    here = origin.here()
    return {"network": here.network, "country": here.country, "agent": here.agent}


def _window_after(found: Refresh) -> tuple[datetime, int]:
    """Count one refresh: in the running window of an hour, or in a new one."""
    now = clock.now()
    if found.window_ends_at is None or found.window_ends_at <= now:
        return now + REFRESH_WINDOW, 1
    return found.window_ends_at, found.window_count + 1


def _family(row: Sequence[Any]) -> Family:
    """Make a `Family` of a row that holds the table's columns in their order."""
    values = dict(zip(_FAMILY_NAMES, row, strict=True))
    ended_at = values.pop("ended_at")
    del values["ended_by"]
    values["scopes"] = tuple(values.pop("scope").split())
    values["resources"], values["amr"] = tuple(values["resources"]), tuple(values["amr"])
    return Family(**values, is_ended=ended_at is not None)
