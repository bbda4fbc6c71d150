"""Invitations: one account, for the invited address, with what the inviter chose (RC-11)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.access import groups, invitations, roles
from auth_server.accounts import users
from auth_server.errors import RefusedInput
from tests.support import asserts, factories, mailbox
from tests.support.browser import Browser
from tests.support.factories import PASSWORD

PATH = "/signup/invitation"


def invite(app: Flask, email: str = "grace@example.org", **about: object) -> str:
    """Invite an address, and return the path of the link."""
    options = {"group_names": [], "role_names": [], **about}
    _made, url = factories.within(app, lambda: invitations.invite(email, "Grace", **options))
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def accept(browser: Browser, path: str, **changed: str) -> TestResponse:
    return browser.submit(browser.get(path), PATH, **{"name": "Grace Hopper", "password": PASSWORD, **changed})


def found(app: Flask, email: str = "grace@example.org") -> users.User | None:
    return factories.within(app, lambda: users.find_by_email(email))


@pytest.mark.parametrize("mode", ["closed", "invite", "domain", "open"])
def test_an_invitation_works_in_every_mode(make_app: Callable[..., Flask], mode: str) -> None:
    """By the letter or by the printed link; the account is proved, signed in, and has its groups and roles."""
    app = make_app(signup=mode, signup_domains=("example.com",))
    factories.person(app, roles=["administrator"])
    factories.group(app, "staff")
    path = invite(app, group_names=["staff"], role_names=["auditor"])
    letter = mailbox.last_to(app, "grace@example.org")
    assert mailbox.link_in(letter) == path
    browser = Browser(app)
    page = asserts.is_page(browser.get(path), "signup-finish")
    assert 'value="Grace"' in page.text
    assert accept(browser, path).headers["Location"] == "/account"
    asserts.is_page(browser.get("/account"), "account")
    user = found(app)
    assert user is not None
    assert (user.name, user.email_verified) == ("Grace Hopper", True)
    assert factories.within(app, lambda: (groups.of_user(user.id), roles.of_user(user.id))) == (
        ("staff",),
        ("auditor",),
    )
    assert [row.subject for row in asserts.events_of(app, "invitation.accepted")] == [user.id]


def test_looking_changes_nothing_and_accepting_works_once(app: Flask, browser: Browser) -> None:
    """Scanners may look; the second acceptance is refused with when it was used (CVE-2022-23555)."""
    path = invite(app)
    before = asserts.rows(app)
    for _ in range(3):
        asserts.is_page(Browser(app).get(path), "signup-finish")
    assert asserts.rows(app) == before
    assert accept(Browser(app), path).status_code == 303
    assert "was used already" in asserts.is_error_page(browser.get(path), "flow_expired").text
    form = browser.get("/login")
    token = path.partition("token=")[2]
    refused = browser.submit(form, PATH, token=token, name="x", password=PASSWORD)
    asserts.is_error_page(refused, "flow_expired")


@pytest.mark.parametrize(("days", "works"), [(6, True), (8, False)])
def test_it_ends_after_a_week(
    app: Flask, browser: Browser, in_a_while: Callable[[timedelta], None], days: int, works: bool
) -> None:
    """Later it says until when it was good (CVE-2025-64708)."""
    path = invite(app)
    in_a_while(timedelta(days=days))
    if works:
        assert accept(browser, path).status_code == 303
    else:
        assert "This link is too old" in asserts.is_error_page(browser.get(path), "flow_expired").text
        assert found(app) is None


def test_the_invited_cannot_choose_who_they_are(app: Flask, browser: Browser) -> None:
    """Another address, roles or groups in the form are not looked at (CVE-2026-1529, CVE-2026-27946)."""
    factories.group(app, "staff")
    path = invite(app)
    more = {"email": "evil@example.org", "role": "administrator", "roles": "administrator", "group": "staff"}
    assert accept(browser, path, **more, groups="staff", email_verified="0").status_code == 303
    user = found(app)
    assert user is not None
    assert found(app, "evil@example.org") is None
    assert factories.within(app, lambda: (groups.of_user(user.id), roles.of_user(user.id))) == ((), ())


def test_accepting_as_somebody_else_makes_no_use_of_their_account(app: Flask, browser: Browser) -> None:
    """Who is signed in at the browser is told, and signed out; their account gets nothing (GHSA-fmh4)."""
    browser.sign_in()
    path = invite(app, role_names=["auditor"])
    assert "ada@example.org" in browser.get(path).text
    assert accept(browser, path).status_code == 303
    assert "grace@example.org" in browser.get("/account").text
    ada = found(app, "ada@example.org")
    assert ada is not None
    assert factories.within(app, lambda: roles.of_user(ada.id)) == ("administrator",)


def test_a_new_invitation_ends_the_former_one(app: Flask, browser: Browser) -> None:
    """Only the newest works, whatever case the address was typed in; other people's are untouched."""
    old, others, new = invite(app), invite(app, "eve@example.org"), invite(app, "GRACE@example.org")
    asserts.is_error_page(browser.get(old), "flow_expired")
    assert accept(browser, new).status_code == 303
    asserts.is_page(Browser(app).get(others), "signup-finish")


def test_an_address_that_got_an_account_meanwhile(app: Flask, browser: Browser) -> None:
    """A calm page, by GET and by POST, and the account stays what it is."""
    path = invite(app, role_names=["administrator"])
    page = browser.get(path)
    user = factories.person(app, "grace@example.org")
    for response in (browser.get(path), browser.submit(page, PATH, name="x", password="another long password")):
        assert "You already have an account" in asserts.is_page(response, "done", 409).text
    assert factories.within(app, lambda: roles.of_user(user.id)) == ()


def test_what_was_deleted_meanwhile_is_left_out(app: Flask, browser: Browser) -> None:
    """A group that is gone does not keep anybody out."""
    factories.group(app, "staff")
    factories.group(app, "editors")
    path = invite(app, group_names=["staff", "editors"])
    factories.within(app, lambda: groups.remove("staff"))
    assert accept(browser, path).status_code == 303
    user = found(app)
    assert user is not None
    assert factories.within(app, lambda: groups.of_user(user.id)) == ("editors",)


@pytest.mark.parametrize(
    ("email", "about", "words"),
    [
        ("ada@example.org", {}, "has an account already"),
        ("ADA＠example.org", {}, "has an account already"),
        ("nonsense", {}, "not an e-mail address"),
        ("grace@example.org", {"group_names": ["nowhere"]}, "no such group: nowhere"),
        ("grace@example.org", {"role_names": ["king"]}, "no such role: king"),
    ],
)
def test_a_wrong_invitation_is_refused(
    app: Flask, browser: Browser, email: str, about: dict[str, list[str]], words: str
) -> None:
    """With the reason; no letter, and nothing that could be accepted."""
    with pytest.raises(RefusedInput, match=words):
        invite(app, email, **about)
    assert mailbox.letters(app) == []
    assert factories.within(app, invitations.listing) == []
