"""Recovery of somebody with several addresses: each is told, each can stop it, and only the account's own gets more."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config
from auth_server.accounts import addresses, notices, users
from auth_server.infra import once
from auth_server.tokens import ending, recovery, resetting
from auth_server.tokens.recovery import Started
from tests.support import asserts, authenticator, factories, mailbox
from tests.support.browser import Browser
from tests.support.factories import PASSWORD
from tests.support.site import at_once

Travel = Callable[[timedelta], None]
OLD, MIDDLE, OWN = "ben@example.org", "ben@work.example", "ben@home.example"
ADDRESSES = [OWN, MIDDLE, OLD]
NEW = "a brand new long password"
RECOVERY, STOP = "/recover/account", "/recover/stop"
STARTED, CANCELLED, USED = "Somebody asked to get back", "was stopped", "was recovered"


def move(app: Flask, person: users.User, to: str) -> None:
    """Give the person another address, as the link of the letter to it does."""
    factories.within(app, lambda: addresses.ask(users.find(person.id) or person, to, asked_from=""))
    link = mailbox.link_in(mailbox.last_to(app, to)).partition("token=")[2]
    assert factories.within(app, lambda: addresses.confirm(users.find(person.id) or person, link))


@pytest.fixture
def moved(app: Flask, ada: users.User, ben: users.User, in_a_while: Travel) -> users.User:
    """Return Ben, who has had three addresses, with an authenticator app."""
    owner = Browser(app)
    owner.sign_in(email=OLD)
    authenticator.set_up(owner)
    for address in (MIDDLE, OWN):
        move(app, ben, address)
        in_a_while(timedelta(seconds=31))  # one letter in half a minute
    return ben


def start(app: Flask, person: users.User) -> Started:
    return factories.within(app, lambda: recovery.start(users.find(person.id) or person, "passport"))


def path_of(url: str) -> str:
    return url.removeprefix(config.current().issuer)


def told(app: Flask, subject: str) -> list[str]:
    """Return where letters of one kind went."""
    return [letter["To"] for letter in mailbox.letters(app) if subject in letter["Subject"]]


def stop_link(app: Flask, address: str) -> str:
    found = [letter for letter in mailbox.letters(app, address) if STARTED in letter["Subject"]]
    return mailbox.link_in(found[-1], STOP)


def set_password(browser: Browser, path: str) -> TestResponse:
    return browser.submit(browser.get(path), path, password=NEW)


def test_every_address_is_told_with_a_stop_of_its_own(app: Flask, moved: users.User) -> None:
    """The present address first, then former ones; no letter of the start has the recovery's own link."""
    url = start(app, moved).url
    assert told(app, STARTED) == ADDRESSES
    assert len({stop_link(app, address) for address in ADDRESSES}) == 3
    assert not any(path_of(url) in mailbox.text_of(letter) for letter in mailbox.letters(app))


@pytest.mark.parametrize("address", ADDRESSES)
def test_every_address_can_stop_it_and_all_are_told(app: Flask, moved: users.User, address: str) -> None:
    """Once; the link and the other addresses' stops are void then, and nothing else has changed."""
    path = path_of(start(app, moved).url)
    stops = {each: stop_link(app, each) for each in ADDRESSES}
    reader = Browser(app)
    asserts.is_page(reader.submit(reader.get(stops[address]), STOP), "done")
    asserts.is_error_page(reader.get(path), "flow_expired")
    for stop in stops.values():
        asserts.is_error_page(reader.get(stop), "flow_expired")
    assert told(app, CANCELLED) == ADDRESSES
    (event,) = asserts.events_of(app, "recovery.cancelled")
    assert (event.subject, event.data) == (moved.id, {"cause": "stopped"})
    assert reader.sign_in(email=OWN, password=PASSWORD).headers["Location"].startswith("/login/mfa")


