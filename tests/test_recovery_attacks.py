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
from auth_server.infra import once
from auth_server.infra.log import setup_log
from auth_server.pages import recover, setup
from auth_server.tokens import ending, recovery
from auth_server.tokens.recovery import Started
from tests.support import asserts, authenticator, factories, mailbox
from tests.support.browser import Browser
from tests.support.factories import PASSWORD
from tests.support.rp import RelyingParty
from tests.support.site import at_once
from tests.test_statements import counted

NEW = "a brand new long password"
BEN = "ben@example.org"
RESET, NOT_ME, RECOVERY, STOP = "/recover/reset", "/recover/not-me", "/recover/account", "/recover/stop"


def ask(browser: Browser, email: str = BEN) -> TestResponse:
    """Ask for a mail; return the page with the field for its code."""
    page = browser.get("/recover")
    answer = browser.submit(page, "/recover", email=email)
    asserts.is_page(answer, "recover")
    return answer


def enter(browser: Browser, page: TestResponse, code: str) -> TestResponse:
    return browser.submit(page, "/recover/code", code=code)


def set_password(browser: Browser, path: str, password: str = NEW) -> TestResponse:
    return browser.submit(browser.get(path), path, password=password)


def works(app: Flask, password: str, email: str = BEN) -> bool:
    return Browser(app).sign_in(email=email, password=password).status_code == 303


def start(app: Flask, person: users.User, **options: Any) -> Started:
    return factories.within(app, lambda: recovery.start(users.find(person.id) or person, "passport", **options))


def path_of(url: str) -> str:
    return url.removeprefix(config.current().issuer)


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
    """No code, no handle, the handle of one browser with the code of the other: nothing."""
    factories.person(app, "grace@example.org")
    mallory = Browser(app)
    hers = ask(mallory, "grace@example.org")
    graces = mailbox.code_in(mailbox.letters(app)[-1])
    his = ask(browser)
    bens = mailbox.code_in(mailbox.letters(app)[-1])
    fields = {"csrf_token": asserts.is_page(mallory.get("/recover"), "recover").inputs["csrf_token"]}
    stolen_handle = asserts.is_page(his, "recover").inputs["handle"]
    tries: list[dict[str, str]] = [{}, {"code": bens}, {"handle": "", "code": bens}, {"handle": stolen_handle}]
    tries += [{"handle": stolen_handle, "code": bens}, {"handle": "x" * 43, "code": bens}]
    for given in tries:
        assert mallory.post("/recover/code", {**fields, **given}).status_code == 401
    assert bens == graces or enter(mallory, hers, bens).status_code == 401
    asserts.is_error_page(mallory.post(RESET, {**fields, "password": NEW}), "flow_expired")
    asserts.is_error_page(mallory.post(RESET, {**fields, "token": stolen_handle, "password": NEW}), "flow_expired")
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
        page = browser.submit(page, "/recover", email=BEN)
        code = mailbox.code_in(mailbox.letters(app)[-1])
        wrong = f"{(int(code) + 1) % 10**6:06}"
        statuses += [enter(browser, page, wrong).status_code for _ in range(5)]
    assert len(mailbox.letters(app)) == 5
    assert statuses == [401] * 20 + [429] * 10
    in_a_while(timedelta(hours=1))
    page = browser.submit(page, "/recover", email=BEN)
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
    new_page = ask(browser)
    old, new = mailbox.letters(app)
    asserts.is_error_page(browser.get(mailbox.link_in(old)), "flow_expired")
    assert enter(browser, old_page, mailbox.code_in(old)).status_code == 401
    assert enter(browser, new_page, mailbox.code_in(new)).status_code == 303


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:8421"])
def test_a_forged_host_changes_no_link(app: Flask, browser: Browser, ben: users.User, host: str) -> None:
    """RC-03: neither Host nor X-Forwarded-Host reaches a letter."""
    page = browser.get("/recover")
    token = asserts.is_page(page, "recover").inputs["csrf_token"]
    fields = {"email": BEN, "csrf_token": token}
    assert browser.post("/recover", fields, base_url=f"http://{host}").status_code == 421
    assert browser.post("/recover", fields, headers={"X-Forwarded-Host": host}).status_code == 200
    (letter,) = mailbox.letters(app)
    assert "evil" not in letter.as_string()


