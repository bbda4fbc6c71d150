"""Passkeys in a real browser, with its own virtual authenticator: by button and autofill, and without script."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import PASSWORD, Site, is_at, sign_in
from tests.e2e.device import Device, without_autofill
from tests.e2e.test_stories import authorization_url, last_answer
from tests.e2e.walks.steps import without_password
from tests.support.authenticator import Authenticator

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]
BUTTON = "Sign in with a passkey"


@pytest.fixture
def person(site: Site, request: pytest.FixtureRequest) -> str:
    """Return the address of somebody new."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")[:50].strip("-")
    return site.person(f"{name}@example.org")


def add_passkey(page: Page, site: Site, email: str, **options: bool) -> Device:
    """Sign in with the password and add the first passkey; the page shows the security page at the end."""
    page.goto(site.issuer + "/account/security")
    sign_in(page, email)
    device = Device(page, **options)
    page.get_by_role("link", name="Add a passkey").click()
    create(page)
    return device


def create(page: Page) -> None:
    """Create the first passkey, take the codes, and go on to the security page."""
    page.get_by_role("button", name="Create a passkey").click()
    page.wait_for_selector("main[data-page=account-codes]")
    page.get_by_label("I have saved them").check()
    page.get_by_role("button", name="Done").click()
    page.wait_for_selector("main[data-page=account-security]")


def sign_out(page: Page, site: Site) -> None:
    page.goto(site.issuer + "/logout")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_selector("main[data-page=signed-out]")


def test_a_passkey_is_added_and_signs_in_by_the_button(site: Site, page: Page, person: str) -> None:
    """No code is asked for; the request of the app goes on; the token says how it was (USR-4)."""
    without_autofill(page)
    device = add_passkey(page, site, person)
    text = page.locator("main").inner_text()
    for part in ("Chrome on Linux", "On this device or security key only", "Last used: never"):
        assert part in text
    assert len(device.keys()) == 1
    sign_out(page, site)
    page.goto(authorization_url(site, prompt="consent", acr_values="aal2"))
    page.get_by_role("button", name=BUTTON).click()
    page.wait_for_selector("main[data-page=consent]")
    expect(page.locator("main")).to_contain_text(person, use_inner_text=True)
    page.get_by_role("button", name="Allow", exact=True).click()
    page.wait_for_url(site.app.address + "/callback?**")
    assert "code" in last_answer(site.app)


def test_a_passkey_is_offered_by_autofill(site: Site, open_browser: Callable[..., BrowserContext], person: str) -> None:
    """The request waits from the load on; what the person picks there signs in, with nothing pressed (USR-4)."""
    page = open_browser().new_page()
    device = add_passkey(page, site, person, synced=True)
    expect(page.locator("main")).to_contain_text("Synced by your password manager", use_inner_text=True)
    keys = device.leave()
    sign_out(page, site)
    page.goto(site.issuer + "/login?next=/account/apps")
    expect(page.get_by_role("button", name=BUTTON)).to_be_visible()
    is_at(page, "login")
    Device(page).take(keys)
    page.goto(site.issuer + "/login?next=/account/apps")
    page.wait_for_selector("main[data-page=account-apps]")


def test_pressing_the_button_takes_the_waiting_request_back(site: Site, page: Page, person: str) -> None:
    """One request at a time: the one for autofill is aborted, then the browser asks for a passkey."""
    device = add_passkey(page, site, person)
    device.be_touched(False)
    sign_out(page, site)
    page.add_init_script(
        """
        window.asked = [];
        const get = navigator.credentials.get.bind(navigator.credentials);
        navigator.credentials.get = (wanted) => {
          window.asked.push(wanted.mediation ?? "button");
          wanted.signal.addEventListener("abort", () => window.asked.push("taken back"));
          return get(wanted);
        };
        """
    )
    page.goto(site.issuer + "/login")
    wait_until(page, "window.asked.length === 1")
    page.get_by_role("button", name=BUTTON).click()
    wait_until(page, "window.asked.length === 3")
    assert page.evaluate("window.asked") == ["conditional", "taken back", "button"]
    device.be_touched(True)
    page.get_by_role("button", name=BUTTON).click()  # again: the one before is taken back too
    page.wait_for_selector("main[data-page=account]")


def wait_until(page: Page, condition: str) -> None:
    """Look until it holds; the page's own policy forbids Playwright's way, which is `eval`."""
    for _look in range(100):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def test_cancelling_leaves_the_form_untouched(site: Site, page: Page, person: str) -> None:
    """What was typed is still there, a quiet line says that nothing happened, and the password works (USR-4)."""
    without_autofill(page)
    device = add_passkey(page, site, person)
    device.know_its_person(False)
    sign_out(page, site)
    page.goto(site.issuer + "/login")
    page.get_by_label("E-mail").fill(person)
    page.get_by_label("Keep me signed in").check()
    page.get_by_role("button", name=BUTTON).click()
    expect(page.get_by_role("status")).to_have_text("No passkey was used. Nothing was changed.")
    expect(page.get_by_role("alert")).to_have_count(0)
    expect(page.get_by_label("E-mail")).to_have_value(person)
    expect(page.get_by_label("Keep me signed in")).to_be_checked()
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.wait_for_selector("main[data-page=mfa]")


