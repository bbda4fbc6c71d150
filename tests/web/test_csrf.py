"""Forgery checks on everything that changes something."""

from __future__ import annotations

import re
from urllib.parse import unquote

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import users
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.device import PATH as DEVICE
from tests.support.factories import PASSWORD
from tests.support.rp import RelyingParty

FORMS = {
    "/login": {"email": "ada@example.org", "password": PASSWORD},
    "/logout": {"decision": "logout"},
    "/language": {"language": "en"},
    "/login/mfa": {"pending": "x", "code": "000000"},
    "/account/security": {"decision": "forget_trust"},
    "/account/security/password": {"current": PASSWORD, "password": "a new long password"},
    "/account/security/app": {"decision": "begin"},
    "/account/security/app/remove": {"decision": "confirm"},
    "/account/security/passkeys/add": {"credential": "x"},
    "/account/security/passkeys/rename": {"id": "x", "name": "x"},
    "/account/security/passkeys/remove": {"id": "x", "decision": "confirm"},
    "/account/security/events": {"decision": "ask"},
    "/account/security/codes": {"decision": "confirm"},
    "/account/sessions": {"decision": "end_others"},
    "/account/apps": {"decision": "disconnect_all"},
    "/account/profile": {"nickname": "Countess"},
    "/account/theme": {"theme": "dark"},
    "/account/export": {},
    "/account/delete": {"email": "ada@example.org"},
    "/recover/reset": {"token": "x", "password": "a new long password"},
    "/recover": {"email": "ben@example.org"},
    "/recover/code": {"email": "ben@example.org", "code": "000000"},
    "/recover/not-me": {"token": "x"},
    "/recover/account": {"token": "x", "password": "a new long password"},
    "/recover/stop": {"token": "x"},
    "/account/security/recovery": {"decision": "stop"},
    "/setup": {"token": "x"},
    "/signup": {"email": "grace@example.org", "name": "Grace"},
    "/signup/sent": {"handle": "x", "decision": "code", "code": "000000"},
    "/signup/finish": {"token": "x", "password": "a new long password"},
    "/signup/invitation": {"token": "x", "password": "a new long password"},
    "/account/email": {"decision": "send"},
    "/account/email/change": {"email": "grace@example.org"},
    "/account/email/confirm": {"token": "x"},
    "/recover/email": {"token": "x"},
    "/device": {"user_code": "BCDF-GHJK"},
    "/device/confirm": {"user_code": "BCDF-GHJK", "decision": "allow"},
}
"""Every form of the pages; `tests/test_architecture.py` knows that none is missing."""


def token_of(browser: Browser, path: str = "/login") -> str:
    return Page(browser.get(path).text).inputs["csrf_token"]


def is_refused(response: TestResponse) -> Page:
    return asserts.is_error_page(response, "csrf", 403)


@pytest.mark.parametrize("path", sorted(FORMS))
def test_a_form_without_a_right_token_is_refused(browser: Browser, app: Flask, path: str) -> None:
    """Missing, empty, invented, another browser's: 403. The right one is taken."""
    browser.sign_in()
    own, foreign = token_of(browser), token_of(Browser(app))
    for wrong in (None, "", "invented", foreign, own[:-1], own + "x", own.upper()):
        fields = {**FORMS[path], "csrf_token": wrong} if wrong is not None else FORMS[path]
        is_refused(browser.post(path, fields))
    assert browser.get("/account").status_code == 200
    assert browser.post(path, {**FORMS[path], "csrf_token": own}).status_code != 403


def test_the_consent_form_has_its_own_token(rp: RelyingParty, app: Flask) -> None:
    """The authorization request may be posted by any site, the answer on consent may not."""
    rp.browser.sign_in()
    page = rp.browser.follow(rp.authorize())
    url = page.request.full_path
    is_refused(rp.browser.post(url, {"decision": "allow"}))
    is_refused(rp.browser.post(url, {"decision": "allow", "csrf_token": token_of(Browser(app))}))
    asserts.is_page(rp.browser.get(url), "consent")
    assert rp.browser.submit(page, url, decision="allow").status_code == 303


