"""A real browser against the real server: `serve` on a port of its own, an app on another, Chromium between them."""

from __future__ import annotations

import json
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, sync_playwright
from sqlalchemy import Connection, create_engine, select, update

from auth_server import database
from auth_server.cli.root import root as program
from tests.conftest import CACHES
from tests.e2e.looking import is_at as is_at
from tests.e2e.looking import marker as marker
from tests.support import live

CHROMIUM = shutil.which("chromium")
SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync"),
)
EMAIL, NAME, PASSWORD = "ada@example.org", "Ada Lovelace", "correct horse battery staple"
MESSAGES_OF_REFUSALS = "Failed to load resource: the server responded with a status of 4"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without Chromium these tests have nothing to stand on: it is said loudly, and in CI it is a failure."""
    if CHROMIUM is None:
        if os.environ.get("CI") == "true":
            pytest.exit("no Chromium to test with", returncode=1)
        for item in items:
            if item.get_closest_marker("e2e"):
                item.add_marker(pytest.mark.skip(reason="NO CHROMIUM: no page was tried in a browser"))


class App(ThreadingHTTPServer):
    """An app on another origin: remembers what came back to it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _AppHandler)
        self.answers: list[dict[str, str]] = []

    @property
    def address(self) -> str:
        return f"http://localhost:{self.server_port}"


class _AppHandler(BaseHTTPRequestHandler):
    server: App

    def do_GET(self) -> None:
        self._answer(urlsplit(self.path).query)

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def _answer(self, text: str) -> None:
        if urlsplit(self.path).path == "/callback":
            self.server.answers.append({name: values[0] for name, values in parse_qs(text).items()})
        body = b"<!doctype html><html lang=en><title>The app</title><h1>The app</h1></html>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@dataclass
class Site:
    """The server with one person and one app, and where they are."""

    server: live.Server
    settings: dict[str, Any]
    app: App
    client: dict[str, Any] = field(default_factory=dict)

    @property
    def issuer(self) -> str:
        return f"http://localhost:{self.server.port}"

    def command(self, *words: str, given: str = "") -> str:
        """Run a command on the server's database, in this process: one of its own would take longer than most tests."""
        inherited: dict[str, str | None] = {name: None for name in os.environ if name.startswith("AUTH_SERVER_")}
        own = {f"AUTH_SERVER_{name.upper()}": str(value) for name, value in self.settings.items()}
        for cache in CACHES:
            cache.forget()  # of another server, maybe
        before = database._engine
        done = CliRunner(env={**inherited, **own}).invoke(program, list(words), input=given)
        database._engine = before  # each command makes an application of its own
        assert done.exit_code == 0, (done.stderr, done.exception)
        return done.stdout

    def person(self, email: str, *words: str, password: str = PASSWORD) -> str:
        """Make somebody who signs in with a password; return the address."""
        self.command("users", "create", email, *words, "--password-stdin", given=password + "\n")
        return email

    def let_time_pass(self, model: Any, by: timedelta, **of: str) -> None:
        """Let rows be older, as if so much time had passed: every moment in them moves back."""
        table, (key,) = model.__table__, model.__table__.primary_key
        with self.database() as connection:
            for row in connection.execute(select(table).filter_by(**of)).mappings().all():
                older = {name: _earlier(value, by) for name, value in row.items()}
                connection.execute(update(table).where(key == row[key.name]).values(older))

    @contextmanager
    def database(self) -> Iterator[Connection]:
        """Open the server's database, for what only time or chance would bring about."""
        engine = create_engine(f"sqlite:///{Path(self.settings['instance_path']) / 'auth-server.db'}")
        with engine.begin() as connection:
            yield connection
        engine.dispose()


def _earlier(value: Any, by: timedelta) -> Any:
    if isinstance(value, dict):
        return {name: _earlier(inner, by) for name, inner in value.items()}
    if isinstance(value, datetime):
        return value - by
    try:
        return (datetime.fromisoformat(value) - by).isoformat() if isinstance(value, str) and "T" in value else value
    except ValueError:
        return value


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def app_of_others() -> Iterator[App]:
    server = App()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def make_site(folder: Path, app: App, root: Path = live.ROOT) -> Site:
    """Return a site that is not started yet; `root` is where its program stands."""
    server = live.Server({}, folder / "server.log", root)
    settings = {
        "instance_path": folder / "instance",
        "issuer": f"http://localhost:{server.port}",
        "bcrypt_rounds": 4,
        "create_rate_limit": "off",
    }
    server._settings = settings
    return Site(server, settings, app)


def furnish(site: Site) -> None:
    """Start it, with an administrator and an app; many tests share its address, so slips are not counted there."""
    site.settings["login_rate_limit"] = "off"
    site.server.start()
    site.person(EMAIL, "--name", NAME, "--role", "administrator")
    uri = site.app.address + "/callback"
    site.client = json.loads(site.command("clients", "create", "--name", "Acme Notes", "--redirect-uri", uri, "--json"))


@pytest.fixture
def new_site(tmp_path: Path, app_of_others: App) -> Iterator[Site]:
    """Return a server that nobody has set up yet."""
    site = make_site(tmp_path, app_of_others)
    site.server.start()
    yield site
    site.server.stop()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, app_of_others: App) -> Iterator[Site]:
    """Return a server with an administrator and an app, shared by all tests that change nothing lasting."""
    site = make_site(tmp_path_factory.mktemp("site"), app_of_others)
    furnish(site)
    yield site
    site.server.stop()


@pytest.fixture(scope="session")
def open_site(tmp_path_factory: pytest.TempPathFactory, app_of_others: App) -> Iterator[Site]:
    """Return such a server where everybody may open an account."""
    site = make_site(tmp_path_factory.mktemp("open-site"), app_of_others)
    site.settings["signup"] = "open"
    furnish(site)
    yield site
    site.server.stop()


@pytest.fixture
def open_browser(chromium: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Return a maker of browser profiles; at the end, no page may have broken the content security policy."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def listen(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning") and not message.text.startswith(MESSAGES_OF_REFUSALS):
            complaints.append(message.text)

    def make(**options: Any) -> BrowserContext:
        context = chromium.new_context(**options)
        context.on("console", listen)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert complaints == []


@pytest.fixture
def page(open_browser: Callable[..., BrowserContext]) -> Page:
    return open_browser().new_page()


def sign_in(page: Page, email: str = EMAIL, password: str = PASSWORD) -> None:
    """Fill in the login form that is shown."""
    page.get_by_label("E-mail").fill(email)
    page.get_by_label("Password", exact=True).fill(password)
    page.get_by_role("button", name="Sign in", exact=True).click()
