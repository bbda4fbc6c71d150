"""Opening an account: nothing exists before the address is proved, and nobody learns who has one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server.access import roles
from auth_server.accounts import passwords
from tests.support import asserts, authenticator, factories, mailbox, passkey
from tests.support.browser import Browser
from tests.support.factories import PASSWORD
from tests.support.rp import RelyingParty
from tests.support.signup_pages import FINISH, GRACE, SENT, ask, asked, finish, found, people

Travel = Callable[[timedelta], None]


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return an application where everybody may open an account."""
    return make_app(signup="open")


def test_an_account_is_opened_by_the_link_on_any_device(app: Flask, browser: Browser) -> None:
    """Ask here, open the letter there: the account exists after that form, proved and signed in (USR-6, USR-7)."""
    page = asserts.is_page(asked(browser), "signup-sent")
    assert "grace@example.org" in page.text
    assert people(app) == ["ada@example.org"]
    phone = Browser(app)
    path = mailbox.link_in(mailbox.last_to(app, "grace@example.org"))
    done = finish(phone, path, name="Grace")
    assert (done.status_code, done.headers["Location"]) == (303, "/account")
    asserts.is_page(phone.get("/account"), "account")
    user = found(app, "grace@example.org")
    assert (user.name, user.email_verified) == ("Grace", True)
    assert browser.get("/account").status_code == 303
    assert browser.sign_in("grace@example.org").status_code == 303
    assert [row.subject for row in asserts.events_of(app, "sign_up.completed")] == [user.id]


def test_the_code_does_the_same_in_the_browser_that_asked(app: Flask, browser: Browser) -> None:
    """It leads to the same form; afterwards the link of that letter is used up."""
    page = asked(browser)
    letter = mailbox.last_to(app, "grace@example.org")
    moved = browser.submit(page, SENT, decision="code", code=f" {mailbox.code_in(letter)} ")
    assert moved.status_code == 303
    used = asserts.is_error_page(browser.get(mailbox.link_in(letter)), "flow_expired")
    assert "This link was used already" in used.text
    assert finish(browser, moved.headers["Location"]).status_code == 303
    assert found(app, "grace@example.org").email_verified


def test_scanners_may_open_the_link_first(app: Flask, browser: Browser) -> None:
    """Any number of GET and HEAD changes nothing (RC-04)."""
    asked(browser)
    path = mailbox.link_in(mailbox.last_to(app, "grace@example.org"))
    before = asserts.rows(app)
    for _ in range(3):
        scanner = Browser(app)
        asserts.is_page(scanner.get(path), "signup-finish")
        assert scanner.client.head(path, base_url="http://localhost:8421").status_code == 200
    assert asserts.rows(app) == before
    assert finish(Browser(app), path).status_code == 303


def test_a_link_works_once_and_says_when(app: Flask, browser: Browser) -> None:
    """The second use names the moment and the way on (RC-01)."""
    asked(browser)
    path = mailbox.link_in(mailbox.last_to(app, "grace@example.org"))
    late = browser.get(path)
    assert finish(Browser(app), path).status_code == 303
    for response in (browser.get(path), browser.submit(late, FINISH, name="x", password=PASSWORD)):
        page = asserts.is_error_page(response, "flow_expired")
        assert "It was used on " in page.text
        assert 'href="/login"' in page.text


@pytest.mark.parametrize(("minutes", "works"), [(59, True), (61, False)])
def test_a_link_is_good_for_an_hour(
    app: Flask, browser: Browser, in_a_while: Travel, minutes: int, works: bool
) -> None:
    """Later it says until when it was, and offers a new one; the code is good for ten minutes (RC-01)."""
    page = asked(browser)
    letter = mailbox.last_to(app, "grace@example.org")
    in_a_while(timedelta(minutes=minutes))
    late = browser.submit(page, SENT, decision="code", code=mailbox.code_in(letter))
    assert late.status_code == (401 if works else 400)
    response = browser.get(mailbox.link_in(letter))
    if works:
        asserts.is_page(response, "signup-finish")
    else:
        page = asserts.is_error_page(response, "flow_expired")
        assert "This link is too old" in page.text
        assert 'href="/signup"' in page.text


