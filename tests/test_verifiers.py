"""Twenty APIs that verify tokens by themselves, over a rotation of the keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from authlib.integrations.flask_oauth2 import current_token
from flask import Flask

from auth_server import resource_issuer, resource_server
from auth_server.keys import jose, keyring
from auth_server.resource_server import Answer
from tests.support import factories
from tests.support.rp import basic, bearer

VERIFIERS = 20
MINUTES = 90
_CACHE_MINUTES = 15
"""The default of JWKS_MAX_AGE."""


class Day:
    """The verifiers' clock, and how often each of them asked for the key set."""

    def __init__(self, app: Flask) -> None:
        self.app = app
        self.seconds = 1000.0
        self.fetches: Counter[int] = Counter()

    def fetcher(self, number: int) -> Callable[..., Answer]:
        def fetch(url: str, _headers: Any, _body: bytes | None) -> Answer:
            path = urlsplit(url).path
            if path.endswith("jwks.json"):
                self.fetches[number] += 1
            found = self.app.test_client(use_cookies=False).get(path)
            return Answer(found.status_code, {key.lower(): value for key, value in found.headers.items()}, found.data)

        return fetch


@pytest.fixture
def day(app: Flask, monkeypatch: pytest.MonkeyPatch) -> Day:
    found = Day(app)
    monkeypatch.setattr(resource_issuer, "time", SimpleNamespace(monotonic=lambda: found.seconds))
    return found


def an_api(day: Day, number: int) -> Any:
    """Return a client of an API that verifies locally."""
    api = Flask(f"api-{number}")
    protect = resource_server.protector("http://localhost:8421", factories.ORDERS, fetch=day.fetcher(number))
    api.add_url_rule("/", "home", protect("orders:read")(lambda: {"sub": current_token["sub"]}))
    return api.test_client()


def test_a_rotation_costs_no_failure_and_no_extra_fetch(app: Flask, day: Day) -> None:
    """The new key was published before it signed: nobody is refused or asks too often."""
    factories.api(app)
    client, secret = factories.client(app, grant_types=["client_credentials"], redirect_uris=[], scope="orders:read")
    machine = app.test_client(use_cookies=False)

    def token() -> str:
        fields = {"grant_type": "client_credentials", "scope": "orders:read"}
        answer = machine.post("/oauth/token", data=fields, headers=basic(client.client_id, secret))
        return str(answer.json["access_token"])

    apis = [an_api(day, number) for number in range(VERIFIERS)]
    statuses: Counter[int] = Counter()
    kids = set()
    for minute in range(MINUTES):
        if minute == MINUTES // 2:
            factories.within(app, keyring.rotate)
        presented = token()
        kids.add(jose.header(presented)["kid"])
        for api in apis:
            statuses[api.get("/", headers=bearer(presented)).status_code] += 1
        day.seconds += 60
    assert statuses == {200: VERIFIERS * MINUTES}
    assert len(kids) == 2
    assert len(day.fetches) == VERIFIERS
    assert max(day.fetches.values()) <= MINUTES // _CACHE_MINUTES
