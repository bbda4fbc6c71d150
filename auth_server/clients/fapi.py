"""`profile: fapi2` (FAPI 2.0 Security Profile): what it means for a client, and what contradicts it.

What is implied need not be named. What is named otherwise is refused, with a sentence that says what to change, rather
than quietly overruled: an operator would believe the other thing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from auth_server.errors import InvalidClientMetadata, InvalidRedirectUri

NAME = "fapi2"
WEAKER = "RS256"
"""The one signature of ours and of clients that §5.4.1 rules out."""
SIGNING_ALG = "ES256"
BY_CERTIFICATE = "tls_client_certificate_bound_access_tokens"
_METHODS = ("private_key_jwt", "tls_client_auth", "self_signed_tls_client_auth")
_GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials")
_MUST_BE = {
    "require_pushed_authorization_requests": True,
    "require_pkce": True,
    "refresh_token_rotation": False,
}
_ALGORITHMS = (
    *("token_endpoint_auth_signing_alg", "request_object_signing_alg"),
    *("id_token_signed_response_alg", "authorization_signed_response_alg"),
)


def holds(details: Mapping[str, Any]) -> bool:
    """Tell whether metadata name the profile."""
    return details.get("profile") == NAME


def with_implied(details: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata together with what their profile implies; without the profile, as they are."""
    if not holds(details):
        return dict(details)
    ours = dict.fromkeys(("id_token_signed_response_alg", "authorization_signed_response_alg"), SIGNING_ALG)
    bound = {"dpop_bound_access_tokens": not details.get(BY_CERTIFICATE, False)}
    return {**_MUST_BE, **ours, **bound, **details}


def signing_alg(profile: str, alg: str) -> str:
    """Return what signs a token for a client of this profile, where the API would have it by `alg`."""
    return SIGNING_ALG if profile == NAME and alg == WEAKER else alg


def check(details: Mapping[str, Any]) -> None:
    """Refuse metadata that contradict their profile; raise `InvalidClientMetadata` or `InvalidRedirectUri`."""
    if not holds(details):
        return
    for problem in _problems(details):
        raise InvalidClientMetadata(problem)
    if not all(uri.startswith("https://") for uri in details.get("redirect_uris", ())):
        raise InvalidRedirectUri("redirect_uris: profile fapi2 takes https addresses only")


def _problems(details: Mapping[str, Any]) -> Iterator[str]:
    if details.get("token_endpoint_auth_method") not in _METHODS:
        yield f"token_endpoint_auth_method: profile fapi2 needs one of {', '.join(_METHODS)}"
    for name, value in _MUST_BE.items():
        if details.get(name, value) is not value:
            yield f"{name}: leave it out: profile fapi2 means {str(value).lower()}"
    if details.get("dpop_bound_access_tokens") is False and not details.get(BY_CERTIFICATE):
        yield f"dpop_bound_access_tokens: leave it out, or bind tokens to certificates: {BY_CERTIFICATE}"
    for name in _ALGORITHMS:
        if details.get(name) == WEAKER:
            yield f"{name}: profile fapi2 takes PS256, ES256 or EdDSA from clients and signs with ES256 or EdDSA"
    foreign_to_it = [grant for grant in details.get("grant_types", ()) if grant not in _GRANT_TYPES]
    if foreign_to_it:
        yield f"grant_types: profile fapi2 is for {', '.join(_GRANT_TYPES)}"