@pytest.mark.parametrize(
    ("password", "words"), [("short", "at least 15"), ("x" * 1025, "at most 1024"), ("grace@example.org", "too easy")]
)
def test_a_refused_password_leaves_the_link_good(app: Flask, browser: Browser, password: str, words: str) -> None:
    """The rule is named beforehand and afterwards, and nothing is written."""
    asked(browser)
    path = mailbox.link_in(mailbox.last_to(app, "grace@example.org"))
    assert "At least 15 characters" in browser.get(path).text
    before = asserts.rows(app)
    response = finish(browser, path, password=password)
    assert words in asserts.is_page(response, "signup-finish", 422).text
    assert asserts.rows(app) == before
    assert browser.submit(response, FINISH, name="Grace", password=PASSWORD).status_code == 303


def test_nothing_but_name_and_password_can_be_chosen(app: Flask, browser: Browser) -> None:
    """Other fields are not looked at: address, proof, roles and groups stay what they are (CVE-2026-27946)."""
    asked(browser, email_verified="1", opens="1", role="administrator")
    path = mailbox.link_in(mailbox.last_to(app, "grace@example.org"))
    more = {"email": "evil@example.org", "email_verified": "1", "role": "administrator", "roles": "administrator"}
    assert finish(browser, path, **more, group="staff", sub="x", id="x").status_code == 303
    assert people(app) == ["ada@example.org", "grace@example.org"]
    assert factories.within(app, lambda: roles.of_user(found(app, "grace@example.org").id)) == ()


def test_five_wrong_codes_are_enough(app: Flask, browser: Browser) -> None:
    """Then even the right one is not looked at; the link in the letter still works."""
    page = asked(browser)
    letter = mailbox.last_to(app, "grace@example.org")
    right = mailbox.code_in(letter)
    wrong = f"{(int(right) + 1) % 10**6:06}"
    statuses = [browser.submit(page, SENT, decision="code", code=wrong).status_code for _ in range(5)]
    assert statuses == [401] * 5
    assert browser.submit(page, SENT, decision="code", code=right).status_code == 429
    assert finish(browser, mailbox.link_in(letter)).status_code == 303


def test_a_code_is_good_with_its_own_handle_alone(app: Flask, browser: Browser) -> None:
    """Two browsers that ask at the same time cannot use each other's codes (RC-07)."""
    other = Browser(app)
    mine, theirs = asked(browser), asked(other, email="eve@example.org")
    my_code = mailbox.code_in(mailbox.last_to(app, "grace@example.org"))
    their_code = mailbox.code_in(mailbox.last_to(app, "eve@example.org"))
    assert other.submit(theirs, SENT, decision="code", code=my_code).status_code == 401 or my_code == their_code
    assert browser.submit(mine, SENT, decision="code", code=my_code).status_code == 303
    assert other.submit(theirs, SENT, decision="code", code=their_code).status_code == 303


@pytest.mark.parametrize("handle", ["", "x", "a" * 43, "%00", "'", '"><script>'])
def test_an_unknown_handle_leads_to_the_beginning(browser: Browser, handle: str) -> None:
    """By GET and by POST, whatever its form; with a way to start again."""
    page = asserts.is_error_page(browser.get(f"/signup/sent?handle={handle}"), "flow_expired")
    assert 'href="/signup"' in page.text
    form = browser.get("/login")
    asserts.is_error_page(browser.submit(form, SENT, handle=handle, decision="code", code="123456"), "flow_expired")


def test_the_person_comes_back_to_the_app(app: Flask, rp: RelyingParty) -> None:
    """The request of the app waits: after the sign-up it goes on, in the browser where it began."""
    browser = rp.browser
    login = browser.follow(rp.authorize())
    path = login.text.split('href="/signup?next=')[1].split('"')[0]
    asserts.is_page(browser.submit(browser.get(f"/signup?next={path}"), "/signup", **GRACE), "", 303)
    link = mailbox.link_in(mailbox.last_to(app, "grace@example.org"))
    assert browser.get(link).status_code == 200
    done = finish(browser, link)
    assert done.headers["Location"].startswith("/oauth/authorize?flow=")
    asserts.is_page(browser.follow(done), "consent")


