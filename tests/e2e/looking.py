"""How a page is looked at: axe-core finds nothing and nothing is cut off, in light and dark, narrow and wide.

A page is loaded once and looked at in every look: the server does not know how wide a window is, nor how dark.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe, AxeResults
from playwright.sync_api import Page, expect

IMAGES = Path(__file__).resolve().parents[2] / "docs" / "images"
WIDTHS = (1280, 320)
SCHEMES = ("light", "dark")
_RULES: list[str] = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_OF_COLOURS = {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}
"""What can differ between light and dark: the style sheet sets nothing but colours there."""

_IN_DOCS = {("light", 1280), ("dark", 320)}
_kept: set[tuple[str, str, int]] = set()
_AXE = Axe()

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


expect.set_options(timeout=30_000)  # milliseconds: a slow machine is no mistake of a page


def is_at(page: Page, name: str) -> None:
    """The browser has come, or comes soon, to the page with this `data-page`."""
    expect(page.locator("main")).to_have_attribute("data-page", name)


def marker(page: Page) -> str:
    """Return the page's `data-page` as it is now."""
    return page.locator("main").get_attribute("data-page") or ""


def examine(
    page: Page,
    expected: str,
    *,
    wrong: bool = False,
    schemes: tuple[str, ...] = SCHEMES,
    at_each_width: Callable[[Page], None] | None = None,
) -> None:
    """The page is the expected one, tells of a mistake or does not, and is well in every look (X-2, X-3).

    It is narrow afterwards, so that whoever goes on from it does so in 320 pixels.
    """
    is_at(page, expected)
    alerts = expect(page.locator("main .alert-error"))
    alerts.not_to_have_count(0) if wrong else alerts.to_have_count(0)
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{expected}-{width}"
        assert page.evaluate(CLIPPED) == [], f"{expected}-{width}"
        if at_each_width:
            at_each_width(page)
        for scheme in schemes:
            page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
            found = violations(page, _RULES if scheme == schemes[0] else _OF_COLOURS)
            assert found.violations_count == 0, f"{expected}-{scheme}-{width}: {found.generate_report()}"
            keep_picture(page, expected, scheme, width)


def violations(page: Page, rules: Any = _RULES) -> AxeResults:
    """Ask axe-core, which is put into the page once."""
    if page.evaluate("window.axe === undefined"):
        page.evaluate(_AXE.axe_script)
    return AxeResults(page.evaluate("options => axe.run(options)", {"runOnly": rules, "resultTypes": ["violations"]}))


def keep_picture(page: Page, name: str, scheme: str, width: int) -> None:
    """Keep pictures where they are wanted.

    AUTH_TEST_SCREENSHOTS=1 asks for the first of each page, light and wide, dark and narrow, for the docs;
    AUTH_TEST_PICTURES names a folder for every state in every look.
    """
    look = (name, scheme, width)
    folder = os.environ.get("AUTH_TEST_PICTURES")
    if folder:
        number = len(list(Path(folder).glob("*.png")))
        page.screenshot(path=Path(folder) / f"{number:04}-{name}-{scheme}-{width}.png", full_page=True)
    if os.environ.get("AUTH_TEST_SCREENSHOTS") != "1" or look in _kept or (scheme, width) not in _IN_DOCS:
        return
    _kept.add(look)
    (IMAGES / "pages").mkdir(parents=True, exist_ok=True)
    page.screenshot(path=IMAGES / "pages" / f"{name}-{scheme}-{width}.png", full_page=True)
