"""Clients as rows, and as the immutable values that requests see."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, delete, or_, select, update

from auth_server import config, database
from auth_server.clients import fapi, metadata, models, redirects, secrets, sectors
from auth_server.clients.secrets import New, Secret
from auth_server.errors import RefusedInput
from auth_server.infra import clock, stamp
from auth_server.infra.events import Event, record
from auth_server.prepared import Prepared

_CLIENT_ID = re.compile(r"[A-Za-z0-9._~:/-]{1,255}\Z")
_CLIENT = models.CLIENT
_FIND = Prepared(
    select(
        *(_CLIENT.c.client_id, _CLIENT.c.details, _CLIENT.c.created_at, _CLIENT.c.disabled_at),
        *(_CLIENT.c.registration_digest, _CLIENT.c.document_until),
    ).where(_CLIENT.c.client_id == bindparam("which"))
)


@dataclass(frozen=True)
class Client:
    """A client as one process holds it; never changed in place. The names are those of the metadata."""

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    post_logout_redirect_uris: tuple[str, ...]
    backchannel_logout_uri: str
    grant_types: frozenset[str]
    scopes: tuple[str, ...]
    auth_method: str | None
    """The one registered method; None: the secret is taken by Basic or in the body."""
    secrets: tuple[Secret, ...]
    is_disabled: bool
    is_native: bool
    first_party: bool
    require_pkce: bool
    require_signed_request: bool
    """Its authorization requests count only as signed request objects (RFC 9101 §10.5)."""
    dpop_bound: bool
    """It gets nothing without a DPoP proof (RFC 9449 §5.2)."""
    certificate_bound: bool
    """It gets nothing without a certificate, to which its tokens are bound (RFC 8705 §3)."""
    rotates: bool
    """A refresh token is replaced at each use."""
    id_token_claims: str
    id_token_alg: str
    authorization_alg: str
    """What signs its authorization answers, where it asks for signed ones."""
    require_par: bool
    optional_scopes: frozenset[str]
    default_max_age: timedelta | None
    default_acr_values: tuple[str, ...]
    """What the app wishes for when it does not say; `minimum_acr` is what it gets nothing without."""
    minimum_acr: str | None
    access_token_ttl: timedelta | None
    refresh_token_ttl: timedelta
    refresh_token_idle_ttl: timedelta
    refresh_token_grace: timedelta
    details: Mapping[str, Any]
    created_at: datetime
    registration_digest: str | None = field(default=None, repr=False)
    is_described: bool = False
    """Its id is the address of a document that describes it."""

    @property
    def is_self_registered(self) -> bool:
        """Tell whether nobody has looked at it: it is never trusted silently."""
        return self.registration_digest is not None or self.is_described

    @property
    def is_public(self) -> bool:
        return self.auth_method == "none"

    @property
    def profile(self) -> str:
        return str(self.details.get("profile", "oauth21"))

    @property
    def is_fapi(self) -> bool:
        return fapi.holds(self.details)

    @property
    def sector(self) -> str:
        """The sector in which people have a name of their own; "": they have the same one as for every app."""
        return sectors.of(self.details)

    def may_use(self, grant_type: str) -> bool:
        return grant_type in self.grant_types

    def accepts_redirect_uri(self, presented: str) -> bool:
        """Compare exactly; the port of a loopback address is ignored for public and native clients (RFC 8252 §7.3)."""
        return redirects.matches(presented, self.redirect_uris, any_port=self.is_public or self.is_native)


def find(client_id: str) -> Client | None:
    """Return a client, at most a second old, or None."""
    return _cache.get(client_id) if _CLIENT_ID.match(client_id) else None


def find_now(client_id: str) -> Client | None:
    """Return a client as the database has it at this moment, or None."""
    return _load(client_id) if _CLIENT_ID.match(client_id) else None


def listing() -> list[Client]:
    """Return every client, by id."""
    ids = [row.client_id for row in database.execute(select(_CLIENT.c.client_id).order_by(_CLIENT.c.client_id))]
    return [client for client in map(_load, ids) if client]


def create(
    raw: Mapping[str, Any], *, client_id: str | None = None, secret: New | None = None
) -> tuple[Client, str | None]:
    """Register a client as `add` does; raises `InvalidClientMetadata` or `InvalidRedirectUri`, too."""
    return add(checked(raw), client_id=client_id, secret=secret)


def checked(raw: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return valid metadata, of which others have said what is theirs to say; `before` is what was checked earlier.

    Raises `InvalidClientMetadata` or `InvalidRedirectUri`. Must come before the first write.
    """
    details = metadata.validate(raw)
    sectors.check(details, before or {})
    return details


