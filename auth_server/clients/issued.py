"""Tokens that a trusted issuer has made: whose keys count, and what must be said in each of them."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from auth_server.clients import issuers, keys, signed, workload_rules
from auth_server.clients.issuers import TrustedIssuer
from auth_server.clients.signed import NotSigned
from auth_server.infra import outbound
from auth_server.infra.outbound import Document, Unreachable
from auth_server.keys.jose import Unverified

_METADATA_PATH = "/.well-known/openid-configuration"


def verified(token: Unverified, use: str, types: Collection[str | None]) -> tuple[TrustedIssuer, dict[str, Any]]:
    """Return the issuer that is trusted for this use and has signed the token, and its claims; raise `NotSigned`."""
    issuer = issuers.register().find(signed.claimed(token, "iss"), use)
    if issuer is None:
        raise NotSigned("the token's issuer is not trusted for this")

    def find(alg: str, kid: str | None) -> keys.Found:
        return _find_keys(issuer, alg, kid)

    claims = signed.verified(token, whose="issuer", algorithms=issuer.algorithms, types=types, find=find)
    if claims.get("iss") != issuer.issuer or not workload_rules.holds(issuer.claims, claims):
        raise NotSigned("the token lacks a claim that is demanded of all of its issuer")
    return issuer, claims


def is_for(claims: dict[str, Any], audience: str) -> bool:
    """Tell whether a token is for this audience and nobody else: others would hold it too, and could show it here."""
    return claims.get("aud") in (audience, [audience])


def _find_keys(issuer: TrustedIssuer, alg: str, kid: str | None) -> keys.Found:
    fits = keys.for_signature(alg, kid)
    if issuer.keys is not None:
        return keys.Found(keys.fitting(issuer.keys, fits))
    if issuer.jwks_uri:
        return keys.published(issuer.jwks_uri, fits)
    return keys.published(issuer.issuer, fits, _discovered)


def _discovered(issuer: str) -> Document:
    """Fetch the keys from where the issuer's own metadata say (OpenID Connect Discovery §4); raise `Unreachable`."""
    found = outbound.fetch_json(issuer.rstrip("/") + _METADATA_PATH).value
    if not isinstance(found, dict) or found.get("issuer") != issuer:
        raise Unreachable("the metadata are another issuer's")
    if not isinstance(found.get("jwks_uri"), str):
        raise Unreachable("the metadata name no jwks_uri")
    return outbound.fetch_json(found["jwks_uri"])
