"""What single parameters of an authorization request must look like; raises `ProtocolError` with what is wrong."""

from __future__ import annotations

import re
from datetime import timedelta

from auth_server.access import apis, policy
from auth_server.access.apis import Api
from auth_server.clients import client as clients
from auth_server.clients.client import Client
from auth_server.errors import InvalidRequest, InvalidTarget
from auth_server.oauth import hints
from auth_server.oauth.server import LONGEST_VALUE

_PROMPTS = frozenset({"none", "login", "consent", "select_account"})
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}\Z")
_THUMBPRINT = _CHALLENGE
_MOST_RESOURCES = 20


def is_sane(value: str) -> bool:
    """Tell whether a value is short enough and free of what no text has."""
    return len(value) <= LONGEST_VALUE and "\x00" not in value and "\ufffd" not in value


def prompts(text: str | None) -> frozenset[str]:
    """OpenID Connect Core §3.1.2.1: `none` stands alone; unknown values are refused."""
    found = frozenset((text or "").split())
    if not found <= _PROMPTS:
        raise InvalidRequest("prompt has an unknown value")
    if "none" in found and len(found) > 1:
        raise InvalidRequest("prompt=none cannot be combined")
    return found


def resources(client: Client, named: list[str]) -> tuple[Api, ...]:
    """Return the APIs that are named (RFC 8707 §2)."""
    if len(named) > _MOST_RESOURCES or not all(apis.is_resource_uri(uri) for uri in named):
        raise InvalidTarget("resource must be an absolute URI without fragment")
    return policy.check_resources(client, named)


def challenge(client: Client, text: str | None, method: str | None) -> str | None:
    """Return the S256 challenge (RFC 7636 §4.3); None only for a confidential client that may do without."""
    if text is None:
        if method is not None or client.require_pkce:
            raise InvalidRequest("code_challenge is missing: PKCE with S256 is required")
        return None
    if method != "S256":
        raise InvalidRequest("code_challenge_method must be S256")
    if not _CHALLENGE.match(text):
        raise InvalidRequest("code_challenge must be 43 characters of base64url without padding")
    return text


def dpop_jkt(thumbprint: str | None) -> str | None:
    """Return the thumbprint of the key that the code is for (RFC 9449 §10)."""
    if thumbprint is not None and not _THUMBPRINT.match(thumbprint):
        raise InvalidRequest("dpop_jkt must be the base64url SHA-256 thumbprint of a key")
    return thumbprint


def max_age(client: Client, text: str | None) -> timedelta | None:
    """Return how old a sign-in may be; without a wish, the client's own."""
    if text is None:
        return client.default_max_age
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise InvalidRequest("max_age must be a number of seconds")
    return timedelta(seconds=int(text))


def hinted_sub(client: Client, hint: str | None) -> str | None:
    """Return whom an ID token of ours names; its expiry does not matter (OpenID Connect Core §3.1.2.2).

    It must come from the client's own sector: otherwise two apps could find out that they mean the same person.
    """
    if hint is None:
        return None
    claims = hints.read(hint)
    if claims is None:
        raise InvalidRequest("id_token_hint is not an ID token of this server")
    issued_to = clients.find(str(claims.get("aud", "")))
    if (issued_to.sector if issued_to else "") != client.sector:
        raise InvalidRequest("id_token_hint is of an app to which the person has another name")
    return str(claims["sub"])
