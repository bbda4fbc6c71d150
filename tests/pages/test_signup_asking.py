"""Asking for an account: who may, what is answered, and how often a letter is written."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from auth_server.accounts import users
from auth_server.database import db
from auth_server.infra import once
from auth_server.tokens import ending
from auth_server.values import Rate
from tests.support import asserts, factories, mailbox
from tests.support.browser import Browser
from tests.support.signup_pages import GRACE, SENT, ask, asked, finish, people

Travel = Callable[[timedelta], None]


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return an application where everybody may open an account."""
    return make_app(signup="open")


def test_a_new_letter_ends_the_former_one(app: Flask, browser: Browser, in_a_while: Travel) -> None:
    """After half a minute another can be asked for; the old link and code are worth nothing (USR-7, RC-01)."""
    page = asked(browser)
    old = mailbox.last_to(app, "grace@example.org")
    early = browser.submit(page, SENT, decision="again")
    assert (early.status_code, "Wait" in early.text) == (429, True)
    assert 0 < int(early.headers["Retry-After"]) <= 30
    in_a_while(timedelta(seconds=31))
    again = browser.submit(page, SENT, decision="again")
    assert again.status_code == 303
    new = mailbox.last_to(app, "grace@example.org")
    asserts.is_error_page(browser.get(mailbox.link_in(old)), "flow_expired")
    asserts.is_error_page(browser.submit(page, SENT, decision="code", code=mailbox.code_in(old)), "flow_expired")
    asserts.is_page(browser.get(mailbox.link_in(new)), "signup-finish")


def test_ten_requests_are_one_letter(app: Flask, browser: Browser, in_a_while: Travel) -> None:
    """One in half a minute and five in an hour, from whatever browser; a known address alike (RC-08, LG-07)."""
    for email in ("grace@example.org", "ada@example.org"):
        answers = [ask(Browser(app, f"203.0.113.{number}"), email=email) for number in range(10)]
        assert [answer.status_code for answer in answers] == [303] + [429] * 9
        assert sum(letter["To"] == email for letter in mailbox.letters(app)) == 1
    statuses = []
    for number in range(6):
        in_a_while(timedelta(seconds=31))
        statuses.append(ask(Browser(app, f"203.0.113.{number}")).status_code)
    assert statuses == [303] * 4 + [429] * 2
    assert ask(browser, email="somebody@example.org").status_code == 303


def test_one_network_address_cannot_write_to_everybody(app: Flask) -> None:
    """Sixty letters an hour from one place, whoever they go to."""
    browser = Browser(app, "203.0.113.9")
    factories.person(app, roles=["administrator"])
    page = browser.get("/signup")
    statuses = [
        browser.submit(page, "/signup", **{**GRACE, "email": f"somebody{number}@example.org"}).status_code
        for number in range(61)
    ]
    assert statuses == [303] * 60 + [429]


def shape(response: TestResponse, email: str) -> tuple[object, ...]:
    """Return what a stranger sees of an answer, without what is random in any."""
    headers = tuple((name, len(value)) for name, value in response.headers.items())
    text = re.sub(r'name="(csrf_token|handle)" value="[^"]*"|handle=[\w-]*|<(code|time)[^>]*>[^<]*', "", response.text)
    return response.status_code, headers, re.sub(r"\d+ second", "", text.replace(email, ""))


@contextmanager
def counted(app: Flask) -> Iterator[list[str]]:
    """Collect the statements that the application sends to the database."""
    found: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        found.append(statement.split()[0])

    with app.app_context():
        engine = db.engine
    event.listen(engine, "before_cursor_execute", note)
    yield found
    event.remove(engine, "before_cursor_execute", note)