def test_a_passkey_is_the_second_step_and_the_others_are_near(site: Site, page: Page, person: str) -> None:
    """What was used last is asked for first; another way is one link away (USR-11)."""
    without_autofill(page)
    add_passkey(page, site, person)
    page.get_by_role("button", name="Set up an authenticator app").click()
    phone = Authenticator(page.locator("#key").inner_text())
    page.get_by_role("textbox", name="Code").fill(phone.code())
    page.get_by_role("button", name="Switch on").click()
    page.wait_for_selector("main[data-page=account-security]")
    sign_out(page, site)
    page.goto(site.issuer + "/account")
    sign_in(page, person)
    page.get_by_role("button", name="Continue with a passkey").click()
    page.wait_for_selector("main[data-page=account]")
    sign_out(page, site)
    page.goto(site.issuer + "/account")
    sign_in(page, person)
    expect(page.get_by_role("heading", name="Use your passkey")).to_be_visible()
    links = page.get_by_role("region", name="Try another way").get_by_role("link")
    assert links.all_inner_texts() == ["Use the authenticator app", "Use a recovery code"]
    links.first.click()
    page.get_by_role("textbox", name="Code").fill(phone.code(1))
    page.get_by_role("button", name="Continue").click()
    page.wait_for_selector("main[data-page=account]")
    sign_out(page, site)
    page.goto(site.issuer + "/account")
    sign_in(page, person)
    expect(page.get_by_role("heading", name="Enter the code of your app")).to_be_visible()


def test_passkeys_are_renamed_and_removed(site: Site, page: Page, person: str) -> None:
    """Cards with names; no second one on the same device; removing says what follows (USR-5)."""
    without_autofill(page)
    add_passkey(page, site, person)
    page.get_by_role("link", name="Rename Chrome on Linux").click()
    page.get_by_label("Name").fill("My laptop")
    page.get_by_role("button", name="Rename").click()
    expect(page.get_by_role("heading", name="My laptop")).to_be_visible()
    page.get_by_role("link", name="Add another passkey").click()
    page.get_by_role("button", name="Create a passkey").click()
    expect(page.get_by_role("status")).to_have_text("There is a passkey for this account here already.")
    page.get_by_role("link", name="Cancel").click()
    page.get_by_role("link", name="Remove My laptop").click()
    is_at(page, "account-confirm")
    expect(page.locator("main")).to_contain_text("Your recovery codes stop working.", use_inner_text=True)
    page.get_by_role("button", name="Remove").click()
    page.wait_for_selector("main[data-page=account-security]")
    expect(page.get_by_role("heading", name="My laptop")).to_have_count(0)
    sign_out(page, site)
    page.goto(site.issuer + "/login")
    page.get_by_role("button", name=BUTTON).click()
    expect(page.get_by_role("alert")).to_contain_text("This passkey was not accepted.")


def test_a_page_that_was_open_for_long_still_works(site: Site, page: Page, person: str) -> None:
    """After more than five minutes the script asks the server for a new challenge by itself (USR-3)."""
    without_autofill(page)
    add_passkey(page, site, person)
    sign_out(page, site)
    page.clock.install()
    page.goto(site.issuer + "/login")
    page.clock.fast_forward("20:00:00")
    with page.expect_response("**/login/passkey") as fetched:
        page.get_by_role("button", name=BUTTON).click()
    assert fetched.value.status == 200
    page.wait_for_selector("main[data-page=account]")


def test_without_javascript_nothing_is_dead(
    site: Site, open_browser: Callable[..., BrowserContext], person: str
) -> None:
    """No passkey control on the login page; the second step and the page that adds one explain themselves (X-7)."""
    with_script = without_autofill(open_browser().new_page())
    add_passkey(with_script, site, person)
    page = open_browser(java_script_enabled=False).new_page()
    page.goto(site.issuer + "/account/security/passkeys/add")
    expect(page.get_by_role("button", name=re.compile("passkey"))).to_have_count(0)
    sign_in(page, person)
    is_at(page, "mfa")
    expect(page.locator("main").get_by_role("button")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("This browser cannot use passkeys here", use_inner_text=True)
    page.get_by_role("link", name="Use a recovery code").click()
    expect(page.get_by_role("textbox", name="Recovery code")).to_be_visible()
    expect(page.get_by_role("button", name="Continue")).to_be_visible()
    other = site.person(f"plain-{person}")
    page.goto(site.issuer + "/account/security/passkeys/add")
    sign_in(page, other)
    is_at(page, "account-passkey")
    expect(page.locator("main").get_by_role("button")).to_have_count(0)
    expect(page.locator("main")).to_contain_text("This browser cannot make passkeys here", use_inner_text=True)


def test_the_last_way_in_stays(site: Site, page: Page, person: str) -> None:
    """Somebody without a password cannot remove the only passkey, and is told why (WK-09)."""
    without_autofill(page)
    add_passkey(page, site, person)
    without_password(site, person)
    page.get_by_role("link", name="Remove Chrome on Linux").click()
    is_at(page, "account-passkey-stays")
    expect(page.locator("main")).to_contain_text("the only way into your account", use_inner_text=True)
    page.get_by_role("link", name="Add another passkey").click()
    is_at(page, "account-passkey")
