"""APIs (resource servers): an identifier that `resource` asks for and `aud` says, scopes with words for people, and a
token format. An API's credentials, for introspection, are a client without grants.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import JSON, Boolean, ForeignKey, Integer, String, delete, select, update
from sqlalchemy.orm import Mapped, mapped_column

from auth_server import config, database
from auth_server.clients import client as clients
from auth_server.clients.secrets import New
from auth_server.database import Base
from auth_server.errors import RefusedInput
from auth_server.infra import stamp
from auth_server.infra.events import Event, record
from auth_server.keys import access_token
from auth_server.values import is_loopback

IDENTITY_SCOPES = ("openid", "profile", "email", "address", "phone", "groups", "roles", "offline_access")
FORMATS = ("jwt", "opaque")
ALGORITHMS = ("RS256", "ES256", "EdDSA")
_LONGEST_NAME = 200
SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}\Z")


class ApiRow(Base):
    """A registered API."""

    __tablename__ = "api"
    identifier: Mapped[str] = mapped_column(String(255), primary_key=True)
    name: Mapped[str] = mapped_column(String(_LONGEST_NAME))
    scopes: Mapped[dict[str, str]] = mapped_column(JSON)
    token_format: Mapped[str] = mapped_column(String(10))
    alg: Mapped[str] = mapped_column(String(10))
    token_ttl_seconds: Mapped[int | None] = mapped_column(Integer)
    minimum_acr: Mapped[str | None] = mapped_column(String(40))
    scope_acr: Mapped[dict[str, str]] = mapped_column(JSON)
    client_id: Mapped[str] = mapped_column(ForeignKey("client.client_id"), unique=True)
    made_by_apply: Mapped[bool] = mapped_column(Boolean)


_TABLE: Any = ApiRow.__table__


@dataclass(frozen=True)
class Api:
    """An API as one process holds it. `scopes` maps each scope to its title for people.

    A person's sign-in must reach `minimum_acr` for any of the API's scopes, and `scope_acr` for the scopes it names.
    """

    identifier: str
    name: str
    scopes: Mapping[str, str]
    token_format: str
    alg: str
    token_ttl: timedelta | None
    minimum_acr: str | None
    scope_acr: Mapping[str, str]
    client_id: str
    made_by_apply: bool


@dataclass(frozen=True)
class Register:
    """All APIs, by identifier, by scope and by the client id of their credentials."""

    by_identifier: Mapping[str, Api]
    by_scope: Mapping[str, Api]
    by_client_id: Mapping[str, Api]


def register() -> Register:
    """Return every API, at most a second old."""
    return _cache.get("all") or _EMPTY


def create(
    identifier: str,
    *,
    name: str = "",
    scopes: Mapping[str, str] | None = None,
    token_format: str = "jwt",  # noqa: S107 - a format's name
    alg: str = "RS256",
    token_ttl_seconds: int | None = None,
    minimum_acr: str | None = None,
    scope_acr: Mapping[str, str] | None = None,
    secret: New | None = None,
    by_apply: bool = False,
) -> tuple[Api, str | None]:
    """Register an API and its credentials; return it with its new secret. Raises `RefusedInput`."""
    _check_identifier(identifier)
    values = _checked(identifier, name, scopes or {}, token_format, alg, token_ttl_seconds)
    values |= _checked_strengths(scopes or {}, minimum_acr, scope_acr or {})
    if identifier in _load_all().by_identifier:
        raise RefusedInput("this API exists already", "identifier")
    credentials = {"client_name": values["name"], "grant_types": [], "scope": ""}
    client, raw_secret = clients.create(credentials, secret=secret)
    database.execute(_TABLE.insert().values(**values, client_id=client.client_id, made_by_apply=by_apply))
    _cache.bump()
    record(Event.API_CREATED, client=client.client_id, api=identifier)
    return _load_all().by_identifier[identifier], raw_secret


def change(
    api: Api,
    *,
    name: str,
    scopes: Mapping[str, str],
    token_format: str,
    alg: str,
    token_ttl_seconds: int | None,
    minimum_acr: str | None,
    scope_acr: Mapping[str, str],
) -> None:
    """Change an API as a whole, but for its identifier. Raises `RefusedInput`."""
    values = _checked(api.identifier, name, scopes, token_format, alg, token_ttl_seconds)
    values |= _checked_strengths(scopes, minimum_acr, scope_acr)
    database.execute(update(_TABLE).where(_TABLE.c.identifier == api.identifier).values(values))
    _cache.bump()
    record(Event.API_CHANGED, client=api.client_id, api=api.identifier)


def remove(identifier: str) -> bool:
    """Delete an API and its credentials; False when there is none."""
    api = _load_all().by_identifier.get(identifier)
    if api is None:
        return False
    database.execute(delete(_TABLE).where(_TABLE.c.identifier == identifier))
    client = clients.find(api.client_id)
    if client:
        clients.remove(client)
    _cache.bump()
    record(Event.API_DELETED, client=api.client_id, api=identifier)
    return True


def listing() -> list[Api]:
    """Return every API as the database has it now, by identifier."""
    return sorted(_load_all().by_identifier.values(), key=lambda api: api.identifier)


def unregistered(identifier: str) -> Api | None:
    """Return an API that nobody has registered, without scopes; None for an address of ours, or one without TLS."""
    parts = urlsplit(identifier)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    is_ours = f"{parts.scheme}://{parts.netloc}".lower() == config.current().issuer
    if not is_safe or is_ours or not parts.hostname or "@" in parts.netloc:
        return None
    return Api(identifier, identifier, {}, "jwt", "RS256", None, None, {}, "", made_by_apply=False)


def is_resource_uri(text: str) -> bool:
    """Tell whether a text is an absolute URI without fragment (RFC 8707 §2)."""
    if not 0 < len(text) <= 255 or not text.isascii() or any(char <= " " or char in '"<>\\^`{|}' for char in text):
        return False
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) and bool(parts.netloc or parts.path) and "#" not in text


def _check_identifier(identifier: str) -> None:
    if not is_resource_uri(identifier):
        raise RefusedInput("an API's identifier is an absolute URI without fragment, e.g. https://orders.example.org")
    if identifier == config.current().issuer or identifier.startswith(config.current().issuer + "/"):
        raise RefusedInput("this address belongs to the server itself", "identifier")


def _checked(
    identifier: str, name: str, scopes: Mapping[str, str], token_format: str, alg: str, ttl: int | None
) -> dict[str, Any]:
    taken = {scope: api.identifier for api in _load_all().by_identifier.values() for scope in api.scopes}
    for scope, title in scopes.items():
        if not SCOPE.match(scope) or scope in IDENTITY_SCOPES:
            raise RefusedInput(f"not possible as a scope: {scope[:60]!r}", "scope")
        if taken.get(scope, identifier) != identifier:
            raise RefusedInput(f"the scope {scope} belongs to {taken[scope]}", "scope")
        if not title.strip():
            raise RefusedInput(f"the scope {scope} needs a title that people understand", "scope")
    if len(name) > _LONGEST_NAME or any(unicodedata.category(char) == "Cc" for char in name):
        raise RefusedInput(f"a name has at most {_LONGEST_NAME} characters and no control characters", "name")
    if token_format not in FORMATS or alg not in ALGORITHMS:
        raise RefusedInput(f"formats: {', '.join(FORMATS)}; algorithms: {', '.join(ALGORITHMS)}")
    if ttl is not None and not 30 <= ttl <= 3600:
        raise RefusedInput("a token lives 30 to 3600 seconds", "token_ttl")
    return {
        "identifier": identifier,
        "name": name or identifier,
        "scopes": dict(scopes),
        "token_format": token_format,
        "alg": alg,
        "token_ttl_seconds": ttl,
    }


def _checked_strengths(
    scopes: Mapping[str, str], minimum_acr: str | None, scope_acr: Mapping[str, str]
) -> dict[str, Any]:
    for scope in scope_acr:
        if scope not in scopes:
            raise RefusedInput(f"this API has no scope {scope[:60]!r} that could demand a strength", "scope_acr")
    if not {acr for acr in (minimum_acr, *scope_acr.values()) if acr is not None} <= set(access_token.ACR_VALUES):
        raise RefusedInput(f"strengths of a sign-in: {', '.join(access_token.ACR_VALUES)}", "minimum_acr")
    return {"minimum_acr": minimum_acr, "scope_acr": dict(scope_acr)}


def _load_all() -> Register:
    apis = [_value(row) for row in database.execute(select(_TABLE).order_by(_TABLE.c.identifier))]
    return Register(
        MappingProxyType({api.identifier: api for api in apis}),
        MappingProxyType({scope: api for api in apis for scope in api.scopes}),
        MappingProxyType({api.client_id: api for api in apis}),
    )


def _value(row: Any) -> Api:
    values = dict(row._mapping)
    ttl = values.pop("token_ttl_seconds")
    values |= {name: MappingProxyType(values[name]) for name in ("scopes", "scope_acr")}
    return Api(**values, token_ttl=None if ttl is None else timedelta(seconds=ttl))


def known_scopes() -> Iterable[str]:
    """Return every scope that this server can grant: the identity scopes, then the APIs'."""
    return (*IDENTITY_SCOPES, *sorted(register().by_scope))


_EMPTY = Register({}, {}, {})
_cache: stamp.Cache[Register] = stamp.Cache("apis", lambda _key: _load_all())
