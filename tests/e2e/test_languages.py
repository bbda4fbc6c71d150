"""Every page from right to left, and in a made-up language that shows what is clipped or not translated.

A new page is added to one of the walks below; each `look` is one state of one page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.e2e.conftest import EMAIL, PASSWORD, App, Site, furnish, make_site, marker
from tests.e2e.test_accessibility import LOOKS, examine
from tests.e2e.test_stories import authorization_url
from tests.support import pseudo
from tests.support.authenticator import Authenticator

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]
Look = Callable[[Page, str], None]
Walk = Callable[[Site, Page, str, Look], None]
NAMES = ("Acme Notes", "Ada Lovelace", EMAIL, "JavaScript")
"""What stays as it is in every language, where it stands within a text that is not marked as a name."""

LEFT_TO_RIGHT = ", ".join(f"main {kind}:visible" for kind in ("input[type=email]", "input[name=code]", "code", "pre"))
"""What never turns around."""
UNTRANSLATED = """(names) => {
  const kept = "bdi, code, pre, time, script, style, .avatar, .languages button, body [dir=ltr], details dl";
  const bare = (text) => {
    for (const name of names) text = text.replaceAll(name, "");
    return /[A-Za-z]{2,}/.test(text);
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    if (!walker.currentNode.parentElement.closest(kept) && bare(walker.currentNode.data)) {
      found.push(walker.currentNode.data.trim());
    }
  }
  for (const name of ["title", "alt", "placeholder", "aria-label", "data-l", "data-copied"]) {
    for (const element of document.querySelectorAll(`body [${name}]:not(time)`)) {
      if (bare(element.getAttribute(name))) found.push(`${name}=${element.getAttribute(name)}`);
    }
  }
  const title = document.title.slice(0, document.title.lastIndexOf(" – "));
  if (bare(title)) found.push(`title: ${title}`);
  return found;
}"""
"""Returns the visible and spoken texts with unaccented letters."""

CLIPPED = """() => {
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const style = getComputedStyle(element);
    if (element.closest(".visually-hidden, .skip, svg, input") || !element.checkVisibility()) continue;
    const box = element.getBoundingClientRect();
    const cut = element.clientWidth && element.scrollWidth > element.clientWidth + 1;
    const scrolls = ["auto", "scroll"].includes(style.overflowX) || style.textOverflow === "ellipsis";
    const outside = (box.right > innerWidth + 1 || box.left < -1) && !element.closest(".table-wrap, pre");
    if ((cut && style.display !== "inline" && !scrolls) || outside) {
      found.push(`${element.tagName}.${element.className}: ${element.textContent.trim().slice(0, 60)}`);
    }
  }
  return found;
}"""
"""Returns the elements whose content does not fit into them, or that stick out of the window."""


def the_flow(site: Site, page: Page, email: str, look: Look) -> None:
    """Login, its mistake, consent for much and for little, the account that goes on, errors."""
    page.goto(authorization_url(site, prompt="consent"))
    look(page, "login")
    sign_in(page, email, "wrong")
    look(page, "login")
    sign_in(page, email)
    look(page, "consent")
    page.goto(authorization_url(site, prompt="select_account"))
    look(page, "login")
    page.goto(authorization_url(site, client_id="unknown"))
    look(page, "error")
    page.goto(authorization_url(site, redirect_uri="https://elsewhere.example/"))
    page.locator("main details summary").click()
    look(page, "error")
    page.goto(site.issuer + "/oauth/authorize?flow=gone")
    look(page, "error")
    page.goto(site.issuer + "/nowhere")
    look(page, "error")


def the_account(site: Site, page: Page, email: str, look: Look) -> None:
    """The account's pages, the way back in, signing out."""
    page.goto(site.issuer + "/login")
    sign_in(page, email)
    for path, expected in (("", "account"), ("/sessions", "account-sessions"), ("/apps", "account-apps")):
        page.goto(site.issuer + "/account" + path)
        look(page, expected)
    page.locator("header summary").click()
    look(page, "account-apps")
    page.goto(site.issuer + "/account/security/password")
    look(page, "account-password")
    press(page)
    look(page, "account-password")
    page.goto(site.issuer + "/account/security/events")
    look(page, "account-events")
    press(page)
    look(page, "account-confirm")
    page.goto(site.issuer + "/logout")
    look(page, "logout")
    page.locator("main button[value=logout]").click()
    look(page, "signed-out")
    page.goto(site.issuer + "/recover")
    look(page, "recover")
    page.goto(site.command("users", "reset-link", email).strip())
    look(page, "reset")
    page.locator("main [name=password]").fill("short")
    press(page)
    look(page, "reset")
    page.locator("main [name=password]").fill("another long password of hers")
    press(page)
    look(page, "done")


