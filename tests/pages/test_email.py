"""The address of the account: proved before it counts, told to the former one, and given back (RC-09, ID-06)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server.accounts import users
from auth_server.tokens import ending
from tests.support import asserts, factories, mailbox
from tests.support.browser import Browser
from tests.support.email_pages import CHANGE, CONFIRM, NEW, OLD, PATH, UNDO, again, ask, confirm
from tests.support.factories import PASSWORD
from tests.support.rp import RelyingParty, payload

Travel = Callable[[timedelta], None]


def letters_to(app: Flask, address: str) -> list[str]:
    return [letter["Subject"] for letter in mailbox.letters(app) if letter["To"] == address]


def test_the_old_address_counts_until_the_new_one_is_proved(app: Flask, bens: Browser, ben: users.User) -> None:
    """Ask, see it waiting, sign in with the old one; confirm by the link on another device; then with the new one."""
    page = asserts.is_page(ask(bens), "account-email")
    assert NEW in page.text
    assert "Until it is confirmed you sign in with" in page.text
    assert Browser(app).sign_in(NEW).status_code == 401
    phone = Browser(app)
    assert phone.sign_in(OLD).status_code == 303
    path = mailbox.link_in(mailbox.last_to(app, NEW))
    before = asserts.rows(app)
    for _ in range(3):
        assert NEW in asserts.is_page(phone.get(path), "account-confirm").text
        assert Browser(app).get(path).status_code == 303
    assert asserts.rows(app)["user_account"] == before["user_account"]
    assert asserts.rows(app)["one_time_secret"] == before["one_time_secret"]
    assert confirm(phone, path).status_code == 303
    user = again(app, ben)
    assert (user.email, user.email_verified) == (NEW, True)
    assert Browser(app).sign_in(OLD).status_code == 401
    assert Browser(app).sign_in(NEW).status_code == 303
    assert bens.get("/account").status_code == 200
    (row,) = asserts.events_of(app, "email.changed")
    assert (row.subject, "@" in str(row.data)) == (ben.id, False)


def test_the_code_does_the_same_in_the_browser_that_asked(app: Flask, bens: Browser, ben: users.User) -> None:
    """Six digits, once."""
    page = ask(bens)
    letter = mailbox.last_to(app, NEW)
    assert bens.submit(page, PATH, decision="code", code=mailbox.code_in(letter)).status_code == 303
    assert again(app, ben).email == NEW
    asserts.is_error_page(bens.get(mailbox.link_in(letter)), "flow_expired")


def test_the_sub_stays_and_apps_see_the_new_address_when_it_is_proved(app: Flask, rp: RelyingParty) -> None:
    """`email` and `email_verified` are the old ones until then (AT-07, ID-06)."""
    before = payload(rp.tokens()["id_token"])
    ask(rp.browser, "lovelace@example.org")
    waiting = payload(rp.tokens()["id_token"])
    assert confirm(rp.browser, mailbox.link_in(mailbox.last_to(app, "lovelace@example.org"))).status_code == 303
    after = payload(rp.tokens()["id_token"])
    assert before["sub"] == waiting["sub"] == after["sub"]
    assert [claims["email"] for claims in (before, waiting, after)] == [
        "ada@example.org",
        "ada@example.org",
        "lovelace@example.org",
    ]
    assert after["email_verified"] is True


def test_the_former_address_is_told_at_once_and_afterwards(app: Flask, bens: Browser) -> None:
    """First with "This wasn't me", then with the link that takes it back; the new address learns neither."""
    ask(bens)
    first = mailbox.last_to(app, OLD)
    assert "wants to change its e-mail address" in mailbox.text_of(first)
    assert mailbox.link_in(first).startswith("/recover/not-me?token=")
    assert confirm(bens, mailbox.link_in(mailbox.last_to(app, NEW))).status_code == 303
    second = mailbox.last_to(app, OLD)
    assert "was changed" in mailbox.text_of(second)
    assert mailbox.link_in(second).startswith(UNDO)
    assert len(letters_to(app, OLD)) == 2
    assert len(letters_to(app, NEW)) == 1


def test_asking_needs_a_fresh_sign_in(app: Flask, bens: Browser, in_a_while: Travel) -> None:
    """Eleven minutes later the login page comes first; nothing is written (ASVS 7.5.1)."""
    page = bens.get(CHANGE)
    in_a_while(timedelta(minutes=11))
    for response in (bens.get(CHANGE), bens.submit(page, CHANGE, email=NEW)):
        assert response.headers["Location"].startswith("/login?fresh=1&")
    assert mailbox.letters(app) == []
    assert bens.get(PATH).status_code == 200
    bens.submit(bens.get("/login?fresh=1"), "/login", email=OLD, password=PASSWORD)
    asserts.is_page(ask(bens), "account-email")


@pytest.mark.parametrize("path", [PATH, CHANGE, CONFIRM + "?token=x"])
def test_only_signed_in_people_see_it(browser: Browser, path: str) -> None:
    assert browser.get(path).headers["Location"].startswith("/login?")


def test_a_change_can_be_cancelled(app: Flask, bens: Browser, ben: users.User) -> None:
    """The link is worth nothing afterwards."""
    page = ask(bens)
    path = mailbox.link_in(mailbox.last_to(app, NEW))
    assert bens.submit(page, PATH, decision="cancel").status_code == 303
    assert NEW not in bens.get(PATH).text
    asserts.is_error_page(bens.get(path), "flow_expired")
    assert again(app, ben).email == OLD
    assert asserts.events_of(app, "email.change_cancelled")


def test_an_address_of_somebody_else_gets_the_same_answer(app: Flask, bens: Browser, ben: users.User) -> None:
    """Its owner gets a letter without a link that changes anything; the account stays what it is (LG-07)."""
    taken = ask(bens, "ada@example.org")
    other = Browser(app)
    factories.person(app, "eve@example.org", "Eve")
    other.sign_in("eve@example.org")
    free = ask(other, "lovelace@example.org")
    seen = {
        (page.status_code, re.sub(r'value="[^"]*"', "", page.text.replace(mine, "").replace(new, "").replace(name, "")))
        for page, mine, name, new in (
            (taken, OLD, "Ben", "ada@example.org"),
            (free, "eve@example.org", "Eve", "lovelace@example.org"),
        )
    }
    assert len(seen) == 1, seen
    letter = mailbox.last_to(app, "ada@example.org")
    assert "You already have an account" in letter["Subject"]
    assert "token=" not in mailbox.text_of(letter)
    assert again(app, ben).email == OLD


@pytest.mark.parametrize(
    ("email", "words"),
    [("", "not an e-mail"), ("x", "not an e-mail"), (OLD, "already"), ("BEN＠example.org", "already"),
     ("a@b@example.org", "not an e-mail")],
)  # fmt: skip
def test_a_wrong_address_is_refused(app: Flask, bens: Browser, email: str, words: str) -> None:
    """The mistake is named, nothing is sent; a right one is taken."""
    response = bens.submit(bens.get(CHANGE), CHANGE, email=email)
    assert words in asserts.is_page(response, "account-email", 422).text
    assert mailbox.letters(app) == []
    asserts.is_page(ask(bens), "account-email")


def test_an_unproved_address_can_be_proved(app: Flask, browser: Browser) -> None:
    """An account made by an operator as unproved; the event is recorded, and nobody's former address is told."""
    user = factories.person(app, "eve@example.org", verified=False)
    browser.sign_in("eve@example.org")
    page = asserts.is_page(browser.get(PATH), "account-email")
    assert "Not confirmed" in page.text
    sent = browser.submit(browser.get(PATH), PATH, decision="send")
    page = browser.get(sent.headers["Location"])
    assert not again(app, user).email_verified
    letter = mailbox.last_to(app, "eve@example.org")
    assert browser.submit(page, PATH, decision="code", code=mailbox.code_in(letter)).status_code == 303
    assert again(app, user).email_verified
    assert "Not confirmed" not in browser.get(PATH).text
    assert [row.subject for row in asserts.events_of(app, "email.verified")] == [user.id]
    assert len(mailbox.letters(app)) == 1
    assert browser.submit(browser.get(CHANGE), PATH, decision="send").headers["Location"] == PATH


