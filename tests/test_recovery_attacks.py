"""Attacks on the ways back in: steps missing, swapped, replayed, guessed, raced, and links of every other kind."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config
from auth_server.accounts import notices, users
from auth_server.infra.log import setup_log
from auth_server.pages import recover
from auth_server.tokens import ending, recovery
from tests.support import asserts, authenticator, factories, mailbox
from tests.support.browser import Browser
from tests.support.factories import PASSWORD
from tests.support.ways_back import BEN, NEW, RESET, ask, path_of, set_password, start, works
from tests.test_statements import counted


def enter(browser: Browser, page: TestResponse, code: str) -> TestResponse:
    return browser.submit(page, "/recover/code", code=code)


@pytest.mark.usefixtures("ben")
def test_link_and_code_work_and_sign_nobody_in(app: Flask, browser: Browser) -> None:
    """The twin of every attack below: each way sets the password, and the login page comes afterwards."""
    ask(browser)
    done = set_password(Browser(app), mailbox.link_in(mailbox.letters(app)[-1]))
    asserts.is_page(done, "done")
    assert browser.get("/account").status_code == 303
    assert works(app, NEW)


@pytest.mark.usefixtures("ben")
def test_the_code_works_where_it_was_asked_for(app: Flask, browser: Browser) -> None:
    page = ask(browser)
    to_reset = enter(browser, page, mailbox.code_in(mailbox.letters(app)[-1]))
    assert to_reset.status_code == 303
    path = to_reset.headers["Location"]
    asserts.is_error_page(Browser(app).get(path), "flow_expired")  # nowhere else
    asserts.is_page(set_password(browser, path), "done")
    assert browser.get("/account").status_code == 303
    assert works(app, NEW)
    assert enter(browser, page, mailbox.code_in(mailbox.letters(app)[0])).status_code == 401


@pytest.mark.usefixtures("ben")
def test_steps_cannot_be_skipped_or_swapped(app: Flask, browser: Browser) -> None:
    """No code, no address, the address of one browser's letter with its code in the other: nothing."""
    factories.person(app, "grace@example.org")
    mallory = Browser(app)
    hers = ask(mallory, "grace@example.org")
    graces = mailbox.code_in(mailbox.letters(app)[-1])
    his = ask(browser)
    bens = mailbox.code_in(mailbox.letters(app)[-1])
    fields = {"csrf_token": asserts.is_page(mallory.get("/recover"), "recover").inputs["csrf_token"]}
    sealed = his.request.args["asked"]
    assert mallory.get(his.request.full_path).headers["Location"] == "/recover"  # his page is not shown elsewhere
    tries: list[dict[str, str]] = [{}, {"code": bens}, {"email": "", "code": bens}, {"email": BEN}]
    tries += [{"email": BEN, "code": bens}, {"email": f" {BEN.upper()}", "code": bens}, {"email": sealed, "code": bens}]
    for given in tries:
        assert mallory.post("/recover/code", {**fields, **given}).status_code == 401
    assert bens == graces or enter(mallory, hers, bens).status_code == 401
    asserts.is_error_page(mallory.post(RESET, {**fields, "password": NEW}), "flow_expired")
    asserts.is_error_page(mallory.post(RESET, {**fields, "token": sealed, "password": NEW}), "flow_expired")
    assert works(app, PASSWORD)
    assert enter(browser, his, bens).status_code == 303


@pytest.mark.usefixtures("ben")
def test_five_wrong_codes_end_the_code_but_not_the_link(app: Flask, browser: Browser) -> None:
    page = ask(browser)
    letter = mailbox.letters(app)[-1]
    code = mailbox.code_in(letter)
    wrong = f"{(int(code) + 1) % 10**6:06}"
    assert [enter(browser, page, wrong).status_code for _ in range(5)] == [401] * 5
    refused = enter(browser, page, code)
    asserts.is_page(refused, "recover", 429)
    assert int(refused.headers["Retry-After"]) > 0
    asserts.is_page(set_password(browser, mailbox.link_in(letter)), "done")


