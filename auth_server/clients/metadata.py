"""Client metadata (RFC 7591 §2, OpenID Connect Registration §2, and our own): one validation for all doors."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from auth_server import config
from auth_server.clients import answers, fapi, sectors, subject, workload_rules
from auth_server.errors import InvalidClientMetadata, InvalidRedirectUri
from auth_server.keys import access_token, foreign, jwe
from auth_server.keys.foreign import BadKey
from auth_server.values import is_loopback

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"
TOKEN_EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105 - a grant type's name
JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
GRANT_TYPES = ("authorization_code", "refresh_token", "client_credentials", DEVICE_CODE, TOKEN_EXCHANGE, JWT_BEARER)
SIGNS_WITH_SECRET, SIGNS_WITH_KEY = "client_secret_jwt", "private_key_jwt"
BY_ISSUED_CERTIFICATE, BY_OWN_CERTIFICATE = "tls_client_auth", "self_signed_tls_client_auth"
BY_CERTIFICATE = (BY_ISSUED_CERTIFICATE, BY_OWN_CERTIFICATE)
AUTH_METHODS = (
    *("client_secret_basic", "client_secret_post", SIGNS_WITH_KEY, SIGNS_WITH_SECRET),
    *(*BY_CERTIFICATE, "none"),
)
WORKLOAD = "workload_identity"
"""A method of ours, for clients that operators give rules (`clients/workload.py`): somebody trusted signs for them."""
ASSERTION_ALGORITHMS: Mapping[str, tuple[str, ...]] = {
    SIGNS_WITH_KEY: foreign.ALGORITHMS,
    SIGNS_WITH_SECRET: ("HS256",),
}
"""What a client may sign its assertions with: no algorithm is for both methods (RFC 8725 §2.1)."""
DEFAULT_GRANT_TYPES = ["authorization_code", "refresh_token"]
DEFAULT_SCOPE = "openid profile email offline_access"
SIGNING_ALGORITHMS = ("RS256", "ES256", "EdDSA")
SUBJECT_TYPES = ("public", sectors.PAIRWISE)
_LONGEST_URI = 2000
_LONGEST_TEXT = 500
_MOST_URIS = 50
_LARGEST_KEY_SET = 16_384
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*\Z")
_SCOPE_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,100}\Z")
_URI_CHARACTERS = re.compile(r"[!#$%&'()+,\-./0-9:;=?@A-Z_a-z~\[\]]+\Z")
"""RFC 3986 characters without `*`, which only wildcards use."""
_HOST = re.compile(r"[a-z0-9._-]+\Z|[0-9a-f:.]*:[0-9a-f:.]*\Z")
"""A name or an address. RFC 3986 would allow `;` and `,` too, which end a source in a Content-Security-Policy."""


def validate(raw: Mapping[str, Any], *, defaults: bool = True) -> dict[str, Any]:
    """Return checked metadata, with defaults filled in when a client is created.

    Raises `InvalidClientMetadata` or `InvalidRedirectUri`; the description names the field and what to change.
    """
    unknown = sorted(str(name) for name in raw if name not in _FIELDS)
    if unknown:
        raise InvalidClientMetadata("unknown metadata: " + ", ".join(_printable(name) for name in unknown[:5]))
    checked = {name: _FIELDS[name](name, value) for name, value in raw.items() if value is not None}
    if defaults:
        _fill_in(checked)
    _check_together(checked)
    return checked


def check(name: str, value: Any) -> Any:
    """Return one value of a known name, checked alone; raises as `validate`."""
    return _FIELDS[name](name, value)


def has_secret(method: str | None) -> bool:
    """Tell whether a client with this authentication method holds a secret of ours."""
    return method not in ("none", SIGNS_WITH_KEY, *BY_CERTIFICATE, WORKLOAD)


def is_offered(method: str) -> bool:
    """Tell whether this server can see what a method needs: a certificate, and for one of them who issued it."""
    if method not in BY_CERTIFICATE:
        return True
    settings = config.current()
    return bool(settings.sees_certificates and (method == BY_OWN_CERTIFICATE or settings.mtls_ca_file))


def _fill_in(values: dict[str, Any]) -> None:
    values.setdefault("grant_types", list(DEFAULT_GRANT_TYPES))
    redirects = "authorization_code" in values["grant_types"]
    for_people = redirects or DEVICE_CODE in values["grant_types"]
    values.setdefault("scope", DEFAULT_SCOPE if for_people else "")
    values.setdefault("response_types", ["code"] if redirects else [])
    values.setdefault("redirect_uris", [])


def _check_together(values: Mapping[str, Any]) -> None:
    """Rules between fields, those included that a profile implies."""
    fapi.check(values)
    values = fapi.with_implied(values)
    grants = values.get("grant_types", [])
    is_public = values.get("token_endpoint_auth_method") == "none"
    if "authorization_code" in grants and not values.get("redirect_uris"):
        raise InvalidRedirectUri("redirect_uris: at least one is needed for authorization_code")
    for grant in ("client_credentials", TOKEN_EXCHANGE, JWT_BEARER):
        if grant in grants and is_public:
            raise InvalidClientMetadata(f"grant_types: {grant} needs a client that proves itself")
    if is_public and values.get("require_pkce") is False:
        raise InvalidClientMetadata("require_pkce: false is for confidential clients only")
    is_bound = values.get("dpop_bound_access_tokens") or values.get(fapi.BY_CERTIFICATE)
    if values.get("refresh_token_rotation") is False and (is_public or not is_bound):
        raise InvalidClientMetadata(
            f"refresh_token_rotation: false is for confidential clients with dpop_bound_access_tokens "
            f"or {fapi.BY_CERTIFICATE}"
        )
    _check_keys(values)
    _check_certificates(values)
    answers.check_together(values)
    sectors.check_together(values)


def _check_keys(values: Mapping[str, Any]) -> None:
    """RFC 7591 §2: keys in one place, and where a client signs with one of them, one that it may use."""
    method, alg = values.get("token_endpoint_auth_method"), values.get("token_endpoint_auth_signing_alg")
    if ("workload" in values) != (method == WORKLOAD):
        raise InvalidClientMetadata(f"workload: goes with token_endpoint_auth_method {WORKLOAD}, which needs it")
    if "jwks" in values and "jwks_uri" in values:
        raise InvalidClientMetadata("jwks: give either the keys or jwks_uri, not both")
    if alg and alg not in ASSERTION_ALGORITHMS.get(str(method), ()):
        raise InvalidClientMetadata("token_endpoint_auth_signing_alg: not one of the client's authentication method")
    if method not in (SIGNS_WITH_KEY, BY_OWN_CERTIFICATE) or "jwks_uri" in values:
        return
    if "jwks" not in values:
        raise InvalidClientMetadata(f"jwks: {method} needs jwks or jwks_uri")
    refused = {fapi.WEAKER} if fapi.holds(values) and method == SIGNS_WITH_KEY else set()
    possible = {alg} if alg else set(ASSERTION_ALGORITHMS[SIGNS_WITH_KEY]) - refused
    found = foreign.of_set(values["jwks"])
    if not any(key.alg in possible for key in found):
        raise InvalidClientMetadata("jwks: no key is for a signature that the client may use")
    if method == BY_OWN_CERTIFICATE and any(key.x5t == "" for key in found):
        raise InvalidClientMetadata("jwks: an x5c is not its key's certificate, or cannot be read")


def _check_certificates(values: Mapping[str, Any]) -> None:
    """RFC 8705 §2.1.2 and §3.4: nothing that this server cannot see, and no two ways at once."""
    method = str(values.get("token_endpoint_auth_method"))
    if not is_offered(method):
        needed = "TRUSTED_PROXIES and MTLS_CA_FILE" if method == BY_ISSUED_CERTIFICATE else "TRUSTED_PROXIES"
        raise InvalidClientMetadata(f"token_endpoint_auth_method: {method} needs the settings {needed}")
    named = [name for name in subject.FIELDS if name in values]
    if method == BY_ISSUED_CERTIFICATE and len(named) != 1:
        raise InvalidClientMetadata(f"{method}: give exactly one of {', '.join(subject.FIELDS)}")
    if method != BY_ISSUED_CERTIFICATE and named:
        raise InvalidClientMetadata(f"{named[0]}: is for token_endpoint_auth_method {BY_ISSUED_CERTIFICATE} alone")
    if not values.get(fapi.BY_CERTIFICATE):
        return
    if not config.current().sees_certificates:
        raise InvalidClientMetadata(f"{fapi.BY_CERTIFICATE}: needs the setting TRUSTED_PROXIES")
    if values.get("dpop_bound_access_tokens"):
        raise InvalidClientMetadata(f"{fapi.BY_CERTIFICATE}: give it or dpop_bound_access_tokens, not both")


def redirect_uri(name: str, value: Any) -> str:
    """Accept https, http on loopback, and private-use schemes in reverse-domain form (RFC 8252 §7)."""
    if not isinstance(value, str) or not 0 < len(value) <= _LONGEST_URI or not _URI_CHARACTERS.match(value):
        raise InvalidRedirectUri(f"{name}: expected an absolute address without spaces or wildcards")
    scheme, separator, _rest = value.partition(":")
    if not separator or not _SCHEME.match(scheme):
        raise InvalidRedirectUri(f"{name}: the scheme is missing or not in lower case")
    try:
        parts = urlsplit(value)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        raise InvalidRedirectUri(f"{name}: malformed host or port") from None
    if "#" in value or "@" in parts.netloc:
        raise InvalidRedirectUri(f"{name}: no fragment and no user name may be in it")
    if scheme in ("https", "http"):
        if not _HOST.match(host) or parts.netloc != parts.netloc.lower():
            raise InvalidRedirectUri(f"{name}: a host is needed, in lower case")
        if scheme == "http" and not is_loopback(host):
            raise InvalidRedirectUri(f"{name}: plain http is for localhost and loopback addresses only")
    elif "." not in scheme:
        raise InvalidRedirectUri(f"{name}: a private scheme needs a dot, e.g. com.example.app:/callback")
    return value


def is_wellformed(uri: str) -> bool:
    """Tell whether a presented redirect URI has only characters that a registered one may have."""
    return len(uri) <= _LONGEST_URI and bool(_URI_CHARACTERS.match(uri)) and "#" not in uri


def web_uri(name: str, value: Any) -> str:
    """Accept a page's address: https, or http on loopback."""
    checked = redirect_uri(name, value)
    if not checked.startswith(("https://", "http://")):
        raise InvalidClientMetadata(f"{name}: expected an https address")
    return checked


