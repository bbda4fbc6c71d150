"""Wherever people are and whatever they did meanwhile, the page they are on has a way on (USR-3)."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from auth_server.oauth.waiting import AuthorizationRequestRow
from tests.e2e.conftest import CHROMIUM, EMAIL, PASSWORD, SWITCHES, Site, is_at, sign_in
from tests.e2e.test_stories import authorization_url, last_answer
from tests.support.authenticator import Authenticator

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]
SCRIPT = pytest.mark.parametrize("java_script_enabled", [True, False], ids=["script", "no-script"])


@pytest.fixture(scope="module")
def apps(site: Site) -> list[dict[str, Any]]:
    """Return three apps, each with a way back of its own."""
    made = []
    for name in ("Notes", "Photos", "Shop"):
        uri = f"{site.app.address}/callback?app={name}"
        made.append(json.loads(site.command("clients", "create", "--name", name, "--redirect-uri", uri, "--json")))
    return made


@pytest.fixture
def open_tabs(site: Site, apps: list[dict[str, Any]]) -> Callable[[BrowserContext], list[Page]]:
    """Return an opener of three tabs, each at the login page of another app."""

    def opener(context: BrowserContext) -> list[Page]:
        tabs = [context.new_page() for _app in apps]
        for tab, app in zip(tabs, apps, strict=True):
            (uri,) = app["redirect_uris"]
            about = {"client_id": app["client_id"], "redirect_uri": uri, "state": f"of {app['client_name']}"}
            tab.goto(authorization_url(site, prompt="consent", **about))
            is_at(tab, "login")
            expect(tab.locator("main")).to_contain_text(f"Continue to {app['client_name']}", use_inner_text=True)
        return tabs

    return opener


@pytest.fixture
def a_day_later(site: Site) -> Callable[[], None]:
    """Return a function that lets every waiting request be a day older, as a page that was left open would find it."""
    return lambda: site.let_time_pass(AuthorizationRequestRow, timedelta(days=1))


def arrive(site: Site, tab: Page) -> dict[str, str]:
    """Allow where it is asked; return what the app got."""
    if "/callback" not in tab.url:
        is_at(tab, "consent")
        tab.get_by_role("button", name="Allow", exact=True).click()
        tab.wait_for_url(site.app.address + "/callback?**")
    return last_answer(site.app)


@SCRIPT
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_three_tabs_of_three_apps_finish_in_any_order(
    site: Site,
    open_browser: Callable[..., BrowserContext],
    open_tabs: Callable[[BrowserContext], list[Page]],
    order: tuple[int, int, int],
    java_script_enabled: bool,
) -> None:
    """All are at the login page; each lands on its own redirect with its own `state`."""
    tabs = open_tabs(open_browser(java_script_enabled=java_script_enabled))
    names = ("Notes", "Photos", "Shop")
    for number in order:
        sign_in(tabs[number])
        answer = arrive(site, tabs[number])
        assert (answer["app"], answer["state"]) == (names[number], f"of {names[number]}")
        assert "code" in answer


@SCRIPT
def test_all_are_signed_in_before_any_is_allowed(
    site: Site,
    open_browser: Callable[..., BrowserContext],
    open_tabs: Callable[[BrowserContext], list[Page]],
    java_script_enabled: bool,
) -> None:
    """Three consent pages at once, in one session that was begun three times."""
    tabs = open_tabs(open_browser(java_script_enabled=java_script_enabled))
    for tab in tabs:
        sign_in(tab)
    for tab, name in reversed(list(zip(tabs, ("Notes", "Photos", "Shop"), strict=True))):
        assert arrive(site, tab)["state"] == f"of {name}"


@SCRIPT
def test_signed_in_elsewhere_a_reload_or_the_form_goes_on(
    site: Site,
    open_browser: Callable[..., BrowserContext],
    open_tabs: Callable[[BrowserContext], list[Page]],
    java_script_enabled: bool,
) -> None:
    """One tab reloads and continues with a click; the other mistypes, and may continue all the same."""
    first, second, third = open_tabs(open_browser(java_script_enabled=java_script_enabled))
    sign_in(first)
    second.reload()
    second.get_by_role("button", name="Continue as").click()
    assert arrive(site, second)["state"] == "of Photos"
    sign_in(third, EMAIL, "a slip of the fingers")
    assert third.title().startswith("Error: ")
    expect(third.get_by_label("E-mail")).to_have_value(EMAIL)
    third.get_by_role("button", name="Continue as").click()
    assert arrive(site, third)["state"] == "of Shop"
    assert arrive(site, first)["state"] == "of Notes"


@SCRIPT
def test_a_login_page_left_open_for_a_day(
    site: Site,
    open_browser: Callable[..., BrowserContext],
    a_day_later: Callable[[], None],
    java_script_enabled: bool,
) -> None:
    """The form still signs in; one click starts the same request again."""
    page = open_browser(java_script_enabled=java_script_enabled).new_page()
    page.goto(authorization_url(site, state="yesterday", prompt="consent"))
    a_day_later()
    sign_in(page)
    assert page.locator("main").get_attribute("data-error") == "flow_expired"
    page.get_by_role("link", name="Start again").click()
    assert arrive(site, page)["state"] == "yesterday"


@SCRIPT
def test_a_page_left_open_that_must_ask_again_keeps_the_address(
    site: Site,
    open_browser: Callable[..., BrowserContext],
    a_day_later: Callable[[], None],
    java_script_enabled: bool,
) -> None:
    """An app that wants a fresh sign-in: the e-mail is there already the second time."""
    page = open_browser(java_script_enabled=java_script_enabled).new_page()
    page.goto(authorization_url(site, state="fresh", prompt="login consent"))
    expect(page.get_by_label("E-mail")).to_have_value("")
    a_day_later()
    sign_in(page)
    page.get_by_role("link", name="Start again").click()
    expect(page.get_by_label("E-mail")).to_have_value(EMAIL)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()
    assert arrive(site, page)["state"] == "fresh"


@SCRIPT
def test_back_from_the_app_has_a_way_on(
    site: Site, open_browser: Callable[..., BrowserContext], java_script_enabled: bool
) -> None:
    """Back to the finished step, and further back: each page says what it is and leads on; the app is reached again.

    A failed try on the way is passed too; without script the browser itself asks there whether to send the form again.
    """
    page = open_browser(java_script_enabled=java_script_enabled).new_page()
    page.goto(authorization_url(site, state="once", prompt="consent"))
    if java_script_enabled:
        sign_in(page, EMAIL, "a slip of the fingers")
    sign_in(page)
    assert arrive(site, page)["state"] == "once"
    page.go_back()
    assert page.locator("main").get_attribute("data-error") == "flow_expired"
    expect(page.get_by_role("heading", name="Let's start again")).to_be_visible()
    page.go_back()
    is_at(page, "login")
    page.get_by_role("button", name="Continue as").click()
    assert page.locator("main").get_attribute("data-error") == "flow_expired"
    page.get_by_role("link", name="Start again").click()
    assert arrive(site, page)["state"] == "once"


@SCRIPT
def test_blocked_cookies_are_called_that(
    site: Site, chromium: Browser, tmp_path: Path, java_script_enabled: bool
) -> None:
    """A browser that is set to take none: title, heading and text say it, and nothing of the machinery."""
    settings = tmp_path / "Default" / "Preferences"
    settings.parent.mkdir()
    settings.write_text(json.dumps({"profile": {"default_content_setting_values": {"cookies": 2}}}))
    context = chromium.browser_type.launch_persistent_context(
        tmp_path, executable_path=CHROMIUM, args=SWITCHES, java_script_enabled=java_script_enabled
    )
    page = context.new_page()
    page.goto(authorization_url(site, state="crumbs"))
    sign_in(page)
    main = page.locator("main")
    assert main.get_attribute("data-error") == "csrf"
    assert page.title().startswith("Your browser blocks cookies")
    expect(page.get_by_role("heading", name="Your browser blocks cookies")).to_be_visible()
    expect(main).to_contain_text(f"Allow cookies for localhost:{site.server.port}", use_inner_text=True)
    assert "csrf" not in page.locator("body").inner_text().lower()
    page.get_by_role("link", name="Start again").click()
    is_at(page, "login")
    assert context.cookies() == []
    context.close()


@SCRIPT
def test_recovery_codes_are_kept_as_a_file(
    site: Site, open_browser: Callable[..., BrowserContext], java_script_enabled: bool
) -> None:
    """Download without script; print and copy only where they work; the box must be ticked (USR-10, X-7)."""
    email = site.person(f"codes-{java_script_enabled}@example.org".lower())
    page = open_browser(java_script_enabled=java_script_enabled).new_page()
    page.goto(site.issuer + "/account/security")
    sign_in(page, email)
    page.get_by_role("button", name="Set up an authenticator app").click()
    phone = Authenticator(page.locator("#key").inner_text())
    for steps, words in ((10, "is ahead"), (-10, "is behind"), (0, "")):
        page.get_by_role("textbox", name="Code").fill(phone.code(steps))
        page.get_by_role("button", name="Switch on").click()
        assert not words or words in page.get_by_role("alert").inner_text()
    is_at(page, "account-codes")
    codes = page.locator("#codes").inner_text().split()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "recovery-codes.txt"
    assert Path(download.value.path()).read_text(encoding="utf-8").split()[-10:] == codes
    for name in ("Print", "Copy"):
        expect(page.get_by_role("button", name=name)).to_have_count(int(java_script_enabled))
    page.emulate_media(media="print")
    expect(page.locator("#codes")).to_be_visible()
    page.emulate_media(media="screen")
    page.get_by_role("button", name="Done").click()
    is_at(page, "account-codes")  # the browser asks for the tick
    page.get_by_label("I have saved them").check()
    page.get_by_role("button", name="Done").click()
    is_at(page, "account-security")
