"""`resource_server` and status lists: what was recalled is refused, how often a list is fetched, and what happens when
it cannot be had."""

from __future__ import annotations

import time
import zlib
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from flask import Flask

from auth_server import resource_server, resource_status
from auth_server.keys import jose, status_list
from auth_server.resource_server import Answer
from tests.support import factories
from tests.support.issuer import JWKS, LIST, Document, Issuer
from tests.support.live import Server
from tests.support.protected import an_api, get, is_refused, is_unavailable, status
from tests.support.rp import RelyingParty, payload
from tests.support.site import Site, open_site

MINE = 412


@pytest.fixture(scope="module")
def natives() -> dict[str, jose.NativeKey]:
    return {"ES256": jose.generate("ES256")}


@pytest.fixture
def issuer(natives: dict[str, jose.NativeKey]) -> Iterator[Issuer]:
    issuer = Issuer(natives)
    issuer.publish_list()
    yield issuer
    issuer.stop()


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that lets seconds pass for the lists that an API holds; nobody's clock moves."""
    passed = [0.0]
    monkeypatch.setattr(resource_status, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0]))

    def let_pass(seconds: float) -> None:
        passed[0] += seconds

    return let_pass


def mine(issuer: Issuer, **changed: Any) -> str:
    """Return a good token that has the place `MINE`."""
    return issuer.token(**{"status": issuer.status(MINE), **changed})


def test_a_recalled_token_is_refused(issuer: Issuer, wait: Callable[[float], None]) -> None:
    """401 `invalid_token`; its neighbours are let in. The list is fetched once for all of them."""
    api = an_api(issuer)
    tokens = [mine(issuer, status=issuer.status(index)) for index in (MINE - 1, MINE, MINE + 1)]
    assert [status(api, token) for token in tokens] == [200] * 3
    issuer.publish_list(MINE)
    wait(10)
    assert [status(api, token) for token in tokens] == [200, 401, 200]
    is_refused(get(api, tokens[1]))
    assert issuer.count(LIST) == 2


def test_a_token_without_a_status_needs_no_list(issuer: Issuer) -> None:
    """Other issuers' and older tokens have none."""
    assert status(an_api(issuer), issuer.token()) == 200
    assert issuer.count(LIST) == 0


def test_it_can_be_switched_off(issuer: Issuer) -> None:
    """Then a token is good until it expires, and nothing is fetched; a word that means nothing is refused."""
    issuer.publish_list(MINE)
    assert status(an_api(issuer, status_lists="off"), mine(issuer)) == 200
    assert issuer.count(LIST) == 0
    is_refused(get(an_api(issuer), mine(issuer)))
    with pytest.raises(ValueError, match="strict"):
        an_api(issuer, status_lists="on")


MALFORMED: dict[str, Callable[[Issuer], Any]] = {
    "no object": lambda i: "valid",
    "nothing": lambda i: {},
    "another way": lambda i: {"identifier_list": {"id": "1"}},
    "a list instead": lambda i: {"status_list": [MINE]},
    "no index": lambda i: {"status_list": {"uri": i.url + LIST}},
    "an index in words": lambda i: {"status_list": {"idx": str(MINE), "uri": i.url + LIST}},
    "an index that is true": lambda i: {"status_list": {"idx": True, "uri": i.url + LIST}},
    "an index before the first": lambda i: i.status(-1),
    "an index behind the last": lambda i: i.status(status_list.SIZE),
    "an index without end": lambda i: {"status_list": {"idx": 1e400, "uri": i.url + LIST}},
    "no address": lambda i: {"status_list": {"idx": MINE}},
    "another site": lambda i: {"status_list": {"idx": MINE, "uri": "https://evil.example.org/oauth/status/0"}},
    "a site that begins alike": lambda i: {"status_list": {"idx": MINE, "uri": i.url + ".evil.example.org/0"}},
}