def the_second_factor(site: Site, page: Page, email: str, look: Look) -> None:
    """The authenticator app, its codes, the step of the sign-in, the end."""
    security = site.issuer + "/account/security"
    page.goto(security)
    sign_in(page, email)
    look(page, "account-security")
    page.goto(security + "/app")
    look(page, "account-app")
    press(page)
    page.locator("main [name=code]").fill("000000")
    press(page)
    look(page, "account-app")
    phone = Authenticator(page.locator("#key").inner_text())
    page.locator("main [name=code]").fill(phone.code())
    press(page)
    look(page, "account-codes")
    page.goto(site.issuer + "/login?fresh=1&next=/account/security")
    look(page, "login")
    sign_in(page, email)
    look(page, "mfa")
    page.locator("main [name=code]").fill("000000")
    press(page)
    look(page, "mfa")
    page.locator("main .links a").first.click()
    look(page, "mfa")
    page.locator("main .links a").first.click()
    page.locator("main [name=code]").fill(phone.code(1))
    page.locator("main [name=trust_device]").check()
    press(page)
    look(page, "account-security")
    page.goto(security + "/app/remove")
    look(page, "account-confirm")
    page.goto(security + "/codes")
    look(page, "account-confirm")


WALKS: list[Walk] = [the_flow, the_account, the_second_factor]


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Fill in the login form, whatever its language."""
    page.locator("main input[name=email]").last.fill(email)
    page.locator("main [name=password]").fill(password)
    press(page)


def press(page: Page) -> None:
    """Press the last button of the page's form."""
    page.locator("main form button[type=submit]").last.click()


def a_person(site: Site, words: str) -> str:
    email = f"{words}@example.org"
    site.command("users", "create", email, "--name", "Ada Lovelace", "--password-stdin", given=PASSWORD + "\n")
    return email


@pytest.fixture(scope="module")
def accented_site(tmp_path_factory: pytest.TempPathFactory, app_of_others: App) -> Iterator[Site]:
    """Return a server that speaks the made-up language too."""
    folder = tmp_path_factory.mktemp("accented")
    site = make_site(folder, app_of_others, pseudo.program(folder / "program"))
    furnish(site)
    yield site
    site.server.stop()


@pytest.mark.parametrize(("scheme", "width"), LOOKS)
@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.__name__)
def test_pages_run_from_right_to_left(
    site: Site, open_browser: Callable[..., BrowserContext], walk: Walk, scheme: str, width: int
) -> None:
    """In Arabic each page is accessible, runs from right to left, and nothing is cut off; addresses and codes do not
    turn around (X-11)."""

    def look(page: Page, expected: str) -> None:
        assert marker(page) == expected
        assert page.locator("html").get_attribute("dir") == "rtl"
        assert page.evaluate("getComputedStyle(document.querySelector('main')).direction") == "rtl"
        assert page.evaluate(CLIPPED) == []
        for field in page.locator(LEFT_TO_RIGHT).all():
            assert field.evaluate("element => getComputedStyle(element).direction") == "ltr"
        examine(page, expected)

    options: dict[str, Any] = {"color_scheme": scheme, "viewport": {"width": width, "height": 800}, "locale": "ar"}
    email = a_person(site, f"rtl-{walk.__name__}-{scheme}-{width}")
    walk(site, open_browser(**options).new_page(), email, look)


@pytest.mark.parametrize("width", [320, 1280])
@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.__name__)
def test_pages_in_a_made_up_language(
    accented_site: Site, open_browser: Callable[..., BrowserContext], walk: Walk, width: int
) -> None:
    """No text stays untranslated, and texts that are longer than ours fit everywhere (X-11)."""

    def look(page: Page, expected: str) -> None:
        assert page.locator("html").get_attribute("lang") == pseudo.TAG
        assert page.evaluate(UNTRANSLATED, list(NAMES)) == []
        assert page.evaluate(CLIPPED) == []
        examine(page, expected)

    options: dict[str, Any] = {"viewport": {"width": width, "height": 800}, "locale": pseudo.TAG}
    email = a_person(accented_site, f"accented-{walk.__name__}-{width}")
    walk(accented_site, open_browser(**options).new_page(), email, look)


def test_what_is_clipped_or_not_translated_is_noticed(
    accented_site: Site, open_browser: Callable[..., BrowserContext]
) -> None:
    """The two looks above find a bare word, one in an attribute, and a button that is too small."""
    page = open_browser(locale=pseudo.TAG).new_page()
    page.goto(accented_site.issuer + "/login")
    assert page.evaluate(UNTRANSLATED, list(NAMES)) == []
    assert page.evaluate(CLIPPED) == []
    page.evaluate(
        """() => {
          const main = document.querySelector("main");
          main.append("Bare words");
          main.setAttribute("aria-label", "Bare label");
          const button = main.querySelector("button[type=submit]");
          button.style.inlineSize = "3rem";
          button.style.whiteSpace = "nowrap";
        }"""
    )
    assert page.evaluate(UNTRANSLATED, list(NAMES)) == ["Bare words", "aria-label=Bare label"]
    assert len(page.evaluate(CLIPPED)) == 1


def test_the_language_is_chosen_in_the_footer(site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """Without JavaScript, in the middle of a flow, by a language's own name; it stays, and the flow goes on."""
    page = open_browser(java_script_enabled=False).new_page()
    page.goto(authorization_url(site, prompt="consent", ui_locales="en"))
    page.get_by_role("button", name="Deutsch").click()
    assert marker(page) == "login"
    assert page.locator("html").get_attribute("lang") == "de"
    assert page.locator("main h1").inner_text() == "Anmelden"
    sign_in(page, EMAIL)
    assert marker(page) == "consent"
    page.get_by_role("button", name="Erlauben", exact=True).click()
    assert "code" in site.app.answers[-1]
    page.goto(site.issuer + "/login")
    assert page.locator("html").get_attribute("lang") == "de"