@pytest.mark.parametrize("fields", [{"email_verified": "1"}, {"verified": "true"}, {"decision": "verify"}])
def test_nobody_marks_their_own_address_as_proved(app: Flask, browser: Browser, fields: dict[str, str]) -> None:
    """Other fields are not looked at (CVE-2026-27946)."""
    user = factories.person(app, "eve@example.org", verified=False)
    browser.sign_in("eve@example.org")
    browser.submit(browser.get(PATH), PATH, **{"decision": "send", **fields})
    browser.submit(browser.get(CHANGE), CHANGE, email="eve2@example.org", **fields)
    assert (again(app, user).email, again(app, user).email_verified) == ("eve@example.org", False)


def test_a_link_counts_for_its_own_account_alone(app: Flask, bens: Browser, ben: users.User, ada: users.User) -> None:
    """Somebody else who opens it is told, and gets nothing; it stays good for its owner (GHSA-fmh4)."""
    ask(bens)
    path = mailbox.link_in(mailbox.last_to(app, NEW))
    adas = Browser(app)
    adas.sign_in()
    page = asserts.is_error_page(adas.get(path), "flow_expired")
    assert "another account" in page.text
    token = path.partition("token=")[2]
    asserts.is_error_page(adas.submit(adas.get(CHANGE), CONFIRM, token=token), "flow_expired")
    assert again(app, ada).email == "ada@example.org"
    assert confirm(bens, path).status_code == 303
    assert again(app, ben).email == NEW