def _texts(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > _MOST_URIS or not all(isinstance(item, str) for item in value):
        raise InvalidClientMetadata(f"{name}: expected a list of texts")
    return list(dict.fromkeys(value))


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str) or len(value) > _LONGEST_TEXT or any(ord(char) < 32 for char in value):
        raise InvalidClientMetadata(f"{name}: expected a text of at most {_LONGEST_TEXT} characters")
    return value.strip()


def _names(name: str, value: Any) -> list[str]:
    return [_text(name, item) for item in _texts(name, value)]


def _redirect_uris(name: str, value: Any) -> list[str]:
    if not isinstance(value, list) or len(value) > _MOST_URIS:
        raise InvalidRedirectUri(f"{name}: expected a list of addresses")
    return list(dict.fromkeys(redirect_uri(name, item) for item in value))


def _subset_of(*choices: str) -> Callable[[str, Any], list[str]]:
    def check(name: str, value: Any) -> list[str]:
        items = _texts(name, value)
        if not set(items) <= set(choices):
            raise InvalidClientMetadata(f"{name}: possible are {', '.join(choices)}")
        return items

    return check


def _one_of(*choices: str) -> Callable[[str, Any], str]:
    def check(name: str, value: Any) -> str:
        if value not in choices:
            raise InvalidClientMetadata(f"{name}: possible are {', '.join(choices)}")
        return str(value)

    return check


