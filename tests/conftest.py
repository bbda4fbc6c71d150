"""An application on a database of its own for every test: an SQLite file, or, with AUTH_TEST_DATABASE=postgresql, a
PostgreSQL database. Both are copies of one that was migrated once."""

from __future__ import annotations

import functools
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

import jinja2
import psycopg
import pytest
from flask import Flask
from jinja2.bccache import Bucket
from sqlalchemy.engine import make_url
from werkzeug.routing import Rule

from auth_server import config, create_app
from auth_server.access import apis, exchanges, roles
from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.clients import issuers
from auth_server.clients.client import Client
from auth_server.config import Settings
from auth_server.database import db
from auth_server.infra import batch, events, schema, sealed_keys, stamp
from auth_server.keys import keyring
from auth_server.tokens import status_index
from tests.support import factories
from tests.support.browser import Browser
from tests.support.live import Server
from tests.support.rp import RelyingParty

MakeServer = Callable[..., Server]
CACHES: tuple[stamp.Cache[Any], ...] = (
    *(apis._cache, clients._cache, exchanges._cache, keyring._cache, roles._cache, sealed_keys._cache),
    *(status_index._services, issuers._cache),
)
ISSUER = "http://localhost:8421"
SECRET_KEY = "tests-only-0123456789-abcdefghijklmnopqrstuvwxyz"
ON_POSTGRESQL = os.environ.get("AUTH_TEST_DATABASE") == "postgresql"
BASE: dict[str, Any] = {
    "issuer": ISSUER,
    "secret_key": SECRET_KEY,
    "bcrypt_rounds": 4,
    "endpoint_rate_limit": None,
    "create_rate_limit": None,
}


class TemplateCache(jinja2.BytecodeCache):
    """Every test has an application of its own; the templates are compiled once for all of them."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        code = self._compiled.get(bucket.key + bucket.checksum)
        if code is not None:
            bucket.bytecode_from_string(code)

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._compiled[bucket.key + bucket.checksum] = bucket.bytecode_to_string()


TEMPLATES = TemplateCache()


class SharedRule(Rule):
    """Every test has an application of its own; what Werkzeug compiles for a route is compiled once for all of them.

    It is made of the route's text alone, and finds the application's own converters when it runs.
    """

    _made: ClassVar[dict[tuple[str, str, bool], Callable[..., tuple[str, str]]]] = {}

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        key = (self.rule, repr(self.defaults), append_unknown)
        if key not in self._made:
            self._made[key] = super()._compile_builder(append_unknown)
        return self._made[key]


Flask.url_rule_class = SharedRule


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without PostgreSQL its run has nothing to stand on: it says so once and loudly, and in CI it fails."""
    if ON_POSTGRESQL and "AUTH_TEST_POSTGRESQL_URL" not in os.environ:
        if os.environ.get("CI") == "true":
            pytest.exit("no PostgreSQL to test on", returncode=1)
        for item in items:
            item.add_marker(pytest.mark.skip(reason="NO POSTGRESQL: nothing was tested on it"))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a migrated database with keys, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    url = f"sqlite:///{folder / 'template.db'}"
    if ON_POSTGRESQL:
        url = _new_postgresql_database("template")
    settings = Settings(**BASE, instance_path=folder, database_url=url)
    app = create_app(settings)
    with app.app_context():
        from auth_server.cli.serving import make_keys

        schema.upgrade()
        events.begin(events.Context(actor_kind="job"))
        make_keys()
        db.session.commit()
        db.engine.dispose()
    yield url
    if ON_POSTGRESQL:
        _drop_postgresql_database(url)


@pytest.fixture
def database_url(template: str, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a fresh copy of the migrated database."""
    with copy_of(template, tmp_path) as url:
        yield url


@contextmanager
def copy_of(template: str, folder: Path) -> Iterator[str]:
    """Copy a database that nobody is connected to; yield the copy's URL."""
    if ON_POSTGRESQL:
        url = _new_postgresql_database("test", copy_of=template)
        yield url
        _drop_postgresql_database(url)
    else:
        shutil.copy(make_url(template).database or "", folder / "test.db")
        yield f"sqlite:///{folder / 'test.db'}"


@pytest.fixture
def make_app(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Flask]]:
    """Return a maker of applications on this test's database; settings may be overridden by name."""
    with maker_of_apps(database_url, tmp_path) as make:
        yield make