@pytest.mark.parametrize("policy", ["strict", "lenient"])
@pytest.mark.parametrize("kind", MALFORMED)
def test_a_status_that_cannot_be_understood_is_a_no(issuer: Issuer, kind: str, policy: str) -> None:
    """Signed or not: nothing is fetched from elsewhere, and the token is not let in; its good twin is."""
    api = an_api(issuer, status_lists=policy)
    is_refused(get(api, mine(issuer, status=MALFORMED[kind](issuer))))
    assert status(api, mine(issuer, status=issuer.status(status_list.SIZE - 1))) == 200


def list_of(issuer: Issuer, key: jose.Key | None = None, typ: str = status_list.TYPE, **changed: Any) -> Document:
    """Return a good list with nothing set, but for what is changed."""
    now = int(time.time())
    lst = urlsafe_b64encode(zlib.compress(bytes(128))).decode().rstrip("=")
    claims = {
        **{"iss": issuer.url, "sub": issuer.url + LIST, "iat": now, "exp": now + 30, "ttl": 10},
        **{"status_list": {"bits": 1, "lst": lst}},
        **changed,
    }
    return Document(200, {}, jose.sign(claims, key or issuer.key("ES256"), typ).encode())


def bomb(size: int) -> dict[str, Any]:
    return {"bits": 1, "lst": urlsafe_b64encode(zlib.compress(bytes(size))).decode().rstrip("=")}


UNUSABLE: dict[str, Callable[[Issuer], Document]] = {
    "missing": lambda i: Document(404),
    "failing": lambda i: Document(500),
    "elsewhere": lambda i: Document(302, {"Location": i.url + "/other"}),
    "garbage": lambda i: Document(200, {}, b"\xff\x00"),
    "plain JSON": lambda i: Document.of({"status_list": {"bits": 1, "lst": "eNrbuRgAAhcBXQ"}}),
    "another typ": lambda i: list_of(i, typ="at+jwt"),
    "another address": lambda i: list_of(i, sub=i.url + "/oauth/status/1"),
    "another issuer": lambda i: list_of(i, iss="https://evil.example.org"),
    "expired": lambda i: list_of(i, exp=int(time.time()) - 61),
    "a strange key": lambda i: list_of(i, key=jose.Key(i.key("ES256").kid, "ES256", jose.wrap(jose.generate("ES256")))),
    "a zip bomb": lambda i: list_of(i, status_list=bomb(100 * 2**20)),
    "longer than any list": lambda i: Document(200, {}, b"a" * (3 * 2**20)),
    "zeros without end, packed on the way": lambda i: Document(
        200, {"Content-Encoding": "gzip"}, zlib.compress(bytes(50 * 2**20), wbits=31)
    ),
}


@pytest.mark.parametrize("kind", UNUSABLE)
def test_without_a_list_nothing_can_be_said(issuer: Issuer, kind: str, wait: Callable[[float], None]) -> None:
    """503 with `Retry-After`, neither yes nor 401; "lenient" lets in. The list that follows is taken a second later."""
    issuer.documents[LIST] = UNUSABLE[kind](issuer)
    strict, lenient = an_api(issuer), an_api(issuer, status_lists="lenient")
    is_unavailable(get(strict, mine(issuer)))
    assert status(lenient, mine(issuer)) == 200
    assert status(strict, issuer.token()) == 200
    issuer.documents[LIST] = list_of(issuer)
    wait(1)
    assert status(strict, mine(issuer)) == 200


