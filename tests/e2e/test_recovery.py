"""The ways back in, in a real browser: by link, by code, "This wasn't me"; with and without JavaScript; accessible."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from email import message_from_bytes, policy

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.e2e.conftest import PASSWORD, Site, sign_in
from tests.e2e.test_accessibility import LOOKS, examine, looked_at

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]
NEW = "a brand new long password"
_PATIENCE_SECONDS = 20


def newest_letter(site: Site, to: str, subject: str) -> str:
    """Wait for a letter; return its text."""
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        for file in sorted((site.settings["instance_path"] / "outbox").glob("*.eml"), reverse=True):
            letter = message_from_bytes(file.read_bytes(), policy=policy.default)
            body = letter.get_body(("plain",))
            if letter["To"] == to and subject in letter["Subject"] and body:
                return str(body.get_content())
        time.sleep(0.1)
    raise AssertionError(f"no letter to {to}")


def found(pattern: str, text: str) -> str:
    match = re.search(pattern, text, re.MULTILINE)
    assert match, text
    return match[1]


def person(site: Site, email: str) -> str:
    site.command("users", "create", email, "--password-stdin", given=PASSWORD + "\n")
    return email


def ask(page: Page, site: Site, email: str) -> None:
    page.goto(site.issuer + "/login")
    page.get_by_role("link", name="Forgot your password?").click()
    page.get_by_label("E-mail").fill(email)
    page.get_by_role("button", name="Send the mail").click()
    assert page.get_by_text("a mail is on its way").is_visible()


def set_new(page: Page) -> None:
    page.get_by_label("New password", exact=True).fill(NEW)
    page.get_by_role("button", name="Set password").click()
    assert page.get_by_role("heading", name="Your password is set").is_visible()
    page.get_by_role("link", name="Sign in").click()


@pytest.mark.parametrize("with_script", [True, False], ids=["script", "no-script"])
@pytest.mark.parametrize("by", ["link", "code"])
def test_a_forgotten_password(
    site: Site, open_browser: Callable[..., BrowserContext], with_script: bool, by: str
) -> None:
    """From the login page through the mail to the account; the link works in another browser."""
    email = person(site, f"forgot-{by}-{with_script}@example.org".lower())
    page = open_browser(java_script_enabled=with_script).new_page()
    ask(page, site, email)
    letter = newest_letter(site, email, "new password")
    if by == "code":
        page.get_by_label("Code").fill(found(r"(\d{6})$", letter))
        page.get_by_role("button", name="Continue").click()
    else:
        page = open_browser(java_script_enabled=with_script).new_page()
        page.goto(found(r"(http\S+/recover/reset\S+)", letter))
    set_new(page)
    sign_in(page, email, NEW)
    assert page.get_by_role("heading", name="Your account", exact=True).is_visible()


@pytest.mark.parametrize("with_script", [True, False], ids=["script", "no-script"])
def test_this_was_not_me(site: Site, open_browser: Callable[..., BrowserContext], with_script: bool) -> None:
    """From the notice of a changed password, signed out, to a new one."""
    email = person(site, f"not-me-{with_script}@example.org".lower())
    thief = open_browser().new_page()
    thief.goto(site.command("users", "reset-link", email).strip())
    thief.get_by_label("New password", exact=True).fill("the password of a thief")
    thief.get_by_role("button", name="Set password").click()
    page = open_browser(java_script_enabled=with_script).new_page()
    page.goto(found(r"(http\S+/recover/not-me\S+)", newest_letter(site, email, "Security notice")))
    page.get_by_role("button", name="Lock everybody out").click()
    set_new(page)
    sign_in(page, email, NEW)
    assert page.get_by_role("heading", name="Your account", exact=True).is_visible()


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
def test_pages_of_recovery(site: Site, open_browser: Callable[..., BrowserContext], scheme: str, width: int) -> None:
    """Each page in each state, with its mistakes."""
    email = person(site, f"look-{scheme}-{width}@example.org")
    page = looked_at(open_browser, scheme, width)
    page.goto(site.issuer + "/recover")
    examine(page, "recover")
    page.get_by_role("button", name="Send the mail").click()
    examine(page, "recover")
    page.get_by_label("E-mail").fill(email)
    page.get_by_role("button", name="Send the mail").click()
    examine(page, "recover")
    page.get_by_label("Code").fill("x")
    page.get_by_role("button", name="Continue").click()
    examine(page, "recover")
    page.goto(found(r"(http\S+/recover/reset\S+)", newest_letter(site, email, "new password")))
    page.get_by_label("New password", exact=True).fill("short")
    page.get_by_role("button", name="Set password").click()
    examine(page, "reset")
    page.get_by_label("New password", exact=True).fill(NEW)
    page.get_by_role("button", name="Set password").click()
    examine(page, "done")
    page.goto(site.issuer + "/recover/reset?token=x")
    examine(page, "error")
    page.goto(found(r"(http\S+/recover/not-me\S+)", newest_letter(site, email, "Security notice")))
    examine(page, "not-me")
    words = ("users", "recovery-link", email, "--checked", "in person", "--json")
    page.goto(json.loads(site.command(*words))["url"])
    examine(page, "recovery-waiting")
    page.goto(site.issuer + "/account")
    sign_in(page, email, NEW)
    examine(page, "account")
    page.goto(found(r"(http\S+/recover/stop\S+)", newest_letter(site, email, "Somebody asked")))
    examine(page, "recovery-stop")
    page.get_by_role("button", name="Stop the recovery").click()
    examine(page, "done")