@pytest.mark.usefixtures("ben")
def test_asking_again_gives_few_mails_and_few_guesses(
    app: Flask, browser: Browser, in_a_while: Callable[[timedelta], None]
) -> None:
    """Ten at once: one mail. In an hour five, and twenty tries in a day over all of them; every answer is alike."""
    shown = {blank(ask(Browser(app))) for _ in range(10)}
    assert len(shown) == 1
    assert len(mailbox.letters(app)) == 1
    page, statuses = browser.get("/recover"), []
    for _ in range(6):
        in_a_while(timedelta(seconds=31))
        page = browser.follow(browser.submit(page, "/recover", email=BEN))
        code = mailbox.code_in(mailbox.letters(app)[-1])
        wrong = f"{(int(code) + 1) % 10**6:06}"
        statuses += [enter(browser, page, wrong).status_code for _ in range(5)]
    assert len(mailbox.letters(app)) == 5
    assert statuses == [401] * 20 + [429] * 10
    in_a_while(timedelta(hours=1))
    page = browser.follow(browser.submit(page, "/recover", email=BEN))
    newest = mailbox.letters(app)[5]
    assert enter(browser, page, mailbox.code_in(newest)).status_code == 429
    asserts.is_page(set_password(browser, mailbox.link_in(newest)), "done")


@pytest.mark.usefixtures("ben")
def test_a_code_ends_after_ten_minutes(app: Flask, browser: Browser, in_a_while: Callable[[timedelta], None]) -> None:
    page = ask(browser)
    letter = mailbox.letters(app)[-1]
    in_a_while(timedelta(minutes=10, seconds=1))
    assert enter(browser, page, mailbox.code_in(letter)).status_code == 401
    asserts.is_page(Browser(app).get(mailbox.link_in(letter)), "reset")


@pytest.mark.usefixtures("ben")
def test_only_the_newest_letter_counts(app: Flask, browser: Browser, in_a_while: Callable[[timedelta], None]) -> None:
    old_page = ask(browser)
    in_a_while(timedelta(seconds=31))
    ask(browser)
    old, new = mailbox.letters(app)
    asserts.is_error_page(browser.get(mailbox.link_in(old)), "flow_expired")
    assert enter(browser, old_page, mailbox.code_in(old)).status_code == 401
    assert enter(browser, old_page, mailbox.code_in(new)).status_code == 303  # whichever page of this browser takes it


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8421"])
def test_a_forged_host_changes_no_link(app: Flask, browser: Browser, ben: users.User, host: str) -> None:
    """RC-03: neither Host nor X-Forwarded-Host reaches a letter."""
    page = browser.get("/recover")
    token = asserts.is_page(page, "recover").inputs["csrf_token"]
    fields = {"email": BEN, "csrf_token": token}
    assert browser.post("/recover", fields, base_url=f"http://{host}").status_code == 421
    assert browser.post("/recover", fields, headers={"X-Forwarded-Host": host}).status_code == 303
    (letter,) = mailbox.letters(app)
    assert "evil" not in letter.as_string()


def test_a_reset_keeps_the_second_factor_and_ends_waiting_sign_ins(
    app: Flask, browser: Browser, ben: users.User
) -> None:
    """RC-02: the code is asked for afterwards, and a sign-in from before is dead."""
    owner = Browser(app)
    owner.sign_in(email=BEN)
    phone, _codes = authenticator.set_up(owner)
    thief = Browser(app)
    waiting = thief.follow(thief.sign_in(email=BEN))
    asserts.is_page(waiting, "mfa")
    ask(browser)
    link = next(path for path in map(mailbox.link_in, mailbox.letters(app)) if path.startswith(RESET))
    asserts.is_page(set_password(browser, link), "done")
    asserts.is_error_page(thief.submit(waiting, "/login/mfa", code=phone.code(1)), "flow_expired")
    answer = browser.sign_in(email=BEN, password=NEW)
    assert answer.headers["Location"].startswith("/login/mfa")
    assert browser.get("/account").status_code == 303
    assert authenticator.answer(browser, answer, phone.code(1)).status_code == 303


