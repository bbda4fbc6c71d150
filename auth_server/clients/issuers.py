"""Issuers that the operator trusts, and what for: a cluster, a CI system, a cloud, a company's identity provider.

Trust in an issuer alone opens nothing: a client names the subjects that stand for it (`workload_rules`), and a person
is meant only by a link or by the operator's rule about addresses.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from sqlalchemy import JSON, Boolean, String, delete, select
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import config, database
from auth_server.clients import metadata, workload_rules
from auth_server.database import Base, Moment
from auth_server.errors import ProtocolError, RefusedInput
from auth_server.infra import clock, stamp
from auth_server.infra.events import Event, record
from auth_server.keys import access_token, foreign
from auth_server.keys.jose import Key

WORKLOAD, ID_JAG = "workload", "id-jag"
USES = (WORKLOAD, ID_JAG)
LINKED, BY_EMAIL = "linked", "verified-email"
PEOPLE = (LINKED, BY_EMAIL)
_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z0-9-]{2,}\Z")
_MOST = 50


class IssuerRow(Base):
    """A trusted issuer, by its `iss`; what people it means (`identity_link`) goes with it."""

    __tablename__ = "trusted_issuer"
    issuer: Mapped[str] = mapped_column(String(255), primary_key=True)
    details: Mapped[dict[str, Any]] = mapped_column(JSON)
    made_by_apply: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(Moment)


_TABLE: Any = IssuerRow.__table__


@dataclass(frozen=True)
class TrustedIssuer:
    """An issuer as one process holds it. Without `keys` and `jwks_uri` its own metadata say where its keys are.

    `claims` are demanded of each of its tokens. `people` says how it may mean a person: by links alone, or also by a
    verified address of one of the `email_domains`; a sign-in there counts as `acr`.
    """

    issuer: str
    uses: frozenset[str]
    jwks_uri: str
    keys: tuple[Key, ...] | None
    algorithms: tuple[str, ...]
    audience: str | None
    claims: Mapping[str, Any]
    people: str
    email_domains: frozenset[str]
    acr: str
    details: Mapping[str, Any]
    made_by_apply: bool


@dataclass(frozen=True)
class Register:
    """All trusted issuers, by `iss`."""

    by_issuer: Mapping[str, TrustedIssuer]

    def find(self, issuer: str, use: str) -> TrustedIssuer | None:
        """Return the issuer, if it is trusted for this use."""
        found = self.by_issuer.get(issuer)
        return found if found and use in found.uses else None

    def is_any_for(self, use: str) -> bool:
        return any(use in found.uses for found in self.by_issuer.values())


def register() -> Register:
    """Return every trusted issuer, at most a second old."""
    return _cache.get("all") or _EMPTY


def listing() -> list[TrustedIssuer]:
    """Return every trusted issuer as the database has it now, by `iss`."""
    return sorted(_load_all().by_issuer.values(), key=lambda found: found.issuer)


def save(issuer: str, raw: Mapping[str, Any], *, by_apply: bool = False) -> TrustedIssuer:
    """Trust an issuer from now on, or change what it is trusted for, as a whole; raise `RefusedInput`."""
    _check_issuer(issuer)
    details = validate(raw)
    exists = issuer in _load_all().by_issuer
    row = {"issuer": issuer, "details": details, "made_by_apply": by_apply, "created_at": clock.now()}
    statement = database.insert(_TABLE).values(row)
    database.execute(statement.on_conflict_do_update(index_elements=["issuer"], set_={"details": details}))
    _cache.bump()
    record(Event.ISSUER_CHANGED if exists else Event.ISSUER_TRUSTED, issuer=issuer, uses=details["uses"])
    return _load_all().by_issuer[issuer]


def remove(issuer: str) -> bool:
    """Trust an issuer no more; False when it was not trusted. `tokens.ending` ends what it has brought about."""
    if database.execute(delete(_TABLE).where(_TABLE.c.issuer == issuer)).rowcount != 1:
        return False
    _cache.bump()
    record(Event.ISSUER_REMOVED, issuer=issuer)
    return True


def check_named(details: Mapping[str, Any]) -> None:
    """Raise `RefusedInput` when a client's rules name an issuer that is not trusted with workloads."""
    known = _load_all()
    for rule in workload_rules.of(details):
        if known.find(rule.issuer, WORKLOAD) is None:
            raise RefusedInput(f"no issuer that is trusted with workloads: {rule.issuer}", "workload")


