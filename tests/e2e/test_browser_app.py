"""The sample browser app in a real browser: its script works with a cookie that it cannot read, and no token."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from flask import Flask
from playwright.sync_api import Page, expect
from werkzeug.serving import make_server

from examples.browser_app import create_browser_app
from examples.orders_api import AUDIENCE, create_api
from tests.e2e.conftest import EMAIL, NAME, Site, sign_in
from tests.support.live import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]


@contextmanager
def serving(app: Flask, port: int) -> Iterator[str]:
    """Serve an app in a thread; yield its address."""
    server = make_server("127.0.0.1", port, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://localhost:{port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def browser_app(new_site: Site) -> Iterator[str]:
    """Return the address of the app; its API stands behind it."""
    new_site.person(EMAIL, "--name", NAME, "--role", "administrator")
    scopes = ("--scope", "orders:read=See your orders", "--scope", "orders:write=Change your orders")
    api = json.loads(new_site.command("apis", "create", AUDIENCE, *scopes, "--json"))
    port = free_port()
    about = ("--name", "Sample", "--redirect-uri", f"http://localhost:{port}/callback", "--scope")
    scope = "openid profile offline_access orders:read orders:write"
    client = json.loads(new_site.command("clients", "create", *about, scope, "--json"))
    with ExitStack() as running:
        orders = create_api(new_site.issuer, api["client_id"], api["client_secret"])
        api_address = running.enter_context(serving(orders, free_port()))
        credentials = (client["client_id"], client["client_secret"])
        app = create_browser_app(new_site.issuer, *credentials, f"http://localhost:{port}", api_address)
        yield running.enter_context(serving(app, port))


def test_a_script_orders_tea_without_a_token(browser_app: str, page: Page) -> None:
    """Sign in, order, look, sign out; scripts see neither cookie nor token."""
    page.goto(browser_app)
    expect(page.locator("#who")).to_have_text("Not signed in")
    expect(page.get_by_role("button", name="Order tea")).to_be_disabled()
    page.get_by_role("link", name="Sign in").click()
    sign_in(page)
    page.get_by_role("button", name="Allow", exact=True).click()
    expect(page.locator("#who")).to_have_text(f"Signed in as {NAME}")
    page.get_by_role("button", name="Order tea").click()
    expect(page.locator("pre")).to_contain_text('201 {"id"')
    page.get_by_role("button", name="Your orders").click()
    expect(page.locator("pre")).to_contain_text('"item":"Tea"')
    assert page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
    page.get_by_role("button", name="Sign out").click()
    expect(page.locator("#who")).to_have_text("Not signed in")
    expect(page.get_by_role("link", name="Sign in")).to_be_visible()
