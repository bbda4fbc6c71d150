"""The way back in: a one-time link sets a new password and ends everything else."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from urllib.parse import quote, urlsplit

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from auth_server.accounts import users
from auth_server.accounts.passwords import Password
from auth_server.database import db
from auth_server.infra.once import OneTimeSecret
from auth_server.pages import recover
from auth_server.tokens import ending
from auth_server.values import Rate
from tests.support import asserts, factories, mailbox
from tests.support.browser import Browser
from tests.support.rp import RelyingParty

NEW = "a brand new long password"


def link(app: Flask, user: users.User) -> str:
    """Return the path of a new reset link."""
    url: str = factories.within(app, lambda: recover.make_link(users.find(user.id) or user))
    assert url.startswith("http://localhost:8421/recover/reset?token=")
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def fill_in(browser: Browser, path: str, password: str = NEW) -> TestResponse:
    return browser.submit(browser.get(path), path, password=password)


def stored(app: Flask) -> tuple[object, ...]:
    """Return what a reset may change: hashes and links."""
    with app.app_context():
        found = db.session.execute(select(Password.hash)).scalars().all()
        links = db.session.execute(select(OneTimeSecret.digest, OneTimeSecret.spent_at)).all()
        db.session.rollback()
        return (*found, *map(tuple, links))


def test_the_page_asks_for_the_address_and_says_whom_to_ask(browser: Browser) -> None:
    """Without mail there is a way on too; nothing or too much typed is refused."""
    page = browser.get("/recover")
    assert "Ask your administrator" in asserts.is_page(page, "recover").text
    for email in ("", " ", "a" * 400 + "@example.org"):
        asserts.is_page(browser.submit(page, "/recover", email=email), "recover", 422)


def test_looking_at_the_link_changes_nothing(app: Flask, browser: Browser, ben: users.User) -> None:
    """GET shows the form for the right account, however often."""
    path = link(app, ben)
    before = stored(app)
    for _ in range(3):
        page = asserts.is_page(Browser(app).get(path), "reset")
        assert "ben@example.org" in page.text
    assert stored(app) == before
    assert fill_in(browser, path).status_code == 200


def test_the_link_sets_the_password_once(app: Flask, browser: Browser, ben: users.User) -> None:
    """The new password works, the old one does not, the link does not work again, nobody is signed in by it."""
    path = link(app, ben)
    other = browser.get(path)
    asserts.is_page(fill_in(Browser(app), path), "done")
    asserts.is_error_page(browser.get(path), "flow_expired")
    asserts.is_error_page(browser.submit(other, path, password="yet another password"), "flow_expired")
    assert browser.get("/account").status_code == 303
    assert browser.sign_in(email="ben@example.org").status_code == 401
    assert browser.sign_in(email="ben@example.org", password=NEW).status_code == 303
    assert [row.subject for row in asserts.events_of(app, "password.set")][-1] == ben.id


def test_a_reset_ends_everything(rp: RelyingParty, app: Flask, ada: users.User, ben: users.User) -> None:
    """All sessions, all families and all other links of the person; nobody else's."""
    bens = Browser(app)
    bens.sign_in(email="ben@example.org")
    tokens = rp.tokens()
    elsewhere = Browser(app)
    elsewhere.sign_in()
    asserts.is_page(fill_in(Browser(app), link(app, ada)), "done")
    assert rp.browser.get("/account").status_code == 303
    assert elsewhere.get("/account").status_code == 303
    assert rp.userinfo(tokens["access_token"]).status_code == 401
    asserts.is_oauth_error(rp.refresh(tokens["refresh_token"]), "invalid_grant")
    assert bens.get("/account").status_code == 200


def test_a_new_link_replaces_the_old_one(app: Flask, browser: Browser, ben: users.User) -> None:
    """Only the newest works; another person's link is untouched."""
    ada = factories.person(app, "grace@example.org")
    old, others, new = link(app, ben), link(app, ada), link(app, ben)
    asserts.is_error_page(browser.get(old), "flow_expired")
    asserts.is_page(browser.get(others), "reset")
    asserts.is_page(fill_in(browser, new), "done")
    asserts.is_page(browser.get(others), "reset")


def test_a_link_ends_after_half_an_hour(
    app: Flask, browser: Browser, ben: users.User, in_a_while: Callable[[timedelta], None]
) -> None:
    """Shortly before it works, afterwards not, though the form was open."""
    path = link(app, ben)
    page = browser.get(path)
    in_a_while(timedelta(minutes=30, seconds=1))
    asserts.is_error_page(browser.submit(page, path, password=NEW), "flow_expired")
    path = link(app, ben)
    in_a_while(timedelta(minutes=29))
    asserts.is_page(fill_in(browser, path), "done")


