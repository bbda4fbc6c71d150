"""Every page from right to left, and in a made-up language that shows what is clipped or not translated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import EMAIL, App, Site, furnish, make_site
from tests.e2e.looking import CLIPPED, examine, is_at
from tests.e2e.test_stories import authorization_url
from tests.e2e.walks import WALKS, Walk, the_beginning
from tests.e2e.walks.steps import sign_in
from tests.support import pseudo

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only, pytest.mark.timeout(600)]
NAMES = ("Acme Notes", "Acme TV", "Ada Lovelace", "JavaScript", "Chrome", "Linux")
"""What stays as it is in every language, where it stands within a text that is not marked as a name."""

LEFT_TO_RIGHT = ", ".join(f"main {kind}:visible" for kind in ("input[type=email]", "input[name=code]", "code", "pre"))
"""What never turns around."""
UNTRANSLATED = r"""(given) => {
  const names = "select[name=zoneinfo] option:not([value='']), select[name=locale] option:not([value=''])";
  const kept = `bdi, code, pre, time, script, style, .avatar, .languages button, body [dir=ltr], details dl, ${names}`;
  const moment = /\d{4}-\S+-\d\d \d\d:\d\d:\d\d UTC/g;
  const bare = (text) => {
    text = text.replace(moment, "");
    for (const name of given) text = text.replaceAll(name, "");
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
"""Returns the visible and spoken texts with unaccented letters; a moment comes from the library of dates."""


def looks_right_to_left(page: Page, expected: str, *, wrong: bool = False) -> None:
    assert page.locator("html").get_attribute("dir") == "rtl"
    assert page.evaluate("getComputedStyle(document.querySelector('main')).direction") == "rtl"
    for field in page.locator(LEFT_TO_RIGHT).all():
        assert field.evaluate("element => getComputedStyle(element).direction") == "ltr"
    examine(page, expected, wrong=wrong)


def looks_made_up(page: Page, expected: str, *, wrong: bool = False) -> None:
    assert page.locator("html").get_attribute("lang") == pseudo.TAG
    assert page.evaluate(UNTRANSLATED, list(NAMES)) == []
    examine(page, expected, wrong=wrong, schemes=("light",))


@pytest.fixture(scope="module")
def accented(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return where a program stands that speaks the made-up language too."""
    return pseudo.program(tmp_path_factory.mktemp("accented") / "program")


@pytest.fixture(scope="module")
def accented_site(accented: Path, tmp_path_factory: pytest.TempPathFactory, app_of_others: App) -> Iterator[Site]:
    """Return a server of that program, where everybody may open an account."""
    site = make_site(tmp_path_factory.mktemp("accented-site"), app_of_others, accented)
    site.settings["signup"] = "open"
    furnish(site)
    yield site
    site.server.stop()


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.__name__)
def test_pages_run_from_right_to_left(open_site: Site, open_browser: Callable[..., BrowserContext], walk: Walk) -> None:
    """In Arabic each page is accessible in each look, runs from right to left, and nothing is cut off; addresses and
    codes do not turn around (X-11)."""
    email = open_site.person(f"rtl-{walk.__name__}@example.org", "--name", "Ada Lovelace")
    walk(open_site, open_browser(locale="ar").new_page(), email, looks_right_to_left)


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.__name__)
def test_pages_in_a_made_up_language(
    accented_site: Site, open_browser: Callable[..., BrowserContext], walk: Walk
) -> None:
    """No text stays untranslated, and texts that are longer than ours fit everywhere (X-11)."""
    email = accented_site.person(f"accented-{walk.__name__}@example.org", "--name", "Ada Lovelace")
    walk(accented_site, open_browser(locale=pseudo.TAG).new_page(), email, looks_made_up)


def test_pages_of_a_new_server_run_from_right_to_left(
    new_site: Site, open_browser: Callable[..., BrowserContext]
) -> None:
    """The same of a server that nobody has set up yet."""
    the_beginning(new_site, open_browser(locale="ar").new_page(), "first@example.org", looks_right_to_left)


def test_pages_of_a_new_server_in_a_made_up_language(
    accented: Path, tmp_path: Path, app_of_others: App, open_browser: Callable[..., BrowserContext]
) -> None:
    """The same of a server that nobody has set up yet."""
    site = make_site(tmp_path, app_of_others, accented)
    site.server.start()
    the_beginning(site, open_browser(locale=pseudo.TAG).new_page(), "first@example.org", looks_made_up)
    site.server.stop()


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


def test_the_language_is_chosen_in_the_footer(open_site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """Without JavaScript, in the middle of a flow, by a language's own name; it stays, and the flow goes on."""
    page = open_browser(java_script_enabled=False).new_page()
    page.goto(authorization_url(open_site, prompt="consent", ui_locales="en"))
    page.get_by_role("button", name="Deutsch").click()
    is_at(page, "login")
    assert page.locator("html").get_attribute("lang") == "de"
    expect(page.locator("main h1")).to_have_text("Anmelden", use_inner_text=True)
    sign_in(page, EMAIL)
    is_at(page, "consent")
    page.get_by_role("button", name="Erlauben", exact=True).click()
    assert "code" in open_site.app.answers[-1]
    page.goto(open_site.issuer + "/login")
    assert page.locator("html").get_attribute("lang") == "de"
