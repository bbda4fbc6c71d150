"""Attacks on people's accounts: what is planted, raced, flooded, or left over from before.

Each test does what somebody hostile would do over HTTP; beside it stands the same act by whoever may do it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config, jobs
from auth_server.access import invitations, roles
from auth_server.accounts import hashing, notices, passwords, users
from auth_server.infra import crypto
from auth_server.tokens import ending, recovery
from tests.conftest import process_settings
from tests.support import asserts, authenticator, factories, mailbox, passkey
from tests.support.authenticator import SECURITY
from tests.support.browser import Browser
from tests.support.factories import PASSWORD
from tests.support.live import command

Travel = Callable[[timedelta], None]
ADA, BEN, GRACE = "ada@example.org", "ben@example.org", "grace@example.org"
NEW, THIEFS = "a brand new long password", "the thief's own long password"
LATE = timedelta(minutes=11)


def path_of(url: str) -> str:
    return url.removeprefix(config.current().issuer)


def test_a_key_that_a_thief_has_begun_with_is_never_shown_to_the_owner(app: Flask, browser: Browser) -> None:
    """A set-up that was begun in one sign-in cannot be ended in another: whoever began it knows the key."""
    thief, owner = Browser(app), Browser(app)
    thief.sign_in()
    planted = authenticator.begin(thief)
    owner.sign_in()
    page = owner.get(f"{SECURITY}/app")
    confirmed = owner.submit(page, f"{SECURITY}/app", decision="confirm", code=planted.code())
    for shown in (page, confirmed):
        asserts.is_page(shown, "account-app")
        assert 'id="key"' not in shown.text
    phone, codes = authenticator.set_up(owner)
    assert phone.code(1) != planted.code(1)
    assert len(codes) == 10
    assert authenticator.answer(browser, browser.sign_in(), phone.code(1)).status_code == 303


@contextmanager
def under_way(act: Callable[[], object]) -> Iterator[None]:
    """Start an act whose password hash waits in line until the block is over; then let it end."""
    holding, gate = threading.Semaphore(0), threading.Event()

    def hold() -> None:
        holding.release()
        gate.wait()

    for _ in range(hashing.at_once()):
        hashing._pool.submit(hold)
        holding.acquire()
    acting = threading.Thread(target=act)
    acting.start()
    while hashing._pool._work_queue.empty():
        assert acting.is_alive()
        time.sleep(0.01)
    try:
        yield
    finally:
        gate.set()
        acting.join()


def reset_meanwhile(app: Flask, stored: str) -> None:
    """Ada's password is reset by another process, which has hashed it before."""

    def act() -> None:
        user = users.find_by_email(ADA)
        assert user is not None
        passwords.store_hash(user.id, stored)
        ending.password_reset(user.id)

    factories.within(app, act)


def test_a_sign_in_under_way_does_not_outlive_a_reset(app: Flask, browser: Browser) -> None:
    """The former password was looked at before the reset, the session would begin after it: it does not."""
    stored = factories.within(app, lambda: passwords.hash_now(NEW))
    answers: list[TestResponse] = []
    page = browser.get("/login")
    with under_way(lambda: answers.append(browser.submit(page, "/login", email=ADA, password=PASSWORD))):
        reset_meanwhile(app, stored)
    assert browser.get("/account").status_code == 303
    asserts.is_page(answers[0], "login", 401)
    assert Browser(app).sign_in(password=NEW).status_code == 303


def test_a_change_of_the_password_under_way_does_not_undo_a_reset(app: Flask, browser: Browser) -> None:
    """A thief who changes the password at the moment of the reset does not keep the account."""
    stored = factories.within(app, lambda: passwords.hash_now(NEW))
    browser.sign_in()
    page = browser.get(f"{SECURITY}/password")
    with under_way(lambda: browser.submit(page, f"{SECURITY}/password", current=PASSWORD, password=THIEFS)):
        reset_meanwhile(app, stored)
    assert Browser(app).sign_in(password=THIEFS).status_code == 401
    assert Browser(app).sign_in(password=NEW).status_code == 303


def test_a_flood_of_throttled_tries_is_a_few_rows(app: Flask, ada: users.User, ben: users.User) -> None:
    """Whoever goes on beyond the limit fills neither the audit nor the person's list of events."""
    owner = Browser(app, "198.51.100.1")
    owner.sign_in()
    stranger = Browser(app, "203.0.113.1")
    page = stranger.get("/login")
    for _ in range(30):
        stranger.submit(page, "/login", email=ADA, password="wrong")
    for number in range(30):
        stranger.submit(page, "/login", email=f"person{number}@example.org", password="wrong")
    rows = asserts.events_of(app, "sign_in.throttled")
    assert [row.subject for row in rows] == [ada.id, ""]
    assert owner.get(f"{SECURITY}/events").text.count("Too many wrong passwords") == 1


