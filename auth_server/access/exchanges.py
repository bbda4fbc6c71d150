"""Which client may exchange which tokens of people for which others (RFC 8693): rules, without which nothing is.

A rule also is what ties a client to an API: it says for which audience the tokens are that the client receives.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, Boolean, ForeignKey, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import database
from auth_server.access import apis, groups
from auth_server.clients import client as clients
from auth_server.clients.metadata import TOKEN_EXCHANGE
from auth_server.database import Base
from auth_server.errors import RefusedInput
from auth_server.infra import stamp
from auth_server.infra.events import Event, record

MEMBERSHIPS = ("groups", "roles")
"""Identity scopes that may be passed on: an API decides by them. All others are for the app that the person uses."""


class ExchangeRule(Base):
    """What one client may exchange: tokens for one API into tokens for another. Ends with the client or either API."""

    __tablename__ = "exchange_rule"
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey("client.client_id", ondelete="CASCADE"))
    from_audience: Mapped[str] = mapped_column(ForeignKey("api.identifier", ondelete="CASCADE"))
    from_clients: Mapped[list[str]] = mapped_column(JSON)
    to_audience: Mapped[str] = mapped_column(ForeignKey("api.identifier", ondelete="CASCADE"))
    scopes: Mapped[list[str]] = mapped_column(JSON)
    impersonation: Mapped[bool] = mapped_column(Boolean)
    bound_tokens: Mapped[bool] = mapped_column(Boolean)
    made_by_apply: Mapped[bool] = mapped_column(Boolean)


_TABLE: Any = ExchangeRule.__table__


@dataclass(frozen=True)
class Rule:
    """A rule: `client_id` may exchange a token that is for `from_audience` into one for `to_audience`."""

    name: str
    client_id: str
    from_audience: str
    to_audience: str
    scopes: tuple[str, ...]
    """The most that the new token may have."""
    from_clients: tuple[str, ...] = ()
    """Only tokens that were issued to one of these; none: whoever holds one."""
    impersonation: bool = False
    """The new token may leave out who acts. Otherwise `act` names the client, always."""
    bound_tokens: bool = False
    """Tokens that are bound to a key of the app's are taken too: the client has checked their proof."""


def save(rule: Rule, *, by_apply: bool = False) -> None:
    """Create or change a rule; raise `RefusedInput` for what does not exist or would never hold."""
    _check(rule)
    values: dict[str, Any] = {
        "client_id": rule.client_id,
        "from_audience": rule.from_audience,
        "from_clients": sorted(set(rule.from_clients)),
        "to_audience": rule.to_audience,
        "scopes": sorted(set(rule.scopes)),
        "impersonation": rule.impersonation,
        "bound_tokens": rule.bound_tokens,
    }
    statement = database.insert(_TABLE).values(name=rule.name, made_by_apply=by_apply, **values)
    database.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))
    _cache.bump()
    record(Event.EXCHANGE_RULE_SAVED, client=rule.client_id, rule=rule.name, **values)


def remove(name: str) -> bool:
    """Delete a rule; False when there is none. What was exchanged lives on until it expires."""
    if database.execute(delete(_TABLE).where(_TABLE.c.name == name)).rowcount != 1:
        return False
    _cache.bump()
    record(Event.EXCHANGE_RULE_DELETED, rule=name)
    return True


def listing() -> list[Rule]:
    """Return every rule as the database has it now, by name."""
    return list(_load())


def made_by_apply() -> list[str]:
    """Return the names of the rules that `apply` made."""
    rows = database.execute(select(_TABLE.c.name).where(_TABLE.c.made_by_apply.is_(True)).order_by(_TABLE.c.name))
    return [row.name for row in rows]


def is_on() -> bool:
    """Tell whether anybody may exchange anything: a rule names a client that has the grant."""
    return any(_may_exchange(rule.client_id) for rule in _cached())


def matching(client_id: str, *, audiences: Iterable[str], from_client: str) -> list[Rule]:
    """Return the client's rules for a token that is for these audiences and was issued to that client, by name."""
    meant_for = set(audiences)
    return [
        rule
        for rule in _cached()
        if rule.client_id == client_id
        and rule.from_audience in meant_for
        and (not rule.from_clients or from_client in rule.from_clients)
    ]


def _check(rule: Rule) -> None:
    if not groups.NAME.match(rule.name):
        raise RefusedInput("this name is not possible for a rule", "name")
    _check_client(rule.client_id)
    known = {api.identifier: api for api in apis.listing()}
    for field in ("from_audience", "to_audience"):
        if getattr(rule, field) not in known:
            raise RefusedInput("name a registered API", field)
    if any(clients.find(client_id) is None for client_id in rule.from_clients):
        raise RefusedInput("no such client", "from_clients")
    own = set(known[rule.to_audience].scopes)
    if not set(rule.scopes) & own or not set(rule.scopes) <= own.union(MEMBERSHIPS):
        raise RefusedInput(
            f"name scopes of {rule.to_audience}, at least one; {' and '.join(MEMBERSHIPS)} may be among them", "scopes"
        )


def _check_client(client_id: str) -> None:
    client = clients.find(client_id)
    if client is None:
        raise RefusedInput("no such client", "client")
    if not client.may_use(TOKEN_EXCHANGE):
        raise RefusedInput(f"the client needs the grant type {TOKEN_EXCHANGE}", "client")


def _may_exchange(client_id: str) -> bool:
    client = clients.find(client_id)
    return client is not None and client.may_use(TOKEN_EXCHANGE) and not client.is_disabled


def _load() -> tuple[Rule, ...]:
    rows = database.execute(select(_TABLE).order_by(_TABLE.c.name))
    return tuple(_value(row) for row in rows)


def _value(row: Any) -> Rule:
    values = dict(row._mapping)
    del values["made_by_apply"]
    values |= {name: tuple(values[name]) for name in ("from_clients", "scopes")}
    return Rule(**values)


def _cached() -> tuple[Rule, ...]:
    return _cache.get("all") or ()


_cache: stamp.Cache[tuple[Rule, ...]] = stamp.Cache("exchange_rules", lambda _key: _load())
