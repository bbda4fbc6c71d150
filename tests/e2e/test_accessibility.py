"""axe-core finds nothing on any page, in light and dark, narrow and wide; and the pictures of the README."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page

from tests.e2e.conftest import EMAIL, PASSWORD, Site, marker, sign_in
from tests.e2e.test_stories import authorization_url
from tests.support.authenticator import Authenticator

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]
IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_kept: set[tuple[str, str]] = set()
LOOKS = [(scheme, width) for scheme in ("light", "dark") for width in (320, 1280)]


def examine(page: Page, expected: str) -> None:
    """The page is the expected one, has no violation, and does not scroll sideways (X-2, X-3)."""
    assert marker(page) == expected
    results = Axe().run(page, options={"runOnly": RULES, "resultTypes": ["violations"]})
    assert results.violations_count == 0, results.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    keep_picture(page, expected)


def keep_picture(page: Page, name: str) -> None:
    """Keep a light, wide and a dark, narrow picture of each page for the docs, when AUTH_TEST_SCREENSHOTS=1 asks."""
    dark = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    width = page.evaluate("window.innerWidth")
    look = f"{'dark' if dark else 'light'}-{width}"
    if (
        os.environ.get("AUTH_TEST_SCREENSHOTS") != "1"
        or look not in ("light-1280", "dark-320")
        or (name, look) in _kept
    ):
        return
    _kept.add((name, look))
    folder = IMAGES / "pages"
    folder.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)


def looked_at(open_browser: Callable[..., BrowserContext], scheme: str, width: int) -> Page:
    return open_browser(color_scheme=scheme, viewport={"width": width, "height": 800}).new_page()


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_before_anybody_is_there(
    new_site: Site, open_browser: Callable[..., BrowserContext], scheme: str, width: int
) -> None:
    """The set-up: without its link, with it, and with a mistake."""
    page = looked_at(open_browser, scheme, width)
    page.goto(new_site.issuer + "/")
    examine(page, "setup")
    page.goto(new_site.command("setup-link").strip())
    examine(page, "setup")
    page.locator("main form button[type=submit]").last.click()
    assert page.title().startswith("Error: ")
    examine(page, "setup")


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_of_the_flow(site: Site, open_browser: Callable[..., BrowserContext], scheme: str, width: int) -> None:
    """Login with and without an error, consent for little and for much, errors, recovery, signing out."""
    page = looked_at(open_browser, scheme, width)
    page.goto(authorization_url(site, prompt="consent", scope="openid"))
    examine(page, "login")
    sign_in(page, f"nobody-{scheme}-{width}@example.org", "wrong")
    assert page.get_by_role("alert").is_visible()
    examine(page, "login")
    sign_in(page)
    examine(page, "consent")
    page.goto(authorization_url(site, prompt="consent"))
    examine(page, "consent")
    page.goto(authorization_url(site, client_id="unknown"))
    examine(page, "error")
    page.goto(site.issuer + "/nowhere")
    examine(page, "error")
    page.goto(site.issuer + "/recover")
    examine(page, "recover")
    page.goto(site.command("users", "reset-link", EMAIL).strip())
    examine(page, "reset")
    for path, expected in (("", "account"), ("/sessions", "account-sessions"), ("/apps", "account-apps")):
        page.goto(site.issuer + "/account" + path)
        examine(page, expected)
    page.goto(site.issuer + "/logout")
    examine(page, "logout")
    page.get_by_role("button", name="Sign out").click()
    examine(page, "signed-out")


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_the_page_for_too_many_tries(
    new_site: Site, open_browser: Callable[..., BrowserContext], scheme: str, width: int
) -> None:
    """It says how long to wait, and is as accessible as the others."""
    new_site.command("users", "create", EMAIL, "--role", "administrator")
    page = looked_at(open_browser, scheme, width)
    page.goto(new_site.issuer + "/login")
    for _ in range(6):
        sign_in(page, EMAIL, "wrong")
    assert "Wait" in page.get_by_role("alert").inner_text()
    examine(page, "login")


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_of_the_second_factor(
    site: Site, open_browser: Callable[..., BrowserContext], scheme: str, width: int
) -> None:
    """Security, a new app, its codes, the step of the sign-in with its mistakes, and the removal."""
    email = f"two-{scheme}-{width}@example.org"
    site.command("users", "create", email, "--password-stdin", given=PASSWORD + "\n")
    page, security = looked_at(open_browser, scheme, width), site.issuer + "/account/security"
    page.goto(security)
    sign_in(page, email, PASSWORD)
    examine(page, "account-security")
    page.get_by_role("link", name="Change password").click()
    page.get_by_role("button", name="Change password").click()
    examine(page, "account-password")
    page.goto(security + "/app")
    examine(page, "account-app")
    page.goto(security)
    page.get_by_role("button", name="Set up an authenticator app").click()
    examine(page, "account-app")
    phone = Authenticator(page.locator("#key").inner_text())
    page.get_by_role("textbox", name="Code").fill(phone.code())
    page.get_by_role("button", name="Switch on").click()
    examine(page, "account-codes")
    page.evaluate("document.querySelector('main form').noValidate = true")
    page.get_by_role("button", name="Done").click()
    assert page.title().startswith("Error: ")
    examine(page, "account-codes")
    page.get_by_label("I have saved them").check()
    page.get_by_role("button", name="Done").click()
    examine(page, "account-security")
    page.get_by_role("link", name="Remove").click()
    examine(page, "account-confirm")
    page.goto(site.issuer + "/login?fresh=1&next=/account/security")
    examine(page, "login")
    sign_in(page, email, PASSWORD)
    examine(page, "mfa")
    for _try in range(2):
        page.get_by_role("textbox", name="Code").fill("000000")
        page.get_by_role("button", name="Continue").click()
    assert "clock" in page.get_by_role("alert").inner_text()
    examine(page, "mfa")
    page.get_by_role("link", name="Use a recovery code").click()
    examine(page, "mfa")
    page.get_by_role("link", name="Use the authenticator app").click()
    page.get_by_role("textbox", name="Code").fill(phone.code(1))
    page.get_by_label("Trust this browser").check()
    page.get_by_role("button", name="Continue").click()
    examine(page, "account-security")
    assert page.get_by_role("heading", name="Trusted browsers").is_visible()
    page.get_by_role("link", name="See the events").click()
    examine(page, "account-events")
    page.get_by_role("button", name="This wasn't me").click()
    examine(page, "account-confirm")
    page.get_by_role("button", name="Sign out everywhere").click()
    examine(page, "done")
    page.get_by_role("link", name="Sign in and change the password").click()
    examine(page, "login")


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_on_the_way_to_a_stronger_sign_in(
    site: Site, open_browser: Callable[..., BrowserContext], scheme: str, width: int
) -> None:
    """The countdown of an administrator; then an app demands two factors, and one code leads there and back."""
    email = f"chief-{scheme}-{width}@example.org"
    site.command("users", "create", email, "--role", "administrator", "--password-stdin", given=PASSWORD + "\n")
    words = ("clients", "create", "--metadata", "-", "--json")
    metadata = {"redirect_uris": [site.app.address + "/callback"], "minimum_acr": "aal2", "first_party": True}
    demanding = json.loads(site.command(*words, given=json.dumps(metadata)))
    page = looked_at(open_browser, scheme, width)
    page.goto(site.issuer + "/account")
    sign_in(page, email, PASSWORD)
    assert page.get_by_text("You have 7 days left.").is_visible()
    examine(page, "account")
    page.goto(authorization_url(site, client_id=demanding["client_id"]))
    assert page.get_by_text("This app needs a stronger sign-in").is_visible()
    examine(page, "account-second-factor")
    page.get_by_role("button", name="Set up an authenticator app").click()
    phone = Authenticator(page.locator("#key").inner_text())
    page.get_by_role("textbox", name="Code").fill(phone.code())
    page.get_by_role("button", name="Switch on").click()
    page.get_by_label("I have saved them").check()
    page.get_by_role("button", name="Done").click()
    page.wait_for_url(site.app.address + "/callback**")
    page.goto(site.issuer + "/account")
    assert page.get_by_text("Administrators need a second factor").count() == 0


def test_pictures_of_login_and_consent(site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """The README's pictures are made from the pages themselves, when AUTH_TEST_SCREENSHOTS=1 asks for new ones."""
    page = looked_at(open_browser, "light", 1280)
    page.goto(authorization_url(site, prompt="consent", scope="openid profile email"))
    pictures = {"login": page.screenshot(clip=_clip(page))}
    sign_in(page)
    pictures["consent"] = page.screenshot(clip=_clip(page))
    assert all(picture.startswith(b"\x89PNG") and len(picture) < 100_000 for picture in pictures.values())
    if os.environ.get("AUTH_TEST_SCREENSHOTS") == "1":
        IMAGES.mkdir(parents=True, exist_ok=True)
        for name, picture in pictures.items():
            (IMAGES / f"{name}.png").write_bytes(picture)


def _clip(page: Page) -> dict[str, float]:
    """Return the card with the site's name above it."""
    box = page.locator("main").bounding_box()
    assert box is not None
    return {"x": box["x"] - 60, "y": box["y"] - 60, "width": box["width"] + 120, "height": box["height"] + 84}