@pytest.mark.parametrize(
    ("cache_control", "age", "seconds"),
    [
        ("public, max-age=10", "", 9), ("max-age=5", "", 4), ("", "", 9), ("max-age=3600", "", 9),
        ("max-age=10", "4", 5), ("max-age=10", "600", 1), ("max-age=0", "", 1), ("max-age=10", "soon", 9),
    ],
)  # fmt: skip
def test_a_list_is_kept_as_long_as_it_may_be(
    issuer: Issuer, wait: Callable[[float], None], cache_control: str, age: str, seconds: int
) -> None:
    """The shorter of `ttl` and `max-age`, less what it spent in a cache, less a second for the issuer's own delay."""
    issuer.publish_list(cache_control=cache_control, **({"Age": age} if age else {}))
    api = an_api(issuer)
    assert status(api, mine(issuer)) == 200
    issuer.publish_list(MINE)
    wait(seconds - 0.9)
    assert status(api, mine(issuer)) == 200
    wait(0.9)
    is_refused(get(api, mine(issuer)))
    assert issuer.count(LIST) == 2


def test_requests_at_once_fetch_once(issuer: Issuer, wait: Callable[[float], None]) -> None:
    """Cold and when it is old: one asks, and the others wait for what it brings."""
    app, token = an_api(issuer).application, mine(issuer)
    for round_ in (1, 2):
        with ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda _: status(app.test_client(), token), range(16)))
        assert found == [200 if round_ == 1 else 401] * 16
        assert issuer.count(LIST) == round_
        issuer.publish_list(MINE)
        wait(10)


@pytest.mark.parametrize("policy", ["strict", "lenient"])
def test_an_outage_is_bridged_until_the_list_expires(
    issuer: Issuer, wait: Callable[[float], None], policy: str
) -> None:
    """What was known holds for the list's life, and what was recalled stays so; then 503, or by choice 200."""
    issuer.publish_list(MINE)
    api = an_api(issuer, status_lists=policy)
    other = mine(issuer, status=issuer.status(7))
    assert (status(api, mine(issuer)), status(api, other)) == (401, 200)
    issuer.documents[LIST] = Document(503)
    wait(25)
    assert (status(api, mine(issuer)), status(api, other)) == (401, 200)
    wait(6)
    is_refused(get(api, mine(issuer)))
    assert status(api, other) == (503 if policy == "strict" else 200)
    issuer.publish_list(7)
    wait(1)
    assert (status(api, mine(issuer)), status(api, other)) == (200, 401)


def test_an_issuer_that_is_away_is_not_asked_by_every_request(issuer: Issuer, wait: Callable[[float], None]) -> None:
    """Once a second; nobody waits for it while the list is still good."""
    api = an_api(issuer)
    assert status(api, mine(issuer)) == 200
    issuer.documents[LIST] = Document(500)
    wait(10)
    assert [status(api, mine(issuer)) for _ in range(5)] == [200] * 5
    assert issuer.count(LIST) == 2
    wait(1)
    assert status(api, mine(issuer)) == 200
    assert issuer.count(LIST) == 3


def test_lists_are_not_held_without_end(issuer: Issuer) -> None:
    """An API with tokens of very many lists forgets some, and fetches them again."""
    api = an_api(issuer)
    template = issuer.documents[LIST]
    for number in range(70):
        path = f"/oauth/status/{number}"
        issuer.publish_list(uri=issuer.url + path)
        issuer.documents[path] = issuer.documents[LIST]
        token = mine(issuer, status={"status_list": {"idx": 1, "uri": issuer.url + path}})
        assert status(api, token) == 200
    issuer.documents[LIST] = template
    assert status(api, mine(issuer)) == 200
    assert issuer.count(LIST) == 2
    assert issuer.count(JWKS) == 1


def reached(server: Server) -> resource_server.Fetch:
    """Return a fetch that goes to a server process under the issuer's name."""

    def fetch(url: str, headers: resource_server.Headers, body: bytes | None) -> Answer:
        address = url.replace("http://localhost:8421", f"http://127.0.0.1:{server.port}")
        found = httpx2.request("POST" if body else "GET", address, headers=dict(headers), content=body)
        return Answer(found.status_code, {name.lower(): value for name, value in found.headers.items()}, found.content)

    return fetch


