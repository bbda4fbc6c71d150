"""Metadata (RFC 8414, OpenID Connect Discovery) and the key set, computed from the registries, never typed by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response, request

from auth_server import config
from auth_server.access import apis
from auth_server.accounts import sign_in
from auth_server.clients import metadata
from auth_server.keys import jose, keyring
from auth_server.oauth import authorization_request, introspection, response, revocation, token, userinfo
from auth_server.oauth.server import Server
from auth_server.tokens import claims
from auth_server.web import i18n

JWKS_PATH = "/.well-known/jwks.json"
METADATA_PATHS = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")
PATHS = (*METADATA_PATHS, JWKS_PATH)
_METADATA_MAX_AGE_SECONDS = 300


def setup_discovery(blueprint: Blueprint, server: Server) -> None:
    metadata_bytes = _Document(apis.register, lambda: provider_metadata(server))
    jwks_bytes = _Document(keyring.published, lambda: {"keys": list(keyring.published())})

    def document() -> Response:
        return metadata_bytes.answer(_METADATA_MAX_AGE_SECONDS)

    def jwks() -> Response:
        return jwks_bytes.answer(int(config.current().jwks_max_age.total_seconds()))

    for path in METADATA_PATHS:
        blueprint.add_url_rule(path, path.rpartition("/")[2], document)
    blueprint.add_url_rule(JWKS_PATH, "jwks", jwks)


def provider_metadata(server: Server) -> dict[str, Any]:
    """Return the document; both well-known addresses give the same."""
    settings = config.current()
    secret_methods = [method for method in metadata.AUTH_METHODS if method != "none"]
    return {
        "issuer": settings.issuer,
        "authorization_endpoint": settings.url(authorization_request.PATH),
        "token_endpoint": settings.url(token.PATH),
        "userinfo_endpoint": settings.url(userinfo.PATH),
        "revocation_endpoint": settings.url(revocation.PATH),
        "introspection_endpoint": settings.url(introspection.PATH),
        "jwks_uri": settings.url(JWKS_PATH),
        "response_types_supported": ["code"],
        "response_modes_supported": list(response.MODES),
        "grant_types_supported": [grant.GRANT_TYPE for grant, _extensions in server._token_grants],
        "scopes_supported": list(apis.known_scopes()),
        "claims_supported": list(claims.SUPPORTED),
        "claim_types_supported": ["normal"],
        "subject_types_supported": ["public"],
        "token_endpoint_auth_methods_supported": list(metadata.AUTH_METHODS),
        "revocation_endpoint_auth_methods_supported": list(metadata.AUTH_METHODS),
        "introspection_endpoint_auth_methods_supported": secret_methods,
        "id_token_signing_alg_values_supported": list(jose.ALGORITHMS),
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": True,
        "acr_values_supported": list(sign_in.ACR_VALUES),
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "ui_locales_supported": list(i18n.available()),
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
    }


class _Document:
    """A document as bytes, computed again only when what it is made of has changed."""

    def __init__(self, source: Callable[[], object], make: Callable[[], dict[str, Any]]) -> None:
        self._source, self._make = source, make
        self._made: tuple[object, bytes, str] | None = None

    def answer(self, max_age_seconds: int) -> Response:
        """Answer with ETag and Cache-Control, or 304."""
        source = self._source()
        made = self._made
        if made is None or made[0] is not source:
            body = json.dumps(self._make(), separators=(",", ":")).encode()
            made = self._made = (source, body, hashlib.sha256(body).hexdigest()[:32])
        response = Response(made[1], content_type="application/json")
        response.set_etag(made[2])
        response.headers["Cache-Control"] = f"public, max-age={max_age_seconds}"
        return response.make_conditional(request)  # type: ignore[return-value]
