"""axe-core finds nothing on any page in any state, light and dark, narrow and wide; and the pictures of the README."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import Site, sign_in
from tests.e2e.looking import IMAGES, examine, violations
from tests.e2e.test_stories import authorization_url
from tests.e2e.walks import WALKS, Walk, the_beginning
from tests.support.authenticator import Authenticator
from tests.support.live import ROOT

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only, pytest.mark.timeout(600)]


def test_every_page_is_on_a_walk() -> None:
    """A template whose `data-page` no walk looks at was forgotten there."""
    templates = (path.read_text(encoding="utf-8") for path in (ROOT / "templates").rglob("*.html"))
    pages = {name for text in templates for name in re.findall(r'set page = "([a-z-]+)"', text)}
    walks = (path.read_text(encoding="utf-8") for path in (Path(__file__).parent / "walks").glob("*.py"))
    assert len(pages) > 30
    assert pages - {name for text in walks for name in re.findall(r'"([a-z-]+)"', text)} == set()


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk.__name__)
def test_pages_are_accessible(open_site: Site, page: Page, walk: Walk) -> None:
    """Each state of each page (X-2, X-3)."""
    walk(open_site, page, open_site.person(f"ltr-{walk.__name__}@example.org", "--name", "Ada Lovelace"), examine)


def test_pages_of_a_new_server_are_accessible(new_site: Site, page: Page) -> None:
    """The same before anybody is there, and with its first administrator alone (X-2, X-3)."""
    the_beginning(new_site, page, "first@example.org", examine)


def test_what_is_not_accessible_is_noticed(site: Site, page: Page) -> None:
    """The look above finds a field without a label, and letters that only one of light and dark makes hard to read."""
    page.goto(site.issuer + "/login")
    assert violations(page).violations_count == 0
    page.evaluate("document.querySelector('main label').remove()")
    page.evaluate("document.querySelector('main h1').style.color = '#333'")
    assert [found["id"] for found in violations(page).response["violations"]] == ["label"]
    page.emulate_media(color_scheme="dark")
    assert [found["id"] for found in violations(page).response["violations"]] == ["color-contrast", "label"]


def test_pages_on_the_way_to_a_stronger_sign_in(site: Site, page: Page) -> None:
    """The countdown of an administrator; then an app demands two factors, and one code leads there and back."""
    email = site.person("chief@example.org", "--role", "administrator")
    words = ("clients", "create", "--metadata", "-", "--json")
    metadata = {"redirect_uris": [site.app.address + "/callback"], "minimum_acr": "aal2", "first_party": True}
    demanding = json.loads(site.command(*words, given=json.dumps(metadata)))
    page.goto(site.issuer + "/account")
    sign_in(page, email)
    expect(page.get_by_text("You have 7 days left.")).to_be_visible()
    examine(page, "account")
    page.goto(authorization_url(site, client_id=demanding["client_id"]))
    expect(page.get_by_text("This app needs a stronger sign-in")).to_be_visible()
    examine(page, "account-second-factor")
    page.get_by_role("button", name="Set up an authenticator app").click()
    phone = Authenticator(page.locator("#key").inner_text())
    page.get_by_role("textbox", name="Code").fill(phone.code())
    page.get_by_role("button", name="Switch on").click()
    page.get_by_label("I have saved them").check()
    page.get_by_role("button", name="Done").click()
    page.wait_for_url(site.app.address + "/callback**")
    page.goto(site.issuer + "/account")
    expect(page.get_by_text("Administrators need a second factor")).to_have_count(0)


def test_pictures_of_login_and_consent(site: Site, page: Page) -> None:
    """The README's pictures are made from the pages themselves, when AUTH_TEST_SCREENSHOTS=1 asks for new ones."""
    page.set_viewport_size({"width": 1280, "height": 800})
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