def test_nobody_is_told_of_guesses_that_were_made_at_others(app: Flask, ada: users.User, ben: users.User) -> None:
    """A full address does not mean that Ben's account was tried: he gets no letter, and Ada gets hers."""
    stranger = Browser(app, "203.0.113.1")
    page = stranger.get("/login")
    for _ in range(6):
        stranger.submit(page, "/login", email=ADA, password="wrong")
    assert stranger.submit(page, "/login", email=BEN, password="wrong").status_code == 429
    factories.within(app, jobs.run_due)
    assert [letter["To"] for letter in mailbox.letters(app)] == [ADA]


def not_me(app: Flask, user: users.User) -> str:
    return path_of(factories.within(app, lambda: notices.not_me_url(user)))


@pytest.mark.parametrize("moved", [False, True])
def test_a_notice_to_a_former_mailbox_sets_no_password(
    app: Flask, browser: Browser, ben: users.User, moved: bool
) -> None:
    """Its link still ends everything; the way to a new password is written to the present address alone."""
    link = not_me(app, ben)
    if moved:
        factories.within(app, lambda: users.change(users.find(ben.id) or ben, email=GRACE, verified=True))
    answer = browser.submit(browser.get(link), "/recover/not-me")
    if moved:
        asserts.is_page(browser.follow(answer), "recover")
        assert mailbox.letters(app)[-1]["To"] == GRACE
    else:
        assert answer.headers["Location"].startswith("/recover/reset?token=")


@pytest.mark.parametrize("kind", ["reset", "undo"])
def test_links_of_a_former_mailbox_end_when_an_operator_sets_another(
    app: Flask, browser: Browser, ben: users.User, database_url: str, tmp_path: Path, kind: str
) -> None:
    """Whoever reads the mailbox that the operator took away cannot get the account back with a letter of before."""
    if kind == "reset":
        browser.submit(browser.get("/recover"), "/recover", email=BEN)
        link = mailbox.link_in(mailbox.last_to(app, BEN))
    else:
        browser.sign_in(BEN)
        browser.submit(browser.get("/account/email/change"), "/account/email/change", email="b@example.org")
        to_prove = mailbox.link_in(mailbox.last_to(app, "b@example.org"))
        assert browser.submit(browser.get(to_prove), "/account/email/confirm").status_code == 303
        link = mailbox.link_in(mailbox.last_to(app, BEN), "/recover/email")
    assert Browser(app).get(link).status_code == 200
    settings = process_settings(database_url=database_url, instance_path=tmp_path)
    assert command(["users", "set", ben.id, "--email", GRACE], settings).returncode == 0
    asserts.is_error_page(Browser(app).get(link), "flow_expired")


def test_a_passkey_that_is_known_here_opens_no_second_account(make_app: Callable[..., Flask]) -> None:
    """WK-05 at the sign-up: refused calmly, no account, and the link stays good."""
    app = make_app(signup="open")
    factories.person(app, ADA, roles=["administrator"])
    owner = Browser(app)
    owner.sign_in()
    known, _shown = passkey.add(owner)
    stranger = Browser(app, "203.0.113.1")
    stranger.submit(stranger.get("/signup"), "/signup", email=GRACE, name="Grace")
    link = mailbox.link_in(mailbox.last_to(app, GRACE))
    page = stranger.get(link)
    forged = passkey.Passkey().create(passkey.options_on(page), credential_id=known.id)
    refused = stranger.submit(page, "/signup/finish", name="Grace", credential=forged)
    assert "known here already" in asserts.is_page(refused, "signup-finish", 422).text
    assert factories.within(app, lambda: users.find_by_email(GRACE)) is None
    page = stranger.get(link)
    own = passkey.Passkey().create(passkey.options_on(page))
    assert len(authenticator.codes_on(stranger.submit(page, "/signup/finish", name="Grace", credential=own))) == 10


def test_a_late_form_that_removes_a_passkey_leads_back_to_it(browser: Browser, in_a_while: Travel) -> None:
    """The page was open for a while: after the sign-in it asks about the same passkey."""
    browser.sign_in()
    key, _shown = passkey.add(browser)
    path = f"{SECURITY}/passkeys/remove?id={passkey.encoded(key.id)}"
    assert passkey.encoded(key.id) in browser.get(SECURITY).text
    page = browser.get(path)
    in_a_while(LATE)
    login = browser.follow(browser.submit(page, path))
    asserts.is_page(login, "login")
    answer = browser.submit(login, "/login", credential=key.get(passkey.options_on(login)))
    again = browser.follow(answer)
    asserts.is_page(again, "account-confirm")
    assert browser.submit(again, again.request.full_path).status_code == 303
    assert passkey.encoded(key.id) not in browser.get(SECURITY).text


