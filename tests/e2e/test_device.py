"""A person connects a device with a real browser, without JavaScript; the pages' looks are on a walk."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import EMAIL, Site, sign_in
from tests.e2e.television import Television

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]


def test_a_device_is_connected(site: Site, page: Page) -> None:
    """Link, sign-in, the question, both ends, and back again (USR-17)."""
    device = Television(site)
    codes = device.ask()
    page.goto(codes["verification_uri_complete"])
    field = page.get_by_label("Code")
    expect(field).to_have_value(codes["user_code"])
    assert float(field.evaluate("element => parseFloat(getComputedStyle(element).fontSize)")) >= 20
    page.get_by_role("button", name="Continue").click()
    page.wait_for_selector("main[data-page=login]")
    sign_in(page)
    expect(page.get_by_text(codes["user_code"])).to_be_visible()
    expect(page.get_by_text("AcmeTV")).to_be_visible()
    assert device.poll(codes["device_code"]).json()["error"] == "authorization_pending"
    page.get_by_role("button", name="Allow", exact=True).click()
    expect(page.locator("main h1")).to_have_text("Go back to your device")
    assert device.poll(codes["device_code"]).json()["scope"] == "openid profile offline_access"
    page.go_back()
    expect(page.get_by_role("heading", name="Go back to your device")).to_be_visible()


def test_a_device_without_javascript(site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """By keyboard alone: the code typed in small letters, a double click that is one decision, and a denial (X-7)."""
    device = Television(site)
    page = open_browser(java_script_enabled=False).new_page()
    first, second = device.ask(), device.ask()
    page.goto(first["verification_uri"])
    expect(page.get_by_label("Code")).to_be_focused()
    page.keyboard.type(first["user_code"].lower().replace("-", " "))
    page.keyboard.press("Enter")
    sign_in(page)
    expect(page.get_by_text(EMAIL)).to_be_visible()
    page.get_by_role("button", name="Allow", exact=True).dblclick()
    expect(page.locator("main h1")).to_have_text("Go back to your device")
    assert device.poll(first["device_code"]).status_code == 200
    page.goto(second["verification_uri_complete"])
    page.get_by_role("button", name="Continue").click()
    page.get_by_role("button", name="Don't allow").click()
    expect(page.locator("main h1")).to_have_text("The device was not allowed")
    assert device.poll(second["device_code"]).json()["error"] == "access_denied"
