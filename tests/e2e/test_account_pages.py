"""The person's own data in a real browser: profile, look, copy, deletion; each state with axe-core, narrow and wide."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import EMAIL, PASSWORD, Site, marker, sign_in
from tests.e2e.test_accessibility import LOOKS, examine, looked_at

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]


def signed_in(site: Site, page: Page, email: str, path: str) -> None:
    """Make a person and open one of their pages."""
    site.command("users", "create", email, "--name", "Eve Example", "--password-stdin", given=PASSWORD + "\n")
    page.goto(site.issuer + path)
    sign_in(page, email, PASSWORD)


def picture(page: Page, name: str) -> None:
    """Keep a picture to look at, where AUTH_TEST_PICTURES names a folder."""
    folder = os.environ.get("AUTH_TEST_PICTURES")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_of_the_persons_own_data(
    site: Site, open_browser: Callable[..., BrowserContext], scheme: str, width: int
) -> None:
    """Profile as it is, with mistakes, saved; the chosen look; the copy; the deletion with its mistake and its end."""
    page, email = looked_at(open_browser, scheme, width), f"own-{scheme}-{width}@example.org"
    signed_in(site, page, email, "/account/profile")
    examine(page, "account-profile")
    picture(page, f"profile-{scheme}-{width}")
    page.get_by_label("Date of birth").fill("soon")
    page.get_by_label("Phone number").fill("123")
    page.get_by_role("button", name="Save").click()
    assert page.title().startswith("Error: ")
    expect(page.get_by_role("alert")).to_be_focused()
    examine(page, "account-profile")
    picture(page, f"mistakes-{scheme}-{width}")
    page.get_by_label("Date of birth").fill("1985-07-31")
    page.get_by_label("Phone number").fill("+44 20 7946 0000")
    page.get_by_label("Time zone").select_option("Europe/Berlin")
    page.get_by_role("button", name="Save").click()
    assert page.get_by_role("status").inner_text() == "Saved."
    examine(page, "account-profile")
    page.get_by_role("button", name="Light" if scheme == "dark" else "Dark").click()
    examine(page, "account-profile")
    picture(page, f"other-look-{scheme}-{width}")
    page.get_by_role("link", name="Download a copy of your data").click()
    examine(page, "account-export")
    picture(page, f"export-{scheme}-{width}")
    page.goto(site.issuer + "/account/delete")
    examine(page, "account-delete")
    picture(page, f"delete-{scheme}-{width}")
    page.get_by_label("Your e-mail address").fill("somebody@example.org")
    page.get_by_role("button", name="Delete for ever").click()
    examine(page, "account-delete")
    page.get_by_label("Your e-mail address").fill(email)
    page.get_by_role("button", name="Delete for ever").click()
    examine(page, "done")
    picture(page, f"deleted-{scheme}-{width}")


def test_the_last_administrators_page(own_site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """It says why there is no form; on a site of its own, since others' tests make more administrators."""
    for scheme, width in LOOKS:
        page = looked_at(open_browser, scheme, width)
        page.goto(own_site.issuer + "/account/delete")
        sign_in(page)
        examine(page, "account-delete")
        assert page.get_by_role("button", name="Delete for ever").count() == 0


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
        assert tabs.get_by_role("link").count() == 0
        tabs.locator("summary").focus()
        page.keyboard.press("Enter")
        assert tabs.locator("summary").inner_text() == "Profile"
        picture(page, "tabs-320")
    assert tabs.get_by_role("link").all_inner_texts()[:2] == ["Overview", "Profile"]
    assert tabs.locator("[aria-current]:visible").inner_text() == "Profile"
    tabs.get_by_role("link", name="Apps").click()
    assert marker(page) == "account-apps"


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
