"""The conformance suite's scripts for its browser find their way over our pages, with scripts off as with its own."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from examples import conformance
from tests.e2e.conftest import Site
from tests.support import web_server

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]
CALLBACK = "/test/a/main/callback"
ARRIVED = '<!doctype html><title>Suite</title><p id="submission_complete">done</p>'
FIELDS = {"scope": conformance.SCOPE, "response_type": "code", "state": "s" * 128, "nonce": "n"}


@pytest.fixture
def suite() -> Iterator[str]:
    """Return the address of what answers in the suite's place; each of its pages says that the browser is there."""
    with web_server.running(web_server.answer(ARRIVED.encode(), content_type="text/html")) as server:
        yield server.url("")


@pytest.fixture
def settings(site: Site, suite: str, tmp_path: Path) -> dict[str, Any]:
    """The suite's configuration for the server at `site`, to which the other file was applied; the suite is nearby."""
    conformance.write(site.issuer, "https://suite.example.org:8443", tmp_path)
    site.command("apply", str(tmp_path / "auth-server.toml"))
    nearby = {"redirect_uris": [suite + CALLBACK], "backchannel_logout_uri": None, "frontchannel_logout_uri": None}
    flags = dict.fromkeys(("backchannel_logout_session_required", "frontchannel_logout_session_required"))
    site.command("clients", "set", "conf-basic-1", "--metadata", "-", given=json.dumps({**nearby, **flags}))
    found: dict[str, Any] = json.loads((tmp_path / "op-static.json").read_text())
    return found


@pytest.fixture
def page(open_browser: Callable[..., BrowserContext]) -> Page:
    return open_browser(java_script_enabled=False).new_page()


def visit(page: Page, address: str, scripts: list[dict[str, Any]]) -> None:
    """Open an address and run the first script that matches it, as the suite does."""
    script = next(script for script in scripts if fnmatchcase(address, script["match"]))
    page.goto(address)
    for task in script["tasks"]:
        if not fnmatchcase(page.url, task["match"]):
            assert task.get("optional"), (task["task"], page.url)
            continue
        for command in task["commands"]:
            run(page, command)


def run(page: Page, command: list[Any]) -> None:
    match command:
        case ["text", "name", name, value, *rest]:
            field = page.locator(f'[name="{name}"]:not([type=hidden])')
            if "optional" not in rest or field.count():
                field.fill(value)
        case ["click", "css", selector]:
            with page.expect_navigation():
                page.locator(selector).first.click()
        case ["wait", "contains", text, _seconds]:
            page.wait_for_url(f"**{text}**")
        case ["wait", "id", name, _seconds]:
            expect(page.locator(f"#{name}")).to_be_visible()
        case ["wait", "xpath", _where, _seconds, pattern, _picture]:
            expect(page.locator("body")).to_contain_text(re.compile(pattern))
        case _:
            raise AssertionError(command)


def authorization(site: Site, redirect_uri: str, **changed: str) -> str:
    asked = {"client_id": "conf-basic-1", "redirect_uri": redirect_uri, **FIELDS, **changed}
    return f"{site.issuer}/oauth/authorize?{urlencode(asked)}"


def test_the_scripts_sign_in_agree_and_sign_out(site: Site, suite: str, settings: dict[str, Any], page: Page) -> None:
    """oidcc-server, oidcc-prompt-login, oidcc-prompt-none-logged-in, oidcc-rp-initiated-logout-no-params."""
    back = suite + CALLBACK
    visit(page, authorization(site, back), settings["browser"])
    assert parse_qs(urlsplit(page.url).query)["state"] == ["s" * 128]
    again = settings["override"]["oidcc-prompt-login"]["browser"]
    visit(page, authorization(site, back, prompt="login"), again)
    visit(page, authorization(site, back, prompt="none"), settings["browser"])
    assert "code" in parse_qs(urlsplit(page.url).query)
    leaving = settings["override"]["oidcc-rp-initiated-logout-no-params"]["browser"]
    visit(page, site.issuer + "/oauth/logout", leaving)
    visit(page, authorization(site, back, prompt="none"), settings["browser"])
    assert parse_qs(urlsplit(page.url).query)["error"] == ["login_required"]


def test_the_scripts_stay_at_error_pages(site: Site, suite: str, settings: dict[str, Any], page: Page) -> None:
    """oidcc-ensure-registered-redirect-uri: a page of ours, and no redirect."""
    scripts = settings["override"]["oidcc-ensure-registered-redirect-uri"]["browser"]
    visit(page, authorization(site, suite + CALLBACK + "/more"), scripts)
    assert page.url.startswith(site.issuer)
