"""A link of one kind is unknown wherever another kind is taken, and the try uses nothing up (CVE-2026-4325)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server.access import invitations
from auth_server.accounts import addresses, notices, sign_up, users
from auth_server.infra import once
from auth_server.pages import setup
from auth_server.tokens import ending, recovery, resetting
from tests.support import asserts, factories
from tests.support.browser import Browser

HOUR = timedelta(hours=1)
CONSUMERS = {
    sign_up.PURPOSE: sign_up.FINISH_PATH,
    invitations.PURPOSE: invitations.PATH,
    addresses.PROOF: addresses.PROOF_PATH,
    addresses.UNDO: addresses.UNDO_PATH,
    ending.RESET_LINK: resetting.PATH,
}
PURPOSES = [*CONSUMERS, setup.PURPOSE, notices.NOT_ME]
FIELDS = {"name": "Grace", "password": "a brand new long password", "decision": "confirm"}


def make(app: Flask, purpose: str, user: users.User) -> str:
    """Make a secret whose data would open every consumer that looked at nothing else."""
    data = {
        "email": "grace@example.org", "name": "Grace", "next": "", "opens": True, "instead_of": user.email_key,
        "groups": [], "roles": [], "expires": "2099-01-01T00:00:00+00:00",
    }  # fmt: skip
    return factories.within(app, lambda: once.make(purpose, user.id, HOUR, data))


@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_each_kind_of_link_opens_its_own_page_alone(
    make_app: Callable[..., Flask], purpose: str, consumer: str
) -> None:
    """By GET and by POST; what is refused is still good where it belongs."""
    app = make_app(signup="open")
    factories.person(app, roles=["administrator"])
    user = factories.person(app, "ben@example.org")
    raw_secret = make(app, purpose, user)
    browser = Browser(app)
    form = browser.get("/login")
    browser.submit(form, "/login", email="ben@example.org", password=factories.PASSWORD)
    path = CONSUMERS[consumer]
    looked = browser.get(f"{path}?token={raw_secret}")
    sent = browser.submit(form, path, token=raw_secret, **FIELDS)
    if purpose == consumer:
        assert looked.status_code == 200
        assert sent.status_code in (200, 303)
        return
    asserts.is_error_page(looked, "flow_expired")
    asserts.is_error_page(sent, "flow_expired")
    assert factories.within(app, lambda: once.find(purpose, raw_secret)) is not None
    assert factories.within(app, users.count) == 2
    assert factories.within(app, lambda: users.find_by_email("grace@example.org")) is None


@pytest.mark.parametrize("path", CONSUMERS.values())
@pytest.mark.parametrize("token", ["", "unknown", "%00", "%ff", "a" * 5000, "'", '"><script>'])
def test_an_unknown_link_is_one_calm_page(browser: Browser, path: str, token: str) -> None:
    """Whatever its form, it is never a crash, and the page has no part of it."""
    browser.sign_in()
    page = asserts.is_error_page(browser.get(f"{path}?token={token}"), "flow_expired")
    assert "<script>" not in page.text.replace("<script src=", "")


@pytest.mark.parametrize(
    ("path", "label"),
    [
        (resetting.PATH, "Get a new link"),
        (notices.NOT_ME_PATH, "Get back into your account"),
        (recovery.PATH, "Get back into your account"),
        (recovery.STOP_PATH, "Get back into your account"),
    ],
)
def test_a_link_back_into_the_account_that_is_over_leads_to_another(browser: Browser, path: str, label: str) -> None:
    """The page that it leads to writes a letter, and says that an administrator may help."""
    page = asserts.is_error_page(browser.get(f"{path}?token=unknown"), "flow_expired")
    assert f'<a class="btn btn-primary" href="/recover">{label}</a>' in page.text
    assert "Ask your administrator" in asserts.is_page(browser.get("/recover"), "recover").text
