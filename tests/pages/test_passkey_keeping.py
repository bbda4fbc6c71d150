"""The passkeys of an account: added, named, renamed, removed, by their own person alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server.accounts import passkeys, passwords, second_factor, users
from auth_server.database import db
from auth_server.tokens import ending
from tests.support import asserts, authenticator, factories, passkey
from tests.support.browser import Browser, inputs_of, is_in
from tests.support.database import dump
from tests.support.passkey import ADD, SECURITY, Passkey, encoded, options_on

Travel = Callable[[timedelta], None]
TEN_MINUTES = timedelta(minutes=10, seconds=1)
ICLOUD = bytes.fromhex("fbfc3007154e4ecc8c0b6e020557d7bd")


def test_a_passkey_is_of_one_person(app: Flask, browser: Browser, ben: users.User, key: Passkey) -> None:
    """A known id is not taken again, by nobody; B's passkey with A's handle opens neither account (WK-04, WK-05)."""
    other = Browser(app)
    other.sign_in(email="ben@example.org")
    page = other.get(ADD)
    stolen = Passkey(id=key.id)
    refused = other.submit(page, ADD, credential=stolen.create(options_on(page)))
    asserts.is_page(refused, "account-passkey", 422)
    assert "This passkey is known here already." in refused.text
    bens, _shown = passkey.add(other)
    assert bens.user_handle != key.user_handle
    asserts.is_page(passkey.sign_in(Browser(app), bens, user_handle=key.user_handle), "login", 401)
    asserts.is_page(passkey.sign_in(Browser(app), key, user_handle=bens.user_handle), "login", 401)
    assert passkey.sign_in(Browser(app), bens).status_code == 303


def test_one_may_not_have_endlessly_many(app: Flask, browser: Browser, ada: users.User) -> None:
    """Twenty; the next is refused with the reason."""
    browser.sign_in()
    for _one in range(passkeys.MOST):
        passkey.add(browser)
    refused = passkey.add(browser)[1]
    asserts.is_page(refused, "account-passkey", 422)
    assert "as many passkeys as one account may have" in refused.text


def test_the_first_one_ends_sessions_without_it_and_gives_recovery_codes(app: Flask, browser: Browser) -> None:
    """As for an app (ASVS 7.4.3); the next one does neither. This session has both factors from now on."""
    elsewhere = Browser(app)
    elsewhere.sign_in()
    browser.sign_in()
    former = browser.cookie("auth_server")
    _made, shown = passkey.add(browser)
    assert len(authenticator.codes_on(shown)) == 10
    assert (is_in(browser), is_in(elsewhere)) == (True, False)
    assert browser.cookie("auth_server") != former
    assert "aal2" in dump(app)["session"][0]
    other, _shown = Passkey(), passkey.sign_in(elsewhere, _made)
    codes = dump(app)["recovery_code"]
    second = passkey.add(browser, other)[1]
    assert (second.status_code, second.headers["Location"]) == (303, SECURITY)
    assert (is_in(browser), is_in(elsewhere)) == (True, True)
    assert dump(app)["recovery_code"] == codes


def test_names_come_from_the_maker_or_the_browser(browser: Browser) -> None:
    """Two of a kind are told apart; each card says what the passkey is and how it was used."""
    agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"}
    browser.sign_in()
    for made in (Passkey(aaguid=ICLOUD, synced=True), Passkey(aaguid=ICLOUD, synced=True), Passkey()):
        page = browser.get(ADD)
        browser.post(ADD, {**inputs_of(page), "credential": made.create(options_on(page))}, headers=agent)
    text = browser.get(SECURITY).text
    for part in ("<bdi>iCloud Keychain</bdi>", "<bdi>iCloud Keychain 2</bdi>", "<bdi>Chrome on Linux</bdi>"):
        assert part in text
    assert text.count("Synced by your password manager") == 2
    assert text.count("On this device or security key only") == 1
    assert "Last used: never." in text


def place_of(browser: Browser, made: Passkey, act: str) -> str:
    return f"{SECURITY}/passkeys/{act}?id={encoded(made.id)}"


def test_it_can_be_renamed(browser: Browser, key: Passkey) -> None:
    """One line of at most 60 characters; markup stays text everywhere (WK-12)."""
    passkey.sign_in(browser, key)
    place = place_of(browser, key, "rename")
    for odd in ("", "   ", "x" * 61, "a\nb", "a\x00b", "a\u2028b"):
        page = browser.submit(browser.get(place), place, name=odd)
        asserts.is_page(page, "account-passkey-name", 422)
        assert "Give it a name of one line" in page.text
    name = "<script>alert(1)</script> \u202e's"
    assert browser.submit(browser.get(place), place, name=f"  {name} ").status_code == 303
    text = browser.get(SECURITY).text
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert asserts.events_of(browser.app, "passkey.renamed")[0].data["name"] == name
    assert "<script>alert(1)" not in browser.get(place_of(browser, key, "remove")).text


def test_a_persons_name_with_markup_stays_text(app: Flask, browser: Browser) -> None:
    """What the browser's own dialogue gets is data, and the attribute that carries it is escaped (WK-12)."""
    factories.person(app, "eve@example.org", """"><img src=x onerror=alert(1)>'""")
    browser.sign_in(email="eve@example.org")
    page = browser.get(ADD)
    assert "<img" not in page.text
    assert options_on(page)["user"]["displayName"] == """"><img src=x onerror=alert(1)>'"""


