"""The format of status lists: which bit is whose, and what is not taken for a list."""

from __future__ import annotations

import base64
import time
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from auth_server.keys import jose, status_list

ISSUER, URI = "https://id.example.org", "https://id.example.org/oauth/status/0"
KEY = jose.Key("one", "ES256", jose.wrap(jose.generate("ES256")))
ONE_BIT = ("eNrbuRgAAhcBXQ", [1, 0, 0, 1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 1, 0, 1])
TWO_BITS = ("eNo76fITAAPfAgc", [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3])
"""The examples of the specification (§4)."""


def packed(content: bytes) -> str:
    return base64.urlsafe_b64encode(zlib.compress(content)).rstrip(b"=").decode()


def signed(typ: str = status_list.TYPE, key: jose.Key = KEY, **changed: Any) -> str:
    """Return a good list with the first place set; a value of None removes a claim."""
    now = int(time.time())
    claims = {
        **{"iss": ISSUER, "sub": URI, "iat": now, "exp": now + 30, "ttl": 10},
        **{"status_list": {"bits": 1, "lst": packed(b"\x01" + bytes(15))}},
        **changed,
    }
    return jose.sign({name: value for name, value in claims.items() if value is not None}, key, typ)


def verify(token: str, uri: str = URI) -> status_list.StatusList:
    return status_list.verify(
        token, issuer=ISSUER, uri=uri, find_key=lambda kid: {"one": KEY}.get(kid), now=datetime.now(UTC)
    )


@pytest.mark.parametrize(("bits", "example"), [(1, ONE_BIT), (2, TWO_BITS)])
def test_the_specifications_examples_are_read(bits: int, example: tuple[str, list[int]]) -> None:
    """The first place is in the lowest bits of the first byte; whatever is not 0 is no valid token (§7)."""
    lst, statuses = example
    found = verify(signed(status_list={"bits": bits, "lst": lst}))
    assert [found.is_recalled(index) for index in range(len(statuses))] == [bool(status) for status in statuses]


@pytest.mark.parametrize("recalled", [(), (0,), (7, 8), (status_list.SIZE - 1,), tuple(range(0, 2**20, 97))])
def test_what_is_signed_is_read(recalled: tuple[int, ...]) -> None:
    """The places that were given, and none beside them; the token says for how long."""
    now = int(time.time())
    token = status_list.sign(recalled, KEY, issuer=ISSUER, uri=URI, now=now, ttl_seconds=10, life_seconds=30)
    found = verify(token)
    assert (found.ttl_seconds, found.life_seconds) == (10, 30)
    assert jose.header(token)["typ"] == "statuslist+jwt" if len(token) < 16_000 else True
    near = {place + step for place in (0, *recalled[:50]) for step in (-1, 0, 1)} & set(range(status_list.SIZE))
    assert {place for place in near if found.is_recalled(place)} == near & set(recalled)


@pytest.mark.parametrize("count", [0, 100, 10_000])
def test_a_list_is_small_on_the_way(count: int) -> None:
    """A million places in a few hundred bytes, while little is recalled; under six bytes for each that is."""
    places = [place * 104 % status_list.SIZE for place in range(count)]
    token = status_list.sign(places, KEY, issuer=ISSUER, uri=URI, now=1, ttl_seconds=10, life_seconds=30)
    assert len(token) < 1000 + 6 * count


@pytest.mark.parametrize("index", [-1, 128, 2**20, 2**70])
def test_an_index_outside_the_list_is_refused(index: int) -> None:
    """§8.3; the last place inside is read."""
    found = verify(signed())
    with pytest.raises(jose.BadToken):
        found.is_recalled(index)
    assert found.is_recalled(127) is False


def bomb(size: int) -> dict[str, Any]:
    return {"bits": 1, "lst": packed(bytes(size))}


BAD: dict[str, Callable[[], str]] = {
    "another typ": lambda: signed("JWT"),
    "an access token's typ": lambda: signed("at+jwt"),
    "another address": lambda: signed(sub=URI[:-1] + "1"),
    "no address": lambda: signed(sub=None),
    "another issuer": lambda: signed(iss="https://evil.example.org"),
    "no issuer": lambda: signed(iss=None),
    "expired": lambda: signed(exp=int(time.time()) - 1),
    "no expiry": lambda: signed(exp=None),
    "an endless expiry": lambda: signed(exp=1e400),
    "from the future": lambda: signed(iat=int(time.time()) + 60),
    "unknown kid": lambda: signed(key=jose.Key("two", "ES256", KEY.jwk)),
    "known kid, other key": lambda: signed(key=jose.Key("one", "ES256", jose.wrap(jose.generate("ES256")))),
    "altered": lambda: signed()[:-2] + ("AA" if not signed().endswith("AA") else "BB"),
    "no JWT": lambda: "garbage",
    "too long": lambda: "a" * 2**20 + ".b.c",
    "no list": lambda: signed(status_list=None),
    "a list of another kind": lambda: signed(status_list=[1]),
    "no bits": lambda: signed(status_list={"lst": ONE_BIT[0]}),
    "three bits": lambda: signed(status_list={"bits": 3, "lst": ONE_BIT[0]}),
    "bits that are true": lambda: signed(status_list={"bits": True, "lst": ONE_BIT[0]}),
    "a list of numbers": lambda: signed(status_list={"bits": 1, "lst": [0]}),
    "not base64url": lambda: signed(status_list={"bits": 1, "lst": "eNrb+/gA"}),
    "not ASCII": lambda: signed(status_list={"bits": 1, "lst": "eNrbü"}),
    "not compressed": lambda: signed(status_list={"bits": 1, "lst": "AAAA"}),
    "cut off": lambda: signed(status_list={"bits": 1, "lst": ONE_BIT[0][:8]}),
    "more behind it": lambda: signed(status_list={"bits": 1, "lst": ONE_BIT[0] + ONE_BIT[0]}),
    "one byte too many": lambda: signed(status_list=bomb(2**20 + 1)),
    "a zip bomb": lambda: signed(status_list=bomb(200 * 2**20)),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_list_of_the_issuers_is_refused(kind: str) -> None:
    """Signature, typ, issuer, address, time, form and size (§8.3, §11); its good twin is taken."""
    with pytest.raises(jose.BadToken):
        verify(BAD[kind]())
    assert verify(signed()).is_recalled(0)
    assert verify(signed(status_list=bomb(2**20))).is_recalled(0) is False


def test_a_time_to_live_that_is_none_counts_as_not_said() -> None:
    """`ttl` is a positive number (§5.1)."""
    for ttl in (None, 0, -1, "10", True, 1.5):
        assert verify(signed(ttl=ttl)).ttl_seconds is None
    assert verify(signed(ttl=10)).ttl_seconds == 10


def test_clocks_may_differ_as_far_as_one_says() -> None:
    """As with access tokens."""
    token = signed(exp=int(time.time()) - 30)
    about: dict[str, Any] = {"issuer": ISSUER, "uri": URI, "find_key": lambda _kid: KEY, "now": datetime.now(UTC)}
    assert status_list.verify(token, **about, leeway=timedelta(seconds=60)).is_recalled(0)
    with pytest.raises(jose.BadToken):
        status_list.verify(token, **about, leeway=timedelta(seconds=10))
