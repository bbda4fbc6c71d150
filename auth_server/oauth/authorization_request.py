"""The authorization request as a row: received, checked in declared order, loaded again at every step.

Client and redirect URI come first: until both hold, errors are pages. Everything else wrong is a redirect. The browser
carries only the row's id; each step checks the stored parameters again, so that a redirect URI that was removed, or a
client that was disabled meanwhile, counts at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from flask import request
from sqlalchemy import JSON, String, or_, select, update
from sqlalchemy.orm import Mapped, mapped_column
from werkzeug.datastructures import MultiDict

from auth_server import config, database
from auth_server.access import apis, policy
from auth_server.access.apis import Api
from auth_server.accounts.sessions import Session
from auth_server.clients import client as clients
from auth_server.clients import difference
from auth_server.clients.client import Client
from auth_server.database import Base, Moment
from auth_server.errors import (
    InvalidRequest,
    InvalidTarget,
    PageError,
    ProtocolError,
    RegistrationNotSupported,
    RequestNotSupported,
    RequestUriNotSupported,
    UnsupportedResponseType,
)
from auth_server.infra import clock, crypto
from auth_server.keys import jose, keyring
from auth_server.oauth import response
from auth_server.oauth.server import LONGEST_VALUE

PATH = "/oauth/authorize"
LIFE = timedelta(minutes=30)
_KEPT_FOR_RESTART = timedelta(days=1)
_PROMPTS = frozenset({"none", "login", "consent", "select_account"})
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_FLOW = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_LONGEST_SHOWN = 300
_MOST_RESOURCES = 20


class AuthorizationRequestRow(Base):
    """A request that waits for the person; closed by its answer, deleted a day after it has expired."""

    __tablename__ = "authorization_request"
    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    params: Mapped[dict[str, Any]] = mapped_column(JSON)
    browser_digest: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(Moment)
    expires_at: Mapped[datetime] = mapped_column(Moment, index=True)
    closed_at: Mapped[datetime | None] = mapped_column(Moment)
    chosen_session: Mapped[str | None] = mapped_column(String(36))
    consented_session: Mapped[str | None] = mapped_column(String(36))
    consented_scopes: Mapped[list[str] | None] = mapped_column(JSON)


_TABLE: Any = AuthorizationRequestRow.__table__
Params = dict[str, list[str]]


@dataclass(frozen=True)
class AuthorizationRequest:
    """A checked request. `id` is None until it is stored."""

    id: str | None
    params: Params
    client: Client
    redirect_uri: str
    response_mode: str
    state: str | None
    scopes: tuple[str, ...]
    resources: tuple[Api, ...]
    nonce: str | None
    code_challenge: str | None
    prompts: frozenset[str]
    max_age: timedelta | None
    login_hint: str
    hinted_sub: str | None
    created_at: datetime
    chosen_session: str | None = None
    consented_session: str | None = None
    consented_scopes: frozenset[str] = frozenset()

    @property
    def url(self) -> str:
        """Where every step returns to."""
        return f"{PATH}?flow={self.id}"


class Refused(Exception):
    """A wrong request whose client and redirect URI hold: the answer is a redirect."""

    def __init__(self, error: ProtocolError, client: Client, redirect_uri: str, mode: str, state: str | None) -> None:
        super().__init__(error.code)
        self.error, self.client, self.redirect_uri, self.mode, self.state = error, client, redirect_uri, mode, state


def receive() -> AuthorizationRequest:
    """Check the request that just arrived; raise `PageError` or `Refused`. A POST's query counts too, as repeated."""
    return _checked(_as_params(request.values), None, clock.now())


def save(found: AuthorizationRequest, browser_digest: str | None) -> AuthorizationRequest:
    """Store a request that waits for the person; without a browser it is bound at its first GET."""
    flow = crypto.new_secret()
    row = {"id": flow, "params": found.params, "browser_digest": browser_digest, "created_at": found.created_at}
    database.execute(_TABLE.insert().values(**row, expires_at=found.created_at + LIFE))
    return _with_row(found, flow)


def load(flow: str, browser_digest: str) -> AuthorizationRequest:
    """Return a waiting request of this browser, checked again; raise `PageError` `flow_expired`, or `Refused`."""
    row = _row(flow, browser_digest) if _FLOW.match(flow) else None
    if row is None:
        raise PageError("flow_expired", detail="unknown request, or one of another browser")
    if row.closed_at is not None or row.expires_at <= clock.now():
        raise PageError("flow_expired", restart_url=restart_url(row.params), detail="finished or expired")
    if row.browser_digest is None:
        bound = update(_TABLE).where(_TABLE.c.id == flow, _TABLE.c.browser_digest.is_(None))
        if database.execute(bound.values(browser_digest=browser_digest)).rowcount != 1:
            raise PageError("flow_expired", detail="bound to another browser meanwhile")
    return _checked(row.params, row, row.created_at)


