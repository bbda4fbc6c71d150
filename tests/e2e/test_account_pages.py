"""The account's pages in a real browser: the way from one to another, the look, the copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import EMAIL, Site, is_at, sign_in

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]


def signed_in(site: Site, page: Page, email: str, path: str) -> None:
    """Make a person and open one of their pages."""
    site.person(email)
    page.goto(site.issuer + path)
    sign_in(page, email)


@pytest.mark.parametrize("width", [320, 1280])
def test_the_accounts_pages_are_one_line_of_links(
    site: Site, open_browser: Callable[..., BrowserContext], width: int
) -> None:
    """Tabs where there is room, otherwise one line that opens; by keyboard, and without JavaScript."""
    page = open_browser(viewport={"width": width, "height": 800}, java_script_enabled=False).new_page()
    page.goto(site.issuer + "/account/profile")
    sign_in(page)
    tabs = page.get_by_role("navigation", name="Your account")
    box = tabs.bounding_box()
    assert box is not None
    assert box["height"] < 60
    if width == 320:
        expect(tabs.get_by_role("link")).to_have_count(0)
        tabs.locator("summary").focus()
        page.keyboard.press("Enter")
        expect(tabs.locator("summary")).to_have_text("Profile", use_inner_text=True)
    assert tabs.get_by_role("link").all_inner_texts()[:2] == ["Overview", "Profile"]
    expect(tabs.locator("[aria-current]:visible")).to_have_text("Profile", use_inner_text=True)
    tabs.get_by_role("link", name="Apps").click()
    is_at(page, "account-apps")


def test_the_look_is_there_before_the_page_is_painted(site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """The server renders it, without JavaScript; the chosen one wins over the system's (X-5)."""
    page = open_browser(color_scheme="light", java_script_enabled=False).new_page()
    signed_in(site, page, "look@example.org", "/account/profile")
    page.get_by_role("button", name="Dark").click()
    for path in ("/account", "/account/sessions", "/logout"):
        page.goto(site.issuer + path)
        assert page.locator("html").get_attribute("data-theme") == "dark"
        assert page.locator("body").evaluate("body => getComputedStyle(body).backgroundColor") == "rgb(15, 19, 23)"


def test_the_copy_is_a_file(site: Site, page: Page) -> None:
    """One click, one JSON file (USR-22)."""
    signed_in(site, page, "copy@example.org", "/account/export")
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download").click()
    found = json.loads(Path(waiting.value.path()).read_text(encoding="utf-8"))
    assert waiting.value.suggested_filename.startswith("account-")
    assert found["account"]["email"] == "copy@example.org"
    assert EMAIL not in json.dumps(found)