@pytest.mark.parametrize("act", [ending.disable_user, lambda user: ending.sign_out_everywhere(user.id, "test")])
def test_a_link_ends_with_what_it_stood_for(
    app: Flask, browser: Browser, ben: users.User, act: Callable[[users.User], object]
) -> None:
    """A disabled person's link opens nothing, nor one from before a sign-out everywhere."""
    path = link(app, ben)
    asserts.is_page(browser.get(path), "reset")
    factories.within(app, lambda: act(users.find(ben.id) or ben))
    asserts.is_error_page(browser.get(path), "flow_expired")


@pytest.mark.parametrize(
    ("password", "words"),
    [("short", "at least 15"), ("a" * 30, "too easy"), ("ben@example.org", "too easy"), ("xyz!" * 257, "at most 1024")],
)
def test_a_refused_password_leaves_the_link_good(
    app: Flask, browser: Browser, ben: users.User, password: str, words: str
) -> None:
    """The rule is named, nothing changes, the next try works."""
    path = link(app, ben)
    before = stored(app)
    response = fill_in(browser, path, password)
    assert words in asserts.is_page(response, "reset", 422).text
    assert stored(app) == before
    asserts.is_page(browser.submit(response, path, password=NEW), "done")


@pytest.mark.parametrize("token", ["", "unknown", "%00", "%ff", "a" * 5000, "'", '"><script>'])
def test_an_unknown_link_is_refused(browser: Browser, token: str) -> None:
    """Whatever the value, by GET and POST, with the page that says so."""
    asserts.is_error_page(browser.get(f"/recover/reset?token={token}"), "flow_expired")
    login = browser.get("/login")
    asserts.is_error_page(browser.submit(login, "/recover/reset", token=token, password=NEW), "flow_expired")


def test_of_twenty_parallel_resets_one_wins(app: Flask, ben: users.User, ada: users.User) -> None:
    """The password is the winner's, and the losers are told: at once, or, where the line was full, at the next try."""
    path = link(app, ben)
    browsers = [Browser(app) for _ in range(20)]
    pages = [browser.get(path) for browser in browsers]
    won: list[str] = []
    statuses: list[int] = []

    def run(number: int) -> None:
        password = f"the new password of {number}"
        status = 503
        while status == 503:
            status = browsers[number].submit(pages[number], path, password=password).status_code
        statuses.append(status)
        if status == 200:
            won.append(password)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200] + [400] * 19
    assert browsers[0].sign_in(email="ben@example.org", password=won[0]).status_code == 303


def test_a_link_gives_a_password_to_somebody_without_one(app: Flask, browser: Browser) -> None:
    """`users create` without a password prints such a link."""
    user = factories.person(app, "grace@example.org", password=None)
    assert browser.sign_in(email="grace@example.org").status_code == 401
    asserts.is_page(fill_in(browser, link(app, user)), "done")
    assert browser.sign_in(email="grace@example.org", password=NEW).status_code == 303


def ask(browser: Browser, email: str = "ben@example.org", place: str = "/recover") -> TestResponse:
    """Ask for a mail, and stop before the redirect."""
    answer = browser.submit(browser.get(place), "/recover", email=email)
    assert answer.status_code == 303
    return answer


@pytest.mark.parametrize("by", ["link", "code"])
def test_a_reset_goes_on_to_where_the_person_was_going(
    app: Flask, rp: RelyingParty, browser: Browser, ben: users.User, by: str
) -> None:
    """From an app through the forgotten password back to the app, in the browser that asked (USR-3)."""
    login = browser.follow(rp.authorize())
    asserts.is_page(login, "login")
    (href,) = re.findall(r'href="(/recover\?[^"]+)"', login.text)
    page = browser.follow(ask(browser, place=unescape(href)))
    letter = mailbox.letters(app)[-1]
    path = mailbox.link_in(letter)
    if by == "code":
        path = browser.submit(page, "/recover/code", code=mailbox.code_in(letter)).headers["Location"]
    done = fill_in(browser, path)
    assert "Sign in and continue to the app" in asserts.is_page(done, "done").text
    (on,) = re.findall(r'href="(/login\?next=[^"]+)"', done.text)
    signed_in = browser.submit(browser.get(unescape(on)), "/login", email="ben@example.org", password=NEW)
    assert signed_in.headers["Location"].startswith("/oauth/authorize?flow=")
    asserts.is_page(browser.follow(signed_in), "consent")


