"""The ways back in, in a real browser: by link, by code, "This wasn't me"; with and without JavaScript."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import Site, sign_in
from tests.e2e.letters import code_in, letter_to, link_to

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]
NEW = "a brand new long password"


def ask(page: Page, site: Site, email: str) -> None:
    page.goto(site.issuer + "/login")
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_label("E-mail").fill(email)
    page.get_by_role("button", name="Send the mail").click()
    expect(page.get_by_text("a mail is on its way")).to_be_visible()


def set_new(page: Page) -> None:
    page.get_by_label("New password", exact=True).fill(NEW)
    page.get_by_role("button", name="Set password").click()
    expect(page.get_by_role("heading", name="Your password is set")).to_be_visible()
    page.get_by_role("link", name="Sign in").click()


@pytest.mark.parametrize("with_script", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("by", ["link", "code"])
def test_a_forgotten_password(
    site: Site, open_browser: Callable[..., BrowserContext], with_script: bool, by: str
) -> None:
    """From the login page through the mail to the account; the link works in another browser."""
    email = site.person(f"forgot-{by}-{with_script}@example.org".lower())
    page = open_browser(java_script_enabled=with_script).new_page()
    ask(page, site, email)
    if by == "code":
        page.get_by_label("Code").fill(code_in(letter_to(site, email, "new password")))
        page.get_by_role("button", name="Continue").click()
    else:
        page = open_browser(java_script_enabled=with_script).new_page()
        page.goto(link_to(site, email, "/recover/reset"))
    set_new(page)
    sign_in(page, email, NEW)
    expect(page.get_by_role("heading", name="Your account", exact=True)).to_be_visible()


@pytest.mark.parametrize("with_script", [True, False], ids=["script", "no-script"])
def test_this_was_not_me(site: Site, open_browser: Callable[..., BrowserContext], with_script: bool) -> None:
    """From the notice of a changed password, signed out, to a new one."""
    email = site.person(f"not-me-{with_script}@example.org".lower())
    thief = open_browser().new_page()
    thief.goto(site.command("users", "reset-link", email).strip())
    thief.get_by_label("New password", exact=True).fill("the password of a thief")
    thief.get_by_role("button", name="Set password").click()
    page = open_browser(java_script_enabled=with_script).new_page()
    page.goto(link_to(site, email, "/recover/not-me"))
    page.get_by_role("button", name="Lock everybody out").click()
    set_new(page)
    sign_in(page, email, NEW)
    expect(page.get_by_role("heading", name="Your account", exact=True)).to_be_visible()
