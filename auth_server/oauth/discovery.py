"""Metadata (RFC 8414, OpenID Connect Discovery) and the key set, computed from the registries, never typed by hand."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from typing import Any

from werkzeug.http import parse_etags

from auth_server import config
from auth_server.access import apis, exchanges
from auth_server.accounts import sign_in
from auth_server.clients import fapi, issuers, metadata
from auth_server.infra import language
from auth_server.keys import dpop, foreign, jose, jwe, keyring
from auth_server.oauth import (
    authorization_request,
    described,
    device,
    introspection,
    logout,
    par,
    protected_resources,
    registration,
    response,
    revocation,
    token,
    userinfo,
)
from auth_server.oauth.introspection import IntrospectionEndpoint
from auth_server.oauth.revocation import RevocationEndpoint
from auth_server.oauth.server import Server
from auth_server.tokens import claims
from auth_server.web import surface
from auth_server.web.answers import Answer
from auth_server.web.machines import Machines, Request

JWKS_PATH = "/.well-known/jwks.json"
METADATA_PATHS = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")
PATHS = (*METADATA_PATHS, JWKS_PATH)
_METADATA_MAX_AGE_SECONDS = 300
_ADDRESSES = {
    "authorization_endpoint": authorization_request.PATH,
    "pushed_authorization_request_endpoint": par.PATH,
    "token_endpoint": token.PATH,
    "userinfo_endpoint": userinfo.PATH,
    "revocation_endpoint": revocation.PATH,
    "introspection_endpoint": introspection.PATH,
    "device_authorization_endpoint": device.PATH,
    "end_session_endpoint": logout.PATH,
    "jwks_uri": JWKS_PATH,
}
_ID_JAG_PROFILE = "urn:ietf:params:oauth:grant-profile:id-jag"
_LOGOUT = tuple(
    f"{way}_logout_{what}" for way in ("backchannel", "frontchannel") for what in ("supported", "session_supported")
)


def setup_discovery(machines: Machines, server: Server) -> None:
    settings = config.current()
    metadata_document = _Document(_registers, lambda: provider_metadata(server), _METADATA_MAX_AGE_SECONDS)
    jwks_max_age_seconds = int(settings.jwks_max_age.total_seconds())
    jwks = _Document(keyring.published, lambda: {"keys": list(keyring.published())}, jwks_max_age_seconds)
    for path in METADATA_PATHS:
        machines.add(path, metadata_document.answer)
    machines.add(JWKS_PATH, jwks.answer)


def provider_metadata(server: Server) -> dict[str, Any]:
    """Return the document; both well-known addresses give the same."""
    settings = config.current()
    return {
        "issuer": settings.issuer,
        **{name: settings.url(path) for name, path in _ADDRESSES.items()},
        "require_pushed_authorization_requests": settings.require_par,
        **registration.told(),
        **described.told(),
        "protected_resources": [settings.url(path) for path in protected_resources.SCOPES],
        **_certificates(settings),
        **dict.fromkeys(_LOGOUT, True),
        "response_types_supported": ["code"],
        "response_modes_supported": list(response.MODES),
        "grant_types_supported": [grant.GRANT_TYPE for grant, _extensions in server._token_grants if grant.is_on()],
        **_grant_profiles(),
        "scopes_supported": list(apis.known_scopes()),
        "claims_supported": list(claims.SUPPORTED),
        "claim_types_supported": ["normal"],
        "subject_types_supported": list(metadata.SUBJECT_TYPES),
        **_client_authentication("token", metadata.AUTH_METHODS),
        **_client_authentication("revocation", RevocationEndpoint.CLIENT_AUTH_METHODS),
        **_client_authentication("introspection", IntrospectionEndpoint.CLIENT_AUTH_METHODS),
        "id_token_signing_alg_values_supported": list(jose.ALGORITHMS),
        "userinfo_signing_alg_values_supported": list(jose.ALGORITHMS),
        **_encryption("id_token"),
        **_encryption("userinfo"),
        "authorization_signing_alg_values_supported": list(jose.ALGORITHMS),
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": list(dpop.ALGORITHMS),
        "authorization_response_iss_parameter_supported": True,
        "acr_values_supported": list(sign_in.ACR_VALUES),
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "ui_locales_supported": list(language.available()),
        "claims_parameter_supported": True,
        "request_parameter_supported": True,
        "request_object_signing_alg_values_supported": list(foreign.ALGORITHMS),
        "require_signed_request_object": False,
        "request_uri_parameter_supported": False,
    }


def _certificates(settings: config.Settings) -> dict[str, Any]:
    """Return what is said of client certificates, where they can be seen (RFC 8705 §3.3 and §5)."""
    if not settings.sees_certificates:
        return {}
    told: dict[str, Any] = {fapi.BY_CERTIFICATE: True}
    if settings.mtls_alias:
        machines = {name: path for name, path in _ADDRESSES.items() if path in surface.ENDPOINTS}
        told["mtls_endpoint_aliases"] = {name: settings.mtls_alias + path for name, path in machines.items()}
    return told


def _grant_profiles() -> dict[str, list[str]]:
    """Return which identity assertions are taken, where any are (draft-ietf-oauth-identity-assertion-authz-grant)."""
    is_on = issuers.register().is_any_for(issuers.ID_JAG)
    return {"authorization_grant_profiles_supported": [_ID_JAG_PROFILE]} if is_on else {}


def _client_authentication(endpoint: str, possible: Sequence[str]) -> dict[str, list[str]]:
    """Return what an endpoint says of the ways in which a client may prove itself there (RFC 8414 §2)."""
    methods = [method for method in possible if metadata.is_offered(method)]
    if issuers.register().is_any_for(issuers.WORKLOAD):
        methods.append(metadata.WORKLOAD)
    algorithms = [alg for method in methods for alg in metadata.ASSERTION_ALGORITHMS.get(method, ())]
    return {
        f"{endpoint}_endpoint_auth_methods_supported": methods,
        f"{endpoint}_endpoint_auth_signing_alg_values_supported": algorithms,
    }


def _encryption(kind: str) -> dict[str, list[str]]:
    return {
        f"{kind}_encryption_alg_values_supported": list(foreign.ENCRYPTION_ALGORITHMS),
        f"{kind}_encryption_enc_values_supported": list(jwe.CONTENT_ALGORITHMS),
    }


def _registers() -> object:
    return apis.register(), issuers.register(), exchanges.is_on()


class _Document:
    """A document as bytes, computed again only when what it is made of has changed."""

    def __init__(self, source: Callable[[], object], make: Callable[[], dict[str, Any]], max_age_seconds: int) -> None:
        self._source, self._make = source, make
        self._max_age_seconds = max_age_seconds
        self._made: tuple[object, str, Answer] | None = None

    def answer(self, request: Request) -> Answer:
        """Answer with ETag and Cache-Control, or 304 (RFC 9110 §13.1.2)."""
        source = self._source()
        made = self._made
        if made is None or made[0] != source:
            made = self._made = (source, *self._render())
        known = request.environ.get("HTTP_IF_NONE_MATCH")
        if known is not None and parse_etags(known).contains_weak(made[1]):
            return Answer(304, b"", made[2].headers[1:])
        return made[2]

    def _render(self) -> tuple[str, Answer]:
        body = json.dumps(self._make(), separators=(",", ":")).encode()
        etag = hashlib.sha256(body).hexdigest()[:32]
        caching = ("Cache-Control", f"public, max-age={self._max_age_seconds}")
        return etag, Answer(200, body, (("Content-Type", "application/json"), ("ETag", f'"{etag}"'), caching))