@pytest.mark.parametrize("settings", [{"signup": "open"}, {"signup": "domain", "signup_domains": ("example.org",)}])
def test_nobody_learns_who_has_an_account(make_app: Callable[..., Flask], settings: dict[str, object]) -> None:
    """Known, disabled, new and not allowed: the same answers at every step, and the same work (LG-07, RC-05)."""
    app = make_app(**settings)
    factories.person(app, roles=["administrator"])
    disabled = factories.person(app, "benjamin@example.org")
    factories.within(app, lambda: ending.disable_user(users.find(disabled.id) or disabled))
    seen, work = set(), set()
    for email in ("ada@example.org", "benjamin@example.org", "grace@example.org", "grace@elsewhere.example"):
        browser = Browser(app)
        form = browser.get("/signup")
        with counted(app) as statements:
            response = browser.submit(form, "/signup", **{**GRACE, "email": email})
        work.add(tuple(statements))
        page = browser.get(response.headers["Location"])
        wrong = browser.submit(page, SENT, decision="code", code="000000")
        again = browser.submit(page, SENT, decision="again")
        seen.add(tuple(shape(answer, email) for answer in (response, page, wrong, again)))
        counts = factories.within(app, lambda: len(once.live_of("sign-up")))
    assert len(work) == 1, work
    assert len(seen) == 1, [list(parts) for parts in zip(*seen, strict=True) if len(set(parts)) > 1]
    assert counts == 4
    outbox = [letter["To"] for letter in mailbox.letters(app)]
    assert outbox.count("grace@elsewhere.example") == (1 if settings["signup"] == "open" else 0)


def test_somebody_with_an_account_gets_another_letter(app: Flask, browser: Browser) -> None:
    """It says so and opens nothing; it goes to the address that the account has, however it was typed."""
    asked(browser, email="ADA@EXAMPLE.ORG")
    letter = mailbox.last_to(app, "ada@example.org")
    assert "You already have an account" in letter["Subject"]
    assert "token=" not in mailbox.text_of(letter)


@pytest.mark.parametrize("mode", ["closed", "invite"])
def test_a_closed_sign_up_says_whom_to_ask(make_app: Callable[..., Flask], mode: str) -> None:
    """No form, no letter, no link at the login page; a calm page with the way back."""
    app = make_app(signup=mode)
    factories.person(app, roles=["administrator"])
    browser = Browser(app)
    page = asserts.is_page(browser.get("/signup"), "signup")
    assert "administrator" in page.text
    assert 'name="email"' not in page.text
    assert 'href="/login"' in page.text
    login = browser.get("/login")
    assert "/signup" not in login.text
    asserts.is_page(browser.submit(login, "/signup", **GRACE), "signup")
    assert mailbox.letters(app) == []


def test_when_the_sign_up_closes_a_letter_of_before_still_counts(
    app: Flask, browser: Browser, make_app: Callable[..., Flask]
) -> None:
    """Who was let in may come in; nobody can ask for another letter."""
    page = asked(browser)
    path = mailbox.link_in(mailbox.last_to(app, "grace@example.org"))
    closed = make_app(signup="closed")
    browser = Browser(closed)
    asserts.is_error_page(browser.submit(browser.get("/login"), SENT, decision="again", handle="x"), "flow_expired")
    login = browser.get("/login")
    handle = page.request.args["handle"]
    asserts.is_error_page(browser.submit(login, SENT, decision="again", handle=handle), "invalid_request")
    assert finish(Browser(closed), path).status_code == 303


@pytest.mark.parametrize(
    ("email", "may"),
    [
        ("grace@example.org", True),
        ("grace@EXAMPLE.ORG", True),
        ("grace＠example.org", True),
        ("grace@ｅxample.org", True),
        ("grace@bücher.example", True),
        ("grace@xn--bcher-kva.example", True),
        ("grace@sub.example.org", False),
        ("grace@notexample.org", False),
        ("grace@example.org.evil.example", False),
        ("grace@еxample.org", False),
        ("grace@example.com", False),
    ],
)
def test_a_domain_is_compared_exactly(make_app: Callable[..., Flask], email: str, may: bool) -> None:
    """The last part alone counts, normalised first; look-alikes and subdomains are others (GHSA-7rqj, UP-11)."""
    app = make_app(signup="domain", signup_domains=("example.org", "xn--bcher-kva.example"))
    factories.person(app, roles=["administrator"])
    asserts.is_page(asked(Browser(app), email=email), "signup-sent")
    assert len(mailbox.letters(app)) == int(may)