def peek(url: str, browser_digest: str) -> AuthorizationRequest | None:
    """Return the waiting request that a local URL leads back to, for the pages that lie between; otherwise None."""
    parts = urlsplit(url)
    flow = parse_qs(parts.query).get("flow", [""])[0]
    if parts.path != PATH or not flow:
        return None
    try:
        return load(flow, browser_digest)
    except (PageError, Refused):
        return None


def note_choice(found: AuthorizationRequest, session: Session) -> None:
    """The person chose to go on as who they are (`prompt=select_account`)."""
    database.execute(update(_TABLE).where(_TABLE.c.id == found.id).values(chosen_session=session.id))


def note_consent(found: AuthorizationRequest, session: Session, scopes: list[str]) -> None:
    """The person allowed these scopes in this session."""
    values = {"consented_session": session.id, "consented_scopes": scopes}
    database.execute(update(_TABLE).where(_TABLE.c.id == found.id).values(values))


def close(found: AuthorizationRequest) -> bool:
    """Finish a request once; False when it had been answered before. One that was never stored needs no closing."""
    if found.id is None:
        return True
    condition = (_TABLE.c.id == found.id, _TABLE.c.closed_at.is_(None))
    return database.execute(update(_TABLE).where(*condition).values(closed_at=clock.now())).rowcount == 1


def restart_url(params: Params) -> str:
    """Return the local URL that starts the same request anew."""
    return PATH + "?" + urlencode(params, doseq=True)


def prune() -> int:
    """Delete requests that nobody can go on with; return how many."""
    return database.delete_some(_TABLE, _TABLE.c.expires_at <= clock.now() - _KEPT_FOR_RESTART)


def _row(flow: str, browser_digest: str) -> Any:
    if not _FLOW.match(flow):
        return None
    of_this_browser = or_(_TABLE.c.browser_digest == browser_digest, _TABLE.c.browser_digest.is_(None))
    return database.execute(select(_TABLE).where(_TABLE.c.id == flow, of_this_browser)).first()


def _with_row(found: AuthorizationRequest, flow: str) -> AuthorizationRequest:
    return AuthorizationRequest(**{**found.__dict__, "id": flow})


def _as_params(values: MultiDict[str, str]) -> Params:
    """Empty parameters count as not sent (RFC 6749 §3.1); whether repeated ones are refused is decided later."""
    return {name: [value for value in sent if value] for name, sent in values.lists() if any(sent)}


def _checked(params: Params, row: Any, created_at: datetime) -> AuthorizationRequest:
    client = _client(params)
    redirect_uri = _redirect_uri(client, params)
    state = params.get("state", [None])[0] if len(params.get("state", [])) < 2 else None
    state = state if state is not None and _is_sane(state) else None
    mode = params.get("response_mode", ["query"])[0]
    mode = mode if mode in response.MODES else "query"
    try:
        return _rest(params, row, created_at, client, redirect_uri, mode, state)
    except ProtocolError as error:
        raise Refused(error, client, redirect_uri, mode, state) from None


def _client(params: Params) -> Client:
    sent = params.get("client_id", [])
    if len(sent) != 1:
        raise PageError("unknown_client", detail="client_id is missing or repeated")
    client = clients.find(sent[0])
    if client is None:
        raise PageError("unknown_client", facts=[("client_id", shown(sent[0]))], detail="unknown client")
    if client.is_disabled:
        raise PageError("client_disabled", app_name=client.name, detail="client disabled")
    return client


def _redirect_uri(client: Client, params: Params) -> str:
    sent = params.get("redirect_uri", [])
    if not sent:
        raise PageError("redirect_uri_missing", app_name=client.name, detail="redirect_uri missing")
    if len(sent) == 1 and client.accepts_redirect_uri(sent[0]):
        return sent[0]
    kind = difference.kind(sent[0], client.redirect_uris) if len(sent) == 1 else "sent more than once"
    facts = [("redirect_uri", shown(sent[0])), ("What differs", kind)]
    raise PageError("redirect_uri_mismatch", app_name=client.name, facts=facts, detail=f"redirect_uri: {kind}")


def shown(text: str) -> str:
    """Return a value of a request cut to what a page may show."""
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _is_sane(value: str) -> bool:
    return len(value) <= LONGEST_VALUE and "\x00" not in value and "\ufffd" not in value


