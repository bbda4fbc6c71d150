"""Who must have a second factor, from when on, and where that is said."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from sqlalchemy import text

from auth_server.access import assurance, roles
from auth_server.access.assurance import Standing
from auth_server.accounts import users
from auth_server.database import db
from auth_server.infra import clock, schema
from auth_server.web import guards
from tests.conftest import disconnect
from tests.support import asserts, authenticator, factories
from tests.support.authenticator import SECURITY
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, answer_of, payload

Travel = Callable[[timedelta], None]
DAY = timedelta(days=1)
BANNER = "Administrators need a second factor."
TABS = ("/account", "/account/sessions", "/account/apps", SECURITY, f"{SECURITY}/password", f"{SECURITY}/events")


def standing(app: Flask, user: users.User) -> Standing:
    return factories.within(app, lambda: assurance.standing(user.id))


@pytest.mark.parametrize(
    ("mfa", "for_people", "for_administrators"),
    [
        ("off", (False, False), (True, False)),
        ("optional", (True, False), (True, False)),
        ("required", (True, True), (True, True)),
    ],
)
def test_the_setting_is_the_rule_for_people_and_administrators_always_may(
    make_app: Callable[..., Flask], mfa: str, for_people: tuple[bool, bool], for_administrators: tuple[bool, bool]
) -> None:
    """Offered and required, for each value of MFA; nothing is required of an administrator of today."""
    app = make_app(mfa=mfa)
    ada = factories.person(app, "ada@example.org", roles=["administrator"])
    ben = factories.person(app, "ben@example.org", roles=["auditor"])
    for person, expected in ((ben, for_people), (ada, for_administrators)):
        rule = factories.within(app, lambda person=person: assurance.rule_for(person.id))  # type: ignore[misc]
        assert (rule.offered, rule.required) == expected
        assert (rule.due_at is not None) == (person is ada)


@pytest.mark.parametrize("mfa", ["off", "optional"])
def test_an_administrator_has_seven_days(make_app: Callable[..., Flask], in_a_while: Travel, mfa: str) -> None:
    """The days are counted down, and then it is due; a second factor ends both."""
    app = make_app(mfa=mfa)
    ada = factories.person(app, "ada@example.org", roles=["administrator"])
    ben = factories.person(app, "ben@example.org")
    assert standing(app, ada) == Standing(days_left=7)
    in_a_while(6 * DAY + timedelta(hours=12))
    assert standing(app, ada) == Standing(days_left=1)
    in_a_while(timedelta(hours=13))
    assert standing(app, ada) == Standing(is_due=True)
    assert standing(app, ben) == Standing()
    browser = Browser(app)
    browser.sign_in()
    form = browser.follow(browser.submit(browser.get(f"{SECURITY}/app"), f"{SECURITY}/app", decision="begin"))
    phone = authenticator.Authenticator(authenticator.key_on(form))
    browser.submit(form, f"{SECURITY}/app", decision="confirm", code=phone.code())
    assert standing(app, ada) == Standing()


def test_the_days_are_counted_from_when_the_role_was_given(app: Flask, browser: Browser, in_a_while: Travel) -> None:
    """Not from the account's beginning; and a role that is set again is no new one."""
    ben = factories.person(app, "ben@example.org")
    in_a_while(30 * DAY)
    factories.within(app, lambda: roles.put(ben.id, ["administrator"]))
    assert standing(app, ben) == Standing(days_left=7)
    in_a_while(3 * DAY)
    factories.within(app, lambda: roles.put(ben.id, ["administrator", "auditor"]))
    assert standing(app, ben) == Standing(days_left=4)
    factories.within(app, lambda: roles.put(ben.id, ["auditor"]))
    assert standing(app, ben) == Standing()
    assert factories.within(app, lambda: roles.of_user(ben.id)) == ("auditor",)


def test_the_countdown_is_on_every_page_of_the_account(app: Flask, browser: Browser, ben: users.User) -> None:
    """For administrators without a second factor; not for others, nor once there is one."""
    browser.sign_in()
    for path in TABS:
        page = browser.get(path)
        assert BANNER in page.text, path
        assert "You have 7 days left." in page.text
        assert f'href="{SECURITY}/app"' in page.text
    authenticator.set_up(browser)
    other = Browser(app)
    other.sign_in(email=ben.email)
    for path in TABS:
        assert BANNER not in browser.get(path).text
        assert BANNER not in other.get(path).text


