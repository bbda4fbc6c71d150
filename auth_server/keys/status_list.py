"""Token Status Lists (draft-ietf-oauth-status-list): a bit for each place, set once its tokens are recalled.

The format alone: which places are whose is not known here. The server signs lists, `resource_server` reads them.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from auth_server.keys import access_token, jose

SIZE = 2**20
"""Places in one of our lists, whether taken or not: who reads it learns nothing from an index, since a person is one of
up to a million. 128 KiB in memory; a few hundred bytes on the way while little is recalled."""
TYPE = "statuslist+jwt"
MEDIA_TYPE = f"application/{TYPE}"
_TYPES = (TYPE, MEDIA_TYPE)
_BITS = 1
_POSSIBLE_BITS = (1, 2, 4, 8)
_LEVEL = 6
"""Deviation: §4.1 recommends 9, which takes fourteen times as long for a sixth less where ten thousand bits are set."""
_LONGEST_TOKEN = 1024 * 1024
_MOST_BYTES = 2**20
"""So much a list may hold when it is unpacked; a megabyte of zeros packs into one kilobyte."""


@dataclass(frozen=True)
class StatusList:
    """A verified list. `life_seconds` is from its making to its end; `ttl_seconds` says when to fetch it anew."""

    life_seconds: float
    ttl_seconds: int | None
    _bits: int
    _packed: bytes

    def is_recalled(self, index: int) -> bool:
        """Tell whether the status at a place is another than "valid"; raise `jose.BadToken` beyond the list's end."""
        bit = index * self._bits
        if not 0 <= bit < len(self._packed) * 8:
            raise jose.BadToken("the index is outside the status list")
        return bool(self._packed[bit >> 3] >> (bit & 7) & (1 << self._bits) - 1)


def sign(
    recalled: Iterable[int], key: jose.Key, *, issuer: str, uri: str, now: int, ttl_seconds: int, life_seconds: int
) -> str:
    """Return the signed list with these places set (§5.1)."""
    claims = {
        "iss": issuer,
        "sub": uri,
        "iat": now,
        "exp": now + life_seconds,
        "ttl": ttl_seconds,
        "status_list": {"bits": _BITS, "lst": _pack(recalled)},
    }
    return jose.sign(claims, key, TYPE)


def verify(
    token: str,
    *,
    issuer: str,
    uri: str,
    find_key: Callable[[str], jose.Key | None],
    now: datetime,
    leeway: timedelta = timedelta(0),
) -> StatusList:
    """Return the live list that the issuer signed for this address (§8.3); raise `jose.BadToken`."""
    unverified = jose.read(token, longest=_LONGEST_TOKEN)
    if str(unverified.header.get("typ", "")).lower() not in _TYPES:
        raise jose.BadToken(f"typ is not {TYPE}")
    kid = unverified.header.get("kid")
    key = find_key(kid) if isinstance(kid, str) else None
    if key is None:
        raise jose.BadToken("unknown kid")
    claims = unverified.verified_by(key)
    if claims.get("iss") != issuer or claims.get("sub") != uri:
        raise jose.BadToken("the status list of another issuer or address")
    access_token.check_times(claims, now.timestamp(), leeway.total_seconds())
    ttl = claims.get("ttl")
    is_ttl = isinstance(ttl, int) and not isinstance(ttl, bool) and ttl > 0
    return StatusList(claims["exp"] - claims["iat"], ttl if is_ttl else None, *_unpack(claims.get("status_list")))


def _pack(recalled: Iterable[int]) -> str:
    """Return the bits, the first place in the lowest bit of the first byte, compressed (§4.1)."""
    packed = bytearray(SIZE * _BITS // 8)
    for place in recalled:
        packed[place >> 3] |= 1 << (place & 7)
    return base64.urlsafe_b64encode(zlib.compress(packed, _LEVEL)).rstrip(b"=").decode()


def _unpack(found: Any) -> tuple[int, bytes]:
    """Return bits per place and the bytes; what would grow beyond bounds is not unpacked."""
    bits, compressed = (found.get("bits"), found.get("lst")) if isinstance(found, dict) else (None, None)
    if type(bits) is not int or bits not in _POSSIBLE_BITS or not isinstance(compressed, str):
        raise jose.BadToken("malformed status list")
    reader = zlib.decompressobj()
    try:
        padded = compressed.encode("ascii") + b"=" * (-len(compressed) % 4)
        packed = reader.decompress(base64.b64decode(padded, b"-_", validate=True), _MOST_BYTES)
    except (ValueError, binascii.Error, zlib.error) as cause:
        raise jose.BadToken("malformed status list") from cause
    if not reader.eof or reader.unused_data:
        raise jose.BadToken("the status list is cut off, or larger than is taken")
    return bits, packed
