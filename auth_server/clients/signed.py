"""What every signed statement goes through before anybody believes it: form, header, and a key that signed it.

Which algorithms and keys count is said by whoever is expected to have signed, never by the statement (RFC 8725 §3.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Any

from auth_server.clients.keys import Found
from auth_server.keys import jose
from auth_server.keys.jose import BadToken, Unverified

LONGEST_JTI = 255
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\Z")
_LONGEST = 8192
_REFUSED_HEADERS = frozenset({"jwk", "jku", "x5u", "x5c", "b64"})
"""Keys that come along, and what would change what was signed (RFC 7797)."""


class NotSigned(Exception):
    """Nothing is proved. `sentence` says why in fixed words; the message also why keys are missing, for the audit."""

    def __init__(self, sentence: str, problem: str = "") -> None:
        super().__init__("; ".join(filter(None, (sentence, problem)))[:255])
        self.sentence = sentence


def read(presented: str) -> Unverified:
    """Take a statement apart; raise `NotSigned`."""
    try:
        if len(presented) > _LONGEST or not _COMPACT.match(presented):
            raise BadToken("not a compact JWS")
        return jose.read(presented)
    except BadToken as cause:
        raise NotSigned(f"malformed assertion: {cause}") from None


def claimed(statement: Unverified, name: str) -> str:
    """Return a claim that nobody has vouched for yet; "" when it is missing or no text."""
    try:
        found = statement.claimed().get(name)
    except BadToken:
        return ""
    return found if isinstance(found, str) else ""


def verified(
    statement: Unverified,
    *,
    whose: str,
    algorithms: Collection[str],
    types: Collection[str | None],
    find: Callable[[str, str | None], Found],
) -> dict[str, Any]:
    """Return the claims that one of the expected keys has signed; raise `NotSigned`.

    `types` are the possible values of `typ`, in lower case; None: it may be left out.
    """
    alg, kid, typ = (statement.header.get(name) for name in ("alg", "kid", "typ"))
    if not isinstance(alg, str) or alg not in algorithms:
        raise NotSigned(f"the assertion's algorithm is not one of the {whose}'s")
    if not _REFUSED_HEADERS.isdisjoint(statement.header):
        raise NotSigned("the assertion brings a key along, or another form of payload")
    if (None if typ is None else str(typ).lower().removeprefix("application/")) not in types:
        raise NotSigned("typ of the assertion is another kind of token's")
    if kid is not None and not isinstance(kid, str):
        raise NotSigned("kid of the assertion is no text")
    found = find(alg, kid)
    for key in found.keys:
        try:
            return statement.verified_by(key)
        except BadToken:
            continue
    cause = f"signed by none of the {whose}'s keys" if found.keys else f"the {whose} has no key for it"
    raise NotSigned(cause, found.problem)
