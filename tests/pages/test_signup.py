"""Opening an account: nothing exists before the address is proved, and nobody learns who has one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import event
from werkzeug.test import TestResponse

from auth_server.access import roles
from auth_server.accounts import passwords, users
from auth_server.database import db
from auth_server.infra import once
from auth_server.tokens import ending
from auth_server.values import Rate
from tests.support import asserts, authenticator, factories, mailbox, passkey
from tests.support.browser import Browser
from tests.support.factories import PASSWORD
from tests.support.rp import RelyingParty

Travel = Callable[[timedelta], None]
GRACE = {"email": "grace@example.org", "name": "Grace Hopper"}
FINISH, SENT = "/signup/finish", "/signup/sent"


@pytest.fixture
def app(make_app: Callable[..., Flask]) -> Flask:
    """Return an application where everybody may open an account."""
    return make_app(signup="open")


def ask(browser: Browser, path: str = "/signup", **changed: str) -> TestResponse:
    return browser.submit(browser.get(path), "/signup", **{**GRACE, **changed})


def asked(browser: Browser, **changed: str) -> TestResponse:
    """Ask for an account and return the page that says where the mail went."""
    response = ask(browser, **changed)
    assert response.status_code == 303, response.text
    return browser.get(response.headers["Location"])


def finish(browser: Browser, path: str, **changed: str) -> TestResponse:
    return browser.submit(browser.get(path), FINISH, **{"name": GRACE["name"], "password": PASSWORD, **changed})


def people(app: Flask) -> list[str]:
    return factories.within(app, lambda: [user.email for user in users.listing()])


def found(app: Flask, email: str) -> users.User:
    user = factories.within(app, lambda: users.find_by_email(email))
    assert user is not None
    return user


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
