"""A person connects a device with a real browser: in every look, and without JavaScript."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from playwright.sync_api import BrowserContext, Page

from tests.e2e.conftest import EMAIL, Site, marker, sign_in
from tests.e2e.test_accessibility import LOOKS, examine, looked_at

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]
GRANT = "urn:ietf:params:oauth:grant-type:device_code"
TV = {"client_name": "Acme TV", "grant_types": [GRANT, "refresh_token"], "token_endpoint_auth_method": "none"}


class Device:
    """A device: asks for codes over the wire, and polls."""

    def __init__(self, site: Site) -> None:
        words = ("clients", "create", "--metadata", "-", "--json")
        self.client_id = json.loads(site.command(*words, given=json.dumps(TV)))["client_id"]
        self._issuer = site.issuer

    def ask(self) -> dict[str, Any]:
        return dict(self._post("/oauth/device_authorization", scope="openid profile offline_access").json())

    def poll(self, device_code: str) -> httpx2.Response:
        return self._post("/oauth/token", grant_type=GRANT, device_code=device_code)

    def _post(self, path: str, **fields: str) -> httpx2.Response:
        about = {"client_id": self.client_id, **fields}
        return httpx2.post(self._issuer + path, data=about, headers={"User-Agent": "AcmeTV/2"}, trust_env=False)


def test_pages_of_a_device(site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """Link, sign-in, a wrong code, the question, both ends: accessible in light and dark, narrow and wide (USR-17)."""
    device = Device(site)
    for scheme, width in LOOKS:
        page = looked_at(open_browser, scheme, width)
        codes = device.ask()
        page.goto(codes["verification_uri_complete"])
        examine(page, "device")
        field = page.get_by_label("Code")
        assert field.input_value() == codes["user_code"]
        assert float(field.evaluate("element => parseFloat(getComputedStyle(element).fontSize)")) >= 20
        page.get_by_role("button", name="Continue").click()
        assert marker(page) == "login"
        sign_in(page)
        examine(page, "consent")
        assert page.get_by_text(codes["user_code"]).is_visible()
        assert page.get_by_text("AcmeTV").is_visible()
        assert device.poll(codes["device_code"]).json()["error"] == "authorization_pending"
        page.get_by_role("button", name="Allow", exact=True).click()
        examine(page, "done")
        assert device.poll(codes["device_code"]).json()["scope"] == "openid profile offline_access"
        page.go_back()
        assert page.get_by_role("heading", name="Go back to your device").is_visible()
        page.goto(site.issuer + "/device")
        page.get_by_label("Code").fill("bcdf ghjk")
        page.get_by_role("button", name="Continue").click()
        assert page.title().startswith("Error: ")
        examine(page, "device")


def test_a_device_without_javascript(site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """By keyboard alone: the code typed in small letters, a double click that is one decision, and a denial (X-7)."""
    device = Device(site)
    page = open_browser(java_script_enabled=False).new_page()
    first, second = device.ask(), device.ask()
    page.goto(first["verification_uri"])
    page.keyboard.type(first["user_code"].lower().replace("-", " "))
    page.keyboard.press("Enter")
    sign_in(page)
    assert page.get_by_text(EMAIL).is_visible()
    page.get_by_role("button", name="Allow", exact=True).dblclick()
    assert _heading(page) == "Go back to your device"
    assert device.poll(first["device_code"]).status_code == 200
    page.goto(second["verification_uri_complete"])
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Don't allow").click()
    assert _heading(page) == "The device was not allowed"
    assert device.poll(second["device_code"]).json()["error"] == "access_denied"


def _heading(page: Page) -> str:
    return page.locator("main h1").inner_text()