def test_on_another_device_the_account_is_the_end(app: Flask, rp: RelyingParty) -> None:
    """The request of the app belongs to the first browser: no error on the phone."""
    browser = rp.browser
    login = browser.follow(rp.authorize())
    path = login.text.split('href="/signup?next=')[1].split('"')[0]
    browser.submit(browser.get(f"/signup?next={path}"), "/signup", **GRACE)
    link = mailbox.link_in(mailbox.last_to(app, "grace@example.org"))
    assert finish(Browser(app), link).headers["Location"] == "/account"


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"])
def test_it_never_leads_to_another_site(app: Flask, browser: Browser, target: str) -> None:
    """A foreign `next` is the account page."""
    form = browser.get("/signup")
    browser.submit(form, "/signup", **GRACE, next=target)
    link = mailbox.link_in(mailbox.last_to(app, "grace@example.org"))
    assert finish(browser, link).headers["Location"] == "/account"


def test_an_address_that_got_an_account_meanwhile(app: Flask, browser: Browser) -> None:
    """A calm page, and no second account."""
    asked(browser)
    path = mailbox.link_in(mailbox.last_to(app, "grace@example.org"))
    page = browser.get(path)
    user = factories.person(app, "GRACE@example.org")
    for response in (browser.get(path), browser.submit(page, FINISH, name="x", password="another long password")):
        assert "You already have an account" in asserts.is_page(response, "done", 409).text
    assert people(app) == ["ada@example.org", "GRACE@example.org"]
    assert factories.within(app, lambda: passwords.check(user.id, PASSWORD))


def test_signing_up_ends_another_persons_session_in_the_browser(app: Flask, browser: Browser) -> None:
    """The page says so beforehand."""
    browser.sign_in()
    asked(browser)
    path = mailbox.link_in(mailbox.last_to(app, "grace@example.org"))
    assert "ada@example.org is signed in" in browser.get(path).text.replace("<bdi>", "").replace("</bdi>", "")
    finish(browser, path)
    assert "grace@example.org" in browser.get("/account").text
    assert "ada@example.org" not in browser.get("/account").text
    assert [row.data["cause"] for row in asserts.events_of(app, "session.ended")] == ["replaced"]


def test_the_secret_is_nowhere_but_in_the_letter(app: Flask, browser: Browser) -> None:
    """The database holds digests, and the outbox row is sealed until it is gone."""
    ask(browser)
    before = str(asserts.rows(app))
    letter = mailbox.last_to(app, "grace@example.org")
    token = mailbox.link_in(letter).partition("token=")[2]
    assert token not in before
    assert mailbox.code_in(letter) not in str(asserts.rows(app)["one_time_secret"])


def test_a_passkey_may_take_the_place_of_the_password(app: Flask, browser: Browser) -> None:
    """The account is opened with it, recovery codes come along, and it signs in alone; a bad one changes nothing."""
    asked(browser)
    link = mailbox.link_in(mailbox.last_to(app, GRACE["email"]))
    page = asserts.is_page(browser.get(link), "signup-finish")
    before = people(app)
    key = passkey.Passkey()
    wrong = key.create(passkey.options_on(browser.get(link)), origin="https://evil.example")
    asserts.is_page(browser.post(FINISH, {**page.inputs, "name": "Eve", "credential": wrong}), "signup-finish", 422)
    assert people(app) == before
    right = key.create(passkey.options_on(browser.get(link)))
    shown = browser.post(FINISH, {**page.inputs, "name": "Eve", "credential": right})
    assert len(authenticator.codes_on(shown)) == 10
    grace = found(app, GRACE["email"])
    assert not factories.within(app, lambda: passwords.exists(grace.id))
    browser.sign_out()
    assert passkey.sign_in(Browser(app), key).status_code == 303


def test_a_passkey_for_one_link_opens_no_other_account(app: Flask, browser: Browser) -> None:
    """What was made for one address is refused at another's link."""
    for email in (GRACE["email"], "fay@example.org"):
        asked(browser, email=email)
    first, second = (mailbox.link_in(mailbox.last_to(app, email)) for email in (GRACE["email"], "fay@example.org"))
    key = passkey.Passkey()
    made = key.create(passkey.options_on(browser.get(first)))
    page = asserts.is_page(browser.get(second), "signup-finish")
    asserts.is_page(browser.post(FINISH, {**page.inputs, "name": "Fay", "credential": made}), "signup-finish", 422)
    own = key.create(passkey.options_on(browser.get(second)))
    assert browser.post(FINISH, {**page.inputs, "name": "Fay", "credential": own}).status_code == 200
