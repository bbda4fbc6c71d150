"""What a walk does on its way, whatever the language of the page."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

from playwright.sync_api import Page, expect
from sqlalchemy import delete, select

from auth_server.accounts.passwords import Password
from auth_server.accounts.users import User
from auth_server.infra import crypto
from auth_server.infra.once import OneTimeSecret
from tests.e2e.conftest import PASSWORD, Site
from tests.support.authenticator import Authenticator

NEW_PASSWORD = "another long password of hers"


class Look(Protocol):
    """Looks at a page, which must be this one; `wrong`: it tells of a mistake."""

    def __call__(self, page: Page, expected: str, *, wrong: bool = False) -> None: ...


def sign_in(page: Page, email: str, password: str = PASSWORD) -> None:
    """Fill in the login form, whatever its language."""
    page.locator("main input[name=email]").last.fill(email)
    page.locator("main [name=password]").fill(password)
    press(page)


def press(page: Page) -> None:
    """Press the last button of the page's form."""
    page.locator("main form button[type=submit]").last.click()


def save(page: Page) -> None:
    """Press the button of the profile, below which are other forms."""
    page.locator("main form[action='/account/profile'] button[type=submit]").click()


def arrive(page: Page, expected: str) -> None:
    """Wait for a page that a script leads to."""
    page.wait_for_selector(f"main[data-page={expected}]")


def ask_for_account(page: Page, email: str, name: str = "Ada Lovelace") -> None:
    page.locator("main [name=name]").fill(name)
    page.locator("main [name=email]").fill(email)
    press(page)


def ask_for_passkey(page: Page) -> None:
    """Press the button where nothing comes of it, and wait for what the page says then."""
    page.locator("#passkey").click()
    expect(page.locator("[data-passkey] [role=status]")).to_have_text(re.compile(r"\S"))


def without_our_script(page: Page, act: Callable[[], None]) -> None:
    """Go on to a page whose script would leave it at once."""
    page.route("**/script*.js*", lambda route: route.fulfill(body="", content_type="text/javascript"))
    act()
    page.wait_for_load_state()
    page.unroute_all()


def set_up_app(site: Site, page: Page) -> Authenticator:
    """Switch an authenticator app on; uses up its code of now."""
    page.goto(site.issuer + "/account/security/app")
    press(page)
    phone = Authenticator(page.locator("#key").inner_text())
    page.locator("main [name=code]").fill(phone.code())
    press(page)
    arrive(page, "account-codes")
    return phone


def later(site: Site, link: str, by: timedelta) -> str:
    """Let so much time pass for a link that was made just now."""
    site.let_time_pass(OneTimeSecret, by, digest=crypto.digest(link.partition("token=")[2]))
    return link


def id_of(site: Site, email: str) -> str:
    table: Any = User.__table__
    with site.database() as connection:
        return str(connection.execute(select(table.c.id).where(table.c.email == email)).scalar_one())


def without_password(site: Site, email: str) -> None:
    """Let somebody be as one is who opened the account with a passkey."""
    table: Any = Password.__table__
    user_id = id_of(site, email)
    with site.database() as connection:
        connection.execute(delete(table).where(table.c.user_id == user_id))