def _rest(
    params: Params, row: Any, created_at: datetime, client: Client, redirect_uri: str, mode: str, state: str | None
) -> AuthorizationRequest:
    _check_form(params)
    prompts = _prompts(_one(params, "prompt"))
    scopes = policy.scopes_for_client(client, _one(params, "scope"), for_person=True)
    named = resources(client, params.get("resource", []))
    if named:
        scopes = policy.narrowed_to([api.identifier for api in named], scopes)
    policy.target(scopes, named)  # different formats are refused before anybody signs in
    return AuthorizationRequest(
        id=row.id if row else None,
        params=params,
        client=client,
        redirect_uri=redirect_uri,
        response_mode=mode,
        state=state,
        scopes=scopes,
        resources=named,
        nonce=_one(params, "nonce"),
        code_challenge=_challenge(client, params),
        prompts=prompts,
        max_age=_max_age(client, _one(params, "max_age")),
        login_hint=(_one(params, "login_hint") or "")[:320],
        hinted_sub=_hinted_sub(_one(params, "id_token_hint")),
        created_at=created_at,
        chosen_session=row.chosen_session if row else None,
        consented_session=row.consented_session if row else None,
        consented_scopes=frozenset(row.consented_scopes or ()) if row else frozenset(),
    )


def _check_form(params: Params) -> None:
    """What must hold before anything is read: RFC 6749 §3.1, OpenID Connect Core §3.1.2.6."""
    if any(len(sent) > 1 for name, sent in params.items() if name != "resource"):
        raise InvalidRequest("a parameter is repeated")
    if not all(_is_sane(value) for sent in params.values() for value in sent):
        raise InvalidRequest("a parameter is too long or malformed")
    for name, refusal in (
        ("request", RequestNotSupported("request objects are not supported")),
        ("request_uri", RequestUriNotSupported("request_uri is not supported")),
        ("registration", RegistrationNotSupported("the registration parameter is not supported")),
    ):
        if name in params:
            raise refusal
    if "response_type" not in params:
        raise InvalidRequest("response_type is missing")
    if params["response_type"] != ["code"]:
        raise UnsupportedResponseType("response_type must be code")
    if params.get("response_mode", ["query"])[0] not in response.MODES:
        raise InvalidRequest("response_mode must be query or form_post")


def _one(params: Params, name: str) -> str | None:
    return params[name][0] if name in params else None


def _prompts(text: str | None) -> frozenset[str]:
    """OpenID Connect Core §3.1.2.1: `none` stands alone; unknown values are refused."""
    found = frozenset((text or "").split())
    if not found <= _PROMPTS:
        raise InvalidRequest("prompt has an unknown value")
    if "none" in found and len(found) > 1:
        raise InvalidRequest("prompt=none cannot be combined")
    return found


def resources(client: Client, named: list[str]) -> tuple[Api, ...]:
    """Return the APIs that are named (RFC 8707 §2); raise `InvalidTarget`."""
    if len(named) > _MOST_RESOURCES or not all(apis.is_resource_uri(uri) for uri in named):
        raise InvalidTarget("resource must be an absolute URI without fragment")
    return policy.check_resources(client, named)


def _challenge(client: Client, params: Params) -> str | None:
    """Return the S256 challenge (RFC 7636 §4.3); None only for a confidential client that may do without."""
    challenge, method = _one(params, "code_challenge"), _one(params, "code_challenge_method")
    if challenge is None:
        if method is not None or client.require_pkce:
            raise InvalidRequest("code_challenge is missing: PKCE with S256 is required")
        return None
    if method != "S256":
        raise InvalidRequest("code_challenge_method must be S256")
    if not _CHALLENGE.match(challenge):
        raise InvalidRequest("code_challenge must be 43 characters of base64url without padding")
    return challenge


def _max_age(client: Client, text: str | None) -> timedelta | None:
    if text is None:
        return client.default_max_age
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidRequest("max_age must be a number of seconds")
    return timedelta(seconds=int(text))


def _hinted_sub(hint: str | None) -> str | None:
    """Return whom an ID token of ours names; its expiry does not matter (OpenID Connect Core §3.1.2.2)."""
    if hint is None:
        return None
    try:
        header = jose.header(hint)
        key = keyring.verifier(str(header.get("kid")))
        claims = jose.verify(hint, key) if key and header.get("typ") == "JWT" else {}
    except jose.BadToken:
        claims = {}
    if claims.get("iss") != config.current().issuer or not isinstance(claims.get("sub"), str):
        raise InvalidRequest("id_token_hint is not an ID token of this server")
    return str(claims["sub"])