def test_after_the_deadline_enrolment_comes_first(
    app: Flask, browser: Browser, rp: RelyingParty, in_a_while: Travel
) -> None:
    """At the next request, in a session from before (MF-10): pages and apps lead to enrolment and on from there."""
    browser.sign_in(remember="1")
    assert answer_of(rp.walk())["code"]
    in_a_while(7 * DAY)
    for path in ("/account", "/account/apps", SECURITY):
        assert browser.get(path).headers["Location"].startswith(f"{guards.ENROLMENT_PATH}?next=%2Faccount")
    asserts.is_redirect_error(rp.authorize(prompt="none"), "interaction_required")
    assert rp.authorize().headers["Location"].startswith(f"{guards.ENROLMENT_PATH}?next=%2Foauth%2Fauthorize")
    assert browser.get(f"{SECURITY}/password").status_code == 200
    asserts.is_page(browser.get("/logout"), "logout")
    intro = browser.follow(browser.get("/account"))
    asserts.is_page(intro, "account-second-factor")
    assert "Administrators need a second factor. Set one up, then go on." in intro.text
    login = browser.follow(browser.submit(intro, f"{SECURITY}/app", decision="begin"))
    asserts.is_page(login, "login")  # what adds a factor needs a sign-in of the last ten minutes
    again = browser.submit(login, "/login", email="ada@example.org", password=factories.PASSWORD)
    start = asserts.is_page(browser.follow(again), "account-app")
    assert start.inputs["next"] == "/account"
    for path in (f"{SECURITY}/codes", f"{SECURITY}/app/remove"):
        assert browser.get(path).headers["Location"].startswith(f"{guards.ENROLMENT_PATH}?next=")
    form = browser.follow(browser.post(f"{SECURITY}/app", {**start.inputs, "decision": "begin"}))
    phone = authenticator.Authenticator(authenticator.key_on(form))
    codes = browser.submit(form, f"{SECURITY}/app", decision="confirm", code=phone.code())
    done = browser.submit(codes, SECURITY, decision="saved", saved="1")
    asserts.is_page(browser.follow(done), "account")
    assert payload(rp.tokens()["id_token"])["acr"] == "aal2"


def test_a_changing_form_is_not_taken_either(app: Flask, browser: Browser, in_a_while: Travel) -> None:
    """The form changes nothing until the second factor is there; the same form is taken from others."""
    ben = factories.person(app, "ben@example.org", "Ben")
    for email, place in ((ben.email, "/account/sessions"), ("ada@example.org", f"{guards.ENROLMENT_PATH}?next=")):
        own, other = Browser(app), Browser(app)
        for each in (own, other):
            each.sign_in(email=email, remember="1")
        token = asserts.is_page(own.get("/account/sessions"), "account-sessions").inputs["csrf_token"]
        if email != ben.email:
            in_a_while(7 * DAY)
        answer = own.post("/account/sessions", {"decision": "end_others", "csrf_token": token})
        assert answer.headers["Location"].startswith(place)
        assert (other.get("/account/sessions").headers.get("Location", "").startswith("/login")) == (email == ben.email)


def test_roles_of_an_older_database_count_from_the_account(app: Flask, ada: users.User) -> None:
    """The migration cannot know better; sessions of before were all of one moment."""
    browser = Browser(app)
    browser.sign_in()
    disconnect(app)
    with app.app_context():
        schema.downgrade("0004")
        db.engine.dispose()
        schema.upgrade()
        db.engine.dispose()
        since = factories.within(app, lambda: roles.administrator_since(ada.id))
        user = factories.within(app, lambda: users.find(ada.id))
        assert user is not None
        assert since == user.created_at <= clock.now()
        row = db.session.execute(text("SELECT auth_time, shown_since FROM session")).one()
        assert row.auth_time == row.shown_since
        db.session.rollback()
    assert browser.get("/account").status_code == 200
