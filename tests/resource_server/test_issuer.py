"""What the API fetches from the issuer: keys that are kept, followed and missed, and outages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest

from auth_server import resource_issuer
from auth_server.resource_server import Answer
from tests.support.issuer import JWKS, METADATA, Document, Issuer
from tests.support.protected import an_api, get, is_refused, is_unavailable, status, strange


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Return a function that lets seconds pass for the caches of the API."""
    passed = [0.0]
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + passed[0])
    monkeypatch.setattr(resource_issuer, "time", clock)

    def let_pass(seconds: float) -> None:
        passed[0] += seconds

    return let_pass


@pytest.mark.parametrize(
    ("cache_control", "seconds"), [("public, max-age=900", 900), ("max-age=5", 60), ("", 60), ("max-age=86400", 3600)]
)
def test_keys_are_kept_as_long_as_the_issuer_says(
    issuer: Issuer, wait: Callable[[float], None], cache_control: str, seconds: int
) -> None:
    """Within a minute and an hour (RFC 9111 §5.2.2.1): then a revoked key is found to be gone."""
    issuer.publish(cache_control)
    api, token = an_api(issuer), issuer.token()
    assert [status(api, token) for _ in range(3)] == [200] * 3
    issuer.replace_key()
    issuer.publish(cache_control)
    wait(seconds - 5)
    assert status(api, token) == 200
    assert issuer.count(JWKS) == 1
    wait(10)
    is_refused(get(api, token))
    assert issuer.count(JWKS) == 2
    assert status(api, issuer.token()) == 200


def test_a_rotation_is_followed_without_a_restart(issuer: Issuer, wait: Callable[[float], None]) -> None:
    """An unknown `kid` makes the API look again."""
    api = an_api(issuer)
    assert status(api, issuer.token()) == 200
    issuer.replace_key()
    issuer.publish()
    wait(10)
    assert status(api, issuer.token()) == 200
    assert issuer.count(JWKS) == 2


def test_unknown_kids_do_not_make_the_api_a_hammer(issuer: Issuer, wait: Callable[[float], None]) -> None:
    """One look per ten seconds, whatever strangers send."""
    api = an_api(issuer)
    for _ in range(5):
        is_refused(get(api, strange(issuer, "unknown")))
    assert issuer.count(JWKS) == 1
    wait(10)
    for _ in range(5):
        is_refused(get(api, strange(issuer, "unknown")))
    assert issuer.count(JWKS) == 2
    assert status(api, issuer.token()) == 200


def test_requests_at_once_fetch_once(issuer: Issuer) -> None:
    """A cold start under load asks the issuer one time."""
    app, token = an_api(issuer).application, issuer.token()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: status(app.test_client(), token), range(16)))
    assert found == [200] * 16
    assert issuer.count(JWKS) == 1


BROKEN: dict[str, Callable[[Issuer], None]] = {
    "nobody listens": lambda i: i.stop(),
    "metadata missing": lambda i: i.documents.update({METADATA: Document(404)}),
    "metadata are no JSON": lambda i: i.documents.update({METADATA: Document(body=b"<html>")}),
    "metadata are a list": lambda i: i.documents.update({METADATA: Document.of([])}),
    "metadata name another issuer": lambda i: i.documents.update(
        {METADATA: Document.of({**i.metadata, "issuer": "https://evil.example.org"})}
    ),
    "metadata name no key set": lambda i: i.documents.update({METADATA: Document.of({"issuer": i.url})}),
    "key set fails": lambda i: i.documents.update({JWKS: Document(500)}),
    "key set moved": lambda i: i.documents.update({JWKS: Document(302, {"Location": "/elsewhere"})}),
    "key set is no UTF-8": lambda i: i.documents.update({JWKS: Document(body=b"\xff")}),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_an_issuer_that_is_down_is_a_503(issuer: Issuer, kind: str) -> None:
    """Without keys nothing can be said: neither yes nor 401, and never a crash. The twin's issuer answers."""
    assert status(an_api(issuer), issuer.token()) == 200
    BROKEN[kind](issuer)
    is_unavailable(get(an_api(issuer), issuer.token()))


def test_an_issuer_is_asked_again_soon_but_not_by_every_request(issuer: Issuer, wait: Callable[[float], None]) -> None:
    """An outage ends by itself, and does not pile up requests that wait for a timeout."""
    good = issuer.documents[JWKS]
    issuer.documents[JWKS] = Document(500)
    api = an_api(issuer)
    for _ in range(5):
        is_unavailable(get(api, issuer.token()))
    assert issuer.count(JWKS) == 1
    issuer.documents[JWKS] = good
    wait(1)
    assert status(api, issuer.token()) == 200


def test_known_keys_outlast_an_outage(issuer: Issuer, wait: Callable[[float], None]) -> None:
    """As long as the issuer let them be kept; about an unknown `kid` nothing can be said."""
    api = an_api(issuer)
    assert status(api, issuer.token()) == 200
    issuer.stop()
    wait(10)
    is_unavailable(get(api, strange(issuer, "unknown")))
    assert status(api, issuer.token()) == 200
    wait(900)
    is_unavailable(get(api, issuer.token()))


@pytest.mark.parametrize("more", [{"kty": "oct", "kid": "s", "alg": "HS256", "k": "AAAA"}, {}, None, "key", 1])
def test_keys_that_are_not_for_us_are_passed_over(issuer: Issuer, more: Any) -> None:
    """A key set may hold kinds that we do not know (RFC 7517 §5)."""
    keys = json.loads(issuer.documents[JWKS].body)["keys"]
    issuer.documents[JWKS] = Document.of({"keys": [more, *keys]})
    assert status(an_api(issuer), issuer.token()) == 200


def test_fetching_can_be_handed_in(issuer: Issuer) -> None:
    """For those who need a proxy, a private authority or another library."""
    fetched = []

    def fetch(url: str, headers: Any, body: bytes | None) -> Answer:
        fetched.append(url.removeprefix(issuer.url))
        return Answer(200, {}, issuer.documents[fetched[-1]].body)

    assert status(an_api(issuer, fetch=fetch), issuer.token()) == 200
    assert fetched == [METADATA, JWKS]
    assert issuer.asked == []
