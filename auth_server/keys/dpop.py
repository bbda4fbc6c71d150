"""DPoP proofs (RFC 9449 §4.3): one check for the token endpoint, userinfo, our own APIs and `resource_server`.

Whether the same proof came before is for the caller to remember: its `jti` under its key, until `good_until`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from auth_server.keys import foreign
from auth_server.keys.confirmation import JKT, Confirmation

ALGORITHMS = ("ES256", "EdDSA", "PS256", "RS256")
LEEWAY = timedelta(seconds=60)
"""How old a proof may be, and how far ahead a client's clock."""
_LONGEST = 8192
_PUBLIC = {"RSA": ("e", "n"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_CURVES = {"ES256": "P-256", "EdDSA": "Ed25519"}
_KEY_TYPES = {"ES256": "EC", "EdDSA": "OKP", "PS256": "RSA", "RS256": "RSA"}
_KINDS: dict[str, Any] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_DEFAULT_PORTS = {"https": 443, "http": 80}


class _Registry(jws.JWSRegistry):
    """Room for a key in the header: an RSA key is longer than the usual 512 bytes."""

    max_header_length = _LONGEST


_REGISTRIES = {alg: _Registry(algorithms=[alg]) for alg in ALGORITHMS}
# Deeply nested JSON ends in a RecursionError; a moment beyond the calendar in an OverflowError.
_MALFORMED = (JoseError, ValueError, TypeError, RecursionError, OverflowError)


class BadProof(Exception):
    """The text is no proof for this request; the message says why."""


@dataclass(frozen=True)
class Proof:
    """A proof that holds for this request. `nonce` is what it carried, not yet compared with anything."""

    jkt: str
    jti: str
    nonce: str | None
    good_until: datetime
    alg: str

    @property
    def confirmation(self) -> Confirmation:
        return Confirmation(JKT, self.jkt)


def verify(
    presented: str, *, method: str, uri: str | Sequence[str], now: datetime, access_token: str | None = None
) -> Proof:
    """Return the proof when it was made for this request, and for this access token; raise `BadProof`.

    `uri` is the request's address, or each of several that lead to the same place.
    """
    signature, alg, jwk = _taken_apart(presented)
    key, jkt = _key(alg, jwk)
    claims = _verified(signature, alg, key)
    if claims.get("htm") != method:
        raise BadProof("htm is not this request's method")
    if _normal(claims.get("htu")) not in map(_normal, [uri] if isinstance(uri, str) else uri):
        raise BadProof("htu is not this request's address")
    if access_token is not None and not _same(claims.get("ath"), digest_of(access_token)):
        raise BadProof("ath is not this access token's hash")
    jti, nonce = claims.get("jti"), claims.get("nonce")
    if not isinstance(jti, str) or not jti:
        raise BadProof("jti is missing")
    if nonce is not None and not isinstance(nonce, str):
        raise BadProof("nonce is no text")
    return Proof(jkt, jti, nonce, _good_until(claims.get("iat"), now), alg)


def digest_of(access_token: str) -> str:
    """Return `ath` (RFC 9449 §4.2)."""
    return _base64url(hashlib.sha256(access_token.encode()).digest())


def _taken_apart(presented: str) -> tuple[jws.CompactSignature, str, dict[str, str]]:
    if len(presented) > _LONGEST or presented.count(".") != 2:
        raise BadProof("not one compact JWS")
    try:
        signature = jws.extract_compact(presented.encode("ascii"), registry=_REGISTRIES["RS256"])
        header = signature.headers()
    except _MALFORMED:
        raise BadProof("malformed header") from None
    if not isinstance(header, dict) or header.get("typ") != "dpop+jwt" or "crit" in header:
        raise BadProof("typ is not dpop+jwt")
    if header.get("alg") not in ALGORITHMS or not isinstance(header.get("jwk"), dict):
        raise BadProof("alg or jwk is missing or not accepted")
    return signature, header["alg"], header["jwk"]


def _key(alg: str, jwk: dict[str, Any]) -> tuple[RSAKey | ECKey | OKPKey, str]:
    """Return the key of the header, and its thumbprint (RFC 7638)."""
    if "d" in jwk or "k" in jwk:
        raise BadProof("jwk holds a private key")
    kty = _KEY_TYPES[alg]
    values = tuple(jwk.get(name) for name in _PUBLIC[kty])
    if jwk.get("kty") != kty or not all(isinstance(value, str) for value in values):
        raise BadProof("jwk does not fit alg")
    if alg in _CURVES and jwk["crv"] != _CURVES[alg]:
        raise BadProof("jwk has another curve")
    return _imported(kty, values)


@lru_cache(maxsize=512)
def _imported(kty: str, values: tuple[str, ...]) -> tuple[RSAKey | ECKey | OKPKey, str]:
    """A client signs every request with the same key: it is parsed once."""
    jwk = {"kty": kty, **dict(zip(_PUBLIC[kty], values, strict=True))}
    try:
        if kty == "RSA":
            foreign.check_rsa(jwk)
        key = _KINDS[kty].import_key(jwk)
    except foreign.BadKey as cause:
        raise BadProof(f"jwk: {cause}") from None
    except _MALFORMED:
        raise BadProof("malformed jwk") from None
    canonical = json.dumps(dict(sorted(jwk.items())), separators=(",", ":"))
    return key, _base64url(hashlib.sha256(canonical.encode()).digest())


def _verified(signature: jws.CompactSignature, alg: str, key: RSAKey | ECKey | OKPKey) -> dict[str, Any]:
    try:
        is_good = jws.validate_compact(signature, key, registry=_REGISTRIES[alg])
        claims = json.loads(signature.payload) if is_good else None
    except _MALFORMED:
        raise BadProof("bad signature or payload") from None
    if not isinstance(claims, dict):
        raise BadProof("bad signature, or claims are no object")
    return claims


def _good_until(iat: object, now: datetime) -> datetime:
    if not isinstance(iat, int | float) or isinstance(iat, bool):
        raise BadProof("iat is no moment")
    try:
        made_at = datetime.fromtimestamp(iat, UTC)
    except (OverflowError, ValueError, OSError):
        raise BadProof("iat is no moment") from None
    if abs(made_at - now) > LEEWAY:
        raise BadProof("iat is not now")
    return made_at + LEEWAY + timedelta(seconds=1)


def _normal(uri: object) -> str | None:
    """Return an address without query and fragment, normalised (RFC 9449 §4.3, RFC 3986 §6.2).

    The path is decoded: so it reaches an application (PEP 3333), whichever characters a client has escaped.
    """
    if not isinstance(uri, str):
        return None
    try:
        parts = urlsplit(uri)
        host, port, scheme = parts.hostname or "", parts.port, parts.scheme.lower()
    except ValueError:
        return None
    shown = "" if port in (None, _DEFAULT_PORTS.get(scheme)) else f":{port}"
    return f"{scheme}://{host}{shown}{unquote(parts.path) or '/'}"


def _same(sent: object, expected: str) -> bool:
    return isinstance(sent, str) and hmac.compare_digest(sent.encode("utf-8", "surrogatepass"), expected.encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
