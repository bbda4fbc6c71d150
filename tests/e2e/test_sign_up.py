"""From nothing to an account in a real browser: sign-up by link and by code, an invitation, another address."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from email import message_from_bytes, policy
from pathlib import Path
from urllib.parse import urlencode

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.e2e.conftest import App, Site, make_site, marker, sign_in
from tests.e2e.test_accessibility import LOOKS, examine, looked_at
from tests.e2e.test_stories import last_answer
from tests.support.rp import challenge_of

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]
PASSWORD = "correct horse battery staple"
PATIENCE_SECONDS = 30


@pytest.fixture(scope="module")
def open_site(tmp_path_factory: pytest.TempPathFactory, app_of_others: App) -> Iterator[Site]:
    """Return a server where everybody may open an account, with an administrator and an app."""
    found = make_site(tmp_path_factory.mktemp("open-site"), app_of_others)
    found.settings["signup"] = "open"
    found.settings["login_rate_limit"] = "off"
    found.server.start()
    found.command("users", "create", "ada@example.org", "--role", "administrator")
    words = ("clients", "create", "--name", "Acme Notes", "--redirect-uri", app_of_others.address + "/callback")
    found.client = json.loads(found.command(*words, "--json"))
    yield found
    found.server.stop()


def letter_to(site: Site, address: str, *, words: str = "") -> str:
    """Wait for the newest letter to an address that has these words, and return its text."""
    folder = Path(site.settings["instance_path"]) / "outbox"
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        for path in sorted(folder.glob("*.eml"), reverse=True):
            message = message_from_bytes(path.read_bytes(), policy=policy.default)
            text = str(message.get_body(("plain",)).get_content())
            if message["To"] == address and words in text:
                return text
        time.sleep(0.1)
    raise AssertionError(f"no letter to {address}")


def link_in(text: str, path: str = "token=") -> str:
    return next(url for url in re.findall(r"https?://\S+", text) if path in url)


def code_in(text: str) -> str:
    return re.findall(r": (\d{6})$", text, re.MULTILINE)[0]


def ask(page: Page, email: str, name: str = "Grace Hopper") -> None:
    page.get_by_label("Name").fill(name)
    page.get_by_label("E-mail").fill(email)
    page.get_by_role("button", name="Send me the mail").click()


def look(page: Page, name: str, scheme: str, width: int) -> None:
    """Keep a picture where AUTH_TEST_LOOK names a folder."""
    folder = os.environ.get("AUTH_TEST_LOOK")
    if folder:
        page.screenshot(path=f"{folder}/{name}-{scheme}-{width}.png", full_page=True)


@pytest.mark.parametrize("with_script", [True, False], ids=["script", "no-script"])
def test_somebody_without_an_account_comes_from_an_app_and_goes_back_to_it(
    open_site: Site, open_browser: Callable[..., BrowserContext], with_script: bool
) -> None:
    """Login page, sign-up, code, password, consent, the app: in one browser, with and without script (USR-6, X-7)."""
    email = f"app-{with_script}@example.org".lower()
    page = open_browser(java_script_enabled=with_script).new_page()
    asked = {
        "client_id": open_site.client["client_id"], "redirect_uri": open_site.app.address + "/callback",
        "response_type": "code", "scope": "openid email", "state": email,
        "code_challenge": challenge_of("x" * 43), "code_challenge_method": "S256",
    }  # fmt: skip
    page.goto(f"{open_site.issuer}/oauth/authorize?{urlencode(asked)}")
    page.get_by_role("link", name="Create an account").click()
    assert marker(page) == "signup"
    ask(page, email)
    assert marker(page) == "signup-sent"
    page.get_by_role("textbox", name="Code").fill(code_in(letter_to(open_site, email)))
    page.get_by_role("button", name="Continue").click()
    assert marker(page) == "signup-finish"
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    assert marker(page) == "consent"
    page.get_by_role("button", name="Allow", exact=True).click()
    page.wait_for_url(open_site.app.address + "/callback?**")
    assert last_answer(open_site.app)["state"] == email


def test_the_letter_is_opened_on_another_device(open_site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """A scanner looks first; the phone confirms; both devices can sign in (USR-7)."""
    email = "phone@example.org"
    desk, scanner, phone = (open_browser().new_page() for _ in range(3))
    desk.goto(open_site.issuer + "/signup")
    ask(desk, email)
    url = link_in(letter_to(open_site, email))
    scanner.goto(url)
    assert marker(scanner) == "signup-finish"
    phone.goto(url)
    phone.get_by_label("Password", exact=True).fill(PASSWORD)
    phone.keyboard.press("Enter")
    phone.wait_for_url(open_site.issuer + "/account")
    desk.goto(open_site.issuer + "/account")
    sign_in(desk, email, PASSWORD)
    assert marker(desk) == "account"


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_of_the_sign_up(
    open_site: Site, open_browser: Callable[..., BrowserContext], scheme: str, width: int
) -> None:
    """Every page with and without a mistake: clean for axe, and nothing scrolls sideways."""
    email = f"look-{scheme}-{width}@example.org"
    page = looked_at(open_browser, scheme, width)
    page.goto(open_site.issuer + "/signup")
    examine(page, "signup")
    look(page, "signup", scheme, width)
    ask(page, "nonsense", "")
    examine(page, "signup")
    look(page, "signup-error", scheme, width)
    ask(page, email)
    examine(page, "signup-sent")
    look(page, "sent", scheme, width)
    url = link_in(letter_to(open_site, email))
    page.get_by_role("textbox", name="Code").fill("1")
    page.get_by_role("button", name="Continue").click()
    examine(page, "signup-sent")
    page.get_by_role("button", name="Send another mail").click()
    assert "A mail was sent a moment ago." in page.get_by_role("alert").inner_text()
    examine(page, "signup-sent")
    look(page, "sent-error", scheme, width)
    page.goto(url)
    examine(page, "signup-finish")
    look(page, "finish", scheme, width)
    page.get_by_role("button", name="Create account").click()
    examine(page, "signup-finish")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    examine(page, "account")
    page.goto(url)
    examine(page, "error")
    look(page, "used", scheme, width)
    invited = f"invited-{scheme}-{width}@example.org"
    page.goto(open_site.command("invitations", "create", invited, "--name", "Eve").strip())
    examine(page, "signup-finish")
    look(page, "invitation", scheme, width)


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_of_the_address(
    open_site: Site, open_browser: Callable[..., BrowserContext], scheme: str, width: int
) -> None:
    """Unproved, waiting, a wrong code, proved by the right one."""
    old = f"old-{scheme}-{width}@example.org"
    open_site.command("users", "create", old, "--unverified", "--password-stdin", given=PASSWORD + "\n")
    page = looked_at(open_browser, scheme, width)
    page.goto(open_site.issuer + "/account/email")
    sign_in(page, old, PASSWORD)
    examine(page, "account-email")
    look(page, "email-unproved", scheme, width)
    page.get_by_role("button", name="Send a mail").click()
    examine(page, "account-email")
    page.get_by_role("textbox", name="Code").fill("000000")
    page.get_by_role("button", name="Confirm").click()
    examine(page, "account-email")
    look(page, "email-code", scheme, width)
    page.get_by_role("textbox", name="Code").fill(code_in(letter_to(open_site, old)))
    page.get_by_role("button", name="Confirm").click()
    examine(page, "account-email")


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_of_another_address(
    open_site: Site, open_browser: Callable[..., BrowserContext], scheme: str, width: int
) -> None:
    """Changed by the link, and taken back from the former mailbox."""
    old, new = (f"{word}-{scheme}-{width}@example.org" for word in ("former", "new"))
    open_site.command("users", "create", old, "--password-stdin", given=PASSWORD + "\n")
    page = looked_at(open_browser, scheme, width)
    page.goto(open_site.issuer + "/account/email")
    sign_in(page, old, PASSWORD)
    page.get_by_role("link", name="Change the address").click()
    examine(page, "account-email")
    page.get_by_label("New address").fill("nonsense")
    page.get_by_role("button", name="Send the mail").click()
    examine(page, "account-email")
    look(page, "email-change", scheme, width)
    page.get_by_label("New address").fill(new)
    page.get_by_role("button", name="Send the mail").click()
    examine(page, "account-email")
    look(page, "email-waiting", scheme, width)
    page.goto(link_in(letter_to(open_site, new)))
    examine(page, "account-confirm")
    look(page, "email-confirm", scheme, width)
    page.get_by_role("button", name="Confirm").click()
    examine(page, "account-email")
    page.goto(link_in(letter_to(open_site, old, words="was changed"), "/recover/email"))
    examine(page, "recover-email")
    look(page, "undo", scheme, width)
    page.get_by_role("button", name="Take it back").click()
    examine(page, "reset")


def test_where_nobody_may_sign_up_the_page_says_so(site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """No link at the login page, and a page that is calm and accessible in every look."""
    for scheme, width in LOOKS:
        page = looked_at(open_browser, scheme, width)
        page.goto(site.issuer + "/login")
        assert page.get_by_role("link", name="Create an account").count() == 0
        page.goto(site.issuer + "/signup")
        examine(page, "signup")
        look(page, "closed", scheme, width)