def blank(response: TestResponse) -> tuple[Any, ...]:
    """Return an answer without what differs between any two: tokens, handles, what was typed, ids."""
    text = re.sub(r'value="[^"]*"|asked=[^&"]+', "", response.text)
    headers = {name: value for name, value in response.headers if name not in ("X-Request-Id", "Set-Cookie")}
    headers.pop("Content-Length", None)
    if "Location" in headers:
        headers["Location"] = re.sub(r"asked=[^&]+", "", headers["Location"])
    return response.status_code, text, tuple(sorted(headers.items()))


def test_no_answer_tells_whether_an_account_exists(app: Flask, browser: Browser, ben: users.User) -> None:
    """Known, unknown, disabled, without a password: the same page, headers and statements, first and throttled."""
    factories.person(app, "passwordless@example.org", password=None)
    off = factories.person(app, "disabled@example.org")
    factories.within(app, lambda: ending.disable_user(users.find(off.id) or off))
    emails = (BEN, "nobody@example.org", "disabled@example.org", "passwordless@example.org")
    before = len(mailbox.letters(app))
    for _turn in ("first", "throttled"):
        seen = []
        for email in emails:
            stranger = Browser(app)
            page = stranger.get("/recover")
            with counted(app) as statements:
                answer = stranger.submit(page, "/recover", email=email)
                shown = stranger.follow(answer)
                wrong = enter(stranger, shown, "12345")
            seen.append((blank(answer), blank(shown), blank(wrong), tuple(statements)))
        assert seen[1:] == seen[:1] * 3
    told = [letter["To"] for letter in mailbox.letters(app)[before:]]
    assert sorted(told) == [BEN, "passwordless@example.org"]


def test_a_disabled_account_is_not_revived(app: Flask, browser: Browser, ben: users.User) -> None:
    """RC-13: links from before and after are refused, and the account stays off."""
    paths = [path_of(factories.within(app, lambda: notices.not_me_url(ben))), path_of(start(app, ben).url)]
    paths.append(path_of(factories.within(app, lambda: recover.make_link(users.find(ben.id) or ben))))
    factories.within(app, lambda: ending.disable_user(users.find(ben.id) or ben))
    paths.append(path_of(factories.within(app, lambda: recover.make_link(users.find(ben.id) or ben))))
    for path in paths:
        asserts.is_error_page(browser.get(path), "flow_expired")
        asserts.is_error_page(browser.submit(browser.get("/login"), path, password=NEW), "flow_expired")
    assert not works(app, PASSWORD)
    with pytest.raises(recovery.RefusedInput):
        start(app, ben)


def test_no_link_or_code_reaches_a_log_or_a_referrer(make_app: Callable[..., Flask]) -> None:
    """RC-12, at DEBUG; the page lets a browser tell only where it comes from, not the address."""
    app = make_app(log_level="debug")
    stream = io.StringIO()
    setup_log(config.current(), stream)
    logging.getLogger("auth_server").setLevel(logging.DEBUG)
    factories.person(app, roles=["administrator"])
    ben = factories.person(app, BEN, "Ben")
    browser = Browser(app)
    page = ask(browser)
    letter = mailbox.letters(app)[-1]
    link, code = mailbox.link_in(letter), mailbox.code_in(letter)
    recovery_path = path_of(start(app, ben).url)
    for path in (link, recovery_path):
        assert browser.get(path).headers["Referrer-Policy"] == "strict-origin"
    answer = enter(browser, page, code)
    set_password(browser, answer.headers["Location"])
    secrets = [path.partition("token=")[2] for path in (link, recovery_path, answer.headers["Location"])]
    text = stream.getvalue()
    assert "password.reset_asked" in text
    assert [secret for secret in (*secrets, f"'{code}'", f'"{code}"', NEW) if secret in text] == []
