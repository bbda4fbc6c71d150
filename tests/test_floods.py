"""Strangers who send a hundred thousand different wrong things leave the memory as it was."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import EnvironBuilder

from auth_server.accounts import sign_in
from auth_server.clients.client import Client
from auth_server.infra import audit
from auth_server.values import Rate
from tests.support import factories
from tests.support.rp import basic

MANY = 100_000
FORM = "application/x-www-form-urlencoded"
_MOST_GROWTH_MEGABYTES = 24


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep the lines of a hundred thousand refusals out of the report; they are written all the same."""
    logger = logging.getLogger("auth_server.events")
    logger.setLevel(logging.CRITICAL)
    yield
    logger.setLevel(logging.NOTSET)


def megabytes() -> float:
    """Return the memory that this process holds."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) / 1024


def sender(app: Flask, path: str, headers: dict[str, str]) -> Callable[..., int]:
    """Return a function that sends a form and returns the status; the same few objects each time."""
    template = EnvironBuilder(path, method="POST", headers=headers, content_type=FORM).get_environ()
    seen: list[int] = []

    def start_response(status: str, _headers: Any) -> None:
        seen[:] = [int(status[:3])]

    def send(body: str, address: str = "192.0.2.1") -> int:
        import io

        length = {"CONTENT_LENGTH": str(len(body)), "REMOTE_ADDR": address}
        for _chunk in app.wsgi_app({**template, **length, "wsgi.input": io.BytesIO(body.encode())}, start_response):
            pass
        return seen[0]

    return send


def grows_by(act: Callable[[int], None]) -> float:
    """Return by how many megabytes the second half of the flood, and more, makes the process grow."""
    for number in range(MANY // 10):
        act(number)
    before = megabytes()
    for number in range(MANY // 10, MANY):
        act(number)
    return megabytes() - before


def test_unknown_clients(app: Flask) -> None:
    """Each id is looked for and remembered as unknown, for a bounded number of ids."""
    send = sender(app, "/oauth/token", {})
    statuses = set()

    def ask(number: int) -> None:
        statuses.add(send(f"grant_type=client_credentials&client_id=nobody-{number}&client_secret=x"))

    assert grows_by(ask) < _MOST_GROWTH_MEGABYTES
    assert statuses == {401}


@pytest.fixture
def service(app: Flask) -> tuple[Client, str]:
    return factories.service(app)


def test_unknown_tokens(app: Flask, service: tuple[Client, str]) -> None:
    """Opaque ones and ones that look like a JWT."""
    send = sender(app, "/oauth/introspect", basic(service[0].client_id, service[1]))
    statuses = set()

    def ask(number: int) -> None:
        statuses.add(send(f"token=unknown-{number}" if number % 2 else f"token=eyJhbGciOiJSUzI1NiJ9.e30.{number}"))

    assert grows_by(ask) < _MOST_GROWTH_MEGABYTES
    assert statuses == {200}


def test_wrong_secrets_from_many_addresses_with_limits(make_app: Callable[..., Flask]) -> None:
    """A count for each address and a closed door for some: both are bounded or go with their window."""
    app = make_app(endpoint_rate_limit=Rate(2, timedelta(seconds=1)))
    client, _secret = factories.service(app)
    send = sender(app, "/oauth/token", basic(client.client_id, "wrong"))
    statuses = set()

    def ask(number: int) -> None:
        address = f"10.{number // 65536 % 256}.{number // 256 % 256}.{number % 256}"
        statuses.add(send("grant_type=client_credentials", address))
        if number % 1000 == 0:
            statuses.update(send("grant_type=client_credentials", address) for _ in range(3))

    assert grows_by(ask) < _MOST_GROWTH_MEGABYTES
    assert statuses == {401, 429}
    assert sign_in.address_bucket.cache_info().currsize <= 4096
    assert len(audit._soon._waiting) <= 10_000


def test_huge_bodies_are_not_read(app: Flask) -> None:
    """A length beyond the bound is refused before a byte is taken; a good request works afterwards."""
    client, secret = factories.service(app)
    environ = EnvironBuilder("/oauth/token", method="POST", content_type=FORM).get_environ()

    class Untouchable:
        def read(self, *_size: int) -> bytes:
            raise AssertionError("read")

    seen: list[str] = []
    body = app.wsgi_app(
        {**environ, "CONTENT_LENGTH": str(10**12), "wsgi.input": Untouchable()}, lambda status, _h: seen.append(status)
    )
    assert b"too large" in b"".join(body)
    assert seen[0].startswith("413")
    send = sender(app, "/oauth/token", basic(client.client_id, secret))
    assert send("grant_type=client_credentials") == 200
