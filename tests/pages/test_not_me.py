""" "This wasn't me", from the letter that tells of a new passkey: what was added goes, and nothing else."""

from __future__ import annotations

from flask import Flask

from auth_server.accounts import passkeys, users
from tests.support import asserts, factories, mailbox, passkey
from tests.support.browser import Browser
from tests.support.passkey import Passkey

PATH = "/recover/not-me"
NEW = "a brand new long password"
GONE = "which was added then, is removed"


def of(app: Flask, user: users.User) -> list[str]:
    return [each.name for each in factories.within(app, lambda: passkeys.listing(user.id))]


def letters_link(app: Flask, user: users.User) -> str:
    """Return the link of the last letter that tells of a passkey."""
    told = [each for each in mailbox.letters(app, user.email) if "A passkey was added" in mailbox.text_of(each)]
    return mailbox.link_in(told[-1])


def test_a_passkey_that_a_thief_added_opens_nothing_any_more(app: Flask, browser: Browser, ada: users.User) -> None:
    """The owner's own stays; the page says which one goes, by the name it has now."""
    browser.sign_in()
    own, _ = passkey.add(browser)
    thief = Browser(app)
    passkey.answer(thief, thief.sign_in(), own)  # the owner was made to help
    planted, _ = passkey.add(thief)
    owner = Browser(app)
    page = owner.get(letters_link(app, ada))
    asserts.is_page(page, "not-me")
    assert GONE in page.text
    asserts.is_page(thief.get("/account"), "account")
    page = owner.follow(owner.submit(page, PATH))
    assert owner.submit(page, "/recover/reset", password=NEW).status_code == 200
    asserts.is_page(passkey.sign_in(Browser(app), planted), "login", 401)
    assert passkey.sign_in(Browser(app), own).status_code == 303
    assert len(of(app, ada)) == 1


def test_a_letter_of_a_passkey_that_has_gone_removes_no_other(app: Flask, browser: Browser, ada: users.User) -> None:
    """It ends everything else as before; the letter of the one that is there removes it."""
    browser.sign_in()
    first, _ = passkey.add(browser)
    link = letters_link(app, ada)
    other = Browser(app)
    passkey.sign_in(other, first)
    passkey.add(other)
    second_link = letters_link(app, ada)
    factories.within(app, lambda: passkeys.remove(passkeys.listing(ada.id)[0]))
    for path in (link, second_link):
        owner = Browser(app)
        page = owner.get(path)
        asserts.is_page(page, "not-me")
        assert (GONE in page.text) == (path != link)
        assert owner.submit(page, PATH).status_code == 303
    assert of(app, ada) == []


def test_the_only_way_in_stays(app: Flask, browser: Browser) -> None:
    """Whoever reads the mail of somebody who has one passkey and no password cannot take it away."""
    grace = factories.person(app, "grace@example.org", password=None)
    made = Passkey()
    factories.within(app, lambda: passkeys.add(grace.id, new_one(made), "Firefox"))
    page = browser.get(letters_link(app, grace))
    assert GONE not in page.text
    assert browser.submit(page, PATH).status_code == 303
    assert of(app, grace) == ["Firefox"]


def new_one(made: Passkey) -> passkeys.NewPasskey:
    return passkeys.NewPasskey(passkey.encoded(made.id), b"", 0, "", (), False, False)
