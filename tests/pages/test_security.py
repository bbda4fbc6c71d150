"""How the person signs in, and the changes to it: each needs a fresh proof, and tells everybody else."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import unquote

import pytest
from flask import Flask

from auth_server.accounts import users
from auth_server.pages import recover
from tests.support import asserts, authenticator, factories
from tests.support.authenticator import SECURITY
from tests.support.browser import Browser
from tests.support.database import dump
from tests.support.factories import PASSWORD
from tests.support.rp import RelyingParty

Travel = Callable[[timedelta], None]
NEW_PASSWORD = "seven purple lanterns"
FRESH_PAGES = (f"{SECURITY}/app", f"{SECURITY}/app/remove", f"{SECURITY}/codes")


def is_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200


@pytest.mark.parametrize("path", [SECURITY, f"{SECURITY}/password", *FRESH_PAGES])
def test_only_signed_in_people_see_it(browser: Browser, path: str) -> None:
    assert browser.get(path).headers["Location"].startswith("/login?")


def test_the_password_is_changed_with_the_password(app: Flask, browser: Browser, ada: users.User) -> None:
    """This session stays, every other ends; the new one counts from now on."""
    elsewhere = Browser(app)
    browser.sign_in()
    elsewhere.sign_in()
    page = browser.get(f"{SECURITY}/password")
    done = browser.submit(page, f"{SECURITY}/password", current=PASSWORD, password=NEW_PASSWORD)
    assert (done.status_code, done.headers["Location"]) == (303, SECURITY)
    assert (is_in(browser), is_in(elsewhere)) == (True, False)
    assert elsewhere.sign_in().status_code == 401
    assert elsewhere.sign_in(password=NEW_PASSWORD).status_code == 303
    (row,) = asserts.events_of(app, "password.changed")
    assert (row.subject, row.actor) == (ada.id, ada.id)


@pytest.mark.parametrize(
    ("fields", "status", "words"),
    [
        ({"current": "wrong", "password": NEW_PASSWORD}, 401, "This is not your current password."),
        ({"current": PASSWORD, "password": "short"}, 422, "Use at least 15 characters"),
        ({"current": PASSWORD, "password": "ada@example.org"}, 422, "too easy to guess"),
        ({"current": PASSWORD, "password": "Password123456!"}, 422, "little more than a common password"),
        ({"current": PASSWORD, "password": "Lovelace-1815-12"}, 422, "little more than your name"),
        ({}, 422, "Use at least 15 characters"),
    ],
)
def test_a_refused_change_changes_nothing(browser: Browser, fields: dict[str, str], status: int, words: str) -> None:
    """The page says what to change, and keeps no password."""
    browser.sign_in()
    before = dump(browser.app)["password"]
    page = browser.submit(browser.get(f"{SECURITY}/password"), f"{SECURITY}/password", **fields)
    asserts.is_page(page, "account-password", status)
    assert words in page.text
    assert NEW_PASSWORD not in page.text
    assert dump(browser.app)["password"] == before


def test_guesses_at_the_current_password_are_limited(browser: Browser) -> None:
    """They count like those at the login page."""
    browser.sign_in()
    page = browser.get(f"{SECURITY}/password")
    statuses = [
        browser.submit(page, f"{SECURITY}/password", current="wrong", password=NEW_PASSWORD).status_code
        for _try in range(6)
    ]
    assert statuses == [401] * 5 + [429]


def test_an_app_is_on_only_after_its_first_code(app: Flask, browser: Browser, ada: users.User) -> None:
    """QR, key and address agree; a wrong code, or leaving, leaves it off."""
    browser.sign_in()
    phone = authenticator.begin(browser)
    page = browser.get(f"{SECURITY}/app")
    key = authenticator.key_on(page)
    assert 'role="img"' in page.text
    assert f"secret={key.replace(' ', '')}" in page.text
    wrong = browser.submit(page, f"{SECURITY}/app", decision="confirm", code="000000")
    asserts.is_page(wrong, "account-app", 422)
    browser.sign_out()
    assert browser.sign_in().headers["Location"] == "/account"
    codes = authenticator.codes_on(browser.submit(page, f"{SECURITY}/app", decision="confirm", code=phone.code()))
    assert len(set(codes)) == 10
    assert asserts.events_of(app, "mfa.turned_on")[0].subject == ada.id
    assert "On since" in browser.get(SECURITY).text


@pytest.mark.parametrize(
    ("steps", "words"), [(10, "is ahead"), (-10, "is behind"), (90, "is ahead"), (-119, "is behind")]
)
def test_a_wrong_clock_is_named_at_the_set_up(browser: Browser, steps: int, words: str) -> None:
    """A code of another minute is refused, and the page says what is wrong with the phone (USR-9)."""
    browser.sign_in()
    phone = authenticator.begin(browser)
    page = browser.get(f"{SECURITY}/app")
    wrong = browser.submit(page, f"{SECURITY}/app", decision="confirm", code=phone.code(steps))
    assert f"The clock of your phone {words}." in asserts.is_page(wrong, "account-app", 422).text
    plain = browser.submit(page, f"{SECURITY}/app", decision="confirm", code=phone.code(200))
    assert "This code is not right." in plain.text
    asserts.is_page(browser.submit(plain, f"{SECURITY}/app", decision="confirm", code=phone.code()), "account-codes")


def test_the_second_wrong_code_of_a_set_up_names_the_usual_cause(browser: Browser) -> None:
    """Also where the clock is not the cause as far as can be seen."""
    browser.sign_in()
    authenticator.begin(browser)
    page = browser.get(f"{SECURITY}/app")
    for hinted in (False, True):
        page = browser.submit(page, f"{SECURITY}/app", decision="confirm", code="not a code")
        assert ("let your phone set its clock by itself" in page.text) is hinted


def test_recovery_codes_can_be_kept_as_a_file(browser: Browser) -> None:
    """The file is in the page itself, so it is stored nowhere and needs no script (USR-10)."""
    browser.sign_in()
    phone = authenticator.begin(browser)
    shown = browser.submit(browser.get(f"{SECURITY}/app"), f"{SECURITY}/app", decision="confirm", code=phone.code())
    codes = authenticator.codes_on(shown)
    (address,) = re.findall(r'href="data:text/plain;charset=utf-8,([^"]+)" download="recovery-codes.txt"', shown.text)
    lines = unquote(address).splitlines()
    assert lines[0] == "Recovery codes for ada@example.org at localhost:8421"
    assert lines[-10:] == codes


def test_recovery_codes_must_be_said_to_be_saved(browser: Browser) -> None:
    """Without the tick the way on is closed, and new codes are one click away; the old ones are not shown again."""
    browser.sign_in()
    phone = authenticator.begin(browser)
    shown = browser.submit(browser.get(f"{SECURITY}/app"), f"{SECURITY}/app", decision="confirm", code=phone.code())
    codes = authenticator.codes_on(shown)
    refused = browser.submit(shown, SECURITY, decision="saved")
    page = asserts.is_page(refused, "account-codes", 422)
    assert "Tick the box when you have saved them." in page.text
    assert f'href="{SECURITY}/codes"' in page.text
    assert not any(code in page.text for code in codes)
    assert browser.submit(refused, SECURITY, decision="saved", saved="1").headers["Location"] == SECURITY


def test_keys_and_codes_are_not_in_the_database(app: Flask, browser: Browser) -> None:
    """The key is sealed, the codes are digests; neither is shown again."""
    browser.sign_in()
    phone = authenticator.begin(browser)
    key = authenticator.key_on(browser.get(f"{SECURITY}/app")).replace(" ", "")
    shown = browser.submit(browser.get(f"{SECURITY}/app"), f"{SECURITY}/app", decision="confirm", code=phone.code())
    codes = authenticator.codes_on(shown)
    stored = repr(dump(app))
    assert not any(secret in stored for secret in (key, *codes, *(code.replace("-", "") for code in codes)))
    assert shown.headers["Cache-Control"] == "no-store"
    assert browser.get(f"{SECURITY}/app").headers["Location"] == SECURITY


def test_switching_on_signs_out_everywhere_else(app: Flask, browser: Browser) -> None:
    """Sessions with one factor do not outlive the rule that asks for two (ASVS 7.4.3); this one has both now."""
    elsewhere = Browser(app)
    elsewhere.sign_in()
    browser.sign_in()
    former = browser.cookie("auth_server")
    authenticator.set_up(browser)
    assert (is_in(browser), is_in(elsewhere)) == (True, False)
    assert browser.cookie("auth_server") != former
    (row,) = dump(app)["session"]
    assert "aal2" in repr(row)


@pytest.mark.parametrize("path", FRESH_PAGES)
def test_an_old_sign_in_is_not_enough(browser: Browser, in_a_while: Travel, path: str) -> None:
    """After ten minutes the person shows again who they are, and comes back; "continue" is not offered."""
    browser.sign_in()
    in_a_while(timedelta(minutes=10, seconds=1))
    asked = browser.get(path)
    assert asked.headers["Location"].startswith("/login?fresh=1&next=")
    page = browser.follow(asked)
    assert "Confirm that it is you" in page.text
    assert 'value="continue"' not in page.text
    assert 'value="ada@example.org"' in page.text
    back = browser.submit(page, "/login", email="ada@example.org", password=PASSWORD)
    assert back.headers["Location"] == path


def test_removing_needs_the_app_itself(app: Flask, browser: Browser, in_a_while: Travel) -> None:
    """A trusted browser is not enough; afterwards the password alone lets in, and the recovery codes are void."""
    browser.sign_in()
    phone, _codes = authenticator.set_up(browser)
    in_a_while(timedelta(minutes=10, seconds=1))
    asked = browser.follow(browser.get(f"{SECURITY}/app/remove"))
    asserts.is_page(asked, "login")
    second = browser.submit(asked, "/login", email="ada@example.org", password=PASSWORD)
    back = authenticator.answer(browser, second, phone.code(), trust_device="1")
    assert back.headers["Location"] == f"{SECURITY}/app/remove"
    page = browser.get(f"{SECURITY}/app/remove")
    asserts.is_page(page, "account-confirm")
    assert browser.submit(page, f"{SECURITY}/app/remove", decision="confirm").status_code == 303
    assert dump(app)["totp"] == dump(app)["recovery_code"] == []
    browser.sign_out()
    assert browser.sign_in().headers["Location"] == "/account"


def test_new_recovery_codes_replace_the_old(browser: Browser) -> None:
    """Asked for, then shown once."""
    browser.sign_in()
    _phone, old = authenticator.set_up(browser)
    page = browser.get(f"{SECURITY}/codes")
    new = authenticator.codes_on(browser.submit(page, f"{SECURITY}/codes", decision="confirm"))
    assert not set(old) & set(new)
    browser.sign_out()
    for code, status in ((old[0], 401), (new[0], 303)):
        form = browser.follow(browser.sign_in())
        page = browser.get(form.request.full_path.replace("method=app", "method=recovery"))
        assert browser.submit(page, "/login/mfa", code=code).status_code == status


def test_trust_can_be_taken_back(browser: Browser, in_a_while: Travel) -> None:
    """The page lists it; afterwards the code is asked for again. A new password takes it back too."""
    browser.sign_in()
    phone, _codes = authenticator.set_up(browser)
    for take_back in ("button", "password"):
        browser.sign_out()
        in_a_while(timedelta(seconds=31))
        authenticator.answer(browser, browser.sign_in(), phone.code(), trust_device="1")
        page = browser.get(SECURITY)
        assert "This browser" in page.text
        if take_back == "button":
            assert browser.submit(page, SECURITY, decision="forget_trust").status_code == 303
        else:
            form = browser.get(f"{SECURITY}/password")
            browser.submit(form, f"{SECURITY}/password", current=PASSWORD, password=NEW_PASSWORD)
        assert "Trusted browsers" not in browser.get(SECURITY).text
    browser.sign_out()
    asserts.is_page(browser.follow(browser.sign_in(password=NEW_PASSWORD)), "mfa")


def test_a_reset_link_keeps_the_second_factor(app: Flask, browser: Browser, rp: RelyingParty, ada: users.User) -> None:
    """Recovery of the password is not recovery of the app (ASVS 6.4.3)."""
    browser.sign_in()
    authenticator.set_up(browser)
    link = factories.within(app, lambda: recover.make_link(ada))
    page = browser.get(link)
    assert browser.submit(page, "/recover/reset", password=NEW_PASSWORD).status_code == 200
    asserts.is_page(browser.follow(browser.sign_in(password=NEW_PASSWORD)), "mfa")
