"""From nothing to an account in a real browser: sign-up by link and by code, with a password or a passkey."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import PASSWORD, Site, is_at, sign_in
from tests.e2e.device import Device, without_autofill
from tests.e2e.letters import code_in, letter_to, link_to
from tests.e2e.test_stories import authorization_url, last_answer

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]


def ask(page: Page, email: str, name: str = "Grace Hopper") -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("E-mail").fill(email)
    page.get_by_role("button", name="Send me the mail").click()


@pytest.mark.parametrize("with_script", [True, False], ids=["script", "no-script"])
def test_somebody_without_an_account_comes_from_an_app_and_goes_back_to_it(
    open_site: Site, open_browser: Callable[..., BrowserContext], with_script: bool
) -> None:
    """Login page, sign-up, code, password, consent, the app: in one browser, with and without script (USR-6, X-7)."""
    email = f"app-{with_script}@example.org".lower()
    page = open_browser(java_script_enabled=with_script).new_page()
    page.goto(authorization_url(open_site, state=email))
    page.get_by_role("link", name="Create an account").click()
    is_at(page, "signup")
    ask(page, email)
    is_at(page, "signup-sent")
    page.get_by_role("textbox", name="Code").fill(code_in(letter_to(open_site, email)))
    page.get_by_role("button", name="Continue").click()
    is_at(page, "signup-finish")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    is_at(page, "consent")
    page.get_by_role("button", name="Allow", exact=True).click()
    page.wait_for_url(open_site.app.address + "/callback?**")
    assert last_answer(open_site.app)["state"] == email


def test_the_letter_is_opened_on_another_device(open_site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """A scanner looks first; the phone confirms; both devices can sign in (USR-7)."""
    email = "phone@example.org"
    desk, scanner, phone = (open_browser().new_page() for _ in range(3))
    desk.goto(open_site.issuer + "/signup")
    ask(desk, email)
    url = link_to(open_site, email, "/signup/finish")
    scanner.goto(url)
    is_at(scanner, "signup-finish")
    phone.goto(url)
    phone.get_by_label("Password", exact=True).fill(PASSWORD)
    phone.keyboard.press("Enter")
    phone.wait_for_url(open_site.issuer + "/account")
    desk.goto(open_site.issuer + "/account")
    sign_in(desk, email)
    is_at(desk, "account")


def test_an_account_is_opened_with_a_passkey(open_site: Site, page: Page) -> None:
    """No password: the codes are saved, the app is reached, and the passkey alone signs in again (USR-4, USR-6)."""
    email = "passkey@example.org"
    without_autofill(page).goto(authorization_url(open_site, state=email, acr_values="aal2"))
    page.get_by_role("link", name="Create an account").click()
    ask(page, email)
    page.get_by_role("textbox", name="Code").fill(code_in(letter_to(open_site, email)))
    page.get_by_role("button", name="Continue").click()
    device = Device(page)
    page.get_by_role("button", name="Create a passkey").click()
    page.wait_for_selector("main[data-page=account-codes]")
    assert len(page.locator("#codes").inner_text().split()) == 10
    assert len(device.keys()) == 1
    page.get_by_label("I have saved them").check()
    page.get_by_role("button", name="Done").click()
    page.get_by_role("button", name="Allow", exact=True).click()
    page.wait_for_url(open_site.app.address + "/callback?**")
    assert last_answer(open_site.app)["state"] == email
    page.goto(open_site.issuer + "/account/security")
    expect(page.locator("main")).to_contain_text("This account has no password.", use_inner_text=True)
    page.context.clear_cookies()
    page.goto(open_site.issuer + "/login")
    page.get_by_role("button", name="Sign in with a passkey").click()
    page.wait_for_selector("main[data-page=account]")
    expect(page.locator("main")).to_contain_text(email, use_inner_text=True)


def test_where_nobody_may_sign_up_no_link_leads_there(site: Site, page: Page) -> None:
    """The login page names no way to an account, and the address of one says whom to ask."""
    page.goto(site.issuer + "/login")
    expect(page.get_by_role("link", name="Create an account")).to_have_count(0)
    page.goto(site.issuer + "/signup")
    expect(page.locator("main")).to_contain_text("Accounts are made by the administrator here.", use_inner_text=True)
    expect(page.locator("main form")).to_have_count(0)