def test_a_handle_counts_for_its_own_account_alone(app: Flask, bens: Browser, ben: users.User) -> None:
    """Two people's handles and codes cannot be swapped, and the try uses nothing up (RC-07)."""
    adas = Browser(app)
    adas.sign_in()
    mine, theirs = ask(bens), ask(adas, "lovelace@example.org")
    code = mailbox.code_in(mailbox.last_to(app, NEW))
    handle = mine.request.args["handle"]
    assert adas.submit(theirs, PATH, handle=handle, decision="code", code=code).status_code == 401
    assert bens.submit(mine, PATH, decision="code", code=code).status_code == 303
    assert again(app, ben).email == NEW


def test_five_wrong_codes_are_enough(app: Flask, bens: Browser, ben: users.User) -> None:
    """Then the right one is not looked at either; the link still works."""
    page = ask(bens)
    letter = mailbox.last_to(app, NEW)
    right = mailbox.code_in(letter)
    wrong = f"{(int(right) + 1) % 10**6:06}"
    assert [bens.submit(page, PATH, decision="code", code=wrong).status_code for _ in range(5)] == [401] * 5
    assert bens.submit(page, PATH, decision="code", code=right).status_code == 429
    assert again(app, ben).email == OLD
    assert confirm(bens, mailbox.link_in(letter)).status_code == 303


def test_letters_are_counted(app: Flask, bens: Browser, in_a_while: Travel) -> None:
    """One in half a minute and five in an hour, whatever addresses are typed (RC-08)."""
    page = bens.get(CHANGE)
    statuses = [bens.submit(page, CHANGE, email=f"new{number}@example.org").status_code for number in range(3)]
    assert statuses == [303, 429, 429]
    for number in range(5):
        in_a_while(timedelta(seconds=31))
        statuses.append(bens.submit(page, CHANGE, email=f"newer{number}@example.org").status_code)
    assert statuses[3:] == [303] * 4 + [429]


def test_a_link_ends_after_an_hour(app: Flask, bens: Browser, in_a_while: Travel) -> None:
    """It says so, and a new one can be asked for."""
    ask(bens)
    path = mailbox.link_in(mailbox.last_to(app, NEW))
    in_a_while(timedelta(minutes=61))
    bens.sign_in(OLD)
    page = asserts.is_error_page(bens.get(path), "flow_expired")
    assert "too old" in page.text
    assert f'href="{PATH}"' in page.text


@pytest.mark.parametrize("act", [ending.password_reset, lambda user_id: ending.sign_out_everywhere(user_id, "test")])
def test_a_waiting_change_ends_with_everything_else(
    app: Flask, bens: Browser, ben: users.User, act: Callable[[str], object]
) -> None:
    """A thief who has asked for a change before is out of that, too."""
    ask(bens)
    path = mailbox.link_in(mailbox.last_to(app, NEW))
    factories.within(app, lambda: act(ben.id))
    bens.sign_in(OLD)
    asserts.is_error_page(bens.get(path), "flow_expired")


def test_an_address_taken_between_letter_and_link(app: Flask, bens: Browser, ben: users.User) -> None:
    """The unique index decides: nothing is changed, and the page says so."""
    ask(bens)
    path = mailbox.link_in(mailbox.last_to(app, NEW))
    factories.person(app, NEW, "Another")
    page = asserts.is_page(confirm(bens, path), "account-email", 409)
    assert "belongs to another account" in page.text
    assert again(app, ben).email == OLD


def test_a_forged_host_does_not_reach_the_letter(app: Flask, bens: Browser) -> None:
    """Links have the issuer's host (RC-03)."""
    form = bens.get(CHANGE)
    token = form.text.split('name="csrf_token" value="')[1].split('"')[0]
    headers = {"X-Forwarded-Host": "evil.example", "Forwarded": "host=evil.example"}
    assert bens.post(CHANGE, {"email": NEW, "csrf_token": token}, headers=headers).status_code == 303
    assert all("evil" not in letter.as_string() for letter in mailbox.letters(app))
