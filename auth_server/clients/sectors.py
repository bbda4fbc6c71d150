"""Sectors: apps of one owner, to which a person has the same name (OpenID Connect Core §8.1).

A sector is a host: that of `sector_identifier_uri`, whose document must list the client's addresses, or that of all its
redirect URIs. The document is asked when a client is registered, and when an address changes that it must list.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from auth_server import database
from auth_server.errors import InvalidClientMetadata
from auth_server.infra import outbound
from auth_server.infra.outbound import Unreachable

PAIRWISE = "pairwise"
_LISTED = ("sector_identifier_uri", "redirect_uris", "jwks_uri")


def of(values: Mapping[str, Any]) -> str:
    """Return the sector of a client that gets pairwise names; "" for others, and where its metadata leave it open."""
    if values.get("subject_type") != PAIRWISE:
        return ""
    if "sector_identifier_uri" in values:
        return urlsplit(values["sector_identifier_uri"]).hostname or "" if _to_be_listed(values) else ""
    uris = [urlsplit(uri) for uri in values.get("redirect_uris", ())]
    hosts = {uri.hostname or "" for uri in uris}
    return hosts.pop() if len(hosts) == 1 and all(uri.scheme == "https" for uri in uris) else ""


def check_together(values: Mapping[str, Any]) -> None:
    """Refuse metadata that leave the sector open; raise `InvalidClientMetadata`."""
    if values.get("subject_type") == PAIRWISE and not of(values):
        raise InvalidClientMetadata(
            "subject_type: pairwise needs https redirect_uris of one host, or a sector_identifier_uri whose document "
            "lists the redirect_uris, or the jwks_uri where there are none"
        )


def check_self_registered(values: Mapping[str, Any]) -> None:
    """Refuse what would let anybody enter another's sector: only an https address shows whose the answers are."""
    is_pairwise = values.get("subject_type") == PAIRWISE
    is_plain = all(uri.startswith("https://") for uri in values.get("redirect_uris", ()))
    if is_pairwise and not (is_plain and "authorization_code" in values["grant_types"] and len(_people(values)) == 1):
        raise InvalidClientMetadata(
            "subject_type: pairwise is for clients with https redirect_uris and the authorization_code grant alone, "
            "unless an operator registers them"
        )


def check(details: Mapping[str, Any], before: Mapping[str, Any]) -> None:
    """Ask the document of checked metadata whether it lists the client's addresses; raise `InvalidClientMetadata`.

    Nobody is asked when nothing has changed that it says. Must come before the first write: see `outbound`.
    """
    uri = details.get("sector_identifier_uri")
    if uri is None or all(details.get(name) == before.get(name) for name in _LISTED):
        return
    try:
        with database.aside():
            listed = outbound.fetch_json(uri).value
    except Unreachable as cause:
        raise InvalidClientMetadata(
            "sector_identifier_uri: its document could not be read", detail=str(cause)
        ) from None
    if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
        raise InvalidClientMetadata("sector_identifier_uri: its document must be a JSON array of addresses")
    if not set(_to_be_listed(details)) <= set(listed):
        raise InvalidClientMetadata("sector_identifier_uri: its document must list every one of the redirect_uris")


def _to_be_listed(values: Mapping[str, Any]) -> list[str]:
    """Return the addresses that show whose the client is: where answers go, or where its keys are."""
    return list(values.get("redirect_uris") or filter(None, [values.get("jwks_uri")]))


def _people(values: Mapping[str, Any]) -> list[str]:
    """Return the grants in which a person decides."""
    return [grant for grant in values["grant_types"] if grant not in ("refresh_token", "client_credentials")]
