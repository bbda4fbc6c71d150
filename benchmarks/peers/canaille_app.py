"""Canaille as a peer: SQLite in WAL, one key imported once by itself, everything else at its defaults but nonces.

Run by gunicorn in an environment of its own; /mint makes codes and refresh tokens outside the timed part.
Its access tokens are JWTs where a person is behind them, and opaque otherwise. Two JWTs of one person, client and
second are one and the same to it, and refused by its table: so each code and refresh token is somebody else's.
"""

from __future__ import annotations

import datetime
import json
import os
import secrets
from pathlib import Path

from canaille import create_app
from canaille.app import models
from canaille.backends import Backend
from canaille.backends.sql.backend import SQLBackend
from flask import jsonify, request
from sqlalchemy import event

NAMES = ("APP", "SERVICE", "SECRET", "REDIRECT_URI", "CHALLENGE", "STORE_ADDRESS", "KEYS")
APP, SERVICE, SECRET, REDIRECT_URI, CHALLENGE, STORE_ADDRESS, KEYS = (os.environ[name] for name in NAMES)
RSA = next(jwk for jwk in json.loads(Path(KEYS).read_text())["keys"] if jwk["alg"] == "RS256")
SCOPES = ["openid", "profile", "email", "offline_access", "opaque", "rs256"]

application = create_app(
    {
        "SECRET_KEY": secrets.token_hex(32),
        "SERVER_NAME": "localhost",
        "PREFERRED_URL_SCHEME": "http",
        "TRUSTED_HOSTS": ["localhost", "127.0.0.1"],
        "CANAILLE_SQL": {"DATABASE_URI": f"sqlite:///{STORE_ADDRESS}"},
        "CANAILLE_OIDC": {"ACTIVE_JWKS": [RSA], "REQUIRE_NONCE": False},
    }
)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


@application.get("/mint")
def mint():
    kind, scope, count = request.args["kind"], request.args["scope"].split(), int(request.args["count"])
    app = Backend.instance.get(models.Client, client_id=APP)
    fresh = [secrets.token_urlsafe(32) for _ in range(count)]
    for raw in fresh:
        person = models.User(user_name=raw, family_name="Ada", emails=["ada@example.org"], last_modified=now())
        common = {"client": app, "subject": person, "scope": scope, "issue_date": now(), "lifetime": 3600}
        if kind == "code":
            proof = {"challenge": CHALLENGE, "challenge_method": "S256", "redirect_uri": REDIRECT_URI}
            code = {"authorization_code_id": raw[::-1], "code": raw, "auth_time": now()}
            one = models.AuthorizationCode(**code, **proof, **common)
        else:
            access = {"token_id": raw[:20], "access_token": raw[::-1], "type": "Bearer", "audience": [app]}
            one = models.Token(refresh_token=raw, **access, **common)
        SQLBackend.db_session.add_all([person, one])
    SQLBackend.db_session.commit()
    return jsonify(fresh)


def set_up() -> None:
    shared = {
        "client_secret": SECRET,
        "client_id_issued_at": now(),
        "token_endpoint_auth_method": "client_secret_basic",
        "scope": SCOPES,
    }
    flow = {"grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"]}
    for about in (
        {"client_id": APP, "client_name": "App", "redirect_uris": [REDIRECT_URI], **flow},
        {"client_id": SERVICE, "client_name": "Service", "redirect_uris": [], "grant_types": ["client_credentials"]},
    ):
        client = models.Client(**about, **shared)
        client.audience = [client]
        Backend.instance.save(client)


@event.listens_for(SQLBackend.engine, "connect")
def quick_commits(connection, _record) -> None:
    connection.execute("PRAGMA synchronous=NORMAL")


with application.app_context():
    with SQLBackend.engine.connect() as link:
        link.exec_driver_sql("PRAGMA journal_mode=WAL")
    SQLBackend.init_alembic(application)
    with Backend.instance.session():
        if not Backend.instance.query(models.Client):
            set_up()

_routed = application.wsgi_app


def _at_our_address(environ, start_response):
    """Its key set under the path that all the servers here are asked at."""
    if environ["PATH_INFO"] == "/.well-known/jwks.json":
        environ["PATH_INFO"] = "/oauth/jwks.json"
    return _routed(environ, start_response)


application.wsgi_app = _at_our_address
