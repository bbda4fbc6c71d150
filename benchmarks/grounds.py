"""The ground that a row stands on: clients, a person, and fresh codes and refresh tokens, made outside the timed part.

Ours are made by the server's own domain functions on the database that the running server uses; the baseline's by its
models.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import text

from auth_server import config, create_app
from auth_server.access import apis, policy, roles
from auth_server.accounts import sessions, sign_in, users
from auth_server.clients import client as clients
from auth_server.clients.metadata import DEVICE_CODE
from auth_server.clients.secrets import New
from auth_server.database import db
from auth_server.infra import clock, crypto, events
from auth_server.tokens import devices, families, store
from benchmarks import baseline

APP, SERVICE, DEVICE, SECRET = "bench-app", "bench-service", "bench-device", secrets.token_urlsafe(48)
REDIRECT_URI = "https://app.example.org/callback"
VERIFIER = secrets.token_urlsafe(48)
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
PERSON = "openid profile email offline_access"
OPAQUE, ES256, RS256 = "opaque", "es256", "rs256"
"""Scopes of three APIs; each decides the form of the access token. With none of them it is a JWT with RS256."""
_FILLED_AT_ONCE = 20_000
_APP: dict[str, Any] = {"redirect_uris": [REDIRECT_URI], "scope": f"{PERSON} {OPAQUE}"}
_SERVICE: dict[str, Any] = {"grant_types": ["client_credentials"], "scope": f"{OPAQUE} {ES256} {RS256}"}


class Ground(Protocol):
    """A server with two clients and a person, and a way to make codes and refresh tokens at once."""

    port: int

    def codes(self, scope: str, count: int) -> list[str]: ...

    def refresh_tokens(self, scope: str, count: int) -> list[str]: ...


class OurGround:
    """Our server's rows, made through its own domain functions on the database that the running server uses."""

    def __init__(self, port: int, environ: dict[str, str]) -> None:
        self.port = port
        self.app = create_app(config.from_env({**environ, "AUTH_SERVER_LOG_LEVEL": "error"}))
        self._in_transaction(self._make)

    def codes(self, scope: str, count: int) -> list[str]:
        return self._in_transaction(lambda: [self._new_code(scope)[0] for _ in range(count)])

    def refresh_tokens(self, scope: str, count: int) -> list[str]:
        return self._in_transaction(lambda: [self._new_refresh_token(scope) for _ in range(count)])

    def devices(self, count: int) -> list[str]:
        """Return the device codes of so many devices that wait."""

        def begin() -> list[str]:
            client = clients.find(DEVICE)
            assert client is not None
            return [devices.begin(client, PERSON.split(), ()).raw_device_code for _ in range(count)]

        return self._in_transaction(begin)

    def fill(self, count: int) -> None:
        """Put in so many families with a refresh token, opaque tokens and events, and a tenth as many people."""
        for start in range(0, count, _FILLED_AT_ONCE):
            numbers = range(start, min(count, start + _FILLED_AT_ONCE))
            self._in_transaction(lambda numbers=numbers: [db.session.execute(*part) for part in _crowd(numbers)])
        with self.app.app_context(), db.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))

    def database_megabytes(self) -> float:
        """Return what the database takes on disk, indexes too."""
        with self.app.app_context(), db.engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                pages, size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar(), 1
            else:
                pages, size = (connection.execute(text(f"PRAGMA page_{part}")).scalar() for part in ("count", "size"))
            return int(pages) * int(size) / 1e6

    def _in_transaction(self, act: Callable[[], Any]) -> Any:
        with self.app.app_context():
            events.begin(events.Context(actor_kind="job", actor="benchmark"))
            result = act()
            db.session.commit()
            return result

    def _make(self) -> None:
        for scope, form, alg in ((OPAQUE, "opaque", "RS256"), (ES256, "jwt", "ES256"), (RS256, "jwt", "RS256")):
            apis.create(f"https://{scope}.example.org", scopes={scope: scope}, token_format=form, alg=alg)
        for client_id, metadata in ((APP, _APP), (SERVICE, _SERVICE)):
            clients.create(metadata, client_id=client_id, secret=New(crypto.digest(SECRET)))
        clients.create({"grant_types": [DEVICE_CODE], "token_endpoint_auth_method": "none"}, client_id=DEVICE)
        user = users.create("ada@example.org", "Ada Lovelace", verified=True)
        db.session.flush()
        roles.put(user.id, [roles.ADMINISTRATOR])  # without an administrator every page leads to the set-up
        self._session, _handle = sessions.start(
            user.id,
            amr=[sign_in.AMR_PASSWORD],
            acr=sign_in.ACR_ONE_FACTOR,
            remember=True,
            browser_digest="",
            user_agent="",
            address="127.0.0.1",
        )

    def _new_code(self, scope: str) -> tuple[str, str]:
        client = clients.find(APP)
        assert client is not None
        scopes = scope.split()
        return store.new_code(
            client,
            self._session,
            scopes=scopes,
            resources=policy.target(scopes, ()).resources,
            redirect_uri=REDIRECT_URI,
            code_challenge=CHALLENGE,
            nonce=secrets.token_urlsafe(16),
        )

    def _new_refresh_token(self, scope: str) -> str:
        client, (_code, family_id) = clients.find(APP), self._new_code(scope)
        family = families.find(family_id)
        assert client is not None
        assert family is not None
        return store.new_refresh_token(family, client.refresh_token_idle_ttl)


