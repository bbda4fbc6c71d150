"""PostgreSQL or Redis goes away and comes back, the disk is full: nothing fails open, needs a restart or is a 500."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import event, text
from sqlalchemy.engine import make_url
from werkzeug.test import TestResponse

from auth_server.database import db
from auth_server.values import Rate
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.proxy import Proxy
from tests.support.rp import RelyingParty, basic

MakeApp = Callable[..., Flask]
needs_redis = pytest.mark.skipif("AUTH_TEST_REDIS_URL" not in os.environ, reason="NO REDIS: nothing was tested on it")


@pytest.fixture
def postgresql(database_url: str) -> Iterator[Proxy]:
    url = make_url(database_url)
    proxy = Proxy(url.host or "", url.port or 0)
    yield proxy
    proxy.cut()


@pytest.fixture
def app(make_app: MakeApp, database_url: str, request: pytest.FixtureRequest) -> Flask:
    """Return an application whose way to PostgreSQL leads through the proxy, where there is one."""
    if "postgresql" not in request.fixturenames:
        return make_app()
    port = request.getfixturevalue("postgresql").port
    return make_app(database_url=make_url(database_url).set(port=port).render_as_string(hide_password=False))


def is_unavailable(answer: TestResponse) -> bool:
    assert int(answer.headers["Retry-After"]) > 0
    return answer.status_code == 503


@pytest.mark.postgresql_only
def test_without_postgresql_everything_says_503_and_comes_back(postgresql: Proxy, rp: RelyingParty) -> None:
    """Machine endpoints and pages, the ready probe too; afterwards the very same tokens work."""
    tokens = rp.tokens()
    postgresql.cut()
    assert is_unavailable(rp.userinfo(tokens["access_token"]))
    assert is_unavailable(rp.refresh(tokens["refresh_token"]))
    assert is_unavailable(rp.post("/oauth/introspect", {"token": tokens["access_token"]}))
    assert is_unavailable(rp.browser.get("/account"))
    ready = rp.machine.get("/readyz")
    assert (ready.status_code, ready.json["checks"]["database"]) == (503, "failing")
    assert rp.machine.get("/healthz").status_code == 200
    postgresql.mend()
    assert rp.machine.get("/readyz").status_code == 200
    assert rp.userinfo(tokens["access_token"]).status_code == 200
    assert rp.refresh(tokens["refresh_token"]).status_code == 200
    assert rp.browser.get("/account").status_code == 200


@contextmanager
def full_disk(app: Flask) -> Iterator[None]:
    """Let the database file grow no further."""

    def limit(connection: Any, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count={most}")

    with app.app_context():
        engine = db.engine
        with engine.connect() as connection:
            most = connection.execute(text("PRAGMA page_count")).scalar()
    event.listen(engine, "checkout", limit)
    try:
        yield
    finally:
        event.remove(engine, "checkout", limit)
        engine.dispose()


@pytest.mark.sqlite_only
def test_a_full_disk_gives_out_nothing_that_is_not_kept(app: Flask, rp: RelyingParty) -> None:
    """What cannot be written is refused and undone: the very same refresh token works when there is room again."""
    tokens = rp.tokens()
    latest = tokens["refresh_token"]
    with full_disk(app):
        for _ in range(100):  # the last pages have some room
            answer = rp.refresh(latest)
            if answer.status_code != 200:
                break
            latest = answer.json["refresh_token"]
        assert is_unavailable(answer)
        assert rp.userinfo(tokens["access_token"]).status_code == 200
    assert rp.refresh(latest).status_code == 200


@pytest.mark.postgresql_only
def test_broken_connections_are_replaced_unseen(postgresql: Proxy, rp: RelyingParty) -> None:
    """A failover: what has written nothing is asked once more on a new connection; a code stays single-use."""
    tokens = rp.tokens()
    for _time in range(3):
        postgresql.break_connections()
        assert rp.userinfo(tokens["access_token"]).status_code == 200
        postgresql.break_connections()
        refreshed = rp.refresh(tokens["refresh_token"])
        assert refreshed.status_code == 200
        tokens = refreshed.json
    code = rp.code()
    postgresql.break_connections()
    assert rp.exchange(code).status_code == 200
    asserts.is_oauth_error(rp.exchange(code), "invalid_grant", 400)


@pytest.fixture
def redis() -> Iterator[Proxy]:
    url = make_url(os.environ["AUTH_TEST_REDIS_URL"])
    proxy = Proxy(url.host or "", url.port or 0)
    yield proxy
    proxy.cut()


@needs_redis
def test_limits_hold_with_redis_without_it_and_with_it_again(make_app: MakeApp, redis: Proxy) -> None:
    """Refusals are counted in Redis for all processes; without it each process counts, and good requests go on."""
    settings = {"redis_url": f"redis://127.0.0.1:{redis.port}/0", "endpoint_rate_limit": Rate(4, timedelta(minutes=1))}
    app = make_app(**settings)
    client, secret = factories.service(app)

    def ask(address: str, right: bool = False) -> int:
        headers = basic(client.client_id, secret if right else "wrong")
        fields = {"grant_type": "client_credentials"}
        return Browser(app, address).client.post(
            "/oauth/token", data=fields, headers=headers, environ_base={"REMOTE_ADDR": address}
        ).status_code  # fmt: skip

    assert [ask("192.0.2.1") for _ in range(6)] == [401] * 4 + [429] * 2
    redis.cut()
    assert [ask("192.0.2.2") for _ in range(6)] == [401] * 4 + [429] * 2
    assert ask("192.0.2.3", right=True) == 200
    ready = app.test_client().get("/readyz")
    assert (ready.status_code, ready.json["checks"]["redis"]) == (200, "degraded")
    redis.mend()
    assert app.test_client().get("/readyz").json["checks"]["redis"] == "ok"
    assert [ask("192.0.2.4") for _ in range(6)] == [401] * 4 + [429] * 2


@needs_redis
def test_processes_share_their_counts(make_app: MakeApp) -> None:
    """What another process has counted closes the door here with the next refusal."""
    settings = {"redis_url": os.environ["AUTH_TEST_REDIS_URL"], "endpoint_rate_limit": Rate(3, timedelta(minutes=1))}
    statuses = []
    for _process in range(3):
        app = make_app(**settings)
        fields = {"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "x"}
        machine = app.test_client(use_cookies=False)
        for _time in range(2):
            answer = machine.post("/oauth/token", data=fields, environ_base={"REMOTE_ADDR": "198.51.100.77"})
            statuses.append(answer.status_code)
    assert statuses == [401, 401, 401, 429, 401, 429]