@pytest.mark.parametrize(
    "email", ["", "grace", "grace@", "@example.org", "grace@evil@example.org", '"a@evil"@example.org', "a@b\r\nB: x@y",
              "grace@example.org\x00", "grace@" + "x" * 300 + ".org", "grace＠evil@example.org"],
)  # fmt: skip
def test_what_is_no_address_is_said_at_once(app: Flask, browser: Browser, email: str) -> None:
    """Typing mistakes are shown with the rest of the form kept; nothing is written (CVE-2026-40574)."""
    before = asserts.rows(app)
    page = asserts.is_page(ask(browser, email=email), "signup", 422)
    assert "This is not an e-mail address" in page.text
    assert "Grace Hopper" in page.text
    assert asserts.rows(app) == before
    assert ask(browser).status_code == 303


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\x00b"])
def test_a_name_is_wanted(app: Flask, browser: Browser, name: str) -> None:
    """Both at first and at the end, where it may be another one."""
    asserts.is_page(ask(browser, name=name), "signup", 422)
    asked(browser)
    path = mailbox.link_in(mailbox.last_to(app, "grace@example.org"))
    asserts.is_page(finish(browser, path, name=name), "signup-finish", 422)
    assert people(app) == ["ada@example.org"]
    assert finish(browser, path).status_code == 303


def test_the_address_can_be_corrected(app: Flask, browser: Browser) -> None:
    """What was typed is in the form again."""
    page = asked(browser, email="grcae@example.org")
    handle = page.request.args["handle"]
    assert f"/signup?handle={handle}" in page.text
    form = browser.get(f"/signup?handle={handle}")
    assert 'value="grcae@example.org"' in form.text
    assert 'value="Grace Hopper"' in form.text
    assert browser.submit(form, "/signup", **GRACE).status_code == 303
    assert mailbox.last_to(app, "grace@example.org")


@pytest.mark.parametrize(
    "headers", [{"X-Forwarded-Host": "evil.example"}, {"Forwarded": "host=evil.example"}, {"X-Host": "evil.example"}]
)
def test_a_forged_host_does_not_reach_the_letter(app: Flask, browser: Browser, headers: dict[str, str]) -> None:
    """Links have the issuer's host, and a form under another host is refused (RC-03)."""
    form = browser.get("/signup")
    refused = browser.post("/signup", GRACE, base_url="http://evil.example")
    assert refused.status_code == 421
    token = form.text.split('name="csrf_token" value="')[1].split('"')[0]
    assert browser.post("/signup", {**GRACE, "csrf_token": token}, headers=headers).status_code == 303
    letter = mailbox.last_to(app, "grace@example.org")
    assert "evil" not in letter.as_string()
    assert mailbox.link_in(letter).startswith("/signup/finish?token=")


def test_strangers_cannot_fill_the_tables(make_app: Callable[..., Flask]) -> None:
    """Asking and guessing count as requests that create rows; looking does not."""
    app = make_app(signup="open", create_rate_limit=Rate(5, timedelta(minutes=1)))
    factories.person(app, roles=["administrator"])
    browser = Browser(app)
    page = browser.get("/signup")
    statuses = [
        browser.submit(page, "/signup", **{**GRACE, "email": f"g{n}@example.org"}).status_code for n in range(6)
    ]
    assert statuses == [303] * 5 + [429]
    asserts.is_error_page(browser.submit(page, SENT, handle="x", decision="code", code="1"), "rate_limited", 429)
    assert browser.get("/signup").status_code == 200
