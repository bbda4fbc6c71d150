"""A change of the address is taken back, by whoever reads the former one's mail."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from flask import Flask

from auth_server.accounts import addresses, users
from auth_server.pages import recover
from auth_server.tokens import ending
from tests.support import asserts, factories, mailbox
from tests.support.browser import Browser
from tests.support.email_pages import NEW, OLD, UNDO, again, ask, confirm
from tests.support.rp import RelyingParty

Travel = Callable[[timedelta], None]


def changed(app: Flask, browser: Browser, email: str = NEW) -> None:
    ask(browser, email)
    assert confirm(browser, mailbox.link_in(mailbox.last_to(app, email))).status_code == 303


def undo_link(app: Flask, address: str = OLD) -> str:
    return mailbox.link_in(mailbox.last_to(app, address), UNDO)


def test_links_to_the_former_address_end_with_it(app: Flask, bens: Browser, ben: users.User) -> None:
    """A reset link that lies in the former mailbox opens nothing any more."""
    url = factories.within(app, lambda: recover.make_link(again(app, ben)))
    asserts.is_page(Browser(app).get(url), "reset")
    changed(app, bens)
    asserts.is_error_page(Browser(app).get(url), "flow_expired")


def test_the_former_address_takes_the_change_back(app: Flask, rp: RelyingParty, ada: users.User) -> None:
    """GET shows, POST does: the address is back, everything ends, and a new password is set (RC-09)."""
    thief = rp.browser
    tokens = rp.tokens()
    changed(app, thief, "thief@example.org")
    path = undo_link(app, "ada@example.org")
    owner = Browser(app)
    before = asserts.rows(app)
    for _ in range(3):
        assert "ada@example.org" in asserts.is_page(owner.get(path), "recover-email").text
    assert asserts.rows(app) == before
    done = owner.submit(owner.get(path), UNDO)
    assert done.status_code == 303
    user = again(app, ada)
    assert (user.email, user.email_verified) == ("ada@example.org", True)
    assert thief.get("/account").status_code == 303
    asserts.is_oauth_error(rp.refresh(tokens["refresh_token"]), "invalid_grant")
    reset = done.headers["Location"]
    asserts.is_page(owner.submit(owner.get(reset), "/recover/reset", password="a new long password"), "done")
    assert thief.sign_in().status_code == 401
    assert owner.sign_in(password="a new long password").status_code == 303
    asserts.is_error_page(owner.get(path), "flow_expired")
    assert [row.subject for row in asserts.events_of(app, "email.change_undone")] == [ada.id]


def test_a_thief_cannot_get_rid_of_the_way_back(app: Flask, bens: Browser, ben: users.User, in_a_while: Travel) -> None:
    """A second change, signing out everywhere and taking the second change back leave the first owner's link good,
    and when that is used the thief's own links end."""
    changed(app, bens, "thief1@example.org")
    in_a_while(timedelta(seconds=31))
    changed(app, bens, "thief2@example.org")
    thiefs_first = undo_link(app, "thief1@example.org")
    browser = Browser(app)
    assert browser.submit(browser.get(thiefs_first), UNDO).status_code == 303
    assert again(app, ben).email == "thief1@example.org"
    factories.within(app, lambda: ending.sign_out_everywhere(ben.id, "test"))
    bens.sign_in("thief1@example.org")
    in_a_while(timedelta(seconds=31))
    changed(app, bens, "thief3@example.org")
    thiefs_second = undo_link(app, "thief1@example.org")
    assert factories.within(app, lambda: addresses.all_of(ben.id)) == ["thief3@example.org", "thief1@example.org", OLD]
    in_a_while(timedelta(days=29))
    assert browser.submit(browser.get(undo_link(app)), UNDO).status_code == 303
    assert again(app, ben).email == OLD
    asserts.is_error_page(browser.get(thiefs_second), "flow_expired")
    assert factories.within(app, lambda: addresses.all_of(ben.id)) == [OLD]


def test_the_way_back_ends_after_thirty_days(app: Flask, bens: Browser, in_a_while: Travel) -> None:
    """Then the former address is no address of the account any more."""
    changed(app, bens)
    path = undo_link(app)
    in_a_while(timedelta(days=30, minutes=1))
    assert "too old" in asserts.is_error_page(Browser(app).get(path), "flow_expired").text


def test_a_former_address_that_belongs_to_somebody_else_now(app: Flask, bens: Browser, ben: users.User) -> None:
    """Nothing is changed, the page says the way on, and the link stays good."""
    changed(app, bens)
    path = undo_link(app)
    other = factories.person(app, OLD, "Another Ben")
    browser = Browser(app)
    page = asserts.is_page(browser.submit(browser.get(path), UNDO), "done", 409)
    assert 'href="/recover"' in page.text
    assert (again(app, ben).email, again(app, other).email) == (NEW, OLD)
    assert bens.get("/account").status_code == 200
    factories.within(app, lambda: ending.delete_user(users.find(other.id) or other))
    assert browser.submit(browser.get(path), UNDO).status_code == 303
    assert again(app, ben).email == OLD


def test_an_address_that_was_never_proved_gets_no_way_back(app: Flask, browser: Browser) -> None:
    """Whoever owns a mistyped address must not get the account; it is told, without a link."""
    user = factories.person(app, "typo@example.org", verified=False)
    browser.sign_in("typo@example.org")
    changed(app, browser, "eve@example.org")
    assert again(app, user).email_verified
    assert UNDO not in mailbox.text_of(mailbox.last_to(app, "typo@example.org"))
    assert factories.within(app, lambda: addresses.all_of(user.id)) == ["eve@example.org"]


def test_a_disabled_account_does_not_come_back_this_way(app: Flask, bens: Browser, ben: users.User) -> None:
    """The undo link opens nothing while the account is switched off (RC-13)."""
    changed(app, bens)
    path = undo_link(app)
    page = Browser(app).get(path)
    asserts.is_page(page, "recover-email")
    factories.within(app, lambda: ending.disable_user(users.find(ben.id) or ben))
    asserts.is_error_page(Browser(app).get(path), "flow_expired")
    assert again(app, ben).email == NEW