def test_a_used_recovery_is_told_to_all(app: Flask, moved: users.User, in_a_while: Travel) -> None:
    """Only the account's own mailbox gets the way to a new password; a former one may still take its change back."""
    path = path_of(start(app, moved).url)
    in_a_while(timedelta(hours=24, seconds=1))
    asserts.is_page(set_password(Browser(app), path), "done")
    assert told(app, USED) == ADDRESSES
    letters = {letter["To"]: mailbox.text_of(letter) for letter in mailbox.letters(app) if USED in letter["Subject"]}
    assert [notices.NOT_ME_PATH in letters[each] for each in ADDRESSES] == [True, False, False]
    assert told(app, CANCELLED) == []
    undo = mailbox.link_in(next(x for x in mailbox.letters(app, OLD) if "/recover/email" in mailbox.text_of(x)))
    asserts.is_page(Browser(app).get(undo), "recover-email")


def test_only_the_present_address_gets_a_reset(app: Flask, moved: users.User) -> None:
    """A former one is an address that nobody has; so is one that still waits for its proof."""
    waiting = "ben@next.example"
    factories.within(app, lambda: addresses.ask(users.find(moved.id) or moved, waiting, asked_from=""))
    before = len(mailbox.letters(app))
    for address in (OLD, MIDDLE, waiting, OWN):
        browser = Browser(app)
        asked = browser.submit(browser.get("/recover"), "/recover", email=address)
        asserts.is_page(browser.follow(asked), "recover")
    assert [letter["To"] for letter in mailbox.letters(app)[before:]] == [OWN]


def test_an_address_that_waits_for_its_proof_is_not_told(app: Flask, moved: users.User, in_a_while: Travel) -> None:
    """It is nobody's yet, and the recovery ends the wait."""
    waiting = "ben@next.example"
    factories.within(app, lambda: addresses.ask(users.find(moved.id) or moved, waiting, asked_from=""))
    path = path_of(start(app, moved).url)
    assert told(app, STARTED) == ADDRESSES
    in_a_while(timedelta(hours=24, seconds=1))
    asserts.is_page(set_password(Browser(app), path), "done")
    assert factories.within(app, lambda: addresses.pending_of(moved.id)) == ""


def test_an_address_is_former_for_thirty_days(app: Flask, moved: users.User, in_a_while: Travel) -> None:
    """As long as it may take the change back; later it may be somebody else's."""
    in_a_while(timedelta(days=30, minutes=1))
    start(app, moved)
    assert told(app, STARTED) == [OWN]


def test_a_taken_back_address_is_told_as_the_own_one(app: Flask, moved: users.User) -> None:
    """Whoever takes a change back ends a recovery that waits; those before and after are told."""
    start(app, moved)
    undo = mailbox.link_in(next(x for x in mailbox.letters(app, OLD) if "/recover/email" in mailbox.text_of(x)))
    owner = Browser(app)
    assert owner.submit(owner.get(undo), "/recover/email").status_code == 303
    assert told(app, CANCELLED) == [OLD]
    start(app, moved)
    assert told(app, STARTED)[3:] == [OLD]


def disabled(user: users.User) -> None:
    ending.disable_user(user)


WAYS: dict[str, Callable[[users.User], object]] = {
    "not_me": lambda user: ending.was_not_me(user.id),
    "password_reset": lambda user: ending.password_reset(user.id),
    "password_changed": lambda user: ending.password_changed(user.id, "none"),
    "factors_changed": lambda user: ending.factors_changed(user.id, "none"),
    "address_changed": lambda user: ending.address_changed(user.id),
    "user_disabled": disabled,
}


