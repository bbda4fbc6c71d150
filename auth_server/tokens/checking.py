"""The check of a presented access token at our own endpoints: form, signature, life, revocation, client and person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, bindparam, cast, literal, select

from auth_server import config, database
from auth_server.accounts import users
from auth_server.accounts.users import Person
from auth_server.clients import client as clients
from auth_server.infra import clock
from auth_server.keys import access_token, jose, keyring
from auth_server.prepared import Prepared
from auth_server.tokens import delegation, families, opaque, revocations

_FAMILY = families.TABLE
_OF_JWT = Prepared(
    select(revocations.COVERING, _FAMILY.c.claims, *users.PERSON_COLUMNS)
    .join(users.TABLE, users.TABLE.c.id == _FAMILY.c.user_id)
    .where(_FAMILY.c.id == bindparam("family"))
)
"""Whether anything refuses it, the claims that its app asked for, and the person: not by `sub`, which is the app's."""
_CLAIM = opaque.TABLE.c.claims
_ISSUED = cast(_CLAIM["iat"].as_string(), BigInteger) * literal(1_000_000, BigInteger)
"""`iat` in the microseconds of a `Moment`; PostgreSQL's plain integer would be too small."""
_OF_OPAQUE = Prepared(
    select(
        _CLAIM,
        revocations.covering(
            _CLAIM["jti"].as_string(),
            _CLAIM["fam"].as_string(),
            _CLAIM["client_id"].as_string(),
            _ISSUED,
        ),
        _FAMILY.c.claims,
        *users.PERSON_COLUMNS,
    )
    .select_from(
        opaque.TABLE.outerjoin(_FAMILY, _FAMILY.c.id == _CLAIM["fam"].as_string()).outerjoin(
            users.TABLE, users.TABLE.c.id == _FAMILY.c.user_id
        )
    )
    .where(*opaque.IS_PRESENTED)
)
"""The claims, and the same three."""


@dataclass(frozen=True)
class Live:
    """A live access token: its claims, the person it acts for (None: a service), and which claims its app asked for."""

    claims: dict[str, Any]
    person: Person | None
    asked: Mapping[str, Any] | None = None


def live(presented: str, audiences: Iterable[str] | None = None) -> Live | None:
    """Return a live access token of either form, or None; `audiences` None accepts any of ours."""
    return _live_jwt(presented, audiences) if "." in presented else _live_opaque(presented, audiences)


def _live_jwt(presented: str, audiences: Iterable[str] | None) -> Live | None:
    claims = _jwt_claims(presented, audiences)
    if claims is None or not _client_may_act(claims):
        return None
    if "fam" not in claims:
        return None if revocations.covers(claims) else Live(claims, None)
    row = database.first(_OF_JWT, revocations.named_in(claims))
    return None if row is None else _unless_ended(claims, *row)


def _live_opaque(presented: str, audiences: Iterable[str] | None) -> Live | None:
    row = database.first(_OF_OPAQUE, opaque.presented_as(presented))
    if row is None:
        return None
    claims = row[0]
    is_foreign = audiences is not None and not access_token.audience_of(claims) & set(audiences)
    if is_foreign or not _client_may_act(claims):
        return None
    return _unless_ended(*row)


def _client_may_act(claims: Mapping[str, Any]) -> bool:
    client = clients.find(claims["client_id"])
    return client is not None and not client.is_disabled


def _sources_live(claims: Mapping[str, Any]) -> bool:
    """Tell whether nothing refuses the tokens that an exchanged one comes from; others have none to look at."""
    return all(_client_may_act(link) and not revocations.covers(link) for link in delegation.links(claims))


def _unless_ended(claims: dict[str, Any], is_revoked: bool, asked: Any, *row: Any) -> Live | None:
    """Return the token unless it is revoked, or its person is gone or disabled; a service's has none."""
    if is_revoked or not _sources_live(claims):
        return None
    if "fam" not in claims:
        return Live(claims, None)
    if row[0] is None:  # the person was deleted
        return None
    person = users.person(row)
    return None if person.is_disabled else Live(claims, person, asked)


def _jwt_claims(presented: str, audiences: Iterable[str] | None) -> dict[str, Any] | None:
    try:
        return access_token.verify(
            presented,
            issuer=config.current().issuer,
            audiences=audiences,
            find_key=keyring.verifier,
            now=clock.now(),
        )
    except jose.BadToken:
        return None