def every_link(app: Flask, ben: users.User) -> dict[str, str]:
    """Make one link of every purpose."""
    return {
        RESET: factories.within(app, lambda: recover.make_link(users.find(ben.id) or ben)).partition("token=")[2],
        NOT_ME: factories.within(app, lambda: notices.not_me_url(ben)).partition("token=")[2],
        RECOVERY: start(app, ben).url.partition("token=")[2],
        STOP: mailbox.link_in(mailbox.letters(app)[-1]).partition("token=")[2],
        "/setup": factories.within(app, lambda: once.make(setup.PURPOSE, "x", timedelta(days=1))),
    }


def test_a_link_of_one_kind_is_unknown_at_every_other_page(make_app: Callable[..., Flask]) -> None:
    """CVE-2026-4325: no page takes or burns another's link; each still works where it belongs."""
    app = make_app(recovery_wait=timedelta(0))
    factories.person(app, roles=["administrator"])
    ben = factories.person(app, BEN, "Ben")
    links = every_link(app, ben)
    assert links.get(STOP)
    browser = Browser(app)
    csrf = asserts.is_page(browser.get("/login"), "login").inputs["csrf_token"]
    for page in (RESET, NOT_ME, RECOVERY, STOP):
        for owner, token in links.items():
            if owner != page:
                asserts.is_error_page(browser.get(f"{page}?token={token}"), "flow_expired")
                sent = {"token": token, "password": NEW, "csrf_token": csrf}
                asserts.is_error_page(browser.post(page, sent), "flow_expired")
    markers = {RESET: "reset", NOT_ME: "not-me", RECOVERY: "reset", STOP: "recovery-stop"}
    for page, marker in markers.items():
        for _scan in range(3):
            asserts.is_page(Browser(app).get(f"{page}?token={links[page]}"), marker)
            assert (
                Browser(app).client.head(f"{page}?token={links[page]}", base_url=config.current().issuer).status_code
                == 200
            )
    assert works(app, PASSWORD)
    asserts.is_page(set_password(browser, f"{RECOVERY}?token={links[RECOVERY]}"), "done")
    over = browser.get(f"{RECOVERY}?token={links[RECOVERY]}")
    assert "This link was used on " in asserts.is_error_page(over, "flow_expired").text


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


def test_not_me_ends_everything_and_leads_to_a_new_password(rp: RelyingParty, app: Flask, ada: users.User) -> None:
    """GET shows, POST acts once; sessions, families, links and a recovery end; the way leads to a new password."""
    tokens = rp.tokens()
    reset_path = path_of(factories.within(app, lambda: recover.make_link(users.find(ada.id) or ada)))
    recovery_path = path_of(start(app, ada).url)
    path = path_of(factories.within(app, lambda: notices.not_me_url(ada)))
    owner = Browser(app)
    page = owner.get(path)
    asserts.is_page(page, "not-me")
    assert rp.browser.get("/account").status_code == 200
    answer = owner.submit(page, NOT_ME)
    assert answer.status_code == 303
    assert rp.browser.get("/account").status_code == 303
    assert rp.refresh(tokens["refresh_token"]).status_code == 400
    assert rp.userinfo(tokens["access_token"]).status_code == 401
    for link in (reset_path, recovery_path, path):
        asserts.is_error_page(owner.get(link), "flow_expired")
    assert asserts.events_of(app, "account.not_me")[0].subject == ada.id
    asserts.is_error_page(owner.submit(page, NOT_ME), "flow_expired")
    asserts.is_page(set_password(owner, answer.headers["Location"]), "done")
    assert works(app, NEW, "ada@example.org")


def test_an_old_not_me_link_writes_a_new_letter(
    app: Flask, browser: Browser, ben: users.User, in_a_while: Callable[[timedelta], None]
) -> None:
    """It ends everything for a week, but sets a password itself for an hour only (RC-01)."""
    path = path_of(factories.within(app, lambda: notices.not_me_url(ben)))
    in_a_while(timedelta(hours=2))
    asserts.is_page(browser.submit(browser.get(path), NOT_ME), "recover")
    assert mailbox.link_in(mailbox.letters(app)[-1]).startswith(RESET)