@pytest.mark.parametrize("cause", WAYS)
def test_whatever_cancels_it_is_told(app: Flask, moved: users.User, cause: str) -> None:
    """A thief in the account could end it silently otherwise; once an act, and not when none waits."""
    path = path_of(start(app, moved).url)
    for _time in range(2):
        factories.within(app, lambda: WAYS[cause](users.find(moved.id) or moved))
    asserts.is_error_page(Browser(app).get(path), "flow_expired")
    assert told(app, CANCELLED) == ADDRESSES
    assert [row.data["cause"] for row in asserts.events_of(app, "recovery.cancelled")] == [cause]
    own = next(letter for letter in mailbox.letters(app, OWN) if CANCELLED in letter["Subject"])
    assert (notices.NOT_ME_PATH in mailbox.text_of(own)) == (cause != "user_disabled")


def test_a_deleted_account_is_not_written_to(app: Flask, moved: users.User) -> None:
    """There is nothing left to get into; the audit knows that one was waiting."""
    start(app, moved)
    factories.within(app, lambda: ending.delete_user(users.find(moved.id) or moved))
    assert told(app, CANCELLED) == []
    assert len(asserts.events_of(app, "recovery.cancelled")) == 1


def test_a_new_recovery_replaces_the_old_one_without_a_cancellation(app: Flask, moved: users.User) -> None:
    """Every address gets the new stop; the old ones are void."""
    first = path_of(start(app, moved).url)
    old_stop = stop_link(app, OLD)
    second = path_of(start(app, moved).url)
    asserts.is_error_page(Browser(app).get(first), "flow_expired")
    asserts.is_error_page(Browser(app).get(old_stop), "flow_expired")
    asserts.is_page(Browser(app).get(second), "recovery-waiting")
    assert told(app, STARTED) == ADDRESSES * 2
    assert told(app, CANCELLED) == []


def test_of_stops_at_once_one_is_told(app: Flask, moved: users.User) -> None:
    """Two addresses at once, and several times each: one cancellation, one letter an address."""
    start(app, moved)
    pages = []
    for address in (OLD, OWN) * 5:
        browser = Browser(app)
        pages.append((browser, browser.get(stop_link(app, address))))
    answers = at_once(*[lambda b=b, p=p: b.submit(p, STOP).status_code for b, p in pages])
    assert (answers.count(200), answers.count(400)) == (1, 9), answers
    assert told(app, CANCELLED) == ADDRESSES
    assert len(asserts.events_of(app, "recovery.cancelled")) == 1


@pytest.mark.parametrize(
    ("mfa", "role", "place"),
    [
        ("optional", "", "/account/security/second-factor"),
        ("off", "", "/account"),
        ("off", "administrator", "/account/security/second-factor"),
    ],
)
def test_a_used_recovery_leads_to_what_is_missing(
    make_app: Callable[..., Flask], mfa: str, role: str, place: str
) -> None:
    """To the choice of a second factor; where the person may have none, to their account, and none is spoken of."""
    app = make_app(mfa=mfa, recovery_wait=timedelta(0))
    factories.person(app, roles=["administrator"])
    ben = factories.person(app, OLD, "Ben", roles=[role] if role else [])
    browser = Browser(app)
    done = set_password(browser, path_of(start(app, ben).url))
    asserts.is_page(done, "done")
    is_offered = place != "/account"
    assert ("second factor" in done.text) == is_offered
    (on,) = re.findall(r'class="btn btn-primary" href="(/login[^"]*)"', done.text)
    signed_in = browser.submit(browser.get(on), "/login", email=OLD, password=NEW)
    assert signed_in.headers["Location"] == place
    asserts.is_page(browser.get(place), "account-second-factor" if is_offered else "account")


def test_reset_links_of_operators_have_no_code(app: Flask, ben: users.User) -> None:
    """Nobody asked for them in a browser, so no code of any browser spends them."""
    link = factories.within(app, lambda: resetting.make_link(users.find(ben.id) or ben)).partition("token=")[2]
    tried = factories.within(app, lambda: resetting.by_code(OLD, "000000", browser_digest=""))
    assert not tried.raw_secret
    assert factories.within(app, lambda: once.subject_of(ending.RESET_LINK, link)) == ben.id
