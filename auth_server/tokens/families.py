"""Families: everything born from one authorization of a person, who has which, and when they may go."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, func, select

from auth_server import database
from auth_server.accounts import sessions
from auth_server.clients.client import Client
from auth_server.infra import clock, origin
from auth_server.tokens import models, status_index, subjects

KEPT_AFTER_THE_END = timedelta(hours=2)
"""Longer than any token lives."""
CONFIDENTIAL, NATIVE, BROWSER = "confidential", "native", "browser"
"""Kinds of apps: with a secret; on a phone or desktop; in a web page."""
_MOST_SESSIONS = 500
"""So many are asked about in one statement."""

_FAMILY: Any = models.Family.__table__
TABLE = _FAMILY
"""For those who read a family's columns beside others."""
_CODE: Any = models.AuthorizationCode.__table__
_REFRESH: Any = models.RefreshToken.__table__
_DEVICE: Any = models.DeviceGrant.__table__
_EXCHANGE: Any = models.Exchange.__table__
COLUMNS = tuple(_FAMILY.columns)
"""What `of_row` takes."""
_NAMES = tuple(_FAMILY.columns.keys())
_INSERT = _FAMILY.insert()
NO_SESSION = ""
"""The session of a family that was born without one; no session has this id."""
_LAST_GIVEN = func.coalesce(
    select(func.max(_REFRESH.c.created_at)).where(_REFRESH.c.family_id == _FAMILY.c.id).scalar_subquery(),
    select(func.max(_CODE.c.spent_at)).where(_CODE.c.family_id == _FAMILY.c.id).scalar_subquery(),
    select(func.max(_DEVICE.c.redeemed_at)).where(_DEVICE.c.family_id == _FAMILY.c.id).scalar_subquery(),
    case((_FAMILY.c.session_id == NO_SESSION, _FAMILY.c.created_at)),
)
_LAST_EXCHANGED = select(func.max(_EXCHANGE.c.last_at)).where(_EXCHANGE.c.family_id == _FAMILY.c.id).scalar_subquery()
_LAST_USED = case((_LAST_EXCHANGED > _LAST_GIVEN, _LAST_EXCHANGED), else_=_LAST_GIVEN)
"""When a family gave tokens last: no write of its own on every use."""


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
    subject: str | None
    claims: Mapping[str, Any] | None
    status_index: int | None

    @property
    def sub(self) -> str:
        """What the app calls the person."""
        return self.subject or self.user_id

    @property
    def consented_claims(self) -> Sequence[str]:
        """The single claims that the app may see, whatever its scopes."""
        return self.claims["consented"] if self.claims else ()

    @property
    def sid(self) -> str:
        """What the app calls the session."""
        return subjects.sid(self.session_id, self.subject)


@dataclass(frozen=True)
class Asserted:
    """A sign-in that a trusted issuer vouches for, in place of a session: nothing was shown here."""

    user_id: str
    auth_time: datetime
    acr: str
    id: str = NO_SESSION
    amr: tuple[str, ...] = ()


def begin(
    client: Client,
    session: sessions.Session | Asserted,
    *,
    scopes: Sequence[str],
    resources: Sequence[str],
    nonce: str | None,
    asked: Mapping[str, Any] | None = None,
    life: timedelta | None = None,
) -> str:
    """Begin a family, which lives as long as the client's refresh tokens unless it is said; return its id.

    `asked` are the claims that were asked for by name.
    """
    now = clock.now()
    expires_at = now + (client.refresh_token_ttl if life is None else life)
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
        "subject": subjects.pairwise(client, session.user_id),
        "claims": asked,
        "status_index": status_index.take(expires_at + KEPT_AFTER_THE_END),
        **origin_values(),
    }
    database.execute(_INSERT, family)
    return str(family["id"])


def class_of(client: Client) -> str:
    """Return the kind of app, by what a stolen token of it is worth and how much it travels."""
    if not client.is_public:
        return CONFIDENTIAL
    return NATIVE if client.is_native or not client.redirect_uris else BROWSER


def find(family_id: str) -> Family | None:
    """Return a family by id, or None."""
    row = database.execute(select(_FAMILY).where(_FAMILY.c.id == family_id)).first()
    return None if row is None else of_row(row)


def apps_of_sessions(session_ids: Sequence[str]) -> list[tuple[str, str, str, str | None]]:
    """Return each app that got tokens in these sessions: session, client, person, and the app's own `subject`."""
    columns = (_FAMILY.c.session_id, _FAMILY.c.client_id, _FAMILY.c.user_id, _FAMILY.c.subject)
    found: list[tuple[str, str, str, str | None]] = []
    for start in range(0, len(session_ids), _MOST_SESSIONS):
        some = session_ids[start : start + _MOST_SESSIONS]
        found += [tuple(row) for row in database.execute(select(*columns).where(columns[0].in_(some)).distinct())]
    return found


def of_user(user_id: str) -> list[tuple[Family, datetime]]:
    """Return the person's live families that have produced tokens, each with its last use, the latest first."""
    used = _LAST_USED.label("used")
    condition = (
        _FAMILY.c.user_id == user_id,
        _FAMILY.c.ended_at.is_(None),
        _FAMILY.c.expires_at > clock.now(),
        _LAST_USED.is_not(None),
    )
    statement = select(*_FAMILY.columns, used).where(*condition).order_by(used.desc())
    return [(of_row(row[:-1]), row.used) for row in database.execute(statement)]


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


def origin_values() -> dict[str, str]:
    here = origin.here()
    return {"network": here.network, "country": here.country, "agent": here.agent}


def of_row(row: Sequence[Any]) -> Family:
    """Make a `Family` of a row that holds the table's columns in their order."""
    values = dict(zip(_NAMES, row, strict=True))
    ended_at = values.pop("ended_at")
    del values["ended_by"]
    values["scopes"] = tuple(values.pop("scope").split())
    values["resources"], values["amr"] = tuple(values["resources"]), tuple(values["amr"])
    return Family(**values, is_ended=ended_at is not None)
