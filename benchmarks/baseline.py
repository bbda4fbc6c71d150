"""The baseline: the smallest server that a reader of Authlib's documentation ends up with.

Flask, Authlib's provider and its SQLAlchemy mixins, Flask-SQLAlchemy, one SQLite file in WAL; signing keys are imported
once, which the documentation leaves open. No audit, no rate limits, no families, no consent, tokens in the clear.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer, ResourceProtector, current_token
from authlib.integrations.sqla_oauth2 import (
    OAuth2AuthorizationCodeMixin,
    OAuth2ClientMixin,
    OAuth2TokenMixin,
    create_bearer_token_validator,
    create_query_client_func,
    create_query_token_func,
    create_save_token_func,
)
from authlib.oauth2.rfc6749 import grants
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7636 import CodeChallenge
from authlib.oauth2.rfc7662 import IntrospectionEndpoint
from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator
from authlib.oidc.core import UserInfo
from authlib.oidc.core.grants import OpenIDCode
from flask import Flask, Response, jsonify
from flask_sqlalchemy import SQLAlchemy
from joserfc.jwk import ECKey, KeySet, RSAKey
from sqlalchemy import event
from werkzeug.security import gen_salt

ISSUER = "http://localhost"
METADATA = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/oauth/authorize",
    "token_endpoint": f"{ISSUER}/oauth/token",
    "userinfo_endpoint": f"{ISSUER}/oauth/userinfo",
    "introspection_endpoint": f"{ISSUER}/oauth/introspect",
    "jwks_uri": f"{ISSUER}/.well-known/jwks.json",
    "response_types_supported": ["code"],
    "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
    "scopes_supported": ["openid", "profile", "email", "offline_access"],
    "subject_types_supported": ["public"],
    "id_token_signing_alg_values_supported": ["RS256"],
    "code_challenge_methods_supported": ["S256"],
}
READY = "/.well-known/jwks.json"
db = SQLAlchemy()
keys: dict[str, RSAKey | ECKey] = {}


class User(db.Model):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)
    name = db.Column(db.String(200))
    email = db.Column(db.String(200), unique=True)

    def get_user_id(self) -> int:
        return int(self.id)


class Client(db.Model, OAuth2ClientMixin):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)


class Code(db.Model, OAuth2AuthorizationCodeMixin):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)
    user_id = db.Column(db.Integer, db.ForeignKey("user.id"))
    user = db.relationship("User")


class Token(db.Model, OAuth2TokenMixin):  # type: ignore[name-defined, misc]
    id = db.Column(db.Integer, primary_key=True)
    user_id = db.Column(db.Integer, db.ForeignKey("user.id"))
    user = db.relationship("User")


class AuthorizationCodeGrant(grants.AuthorizationCodeGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        found = Code.query.filter_by(code=code, client_id=client.client_id).first()
        return found if found and not found.is_expired() else None

    def delete_authorization_code(self, authorization_code: Code) -> None:
        db.session.delete(authorization_code)
        db.session.commit()

    def authenticate_user(self, authorization_code: Code) -> User | None:
        return db.session.get(User, authorization_code.user_id)  # type: ignore[no-any-return]


class RefreshTokenGrant(grants.RefreshTokenGrant):  # type: ignore[misc]
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)
    INCLUDE_NEW_REFRESH_TOKEN = True

    def authenticate_refresh_token(self, refresh_token: str) -> Token | None:
        found = Token.query.filter_by(refresh_token=refresh_token).first()
        return found if found and not found.is_revoked() else None

    def authenticate_user(self, refresh_token: Token) -> User | None:
        return db.session.get(User, refresh_token.user_id)  # type: ignore[no-any-return]

    def revoke_old_credential(self, refresh_token: Token) -> None:
        refresh_token.access_token_revoked_at = refresh_token.refresh_token_revoked_at = int(time.time())
        db.session.add(refresh_token)
        db.session.commit()


class IdToken(OpenIDCode):  # type: ignore[misc]
    def resolve_client_private_key(self, client: Client) -> RSAKey | ECKey:
        return keys["RS256"]

    def get_client_claims(self, client: Client) -> dict[str, Any]:
        return {"iss": ISSUER, "aud": [client.client_id]}

    def generate_user_info(self, user: User, scope: str) -> UserInfo:
        return user_info(user, scope)


class JwtGenerator(JWTBearerTokenGenerator):  # type: ignore[misc]
    def get_jwks(self) -> RSAKey | ECKey:
        return keys[self.alg]


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    def query_token(self, token: str, token_type_hint: str | None) -> Token | None:
        return create_query_token_func(db.session, Token)(token, token_type_hint)  # type: ignore[no-any-return]

    def check_permission(self, token: Token, client: Client, request: Any) -> bool:
        return bool(token.client_id == client.client_id)

    def introspect_token(self, token: Token) -> dict[str, Any]:
        about = {"client_id": token.client_id, "scope": token.scope, "sub": str(token.user_id), "iss": ISSUER}
        times = {"iat": token.issued_at, "exp": token.issued_at + token.expires_in}
        return {"active": True, "token_type": token.token_type, **about, **times}


def user_info(user: User, scope: str) -> UserInfo:
    """Return the claims of a person."""
    found = UserInfo(sub=str(user.id), name=user.name)
    if "email" in scope:
        found["email"] = user.email
    return found


def create_app(database: str) -> Flask:
    """Return the application on an SQLite file."""
    app = Flask("baseline")
    app.config.update(SECRET_KEY="baseline", SQLALCHEMY_DATABASE_URI=f"sqlite:///{database}")
    db.init_app(app)
    with app.app_context():
        event.listen(db.engine, "connect", _configure)
        db.create_all()
    server = AuthorizationServer(
        app, create_query_client_func(db.session, Client), create_save_token_func(db.session, Token)
    )
    server.register_token_generator("default", _generate_token_func())
    server.register_grant(grants.ClientCredentialsGrant)
    server.register_grant(AuthorizationCodeGrant, [CodeChallenge(required=True), IdToken()])
    server.register_grant(RefreshTokenGrant, [IdToken()])
    server.register_endpoint(Introspection)
    protector = ResourceProtector()
    protector.register_token_validator(create_bearer_token_validator(db.session, Token)())
    _add_routes(app, server, protector)
    return app


def _generate_token_func() -> Any:
    """Return a generator whose access token is opaque or a JWT, by the scope."""

    def opaque_token(**_about: object) -> str:
        return gen_salt(42)

    def refresh_token(**_about: object) -> str:
        return gen_salt(48)

    opaque = BearerTokenGenerator(opaque_token, refresh_token)
    rs256, es256 = (JwtGenerator(ISSUER, alg, refresh_token) for alg in ("RS256", "ES256"))

    def generate(grant_type: str, client: Client, scope: str, **about: Any) -> dict[str, Any]:
        chosen = opaque if "opaque" in scope else es256 if "es256" in scope else rs256
        token: dict[str, Any] = chosen(grant_type, client, scope=scope, **about)
        return token

    return generate


def _add_routes(app: Flask, server: AuthorizationServer, protector: ResourceProtector) -> None:
    @app.post("/oauth/token")
    def token() -> Response:
        return server.create_token_response()  # type: ignore[no-any-return]

    @app.post("/oauth/introspect")
    def introspect() -> Response:
        return server.create_endpoint_response(Introspection.ENDPOINT_NAME)  # type: ignore[no-any-return]

    @app.get("/oauth/userinfo")
    @protector("openid")  # type: ignore[untyped-decorator]
    def userinfo() -> Response:
        return jsonify(user_info(current_token.user, current_token.scope))

    @app.get("/bare")
    def bare() -> str:
        return "a bare route"

    @app.get("/.well-known/openid-configuration")
    def metadata() -> Response:
        return jsonify(METADATA)

    @app.get("/.well-known/jwks.json")
    def jwks() -> Response:
        return jsonify(KeySet(list(keys.values())).as_dict(private=False))


def _configure(connection: Any, _record: object) -> None:
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        connection.execute(f"PRAGMA {pragma}")


def make_keys(path: Path) -> None:
    """Write the signing keys."""
    made = {"RS256": RSAKey.generate_key(2048), "ES256": ECKey.generate_key("P-256")}
    path.write_text(json.dumps({alg: key.as_dict(private=True) for alg, key in made.items()}))


def serve_command(port: int) -> list[str]:
    """Return how it is started: one worker, one thread."""
    target = ("--interface", "wsgi", "--factory", "benchmarks.baseline:serve", "--port", str(port))
    return [sys.executable, "-m", "granian", *target, "--workers", "1", "--blocking-threads", "1", "--no-ws"]


def serve() -> Flask:
    """Return what granian's worker runs; BASELINE_KEYS and BASELINE_DATABASE are paths."""
    for alg, jwk in json.loads(Path(os.environ["BASELINE_KEYS"]).read_text()).items():
        keys[alg] = (RSAKey if alg == "RS256" else ECKey).import_key(jwk)
    return create_app(os.environ["BASELINE_DATABASE"])
