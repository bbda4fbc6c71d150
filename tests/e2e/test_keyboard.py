"""Everything by keyboard alone: Tab, Enter, Space and letters; the order is the reading order (X-1)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import EMAIL, PASSWORD, Site
from tests.e2e.device import Device, without_autofill
from tests.e2e.letters import code_in, letter_to
from tests.e2e.test_stories import authorization_url, last_answer

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]


def focused(page: Page) -> str:
    """Return the id, the value or the words of what has the focus."""
    found = "(e => e.id || e.value || e.textContent.trim())(document.activeElement)"
    return str(page.evaluate(found))


def tab_to(page: Page, wanted: str) -> None:
    """Press Tab until something has the focus, which must be seen then."""
    for _press in range(60):
        if focused(page) == wanted:
            assert page.evaluate("document.activeElement.matches(':focus-visible')")
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{wanted} cannot be reached")


def fill(page: Page, field: str, text: str) -> None:
    """Go to a field and type in place of what is there."""
    tab_to(page, field)
    page.keyboard.press("Control+A")
    page.keyboard.type(text)


def use(page: Page, wanted: str, key: str = "Enter") -> None:
    tab_to(page, wanted)
    page.keyboard.press(key)


def arrive(page: Page, expected: str, words: str = "") -> None:
    """Wait for a page, which tells this."""
    page.wait_for_selector(f"main[data-page={expected}]" + (f":has-text('{words}')" if words else ""))
    page.wait_for_load_state()


def test_the_whole_way_of_an_app(site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """Without script: a slip, the sign-in, the decision, back, and on again."""
    page = open_browser(java_script_enabled=False).new_page()
    page.goto(authorization_url(site, state="keys", prompt="consent"))
    assert focused(page) == "email"
    page.keyboard.type(EMAIL)
    page.keyboard.press("Tab")
    page.keyboard.type("a slip of the fingers")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]")
    assert focused(page) == "problem"
    tab_to(page, "password")
    expect(page.locator("#password")).to_have_value("")
    page.keyboard.type(PASSWORD)
    use(page, "remember", "Space")
    expect(page.locator("#remember")).to_be_checked()
    page.keyboard.press("Enter")
    arrive(page, "consent")
    use(page, "allow", "Space")
    page.wait_for_url(site.app.address + "/callback?**")
    assert last_answer(site.app)["state"] == "keys"
    page.go_back()
    use(page, "Start again")
    arrive(page, "consent")
    use(page, "allow")
    page.wait_for_url(site.app.address + "/callback?**")
    assert last_answer(site.app)["state"] == "keys"


def test_an_account_from_its_beginning_to_its_end(open_site: Site, page: Page) -> None:
    """Signed up with a slip, a profile, the look, another address, deleted."""
    email, other = "keys@example.org", "other-keys@example.org"
    page.goto(open_site.issuer + "/login")
    use(page, "Create an account")
    arrive(page, "signup")
    fill(page, "name", "Grace Hopper")
    fill(page, "email", "nonsense")
    page.keyboard.press("Enter")
    arrive(page, "signup", "There is a problem")
    assert focused(page) == "problem"
    fill(page, "email", email)
    use(page, "Send me the mail")
    arrive(page, "signup-sent")
    fill(page, "code", code_in(letter_to(open_site, email)))
    page.keyboard.press("Enter")
    arrive(page, "signup-finish")
    fill(page, "password", PASSWORD)
    use(page, "Show Password", "Space")
    assert page.locator("#password").get_attribute("type") == "text"
    use(page, "Create account")
    arrive(page, "account")
    use(page, "Edit your profile")
    arrive(page, "account-profile")
    fill(page, "nickname", "Amazing Grace")
    tab_to(page, "zoneinfo")
    page.keyboard.type("Berlin")
    use(page, "Save")
    arrive(page, "account-profile", "Saved.")
    expect(page.locator("#nickname")).to_have_value("Amazing Grace")
    expect(page.locator("#zoneinfo")).to_have_value("Europe/Berlin")
    use(page, "dark", "Space")
    page.wait_for_selector("html[data-theme=dark]")
    page.goto(open_site.issuer + "/account")
    use(page, "Change your e-mail address")
    arrive(page, "account-email")
    use(page, "Change the address")
    arrive(page, "account-email", "New address")
    fill(page, "email", other)
    page.keyboard.press("Enter")
    arrive(page, "account-email", "Waiting to be confirmed")
    fill(page, "code", code_in(letter_to(open_site, other)))
    page.keyboard.press("Enter")
    page.wait_for_selector("#pending", state="detached")
    expect(page.locator("main")).to_contain_text(other, use_inner_text=True)
    page.goto(open_site.issuer + "/account/profile")
    use(page, "Delete your account")
    arrive(page, "account-delete")
    fill(page, "email", other)
    use(page, "Delete for ever")
    arrive(page, "done")


def test_a_forgotten_password_by_its_code(site: Site, page: Page) -> None:
    """From the login page through the code to the new password and the account."""
    email, new = site.person("forgetful@example.org"), "a brand new long password"
    page.goto(site.issuer + "/login")
    use(page, "Forgot your password?")
    arrive(page, "recover")
    assert focused(page) == "email"
    page.keyboard.type(email)
    page.keyboard.press("Enter")
    arrive(page, "recover", "Look into your mailbox")
    assert focused(page) == "code"
    page.keyboard.type(code_in(letter_to(site, email)))
    page.keyboard.press("Enter")
    arrive(page, "reset")
    fill(page, "password", new)
    use(page, "Set password")
    arrive(page, "done")
    use(page, "Sign in")
    arrive(page, "login")
    fill(page, "email", email)
    fill(page, "password", new)
    page.keyboard.press("Enter")
    arrive(page, "account")


def test_a_passkey_is_added_and_signs_in(site: Site, page: Page) -> None:
    """Added from the security page, the codes saved, signed out by the menu, and in again."""
    email = site.person("passkey-keys@example.org")
    without_autofill(page).goto(site.issuer + "/account/security")
    fill(page, "email", email)
    fill(page, "password", PASSWORD)
    page.keyboard.press("Enter")
    arrive(page, "account-security")
    device = Device(page)
    use(page, "Add a passkey")
    arrive(page, "account-passkey")
    use(page, "passkey")
    arrive(page, "account-codes")
    assert len(device.keys()) == 1
    use(page, "saved", "Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    arrive(page, "account-security")
    use(page, email)
    use(page, "Sign out")
    arrive(page, "logout")
    use(page, "logout")
    arrive(page, "signed-out")
    page.goto(site.issuer + "/login")
    use(page, "passkey")
    arrive(page, "account")