def add(
    details: dict[str, Any],
    *,
    client_id: str | None = None,
    secret: New | None = None,
    by_apply: bool = False,
    registration_digest: str | None = None,
    document_until: datetime | None = None,
) -> tuple[Client, str | None]:
    """Add a client with checked metadata; return it with the secret that was made up, or None: it has or was given one.

    `registration_digest` or `document_until` marks one that described itself. Raises `RefusedInput` for the id or the
    secret.
    """
    method = details.get("token_endpoint_auth_method")
    _check_secret(method, secret)
    chosen = client_id or str(uuid.uuid4())
    if not _CLIENT_ID.match(chosen):
        raise RefusedInput("a client id has letters, digits and . _ ~ : / - only", "client_id")
    values = {"client_id": chosen, "details": details, "made_by_apply": by_apply, "disabled_at": None}
    values |= {"registration_digest": registration_digest, "document_until": document_until}
    statement = database.insert(_CLIENT).values(**values, created_at=clock.now())
    if database.execute(statement.on_conflict_do_nothing(index_elements=["client_id"])).rowcount != 1:
        raise RefusedInput("this client id is taken", "client_id")
    if metadata.has_secret(method):
        secret = secret or secrets.make_up()
        secrets.insert(chosen, secret, readable=method == metadata.SIGNS_WITH_SECRET)
    _cache.bump()
    made = _loaded(chosen)
    record(Event.CLIENT_CREATED, client=chosen, self_registered=made.is_self_registered)
    return made, secret.raw if secret and secret.is_ours else None


def change(client: Client, raw: Mapping[str, Any]) -> Client:
    """Change the given metadata; a value of None removes a field. Raises as `create`."""
    merged = {**client.details, **raw}
    details = checked({name: value for name, value in merged.items() if value is not None}, client.details)
    return replace(client, details)


def replace(client: Client, details: Mapping[str, Any]) -> Client:
    """Set validated metadata as a whole."""
    database.execute(update(_CLIENT).where(_CLIENT.c.client_id == client.client_id).values(details=dict(details)))
    if details.get("token_endpoint_auth_method") != metadata.SIGNS_WITH_SECRET:
        secrets.keep_digests_only(client.client_id)
    _cache.bump()
    changed = sorted(name for name in {*client.details, *details} if client.details.get(name) != details.get(name))
    record(Event.CLIENT_CHANGED, client=client.client_id, changed=changed)
    return _loaded(client.client_id)


def switch(client: Client, *, enabled: bool) -> None:
    """Disable or enable; `tokens.ending` must end what a disabled client holds."""
    moment = None if enabled else clock.now()
    database.execute(update(_CLIENT).where(_CLIENT.c.client_id == client.client_id).values(disabled_at=moment))
    _cache.bump()
    record(Event.CLIENT_ENABLED if enabled else Event.CLIENT_DISABLED, client=client.client_id)


def remove(client: Client) -> None:
    """Delete; `tokens.ending` comes first."""
    database.execute(delete(_CLIENT).where(_CLIENT.c.client_id == client.client_id))
    _cache.bump()
    record(Event.CLIENT_DELETED, client=client.client_id)


def remove_self_registered(before: datetime, condition: ColumnElement[bool]) -> int:
    """Delete some clients that registered themselves before that moment and meet the condition; return how many.

    Of those with a document, whom nobody has come with since. One that an operator has blocked would only come back.
    """
    has_registered = and_(_CLIENT.c.registration_digest.is_not(None), _CLIENT.c.created_at <= before)
    is_forgotten = and_(_CLIENT.c.document_until <= before, _CLIENT.c.disabled_at.is_(None))
    some = select(_CLIENT.c.client_id).where(or_(has_registered, is_forgotten), condition).limit(database.MOST_DELETED)
    statement = delete(_CLIENT).where(_CLIENT.c.client_id.in_(some)).returning(_CLIENT.c.client_id)
    gone = [row.client_id for row in database.execute(statement)]
    if gone:
        _cache.bump()
    for client_id in gone:
        record(Event.CLIENT_DELETED, client=client_id, cause="unwanted")
    return len(gone)


def add_secret(client: Client, secret: New | None = None) -> str | None:
    """Add a secret beside the present ones and return it when it was made up, or None when it was given."""
    if not metadata.has_secret(client.auth_method):
        raise RefusedInput(f"a client with the method {client.auth_method} has no secret")
    _check_secret(client.auth_method, secret)
    added = secret or secrets.make_up()
    secrets.insert(client.client_id, added, readable=client.auth_method == metadata.SIGNS_WITH_SECRET)
    _cache.bump()
    record(Event.CLIENT_SECRET_ADDED, client=client.client_id)
    return added.raw if added.is_ours else None