def _key_set(name: str, value: Any) -> dict[str, Any]:
    """Accept a JWK set of public keys; bad keys are refused here rather than left out."""
    try:
        foreign.of_set(value, strict=True)
        if len(json.dumps(value)) > _LARGEST_KEY_SET:
            raise BadKey(f"expected at most {_LARGEST_KEY_SET} characters")
    except (BadKey, TypeError, RecursionError) as cause:
        raise InvalidClientMetadata(f"{name}: {cause if isinstance(cause, BadKey) else 'malformed'}") from None
    return dict(value)


def _workload(name: str, value: Any) -> list[dict[str, Any]]:
    try:
        return workload_rules.checked(value)
    except ValueError as cause:
        raise InvalidClientMetadata(f"{name}: {cause}") from None


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidClientMetadata(f"{name}: expected true or false")
    return value


def _seconds(least: int, most: int) -> Callable[[str, Any], int]:
    def check(name: str, value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise InvalidClientMetadata(f"{name}: expected seconds from {least} to {most}")
        return value

    return check


def scope_text(name: str, value: Any) -> str:
    """Accept scopes separated by spaces (RFC 6749 §3.3), without repetition."""
    if not isinstance(value, str) or len(value) > 4000:
        raise InvalidClientMetadata(f"{name}: expected scopes separated by spaces")
    scopes = list(dict.fromkeys(value.split()))
    if not all(_SCOPE_TOKEN.match(scope) for scope in scopes):
        raise InvalidClientMetadata(f"{name}: a scope has a character that RFC 6749 forbids")
    return " ".join(scopes)


def _scopes(name: str, value: Any) -> str:
    """Accept scopes as a text or as a list."""
    return scope_text(name, " ".join(_texts(name, value)) if isinstance(value, list) else value)


def _printable(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "?", text)[:60]


_FIELDS: dict[str, Callable[[str, Any], Any]] = {
    "client_name": _text,
    "client_uri": web_uri,
    "logo_uri": web_uri,
    "tos_uri": web_uri,
    "policy_uri": web_uri,
    "contacts": _names,
    "redirect_uris": _redirect_uris,
    "post_logout_redirect_uris": _redirect_uris,
    "backchannel_logout_uri": web_uri,
    "backchannel_logout_session_required": _flag,
    "frontchannel_logout_uri": web_uri,
    "frontchannel_logout_session_required": _flag,
    "application_type": _one_of("web", "native"),
    "response_types": _subset_of("code"),
    "grant_types": _subset_of(*GRANT_TYPES),
    "scope": scope_text,
    "token_endpoint_auth_method": _one_of(*AUTH_METHODS, WORKLOAD),
    "token_endpoint_auth_signing_alg": _one_of(*(alg for algs in ASSERTION_ALGORITHMS.values() for alg in algs)),
    "workload": _workload,
    "jwks": _key_set,
    "jwks_uri": web_uri,
    "request_object_signing_alg": _one_of(*foreign.ALGORITHMS),
    "require_signed_request_object": _flag,
    "id_token_signed_response_alg": _one_of(*SIGNING_ALGORITHMS),
    "userinfo_signed_response_alg": _one_of(*SIGNING_ALGORITHMS),
    **dict.fromkeys(
        ("id_token_encrypted_response_alg", "userinfo_encrypted_response_alg"),
        _one_of(*foreign.ENCRYPTION_ALGORITHMS),
    ),
    **dict.fromkeys(
        ("id_token_encrypted_response_enc", "userinfo_encrypted_response_enc"),
        _one_of(*jwe.CONTENT_ALGORITHMS),
    ),
    "authorization_signed_response_alg": _one_of(*SIGNING_ALGORITHMS),
    "require_pushed_authorization_requests": _flag,
    "default_max_age": _seconds(0, 365 * 86400),
    "require_auth_time": _flag,
    "default_acr_values": _subset_of(*access_token.ACR_VALUES),
    "minimum_acr": _one_of(*access_token.ACR_VALUES),
    "subject_type": _one_of(*SUBJECT_TYPES),
    "sector_identifier_uri": web_uri,
    "software_id": _text,
    "software_version": _text,
    "require_pkce": _flag,
    "first_party": _flag,
    "refresh_token_rotation": _flag,
    "dpop_bound_access_tokens": _flag,
    fapi.BY_CERTIFICATE: _flag,
    **dict.fromkeys(subject.FIELDS, subject.check),
    "access_token_ttl": _seconds(30, 3600),
    "refresh_token_ttl": _seconds(60, 366 * 86400),
    "refresh_token_idle_ttl": _seconds(60, 366 * 86400),
    "refresh_token_grace": _seconds(0, 60),
    "id_token_claims": _one_of("scopes", "minimal"),
    "optional_scopes": _scopes,
    "profile": _one_of("oauth21", "oidc", fapi.NAME),
}
FIELDS = frozenset(_FIELDS)
