"""Sign-in sessions: how long they live and what they remember."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import func, select

from auth_server.accounts import sessions, users
from auth_server.accounts.sessions import SessionRow
from auth_server.database import db
from auth_server.infra import crypto
from auth_server.tokens import ending
from tests.support import factories
from tests.support.browser import Browser

Travel = Callable[[timedelta], None]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


def is_signed_in(browser: Browser) -> bool:
    """Ask for a page that only signed-in people get."""
    response = browser.get("/account")
    assert response.status_code in (200, 303)
    return response.status_code == 200


def test_a_session_ends_after_an_hour_without_use(browser: Browser, in_a_while: Travel) -> None:
    """Used within the hour it goes on; unused for longer it ends on the server."""
    browser.sign_in()
    for _ in range(3):
        in_a_while(59 * MINUTE)
        assert is_signed_in(browser)
    in_a_while(HOUR + MINUTE)
    assert not is_signed_in(browser)


def test_a_session_ends_twelve_hours_after_the_sign_in(browser: Browser, in_a_while: Travel) -> None:
    """However busy it is."""
    browser.sign_in()
    for _ in range(23):
        in_a_while(31 * MINUTE)
        assert is_signed_in(browser)
    in_a_while(31 * MINUTE)
    assert not is_signed_in(browser)


def test_a_remembered_session_lives_thirty_days_from_the_last_use(
    browser: Browser, ben: users.User, in_a_while: Travel
) -> None:
    """`Keep me signed in`: neither an hour's pause nor twelve hours end it, thirty days without use do."""
    browser.sign_in(email=ben.email, remember="1")
    for _ in range(3):
        in_a_while(29 * DAY)
        assert is_signed_in(browser)
    in_a_while(30 * DAY + MINUTE)
    assert not is_signed_in(browser)


def test_the_lives_are_settings(make_app: Callable[..., Flask], in_a_while: Travel) -> None:
    """SESSION_IDLE_TTL, SESSION_ABSOLUTE_TTL and REMEMBER_TTL hold."""
    app = make_app(session_idle_ttl=10 * MINUTE, session_absolute_ttl=25 * MINUTE, remember_ttl=DAY)
    factories.person(app, roles=["administrator"])
    ordinary, idle, remembered = Browser(app), Browser(app), Browser(app)
    ordinary.sign_in()
    idle.sign_in()
    remembered.sign_in(remember="1")
    for _ in range(2):
        in_a_while(9 * MINUTE)
        assert is_signed_in(ordinary)
    assert not is_signed_in(idle)
    in_a_while(9 * MINUTE)
    assert not is_signed_in(ordinary)
    in_a_while(23 * HOUR)
    assert is_signed_in(remembered)
    in_a_while(DAY + MINUTE)
    assert not is_signed_in(remembered)


def test_an_ended_session_does_not_come_back(browser: Browser, in_a_while: Travel) -> None:
    """A dead handle stays dead when the person signs in elsewhere."""
    browser.sign_in()
    in_a_while(HOUR + MINUTE)
    elsewhere = Browser(browser.app)
    elsewhere.sign_in()
    assert is_signed_in(elsewhere)
    assert not is_signed_in(browser)


def test_expired_sessions_are_pruned(browser: Browser, app: Flask, in_a_while: Travel) -> None:
    """Only those that nobody can use any more."""
    remembered = Browser(app)
    browser.sign_in()
    remembered.sign_in(remember="1")
    assert factories.within(app, sessions.prune) == 0
    in_a_while(2 * HOUR)
    assert factories.within(app, sessions.prune) == 1
    assert is_signed_in(remembered)


def test_a_session_is_stored_by_digest(browser: Browser, app: Flask) -> None:
    """256 random bits in the cookie, their SHA-256 in the table, no personal data in either."""
    browser.sign_in()
    handle = browser.cookie("auth_server") or ""
    assert len(handle) == 43
    with app.app_context():
        row = db.session.scalars(select(SessionRow)).one()
        assert row.digest == crypto.digest(handle)
        assert handle not in str(row.__dict__)
        db.session.rollback()


def test_a_session_knows_how_and_when(browser: Browser, app: Flask, ada: users.User) -> None:
    """Method, strength and moment of the sign-in are what tokens say later (OpenID Connect Core §2)."""
    browser.get("/login", headers={"User-Agent": "ignored"})
    page = browser.get("/login")
    fields = {"email": "ada@example.org", "password": factories.PASSWORD}
    browser.submit(page, "/login", **fields)
    with app.app_context():
        (session,) = sessions.listing(ada.id)
        db.session.rollback()
    assert (session.user_id, session.amr, session.acr) == (ada.id, ("pwd",), "aal1")
    assert session.auth_time == session.created_at
    assert (session.address, session.remember) == ("127.0.0.1", False)


def test_use_is_written_once_a_minute(browser: Browser, app: Flask, ada: users.User, in_a_while: Travel) -> None:
    """A busy person does not cost a write with each page."""

    def last_seen() -> object:
        return factories.within(app, lambda: sessions.listing(ada.id)[0].last_seen_at)

    browser.sign_in()
    first = last_seen()
    in_a_while(30 * timedelta(seconds=1))
    assert is_signed_in(browser)
    assert last_seen() == first
    in_a_while(31 * timedelta(seconds=1))
    assert is_signed_in(browser)
    assert last_seen() != first


@pytest.mark.parametrize("act", [ending.disable_user, ending.delete_user])
def test_a_disabled_or_deleted_person_is_signed_out(
    browser: Browser, app: Flask, ben: users.User, act: Callable[[users.User], None]
) -> None:
    """Every browser of theirs is at the login page at once; nobody else's is."""
    other = Browser(app)
    browser.sign_in(email="ben@example.org")
    other.sign_in()
    assert is_signed_in(browser)
    factories.within(app, lambda: act(users.find(ben.id) or ben))
    assert not is_signed_in(browser)
    assert is_signed_in(other)
    assert browser.sign_in(email="ben@example.org").status_code == 401


def test_sessions_go_with_the_account(browser: Browser, app: Flask, ben: users.User) -> None:
    """Deleting an account leaves no row of it behind."""
    browser.sign_in(email="ben@example.org")
    factories.within(app, lambda: ending.delete_user(users.find(ben.id) or ben))
    with app.app_context():
        assert db.session.scalar(select(func.count()).select_from(SessionRow)) == 0
        db.session.rollback()


def test_a_disabled_person_may_be_enabled_again(browser: Browser, app: Flask, ben: users.User) -> None:
    """Afterwards the password is right again, and the old session still gone."""
    browser.sign_in(email="ben@example.org")
    factories.within(app, lambda: ending.disable_user(users.find(ben.id) or ben))
    factories.within(app, lambda: users.enable(users.find(ben.id) or ben))
    assert not is_signed_in(browser)
    assert browser.sign_in(email="ben@example.org").status_code == 303
    assert is_signed_in(browser)