def validate(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is stored of an issuer; raise `RefusedInput`. `raw` has the names of `FIELDS`."""
    details = {"uses": [], **{name: check(name, value) for name, value in raw.items() if value is not None}}
    if not details["uses"]:
        raise RefusedInput(f"say what the issuer is trusted for: {', '.join(USES)}", "uses")
    if "jwks" in details and "jwks_uri" in details:
        raise RefusedInput("give either the keys or jwks_uri, or neither: then its own metadata say where", "jwks")
    if "jwks" in details and not foreign.of_set(details["jwks"]):
        raise RefusedInput("no key is for signatures", "jwks")
    if (details.get("people") == BY_EMAIL) != ("email_domains" in details):
        raise RefusedInput(f"people = {BY_EMAIL} needs the domains of its addresses, and only it", "email_domains")
    return details


def check(name: str, value: Any) -> Any:
    """Return one value of a known name, checked alone; raise `RefusedInput`."""
    if name not in _FIELDS:
        raise RefusedInput("an issuer has " + ", ".join(sorted(_FIELDS)), name[:60])
    try:
        return _FIELDS[name](value)
    except ProtocolError as refusal:
        raise RefusedInput(refusal.description.partition(": ")[2], name) from None
    except ValueError as problem:
        raise RefusedInput(str(problem).removeprefix(f"{name}: "), name) from None


def _check_issuer(issuer: str) -> None:
    try:
        metadata.web_uri("issuer", issuer)
    except ProtocolError as refusal:
        raise RefusedInput(refusal.description.partition(": ")[2], "issuer") from None
    if "?" in issuer or len(issuer) > workload_rules.LONGEST:
        raise RefusedInput(f"an issuer is an address of at most {workload_rules.LONGEST} characters without a query")
    if issuer.rstrip("/") == config.current().issuer.rstrip("/"):
        raise RefusedInput("this is the server itself: its own tokens prove nothing to it", "issuer")


def _some_of(*choices: str) -> Callable[[Any], list[str]]:
    def check_some(value: Any) -> list[str]:
        if not isinstance(value, list) or not value or not all(item in choices for item in value):
            raise ValueError(f"expected a list of {', '.join(choices)}")
        return [item for item in choices if item in value]

    return check_some


def _one_of(*choices: str) -> Callable[[Any], str]:
    def check_one(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}")
        return str(value)

    return check_one


def _domains(value: Any) -> list[str]:
    is_list = isinstance(value, list) and 0 < len(value) <= _MOST
    if not is_list or not all(isinstance(item, str) and _DOMAIN.match(item) for item in value):
        raise ValueError("expected a list of domains in lower case, e.g. example.org")
    return sorted(set(value))


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "uses": _some_of(*USES),
    "jwks": lambda value: metadata.check("jwks", value),
    "jwks_uri": lambda value: metadata.check("jwks_uri", value),
    "algorithms": _some_of(*foreign.ALGORITHMS),
    "audience": lambda value: workload_rules.checked_text("audience", value),
    "claims": workload_rules.checked_claims,
    "people": _one_of(*PEOPLE),
    "email_domains": _domains,
    "acr": _one_of(*access_token.ACR_VALUES),
}
FIELDS = frozenset(_FIELDS)


def _load_all() -> Register:
    found = [_value(row) for row in database.execute(select(_TABLE))]
    return Register(MappingProxyType({issuer.issuer: issuer for issuer in found}))


def _value(row: Any) -> TrustedIssuer:
    details = row.details
    return TrustedIssuer(
        issuer=row.issuer,
        uses=frozenset(details["uses"]),
        jwks_uri=details.get("jwks_uri", ""),
        keys=foreign.of_set(details["jwks"]) if "jwks" in details else None,
        algorithms=tuple(details.get("algorithms", foreign.ALGORITHMS)),
        audience=details.get("audience"),
        claims=details.get("claims", {}),
        people=details.get("people", LINKED),
        email_domains=frozenset(details.get("email_domains", ())),
        acr=details.get("acr", access_token.ACR_VALUES[0]),
        details=details,
        made_by_apply=row.made_by_apply,
    )


_EMPTY = Register({})
_cache: stamp.Cache[Register] = stamp.Cache("issuers", lambda _key: _load_all())