@contextmanager
def maker_of_apps(database_url: str, folder: Path) -> Iterator[Callable[..., Flask]]:
    """Yield what makes applications on a database, one after the other; the last one is closed at the end."""
    made: list[Flask] = []

    def make(**overrides: Any) -> Flask:
        for app in made:
            disconnect(app)
        settings = Settings(**{**BASE, "instance_path": folder, "database_url": database_url, **overrides})
        app = create_app(settings)
        app.jinja_env.bytecode_cache = TEMPLATES
        for cache in CACHES:
            cache.forget()  # a process looks for changes twice a second; this test must not see the last one's
        app.testing = False  # a crash must become the answer that people get
        made.append(app)
        return app

    yield make
    for app in made:
        disconnect(app)


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return the application under test."""
    return make_app()


@pytest.fixture
def settings(app: Flask) -> Settings:
    return config.current()


@pytest.fixture
def domain(app: Flask) -> Iterator[None]:
    """Open an application context for tests that call the domain directly."""
    with app.app_context():
        events.begin(events.Context(actor_kind="job", request_id="test"))
        yield
        db.session.rollback()


@pytest.fixture
def ada(app: Flask) -> users.User:
    """Return a person with a password (`factories.PASSWORD`), who is also the administrator."""
    return factories.person(app, "ada@example.org", "Ada Lovelace", roles=["administrator"])


@pytest.fixture
def ben(app: Flask) -> users.User:
    """Return another person, without roles."""
    return factories.person(app, "ben@example.org", "Ben")


@pytest.fixture
def browser(app: Flask, ada: users.User) -> Browser:
    """Return a browser that nobody is signed in at (an administrator exists)."""
    return Browser(app)


@pytest.fixture
def wiki(app: Flask) -> tuple[Client, str]:
    """Return a confidential client with both interactive grants, and its secret."""
    return factories.client(app)


@pytest.fixture
def rp(app: Flask, browser: Browser, wiki: tuple[Client, str]) -> RelyingParty:
    """Return a relying party that drives `wiki` through `browser`."""
    client, secret = wiki
    return RelyingParty(app, browser, client, secret)


@pytest.fixture
def start_server(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Return a starter of real server processes on this test's database and instance folder."""
    started: list[Server] = []

    def start(**overrides: Any) -> Server:
        settings = process_settings(database_url=database_url, instance_path=tmp_path, **overrides)
        started.append(Server(settings, tmp_path / "serve.log"))
        return started[-1].start()

    yield start
    for server in started:
        server.stop()


def process_settings(**overrides: Any) -> dict[str, Any]:
    """Return the settings of `make_app` as another process wants them."""
    return {name: "off" if value is None else value for name, value in {**BASE, **overrides}.items()}


@pytest.fixture
def in_a_while() -> Iterator[Callable[[timedelta], None]]:
    """Return a function that moves the clock forward for the rest of the test."""
    import time_machine

    travellers: list[Any] = []

    def travel(by: timedelta) -> None:
        from auth_server.infra import clock

        target = clock.now() + by
        while travellers:
            travellers.pop().stop()
        traveller = time_machine.travel(target, tick=True)
        traveller.start()
        travellers.append(traveller)

    yield travel
    for traveller in travellers:
        traveller.stop()


@pytest.fixture
def still_clock() -> Iterator[None]:
    """Hold the clock for the rest of the test, which asks about one second."""
    import time_machine

    with time_machine.travel(time.time(), tick=False):
        yield


def disconnect(app: Flask) -> None:
    """Write what waits to be written, and leave no connection of the application open."""
    batch.flush_all()
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer) and isinstance(getattr(thread.function, "__self__", None), batch.Batch):
            thread.join()  # a flush that is under way holds a connection, which must not outlive its engine
    with app.app_context():
        db.session.remove()
        for engine in db.engines.values():
            engine.dispose()


def _new_postgresql_database(purpose: str, copy_of: str | None = None) -> str:
    server = make_url(os.environ["AUTH_TEST_POSTGRESQL_URL"])
    name = f"{purpose}_{uuid.uuid4().hex}"
    # copying files is twice as fast as the default, which writes every page to the log
    source = f' TEMPLATE "{make_url(copy_of).database}" STRATEGY FILE_COPY' if copy_of else ""
    _administration().execute(f'CREATE DATABASE "{name}"{source}')
    return server.set(database=name).render_as_string(hide_password=False)


def _drop_postgresql_database(url: str) -> None:
    _administration().execute(f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')


@functools.cache
def _administration() -> psycopg.Connection:
    """Return this process's own connection for making and dropping databases."""
    url = make_url(os.environ["AUTH_TEST_POSTGRESQL_URL"]).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)