def test_on_another_device_a_reset_ends_at_the_account(app: Flask, browser: Browser, ben: users.User) -> None:
    """What an app began belongs to the browser where it began."""
    ask(browser, place="/recover?next=/account/apps")
    done = fill_in(Browser(app), mailbox.link_in(mailbox.letters(app)[-1]))
    assert 'href="/login"' in asserts.is_page(done, "done").text
    assert "next=" not in done.text.partition("<footer")[0]


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "/login", "javascript:x"]
)
def test_a_reset_goes_nowhere_else(app: Flask, browser: Browser, ben: users.User, target: str) -> None:
    """`next` stays on this server at every step; its twin above is a local one (ASVS 3.7.2)."""
    answer = ask(browser, place="/recover?next=" + quote(target))
    assert "next=" not in answer.headers["Location"]
    fields = {"email": "grace@example.org", "next": target}
    again = browser.submit(browser.follow(answer), "/recover", **fields)
    assert "evil" not in again.headers["Location"]
    done = fill_in(browser, mailbox.link_in(mailbox.letters(app)[-1]))
    assert 'href="/login"' in asserts.is_page(done, "done").text
    assert "evil" not in done.text.partition("<footer")[0]


def test_the_code_is_good_however_often_the_page_is_loaded(app: Flask, browser: Browser, ben: users.User) -> None:
    """Loaded again, sent twice by a nervous finger, opened in two tabs: one letter, and its code works on any page."""
    form = browser.get("/recover")
    first, second = (browser.submit(form, "/recover", email="ben@example.org") for _ in range(2))
    pages = [browser.get(answer.headers["Location"]) for answer in (first, first, second)]
    letters = mailbox.letters(app)
    assert len(letters) == 1
    for page in pages:
        asserts.is_page(page, "recover")
        assert "handle" not in asserts.is_page(page, "recover").inputs
    wrong = browser.submit(pages[0], "/recover/code", code="x")
    asserts.is_page(wrong, "recover", 401)
    assert browser.submit(pages[2], "/recover/code", code=mailbox.code_in(letters[0])).status_code == 303


@pytest.mark.parametrize("email", ["ben@example.org", "nobody@example.org"])
def test_the_page_of_the_code_is_for_one_browser(app: Flask, browser: Browser, ben: users.User, email: str) -> None:
    """The address is not readable in it, and elsewhere, altered or without it the page asks for one; known or not."""
    place = ask(browser, email).headers["Location"]
    assert "example" not in place
    assert asserts.is_page(browser.get(place), "recover").inputs["email"] == email
    for wrong in (
        place[:-1],
        place[:-9] + "AAAAAAAAA",
        "/recover/code",
        "/recover/code?asked=%00",
        "/recover/code?asked=é",
    ):
        assert browser.get(wrong).headers["Location"] == "/recover"
    assert Browser(app).get(place).headers["Location"] == "/recover"
    assert browser.get("/recover/code?next=/account/apps").headers["Location"] == "/recover?next=%2Faccount%2Fapps"


def test_looking_at_the_page_of_the_code_changes_nothing(app: Flask, browser: Browser, ben: users.User) -> None:
    """No letter, no row, no count, whoever looks."""
    place = ask(browser).headers["Location"]
    before = asserts.rows(app)
    for _ in range(3):
        asserts.is_page(browser.get(place), "recover")
        Browser(app).get(place)
    assert asserts.rows(app) == before


@pytest.mark.parametrize("path", ["/recover", "/recover/code", "/signup", "/signup/sent"])
def test_strangers_who_cause_mail_are_limited(make_app: Callable[..., Flask], path: str) -> None:
    """So many requests per address that make rows, over all such forms, then 429; looking costs nothing (RC-08)."""
    app = make_app(signup="open", create_rate_limit=Rate(5, timedelta(minutes=1)))
    factories.person(app, roles=["administrator"])
    browser = Browser(app)
    token = asserts.is_page(browser.get("/recover"), "recover").inputs["csrf_token"]

    def send(number: int, to: str = path) -> TestResponse:
        address = {"email": f"nobody{number}@example.org", "name": "Nobody", "decision": "code", "code": "000000"}
        return browser.post(to, {**address, "handle": "x", "csrf_token": token})

    answers = [send(number) for number in range(7)]
    statuses = [answer.status_code for answer in answers]
    assert 429 not in statuses[:5]
    assert statuses[5:] == [429] * 2
    asserts.is_error_page(answers[5], "rate_limited", 429)
    assert 0 < int(answers[5].headers["Retry-After"]) <= 60
    assert send(8, "/recover").status_code == send(9, "/signup").status_code == 429
    assert browser.get("/recover").status_code == browser.get("/signup").status_code == 200
    browser.address = "203.0.113.7"
    assert send(10).status_code == statuses[0]