def test_it_can_be_removed(app: Flask, browser: Browser, key: Passkey) -> None:
    """Asked first, with what follows; afterwards it opens nothing, other sessions end, the codes are void."""
    elsewhere = Browser(app)
    for one in (browser, elsewhere):
        passkey.sign_in(one, key)
    place = place_of(browser, key, "remove")
    page = browser.get(place)
    asserts.is_page(page, "account-confirm")
    for part in ("You cannot sign in with it any more.", "Your recovery codes stop working.", "signed out"):
        assert part in page.text
    done = browser.submit(page, place, decision="confirm")
    assert (done.status_code, done.headers["Location"]) == (303, SECURITY)
    assert dump(app)["passkey"] == dump(app)["recovery_code"] == []
    assert (is_in(browser), is_in(elsewhere)) == (True, False)
    asserts.is_page(passkey.sign_in(elsewhere, key), "login", 401)
    assert browser.sign_out().status_code == 200
    assert browser.sign_in().headers["Location"] == "/account"
    assert len(asserts.events_of(app, "passkey.removed")) == 1


def without_password(app: Flask, user: users.User) -> None:
    table = passwords.TABLE
    factories.within(app, lambda: db.session.execute(table.delete().where(table.c.user_id == user.id)))


def test_the_last_way_in_stays(app: Flask, browser: Browser, ada: users.User, key: Passkey) -> None:
    """Without a password and another passkey it is refused, with the reason; with either it goes (WK-09)."""
    without_password(app, ada)
    passkey.sign_in(browser, key)
    place = place_of(browser, key, "remove")
    page = browser.get(place)
    asserts.is_page(page, "account-passkey-stays")
    assert "is the only way into your account" in page.text
    forced = browser.post(place, {**inputs_of(browser.get(SECURITY)), "decision": "confirm"})
    asserts.is_page(forced, "account-passkey-stays", 422)
    assert len(dump(app)["passkey"]) == 1
    other, _shown = passkey.add(browser)
    assert browser.submit(browser.get(place), place, decision="confirm").status_code == 303
    asserts.is_page(browser.get(place_of(browser, other, "remove")), "account-passkey-stays")


def test_an_operators_reset_takes_passkeys_too(app: Flask, browser: Browser, ada: users.User, key: Passkey) -> None:
    """Both kinds and the codes; everything ends, and the password alone lets in."""
    passkey.sign_in(browser, key)
    assert factories.within(app, lambda: ending.reset_second_factor(ada.id)) is True
    assert dump(app)["passkey"] == dump(app)["recovery_code"] == []
    assert not is_in(browser)
    assert browser.sign_in().headers["Location"] == "/account"
    assert factories.within(app, lambda: ending.reset_second_factor(ada.id)) is False


@pytest.mark.parametrize("act", ["add", "options", "remove"])
def test_an_old_sign_in_is_not_enough(browser: Browser, key: Passkey, in_a_while: Travel, act: str) -> None:
    """After ten minutes the person shows again who they are, by the passkey, and comes back (WK-08)."""
    passkey.sign_in(browser, key)
    in_a_while(TEN_MINUTES)
    place = place_of(browser, key, act)
    asked = browser.get(place)
    assert asked.headers["Location"].startswith("/login?fresh=1&next=")
    page = browser.follow(asked)
    assert "Confirm that it is you" in page.text
    back = browser.submit(page, "/login", credential=key.get(options_on(page)))
    assert (back.status_code, back.headers["Location"]) == (303, place)
    assert browser.get(place).status_code == 200


def test_a_password_alone_does_not_add_one_where_there_is_a_second_factor(browser: Browser, key: Passkey) -> None:
    """Whoever has the password only, in a browser that is trusted, must show the second factor first (ASVS 7.5.1)."""
    page = passkey.answer(browser, browser.sign_in(), key)
    assert page.status_code == 303
    browser.sign_out()
    form = browser.follow(browser.sign_in())
    asserts.is_page(form, "mfa")
    assert browser.get(ADD).headers["Location"].startswith("/login?fresh=1")


def test_passkeys_of_others_are_not_found(app: Flask, browser: Browser, ben: users.User, key: Passkey) -> None:
    """Renaming and removing somebody else's is 404 (AD-02)."""
    other = Browser(app)
    other.sign_in(email="ben@example.org")
    token = inputs_of(other.get("/logout"))
    for act in ("rename", "remove"):
        place = place_of(other, key, act)
        asserts.is_error_page(other.get(place), "not_found", 404)
        asserts.is_error_page(other.post(place, {**token, "name": "mine", "decision": "confirm"}), "not_found", 404)
    assert len(dump(app)["passkey"]) == 1


def test_codes_come_with_the_first_factor_and_go_with_the_last(app: Flask, browser: Browser, ada: users.User) -> None:
    """App and passkey share them, whichever came first."""
    browser.sign_in()
    authenticator.set_up(browser)
    made, shown = passkey.add(browser)
    assert shown.status_code == 303
    app_removal = browser.get(f"{SECURITY}/app/remove")
    assert "Your passkeys go on working." in app_removal.text
    assert "recovery codes stop" not in app_removal.text
    browser.submit(app_removal, f"{SECURITY}/app/remove", decision="confirm")
    assert len(dump(app)["recovery_code"]) == 10
    assert factories.within(app, lambda: second_factor.methods(ada.id)) == ["passkey", "recovery"]
    place = place_of(browser, made, "remove")
    browser.submit(browser.get(place), place, decision="confirm")
    assert dump(app)["recovery_code"] == []
