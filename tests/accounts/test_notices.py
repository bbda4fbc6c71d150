"""Notices: what happens in an account is told by mail, once an act, with a way out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

from flask import Flask

from auth_server import jobs
from auth_server.accounts import notices, users
from auth_server.infra import once
from tests.support import authenticator, factories, mailbox
from tests.support.browser import Browser
from tests.support.factories import PASSWORD
from tests.support.rp import RelyingParty

Travel = Callable[[timedelta], None]


def subjects_and_texts(app: Flask, to: str = "ada@example.org") -> list[str]:
    return [mailbox.text_of(letter) for letter in mailbox.letters(app, to)]


def test_a_changed_password_is_told(app: Flask, browser: Browser, ada: users.User) -> None:
    """To the address of the account, with when and from where, and a link that is good for "This wasn't me"."""
    browser.sign_in()
    form = browser.get("/account/security/password")
    browser.submit(form, "/account/security/password", current=PASSWORD, password="an entirely new passphrase")
    (text,) = subjects_and_texts(app)
    assert "The password of your account was changed." in text
    assert "127.0.0.1" in text
    (letter,) = mailbox.letters(app)
    token = parse_qs(urlsplit(mailbox.link_in(letter, notices.NOT_ME_PATH)).query)["token"][0]
    assert factories.within(app, lambda: once.subject_of(notices.NOT_ME, token)) == ada.id


def test_one_act_makes_one_letter(app: Flask, browser: Browser) -> None:
    """Switching an app on makes recovery codes too; the person is told of the app."""
    browser.sign_in()
    authenticator.set_up(browser)
    (text,) = subjects_and_texts(app)
    assert "An authenticator app was added" in text


def test_a_used_recovery_code_is_told(app: Flask, browser: Browser) -> None:
    """Whoever uses one has perhaps lost a phone, or found the codes."""
    browser.sign_in()
    _phone, codes = authenticator.set_up(browser)
    browser.sign_out()
    page = browser.follow(browser.sign_in())
    recovery = browser.get(page.request.full_path.replace("method=app", "method=recovery"))
    assert browser.submit(recovery, "/login/mfa", code=codes[0]).status_code == 303
    assert "A recovery code was used" in subjects_and_texts(app)[-1]


def test_a_stolen_refresh_token_is_told(app: Flask, rp: RelyingParty) -> None:
    """The reuse is noticed at the machines' floor; the letter is written in the same transaction."""
    tokens = rp.tokens()
    rp.refresh(tokens["refresh_token"])
    assert rp.refresh(tokens["refresh_token"]).status_code == 400
    assert any("used twice" in text for text in subjects_and_texts(app))


def test_guesses_are_told_once_a_day_and_later(app: Flask, browser: Browser, in_a_while: Travel) -> None:
    """Not by the request that is refused, whose time would tell; and however often strangers try."""
    stranger = Browser(app, "203.0.113.9")
    for _ in range(7):
        stranger.sign_in(password="wrong")
    assert subjects_and_texts(app) == []
    factories.within(app, jobs.run_due)
    (text,) = subjects_and_texts(app)
    assert "Many wrong passwords" in text
    in_a_while(timedelta(minutes=16))
    for _ in range(7):
        stranger.sign_in(password="wrong")
    factories.within(app, jobs.run_due)
    assert len(subjects_and_texts(app)) == 1
    in_a_while(timedelta(days=1))
    for _ in range(7):
        stranger.sign_in(password="wrong")
    factories.within(app, jobs.run_due)
    assert len(subjects_and_texts(app)) == 2


def test_a_sign_in_and_a_set_up_are_not_told(app: Flask, browser: Browser) -> None:
    """Nobody is written to for what they do every day."""
    browser.sign_in()
    browser.sign_out()
    assert mailbox.letters(app) == []


def test_the_account_says_in_which_language(app: Flask, browser: Browser) -> None:
    """The `locale` claim where there is a catalogue for it, otherwise the language of the moment."""
    person = factories.person(app, "ines@example.org", "Inés", claims={"locale": "xx-YY"})
    found = factories.within(app, lambda: users.find_person(person.id))
    assert found is not None
    assert factories.within(app, lambda: notices.language_of(found)) == "en"
