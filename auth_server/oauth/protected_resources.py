"""Our own APIs as protected resources (RFC 9728): a document for each, at the well-known address that belongs to it."""

from __future__ import annotations

import json

from auth_server import config, resource_metadata
from auth_server.access.policy import USERINFO_PATH
from auth_server.web.answers import Answer
from auth_server.web.machines import Handler, Machines

SCOPES = {USERINFO_PATH: ("openid", "profile", "email", "address", "phone", "groups", "roles")}
"""The paths of our APIs, and the scopes that mean something there."""
_METHODS = ["header", "body"]
"""RFC 6750 §2.1 and §2.2, as OpenID Connect Core §5.3.1 wants it."""


def setup_protected_resources(machines: Machines) -> None:
    settings = config.current()
    for path, scopes in SCOPES.items():
        resource = settings.url(path)
        found = resource_metadata.document(resource, settings.issuer, scopes, bearer_methods_supported=_METHODS)
        machines.add(resource_metadata.path_of(resource), _always(json.dumps(found, separators=(",", ":")).encode()))


def _always(body: bytes) -> Handler:
    caching = ("Cache-Control", f"public, max-age={resource_metadata.MAX_AGE_SECONDS}")
    answer = Answer(200, body, (("Content-Type", "application/json"), caching))

    return lambda _request: answer