def _crowd(numbers: range) -> list[tuple[Any, list[dict[str, Any]]]]:
    """Return an INSERT and its rows for each table; keys are as random as real ones."""
    tables, now = db.metadata.tables, clock.now()
    later, fresh = now + timedelta(days=30), [secrets.token_hex(32) for _ in numbers]
    people = [{"id": f"u{n}", "email": f"{n}@x", "email_key": f"{n}@x", "name": "P"} for n in numbers if n % 10 == 0]
    about_people = {"email_verified": True, "claims": {}, "created_at": now, "updated_at": now}
    grant = {"client_id": APP, "session_id": "s", "scope": PERSON, "resources": [], "offline": True, "amr": []}
    family = {**grant, "auth_time": now, "acr": "aal1", "created_at": now, "expires_at": later}
    token = {"created_at": now, "expires_at": later, "window_count": 0}
    event = {"event": "token.issued", "at": now, "result": "success", "actor_kind": "person", "actor": "", "reason": ""}
    event |= {"client_id": APP, "session": "", "family": "", "address": "", "request_id": ""}
    claims = {"sub": "u", "client_id": APP, "jti": "j", "scope": PERSON}
    return [
        (tables["user_account"].insert(), [{**row, **about_people} for row in people]),
        (tables["family"].insert(), [{"id": key[:36], "user_id": f"u{key[:5]}", **family} for key in fresh]),
        (tables["refresh_token"].insert(), [{"digest": key, "family_id": key[:36], **token} for key in fresh]),
        (
            tables["opaque_access_token"].insert(),
            [{"digest": key, "claims": claims, "expires_at": later} for key in fresh],
        ),
        (tables["audit_event"].insert(), [{"subject": key[:36], **event} for key in fresh]),
    ]


class BaselineGround:
    """The same for the baseline."""

    def __init__(self, port: int, database: Path) -> None:
        self.port = port
        self.app = baseline.create_app(str(database))
        with self.app.app_context():
            baseline.db.session.add(baseline.User(id=1, name="Ada Lovelace", email="ada@example.org"))
            grants = ["authorization_code", "refresh_token"]
            for client_id, metadata in ((APP, {"grant_types": grants, **_APP}), (SERVICE, _SERVICE)):
                client = baseline.Client(client_id=client_id, client_secret=SECRET)
                client.set_client_metadata({**metadata, "response_types": ["code"]})
                baseline.db.session.add(client)
            baseline.db.session.commit()

    def codes(self, scope: str, count: int) -> list[str]:
        about = {"redirect_uri": REDIRECT_URI, "code_challenge": CHALLENGE, "code_challenge_method": "S256"}
        fresh = [secrets.token_urlsafe(32) for _ in range(count)]
        rows = [baseline.Code(code=code, nonce=secrets.token_urlsafe(16), **about) for code in fresh]
        self._add(rows, scope)
        return fresh

    def refresh_tokens(self, scope: str, count: int) -> list[str]:
        fresh = [secrets.token_urlsafe(32) for _ in range(count)]
        rows = [baseline.Token(access_token=raw[::-1], refresh_token=raw, expires_in=3600) for raw in fresh]
        self._add(rows, scope)
        return fresh

    def _add(self, rows: list[Any], scope: str) -> None:
        for row in rows:
            row.client_id, row.user_id, row.scope = APP, 1, scope
        with self.app.app_context():
            baseline.db.session.add_all(rows)
            baseline.db.session.commit()