class Orders:
    """A sample API that reaches the issuer by one of its processes, and verifies locally."""

    def __init__(self, server: Server) -> None:
        self.asked: list[str] = []
        fetch = reached(server)
        app = Flask("orders")

        def noted(url: str, headers: resource_server.Headers, body: bytes | None) -> Answer:
            self.asked.append(url)
            return fetch(url, headers, body)

        protect = resource_server.protector("http://localhost:8421", factories.ORDERS, fetch=noted)
        app.add_url_rule("/orders", view_func=protect("orders:read")(lambda: ""), endpoint="orders")
        self.client = app.test_client()

    def status(self, token: str) -> int:
        return self.client.get("/orders", headers={"Authorization": f"Bearer {token}"}).status_code

    def seconds_until_refused(self, token: str, most: float) -> float:
        begun = time.monotonic()
        while self.status(token) == 200:
            assert time.monotonic() < begun + most, "still let in"
            time.sleep(0.1)
        return time.monotonic() - begun


@pytest.fixture
def site(app: Flask, start_server: Callable[..., Server]) -> Site:
    """Two server processes on one database, lists good for three seconds, and an app that may read orders."""
    servers = [start_server(status_list_ttl=3) for _ in range(2)]
    found = open_site(app, servers)
    factories.api(app)
    client, secret = factories.client(app, scope="openid profile email offline_access orders:read")
    found.rp = RelyingParty(app, found.rp.browser, client, secret)
    return found


def test_what_one_process_revokes_an_api_of_another_refuses_within_the_lists_life(site: Site) -> None:
    """Refresh token or access token, by the app: no API asks about any token, and each refuses within STATUS_LIST_TTL;
    after a restart too, and the other person's token lives on.
    """
    orders = [Orders(server) for server in site.servers]
    scope = {"email": "ben@example.org", "scope": "openid offline_access orders:read"}
    first, second, kept = (site.exchange(site.rp.code(**scope)).body for _ in range(3))
    tokens = [body["access_token"] for body in (first, second, kept)]
    assert [api.status(token) for api in orders for token in tokens] == [200] * 6
    site.revoke(first["refresh_token"], way=0)
    site.revoke(second["access_token"], way=1)
    most = 3 + 1  # a second for this slow test
    assert all(api.seconds_until_refused(token, most) <= most for api in orders for token in tokens[:2])
    assert [api.status(tokens[2]) for api in orders] == [200] * 2
    assert not [url for api in orders for url in api.asked if "introspect" in url]
    assert len([url for url in orders[0].asked if "/oauth/status/" in url]) <= 6
    renewed = site.refresh(second["refresh_token"], way=0)
    assert payload(renewed.body["access_token"])["status"] != payload(tokens[1])["status"]
    site.servers[1].kill()
    site.servers[1].start()
    assert [Orders(site.servers[1]).status(token) for token in tokens] == [401, 401, 200]
    assert Orders(site.servers[1]).status(renewed.body["access_token"]) == 200


def test_lists_survive_json_of_every_shape(issuer: Issuer, wait: Callable[[float], None]) -> None:
    """Signed by the issuer or not, no list makes the API crash."""
    api = an_api(issuer)
    for odd in (None, 1, "x", [], {}, {"bits": 1}, {"bits": 1, "lst": {}}, {"bits": 16, "lst": ""}):
        issuer.documents[LIST] = list_of(issuer, status_list=odd)
        is_unavailable(get(api, mine(issuer)))
        wait(1.1)


def test_an_expired_list_is_not_good_for_a_clock_that_is_right(issuer: Issuer) -> None:
    """Within the minute that clocks may differ it is taken, as access tokens are."""
    issuer.documents[LIST] = list_of(issuer, exp=int(time.time()) - 50, iat=int(time.time()) - 80)
    assert status(an_api(issuer), mine(issuer)) == 200
    assert resource_server.LEEWAY.total_seconds() == 60