def remove_secret(client: Client, secret_id: str) -> bool:
    """Remove a secret; False when the client has no such secret."""
    if not secrets.remove(client.client_id, secret_id):
        return False
    _cache.bump()
    record(Event.CLIENT_SECRET_REMOVED, client=client.client_id)
    return True


def has_the_secret(client: Client, presented: object) -> bool:
    """Tell whether this is one of the client's secrets."""
    return isinstance(presented, str) and secrets.matching(client.secrets, presented) is not None


def follow_method(client: Client, *, former: str | None) -> str | None:
    """Let the secrets follow a changed authentication method; return a new one where one is needed.

    A method without a secret of ours ends them; one that signs with it needs one that can be read.
    """
    needs = metadata.has_secret(client.auth_method)
    is_fresh = client.auth_method == metadata.SIGNS_WITH_SECRET != former
    if needs and client.secrets and not is_fresh:
        return None
    for secret in client.secrets:
        remove_secret(client, secret.id)
    return add_secret(client) if needs else None


def made_by_apply() -> list[str]:
    """Return the ids of clients that `apply` made."""
    rows = database.execute(select(_CLIENT.c.client_id).where(_CLIENT.c.made_by_apply.is_(True)))
    return [row.client_id for row in rows]


def _check_secret(method: str | None, secret: New | None) -> None:
    if secret and not metadata.has_secret(method):
        raise RefusedInput(f"a client with the method {method} has no secret", "client_secret")
    if secret and secret.raw is None and method == metadata.SIGNS_WITH_SECRET:
        raise RefusedInput("client_secret_jwt needs the secret itself, not its digest", "client_secret")


def _loaded(client_id: str) -> Client:
    client = _load(client_id)
    if client is None:
        raise LookupError(client_id)
    return client


def _load(client_id: str) -> Client | None:
    row = database.first(_FIND, {"which": client_id})
    return None if row is None else _value(row, secrets.of(client_id))


def _value(row: Any, secrets: tuple[Secret, ...]) -> Client:
    client_id, named, created_at, disabled_at, registration_digest, document_until = row
    details = fapi.with_implied(named)
    is_public = details.get("token_endpoint_auth_method") == "none"
    return Client(
        client_id=client_id,
        name=details.get("client_name") or client_id,
        redirect_uris=tuple(details.get("redirect_uris", ())),
        post_logout_redirect_uris=tuple(details.get("post_logout_redirect_uris", ())),
        backchannel_logout_uri=details.get("backchannel_logout_uri", ""),
        grant_types=frozenset(details.get("grant_types", ())),
        scopes=tuple(details.get("scope", "").split()),
        auth_method=details.get("token_endpoint_auth_method"),
        secrets=secrets,
        is_disabled=disabled_at is not None,
        is_native=details.get("application_type") == "native",
        first_party=details.get("first_party", False),
        require_pkce=is_public or details.get("require_pkce", details.get("profile") != "oidc"),
        require_signed_request=details.get("require_signed_request_object", False),
        dpop_bound=details.get("dpop_bound_access_tokens", False),
        certificate_bound=details.get(fapi.BY_CERTIFICATE, False),
        rotates=details.get("refresh_token_rotation", True),
        id_token_claims=details.get("id_token_claims", "scopes"),
        id_token_alg=details.get("id_token_signed_response_alg", "RS256"),
        authorization_alg=details.get("authorization_signed_response_alg", "RS256"),
        require_par=details.get("require_pushed_authorization_requests", False),
        optional_scopes=frozenset(details.get("optional_scopes", "").split()),
        default_acr_values=tuple(details.get("default_acr_values", ())),
        minimum_acr=details.get("minimum_acr"),
        details=named,
        created_at=created_at,
        registration_digest=registration_digest,
        is_described=document_until is not None,
        **_durations(details),
    )


def _durations(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return the client's own durations, or the server's."""
    settings = config.current()
    names = ("default_max_age", "access_token_ttl")
    found: dict[str, Any] = dict.fromkeys(names)
    found |= {name: getattr(settings, name) for name in _SERVERS_DURATIONS}
    named = {name for name in (*names, *_SERVERS_DURATIONS) if name in details}
    return found | {name: timedelta(seconds=details[name]) for name in named}


_SERVERS_DURATIONS = ("refresh_token_ttl", "refresh_token_idle_ttl", "refresh_token_grace")


_cache: stamp.Cache[Client] = stamp.Cache("clients", _load)