def test_a_recovery_waits_and_everybody_is_told(
    app: Flask, browser: Browser, ben: users.User, in_a_while: Callable[[timedelta], None]
) -> None:
    """Before its time it does nothing; then it sets the password, removes the factor, once, and signs nobody in."""
    owner = Browser(app)
    owner.sign_in(email=BEN)
    authenticator.set_up(owner)
    path = path_of(start(app, ben).url)
    assert mailbox.link_in(mailbox.letters(app)[-1]).startswith(STOP)
    csrf = asserts.is_page(browser.get("/login"), "login").inputs["csrf_token"]
    fields = {"token": path.partition("token=")[2], "password": NEW, "csrf_token": csrf}
    asserts.is_page(browser.get(path), "recovery-waiting")
    asserts.is_page(browser.post(RECOVERY, fields), "recovery-waiting")
    assert "Stop the recovery" in owner.get("/account").text
    in_a_while(timedelta(hours=24, seconds=1))
    asserts.is_page(set_password(browser, path), "done")
    asserts.is_error_page(browser.post(RECOVERY, fields), "flow_expired")
    assert "was recovered" in mailbox.letters(app)[-1]["Subject"]
    assert owner.get("/account").status_code == browser.get("/account").status_code == 303
    assert browser.sign_in(email=BEN, password=NEW).headers["Location"] == "/account"
    assert [row.data["checked"] for row in asserts.events_of(app, "recovery.started")] == ["passport"]
    assert len(asserts.events_of(app, "recovery.used")) == 1


@pytest.mark.parametrize("by", ["letter", "account"])
def test_a_recovery_can_be_stopped(app: Flask, browser: Browser, ben: users.User, by: str) -> None:
    path = path_of(start(app, ben).url)
    if by == "letter":
        stop = mailbox.link_in(mailbox.letters(app)[-1])
        asserts.is_page(browser.submit(browser.get(stop), STOP), "done")
    else:
        browser.sign_in(email=BEN)
        assert browser.submit(browser.get("/account"), "/account/security/recovery").status_code == 303
        assert "Stop the recovery" not in browser.get("/account").text
    asserts.is_error_page(browser.get(path), "flow_expired")
    assert asserts.events_of(app, "recovery.cancelled")[0].subject == ben.id


def test_a_helpdesk_recovers_no_administrator(app: Flask, ada: users.User, ben: users.User) -> None:
    """Nor does anybody without the role; nothing is started without saying what was checked."""
    with app.app_context():
        assert not recovery.may_start(ada.id, ["helpdesk"])
        assert recovery.may_start(ben.id, ["helpdesk"])
        assert recovery.may_start(ada.id, ["administrator"])
        assert not recovery.may_start(ben.id, ["auditor"])
    for person, checked, who in ((ada, "passport", ["helpdesk"]), (ben, "  ", ["administrator"])):
        with pytest.raises(recovery.RefusedInput):
            factories.within(app, lambda p=person, c=checked, w=who: recovery.start(p, c, actor_roles=w))
    assert start(app, ben, actor_roles=["helpdesk"]).url


@pytest.mark.parametrize("way", ["link", "code", "recovery"])
def test_of_ten_at_once_one_succeeds(make_app: Callable[..., Flask], way: str) -> None:
    app = make_app(recovery_wait=timedelta(0))
    factories.person(app, roles=["administrator"])
    ben = factories.person(app, BEN, "Ben")
    browser = Browser(app)
    page = ask(browser)
    letter = mailbox.letters(app)[-1]
    path, fields = "/recover/code", {"code": mailbox.code_in(letter)}
    if way != "code":
        path = mailbox.link_in(letter) if way == "link" else path_of(start(app, ben).url)
        page, fields = browser.get(path), {"password": NEW}

    def act() -> int:
        own = Browser(app)
        own.client = app.test_client()
        for name in ("auth_server_browser",):
            own.client.set_cookie(name, browser.cookie(name) or "", domain="localhost")
        status = 503
        while status == 503:
            status = own.submit(page, path, **fields).status_code
        return status

    answers = at_once(*[act] * 10)
    assert answers.count(303 if way == "code" else 200) == 1, answers
    assert set(answers) <= {200, 303, 400, 401, 429}


def blank(response: TestResponse) -> tuple[Any, ...]:
    """Return an answer without what differs between any two: tokens, handles, what was typed, ids."""
    text = re.sub(r'value="[^"]*"', "", response.text)
    headers = {name: value for name, value in response.headers if name not in ("X-Request-Id", "Set-Cookie")}
    headers.pop("Content-Length", None)
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
            wrong = enter(stranger, answer, "12345")
            seen.append((blank(answer), blank(wrong), tuple(statements)))
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