def test_a_late_form_that_adds_a_passkey_still_knows_where_to_go_on(browser: Browser, in_a_while: Travel) -> None:
    browser.sign_in()
    page = browser.get(f"{passkey.ADD}?next=/account/apps")
    key = passkey.Passkey()
    credential = key.create(passkey.options_on(page))
    in_a_while(LATE)
    login = browser.follow(browser.submit(page, passkey.ADD, credential=credential))
    again = browser.follow(browser.submit(login, "/login", email=ADA, password=PASSWORD))
    assert asserts.is_page(again, "account-passkey").inputs["next"] == "/account/apps"


def test_a_late_change_of_the_address_keeps_what_was_typed(browser: Browser, in_a_while: Travel) -> None:
    browser.sign_in()
    page = browser.get("/account/email/change")
    in_a_while(LATE)
    login = browser.follow(browser.submit(page, "/account/email/change", email=GRACE))
    again = browser.follow(browser.submit(login, "/login", email=ADA, password=PASSWORD))
    asserts.is_page(again, "account-email")
    assert f'value="{GRACE}"' in again.text


def test_an_address_that_grows_when_it_is_compared_is_refused(make_app: Callable[..., Flask]) -> None:
    """Case-folding makes three characters of one: what no column could hold is no address, and no 500."""
    app = make_app(signup="open")
    factories.person(app, ADA, roles=["administrator"])
    browser = Browser(app)
    grown = "\u0390" * 60 + "@" + "a" * 60 + "." + "b" * 50 + ".org"
    page = browser.get("/signup")
    answer = browser.submit(page, "/signup", email=grown, name="Grace")
    assert "not an e-mail address" in asserts.is_page(answer, "signup", 422).text
    assert browser.submit(page, "/signup", email="\u0390@example.org", name="Grace").status_code == 303


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 10**6:06}"


def try_sign_up(app: Flask, number: int, place: str) -> list[int]:
    """Ask for an account of somebody else's address, and guess the code."""
    browser = Browser(app, place)
    answer = browser.submit(browser.get("/signup"), "/signup", email=f"person{number}@example.org", name="Eve")
    page = browser.get(answer.headers["Location"])
    code = wrong(mailbox.code_in(mailbox.last_to(app, f"person{number}@example.org")))
    return [browser.submit(page, "/signup/sent", decision="code", code=code).status_code for _ in range(5)]


def try_reset(app: Flask, number: int, place: str) -> list[int]:
    """Ask for a new password of somebody's account, and guess the code."""
    factories.person(app, f"person{number}@example.org", password=None)
    browser = Browser(app, place)
    page = browser.follow(browser.submit(browser.get("/recover"), "/recover", email=f"person{number}@example.org"))
    code = wrong(mailbox.code_in(mailbox.last_to(app, f"person{number}@example.org")))
    return [browser.submit(page, "/recover/code", code=code).status_code for _ in range(5)]


@pytest.mark.parametrize("guess", [try_sign_up, try_reset])
def test_codes_of_many_letters_cannot_be_guessed_from_one_place(
    make_app: Callable[..., Flask], guess: Callable[[Flask, int, str], list[int]]
) -> None:
    """Five guesses at each of very many letters find one that is right: one place has thirty a day over all of them."""
    app = make_app(signup="open")
    factories.person(app, ADA, roles=["administrator"])
    statuses = [status for number in range(7) for status in guess(app, number, "203.0.113.1")]
    assert statuses == [401] * 30 + [429] * 5
    assert guess(app, 8, "203.0.113.2") == [401] * 5


def test_codes_of_a_new_address_cannot_be_guessed_for_long(app: Flask, browser: Browser, in_a_while: Travel) -> None:
    """Twenty guesses a day at codes for one account, over all letters; a right code counts for nothing."""
    browser.sign_in()
    statuses = []
    for number in range(5):
        page = browser.submit(browser.get("/account/email/change"), "/account/email/change", email=f"x{number}@a.org")
        page = browser.get(page.headers["Location"])
        code = mailbox.code_in(mailbox.last_to(app, f"x{number}@a.org"))
        for _ in range(4 if number == 4 else 5):
            statuses.append(browser.submit(page, "/account/email", decision="code", code=wrong(code)).status_code)
        in_a_while(timedelta(seconds=31))
    assert statuses == [401] * 20 + [429] * 4
    in_a_while(timedelta(days=1))
    browser.sign_in()
    answer = browser.submit(browser.get("/account/email/change"), "/account/email/change", email="right@a.org")
    page = browser.get(answer.headers["Location"])
    code = mailbox.code_in(mailbox.last_to(app, "right@a.org"))
    assert browser.submit(page, "/account/email", decision="code", code=code).status_code == 303


