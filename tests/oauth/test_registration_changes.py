"""A self-registered client that becomes somebody else: people are told, and never allow what they have not seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from auth_server.clients.metadata import DEVICE_CODE
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.device import Device, decide, enter
from tests.support.registering import SELF, party, put, register
from tests.support.rp import answer_of

CHANGED = "This app has changed since you allowed it"
CODES = {"grant_types": ["authorization_code", "refresh_token", DEVICE_CODE], "token_endpoint_auth_method": "none"}


@pytest.fixture
def registry(make_app: Callable[..., Flask]) -> Flask:
    """Return an application where everybody may register, with one person."""
    app = make_app(registration="open")
    factories.person(app, roles=["administrator"])
    return app


def test_a_changed_name_is_told(registry: Flask) -> None:
    """Until it was allowed again; a change of what people do not see is not."""
    made = register(registry).json
    rp = party(registry, made)
    rp.tokens()
    put(registry, made, client_uri="https://wiki.example.org/about")
    assert CHANGED not in rp.browser.follow(rp.authorize()).text
    put(registry, made, client_name="Your Bank")
    page = rp.browser.follow(rp.authorize())
    assert CHANGED in page.text
    assert "code" in answer_of(rp.browser.follow(decide(rp.browser, page)))
    assert CHANGED not in rp.browser.follow(rp.authorize()).text


def test_who_changes_while_the_page_is_open_is_asked_about_again(registry: Flask) -> None:
    """The answer was meant for somebody else."""
    made = register(registry).json
    rp = party(registry, made)
    rp.browser.sign_in()
    page = rp.browser.follow(rp.authorize())
    put(registry, made, client_name="Your Bank")
    again = decide(rp.browser, page)
    asserts.is_page(again, "consent")
    assert "Your Bank" in again.text
    assert "code" in answer_of(decide(rp.browser, again))


def test_so_is_who_changes_while_a_device_waits(registry: Flask) -> None:
    """The device gets nothing by the first answer, and tokens by the second."""
    made = register(registry, **CODES).json
    device = Device(registry, party(registry, made).client).started()
    browser = Browser(registry)
    page = enter(browser, device.user_code)
    assert SELF["client_name"] in page.text
    put(registry, made, client_name="Your Bank", **CODES)
    again = decide(browser, page)
    asserts.is_page(again, "consent")
    assert "Your Bank" in again.text
    asserts.is_oauth_error(device.poll(), "authorization_pending")
    asserts.is_page(decide(browser, again), "done")
    assert device.tokens()["access_token"]


def test_any_api_may_be_named_and_is_shown(registry: Flask) -> None:
    """On the page for a device, too; a client of an operator's names its own."""
    made = register(registry, **CODES).json
    rp = party(registry, made)
    api = "https://mcp.example.org/mcp"
    rp.browser.sign_in()
    assert api in rp.browser.follow(rp.authorize(resource=api)).text
    device = Device(registry, rp.client).started(resource=api)
    assert api in enter(rp.browser, device.user_code).text
    client, secret = factories.client(registry, grant_types=[DEVICE_CODE])
    asserts.is_oauth_error(Device(registry, client, secret).ask(resource=api), "invalid_target")