@pytest.mark.parametrize("path", ["/login", "/logout", "/account/sessions"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:8421.evil.example"},
        {"Origin": "https://localhost:8421"},
        {"Origin": "http://localhost"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "http://localhost:8421", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
def test_a_form_of_another_site_is_refused(browser: Browser, path: str, headers: dict[str, str]) -> None:
    """Whatever its token, `Origin` and `Sec-Fetch-Site` tell where it comes from."""
    browser.sign_in()
    fields = {**FORMS[path], "csrf_token": token_of(browser)}
    is_refused(browser.post(path, fields, headers=headers))
    assert browser.get("/account").status_code == 200
    for own in ({"Origin": "http://localhost:8421", "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {}):
        assert (
            browser.post("/login", {**FORMS["/login"], "csrf_token": token_of(browser)}, headers=own).status_code == 303
        )


def test_the_referrer_is_not_needed(browser: Browser) -> None:
    """Browsers that send none, or a foreign one from a proxy page, are not locked out."""
    fields = {**FORMS["/login"], "csrf_token": token_of(browser)}
    assert browser.post("/login", fields, headers={"Referer": "https://elsewhere.example/"}).status_code == 303


def test_nobody_is_signed_in_by_another_site(app: Flask, ada: users.User) -> None:
    """The attacker's token and credentials, posted from the victim's browser, sign nobody in."""
    factories.person(app, "mallory@example.org")
    attackers = token_of(Browser(app))
    victim = Browser(app)
    fields = {"email": "mallory@example.org", "password": PASSWORD, "csrf_token": attackers}
    is_refused(victim.post("/login", fields))
    is_refused(victim.post("/login", fields))  # now with a browser cookie of its own
    assert victim.get("/account").status_code == 303


def test_a_token_lives_as_long_as_the_browser(browser: Browser) -> None:
    """It survives sign-in and sign-out, and is another one at each look (BREACH)."""
    early = token_of(browser)
    browser.sign_in()
    assert browser.post("/logout", {"decision": "stay", "csrf_token": early}).status_code == 303
    assert token_of(browser, "/logout") != ""
    browser.sign_out()
    assert browser.post("/login", {**FORMS["/login"], "csrf_token": early}).status_code == 303


def test_the_refusal_leads_back_to_the_form(browser: Browser) -> None:
    """`Start again` goes to the same page with its `next`."""
    response = browser.post("/login?next=%2Faccount%2Fapps", {})
    assert 'href="/login?next=%2Faccount%2Fapps"' in is_refused(response).text
    response = browser.post("/login", {"next": "/account/apps"})
    assert 'href="/login?next=%2Faccount%2Fapps"' in is_refused(response).text


def test_blocked_cookies_are_named(browser: Browser) -> None:
    """A form of ours that comes without our cookie: the page says what to allow; another site's form does not."""
    blocked = is_refused(Browser(browser.app).post("/login", {"next": "/account/apps"}))
    assert "<h1>Your browser blocks cookies</h1>" in blocked.text
    assert "Allow cookies for localhost:8421" in blocked.text
    assert 'href="/login?next=%2Faccount%2Fapps"' in blocked.text
    foreign = is_refused(Browser(browser.app).post("/login", {}, headers={"Sec-Fetch-Site": "cross-site"}))
    with_cookie = is_refused(browser.submit(browser.get("/login"), "/login", csrf_token="wrong"))
    for page in (foreign, with_cookie):
        assert "Your browser blocks cookies" not in page.text
        assert "Please send that once more" in page.text


def test_no_page_names_the_check(browser: Browser) -> None:
    """What people read of a refusal has no word of the trade; its mark for programs is an attribute."""
    browser.get("/login")
    for response in (browser.post("/login", {}), Browser(browser.app).post("/login", {})):
        visible = re.sub(r"<[^>]+>", " ", is_refused(response).text)
        assert "csrf" not in visible.lower()


@pytest.mark.parametrize("path", ["//evil.example/", "//evil.example/login", "/\\evil.example/", "///evil.example"])
def test_the_refusal_never_leads_to_another_site(browser: Browser, path: str) -> None:
    """A forged form whose path looks like a host is no link on our page."""
    response = browser.client.open(
        "/", method="POST", base_url="http://localhost:8421", environ_overrides={"PATH_INFO": path}
    )
    links = [part.split('"')[0] for part in is_refused(response).text.split('href="')[1:]]
    assert not [link for link in links if unquote(link).replace("\\", "/").startswith("//")]


@pytest.mark.parametrize(
    "path", ["/oauth/token", "/oauth/par", "/oauth/revoke", "/oauth/introspect", "/oauth/userinfo", DEVICE]
)
def test_machine_endpoints_need_no_token(browser: Browser, path: str) -> None:
    """They take no cookie, so nothing can be forged; their own refusals are the RFC's."""
    fields = {"grant_type": "client_credentials", "client_id": "x", "token": "x"}
    response = browser.post(path, fields, headers={"Origin": "https://app.example"})
    assert response.status_code == 401
    assert response.content_type == "application/json"