def test_notes_behind_a_plus_make_no_further_mailboxes(make_app: Callable[..., Flask], in_a_while: Travel) -> None:
    """Grace's mailbox gets five letters an hour, whatever is written behind her name; another mailbox gets its own."""
    app = make_app(signup="open")
    factories.person(app, ADA, roles=["administrator"])
    statuses = []
    for number in range(6):
        browser = Browser(app, f"203.0.113.{number}")
        address = f"grace+{number}@example.org"
        statuses.append(browser.submit(browser.get("/signup"), "/signup", email=address, name="Eve").status_code)
        in_a_while(timedelta(seconds=31))
    assert statuses == [303] * 5 + [429]
    browser = Browser(app)
    assert browser.submit(browser.get("/signup"), "/signup", email="+eve@example.org", name="Eve").status_code == 303


@pytest.mark.parametrize("promoted", [False, True])
def test_a_helpdesk_recovers_nobody_who_has_become_an_administrator(
    app: Flask, browser: Browser, ben: users.User, in_a_while: Travel, promoted: bool
) -> None:
    """What may be started is looked at again when the link is used, a day later."""
    find = lambda: users.find(ben.id) or ben  # noqa: E731 - of whichever session is open
    started = factories.within(app, lambda: recovery.start(find(), "passport", actor_roles=("helpdesk",)))
    if promoted:
        factories.within(app, lambda: roles.put(ben.id, [roles.ADMINISTRATOR]))
    in_a_while(timedelta(hours=24, seconds=1))
    page = browser.get(path_of(started.url))
    if promoted:
        asserts.is_error_page(page, "flow_expired")
    else:
        asserts.is_page(browser.submit(page, path_of(started.url), password=NEW), "done")


def test_no_referrer_tells_the_secret_of_any_link(make_app: Callable[..., Flask]) -> None:
    """RC-12: also of links that open an account or prove an address."""
    app = make_app(signup="open")
    factories.person(app, ADA, roles=["administrator"])
    browser = Browser(app)
    browser.submit(browser.get("/signup"), "/signup", email=GRACE, name="Grace")
    finish = mailbox.link_in(mailbox.last_to(app, GRACE))
    _invited, url = factories.within(
        app, lambda: invitations.invite("eve@example.org", "Eve", group_names=[], role_names=[])
    )
    browser.sign_in()
    browser.submit(browser.get("/account/email/change"), "/account/email/change", email="new@example.org")
    confirm = mailbox.link_in(mailbox.last_to(app, "new@example.org"))
    for path in (finish, path_of(url), confirm):
        shown = browser.get(path)
        assert shown.status_code == 200
        assert shown.headers["Referrer-Policy"] == "strict-origin"
        assert browser.submit(shown, path.partition("?")[0], name="x").status_code in (303, 422)  # its form is taken


def test_the_export_names_no_browser(app: Flask, browser: Browser) -> None:
    """Not even by the digest of its cookie, in what is kept with a link."""
    browser.submit(browser.get("/recover"), "/recover", email=ADA)
    browser.sign_in()
    found = browser.submit(browser.get("/account/export"), "/account/export")
    assert [link["purpose"] for link in found.json["links"]] == ["password-reset"]
    assert crypto.digest(browser.cookie("auth_server_browser") or "") not in found.text


def test_a_browser_that_the_account_knows_has_no_endless_guesses(
    app: Flask, browser: Browser, in_a_while: Travel
) -> None:
    """LG-01: a thief's browser stays known after a reset; it has thirty tries a day, and a new password lets it in."""
    browser.sign_in()
    browser.sign_out()
    statuses = []
    for _ in range(6):
        statuses += [browser.sign_in(password="wrong").status_code for _ in range(5)]
        in_a_while(timedelta(minutes=16))
    assert statuses == [401] * 30
    assert browser.sign_in().status_code == 429
    factories.within(app, lambda: passwords.store((users.find_by_email(ADA) or users.User()).id, NEW))
    assert browser.sign_in(password=NEW).status_code == 303
