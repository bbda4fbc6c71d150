"""Sign-in and sign-out, and the flows that pass through them."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from urllib.parse import quote

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import users
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.factories import PASSWORD
from tests.support.rp import RelyingParty, answer_of, challenge_of

Travel = Callable[[timedelta], None]
DAY = timedelta(days=1)


def allow(browser: Browser, page: TestResponse) -> TestResponse:
    """Allow on the consent page; return the way back to the app."""
    asserts.is_page(page, "consent")
    return browser.follow(browser.submit(page, page.request.full_path, decision="allow"))


def sign_in_on(browser: Browser, page: TestResponse, **changed: str) -> TestResponse:
    """Fill in the login page as it stands."""
    asserts.is_page(page, "login")
    return browser.submit(page, "/login", **{"email": "ada@example.org", "password": PASSWORD, **changed})


def restart_link(page: TestResponse) -> str:
    """Return where the error page's button leads."""
    found = re.search(r'<a class="btn btn-primary" href="([^"]+)">Start again</a>', page.text)
    assert found, page.text
    return unescape(found[1])


def test_the_login_page_is_what_automation_expects(browser: Browser) -> None:
    """Markers, field names and autocomplete tokens, as automation relies on them."""
    page = asserts.is_page(browser.get("/login"), "login")
    for part in (
        'name="email" type="email"',
        'autocomplete="username webauthn"',
        'name="password" type="password"',
        'autocomplete="current-password"',
        'type="checkbox" id="remember" name="remember"',
        'href="/recover"',
    ):
        assert part in page.text
    assert "csrf_token" in page.inputs


def test_a_right_password_leads_to_the_account(browser: Browser, ada: users.User) -> None:
    """303 after the POST; the account says who is signed in; the event names person, browser and method."""
    response = browser.sign_in()
    assert (response.status_code, response.headers["Location"]) == (303, "/account")
    page = asserts.is_page(browser.get("/account"), "account")
    assert "ada@example.org" in page.text
    (row,) = asserts.events_of(browser.app, "sign_in.succeeded")
    assert (row.subject, row.data) == (ada.id, {"amr": ["pwd"], "browser": "Werkzeug", "country": ""})


def test_a_wrong_password_is_401_and_says_nothing_more(browser: Browser) -> None:
    """The e-mail is kept, the password is not; nobody is signed in."""
    page = asserts.is_page(browser.sign_in(password="hunter2 hunter2"), "login", 401)
    assert "The e-mail or password is not right." in page.text
    assert 'value="ada@example.org"' in page.text
    assert "hunter2" not in page.text
    assert browser.get("/account").status_code == 303


def test_the_second_failure_offers_the_way_back_in(browser: Browser) -> None:
    """At the first the mistake is probably a slip; the link stands beside the problem at the second (USR-2)."""
    words = "Get back into your account"
    first = sign_in_on(browser, browser.get("/login"), password="wrong")
    assert words not in first.text
    second = browser.submit(first, "/login", email="ada@example.org", password="wrong")
    assert words in asserts.is_page(second, "login", 401).text
    assert words not in browser.get("/login").text


def test_who_is_signed_in_may_go_on_after_a_failed_try(browser: Browser) -> None:
    """A slip of the fingers in a second tab is no dead end: the page still offers to continue."""
    page = browser.get("/login?next=%2Faccount%2Fapps")
    browser.sign_in()
    failed = sign_in_on(browser, page, password="wrong")
    assert "Continue as" in asserts.is_page(failed, "login", 401).text
    assert browser.submit(failed, "/login", decision="continue").headers["Location"] == "/account/apps"


def test_a_restarted_request_keeps_the_address(rp: RelyingParty, in_a_while: Travel) -> None:
    """`prompt=login` after a day: the form asks again, with the e-mail that was typed (USR-3)."""
    page = rp.browser.follow(rp.authorize(prompt="login"))
    assert 'value="ada@example.org"' not in page.text
    in_a_while(DAY)
    expired = rp.browser.follow(sign_in_on(rp.browser, page))
    again = rp.browser.follow(rp.browser.get(restart_link(expired)))
    assert 'value="ada@example.org"' in asserts.is_page(again, "login").text
    answer = answer_of(allow(rp.browser, rp.browser.follow(sign_in_on(rp.browser, again))))
    assert answer["state"] == "the-state"


def test_a_request_that_nobody_remembers_leads_home(rp: RelyingParty) -> None:
    """Another browser's, or one that is gone: the page has a way on."""
    response = rp.browser.get("/oauth/authorize?flow=" + "x" * 43)
    assert '<a class="btn btn-primary" href="/account">' in asserts.is_error_page(response, "flow_expired").text
    missing = rp.browser.get("/nowhere")
    assert '<a class="btn btn-primary" href="/account">' in asserts.is_error_page(missing, "not_found", 404).text


def test_the_page_asked_for_is_shown_after_the_sign_in(browser: Browser) -> None:
    """`next` is kept over a failed try and with its query."""
    asked = browser.get("/account/sessions?a=1&b=2")
    assert asked.headers["Location"] == "/login?next=" + quote("/account/sessions?a=1&b=2", safe="")
    page = browser.follow(asked)
    failed = browser.submit(page, "/login", email="ada@example.org", password="wrong")
    assert failed.status_code == 401
    done = browser.submit(failed, "/login", email="ada@example.org", password=PASSWORD)
    assert done.headers["Location"] == "/account/sessions?a=1&b=2"


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "/\\evil.example", "/login", "javascript:x"]
)
def test_the_sign_in_never_leads_elsewhere(browser: Browser, target: str) -> None:
    """An evil `next` is the account, in the query and in the form (ASVS 3.7.2); a local one is kept."""
    page = browser.get("/login?next=" + quote(target, safe=""))
    assert asserts.is_page(page, "login").inputs["next"] == "/account"
    in_form = browser.submit(page, "/login", email="ada@example.org", password=PASSWORD, next=target)
    assert in_form.headers["Location"] == "/account"
    page = browser.get("/login?next=%2Faccount%2Fapps")
    local = browser.submit(page, "/login", email="ada@example.org", password=PASSWORD)
    assert local.headers["Location"] == "/account/apps"


def test_someone_signed_in_may_just_go_on(browser: Browser) -> None:
    """The page offers to continue as who is there; another account is possible too."""
    browser.sign_in()
    page = browser.get("/login?next=%2Faccount%2Fapps")
    assert "Continue as" in page.text
    on = browser.submit(page, "/login", decision="continue")
    assert (on.status_code, on.headers["Location"]) == (303, "/account/apps")


def test_nobody_goes_on_without_a_session(browser: Browser) -> None:
    """`decision=continue` of somebody who is not signed in is a failed sign-in."""
    page = browser.get("/login")
    assert "Continue as" not in page.text
    asserts.is_page(browser.submit(page, "/login", decision="continue"), "login", 401)


def test_signing_out_asks_first_and_ends_the_session(browser: Browser, app: Flask) -> None:
    """GET asks, `stay` stays, `logout` ends; the cache of the host is cleared, its cookies are not."""
    browser.sign_in()
    page = asserts.is_page(browser.get("/logout"), "logout")
    assert page.buttons == [("decision", "stay"), ("decision", "logout")]
    assert browser.submit(browser.get("/logout"), "/logout", decision="stay").headers["Location"] == "/account"
    asserts.is_page(browser.get("/account"), "account")
    gone = browser.sign_out()
    asserts.is_page(gone, "signed-out")
    assert gone.headers["Clear-Site-Data"] == '"cache"'
    assert browser.get("/account").status_code == 303
    assert browser.cookie("auth_server") is None
    assert browser.cookie("auth_server_browser") is not None
    assert len(asserts.events_of(app, "session.ended")) == 1


def test_signing_out_twice_is_no_error(browser: Browser) -> None:
    """The second tab sees that it is done."""
    browser.sign_in()
    page = browser.get("/logout")
    browser.submit(page, "/logout", decision="logout")
    asserts.is_page(browser.submit(page, "/logout", decision="logout"), "signed-out")
    asserts.is_page(browser.get("/logout"), "signed-out")


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_three_tabs_with_three_requests_finish_in_any_order(rp: RelyingParty, order: tuple[int, int, int]) -> None:
    """The browser carries only ids; each tab ends with its own state and a code that works."""
    verifiers = [f"{number}" * 43 for number in range(3)]
    tabs = [
        rp.browser.follow(rp.authorize(state=f"tab-{number}", code_challenge=challenge_of(verifiers[number])))
        for number in range(3)
    ]
    pages = [rp.browser.follow(sign_in_on(rp.browser, tabs[number])) for number in order]
    done = {}
    for number, page in zip(order, pages, strict=True):
        answer = answer_of(allow(rp.browser, page) if page.status_code == 200 else page)
        assert answer["state"] == f"tab-{number}"
        done[number] = rp.exchange(answer["code"], code_verifier=verifiers[number]).status_code
    assert done == {0: 200, 1: 200, 2: 200}


def test_tabs_that_were_signed_in_elsewhere_just_go_on(rp: RelyingParty) -> None:
    """The second tab's login page takes the password again; its request finishes too, without a second consent."""
    first, second = (rp.browser.follow(rp.authorize(state=state)) for state in ("one", "two"))
    answer = answer_of(allow(rp.browser, rp.browser.follow(sign_in_on(rp.browser, first))))
    assert answer["state"] == "one"
    on = rp.browser.follow(rp.browser.submit(second, "/login", decision="continue"))
    assert answer_of(on)["state"] == "two"


def test_a_login_page_left_open_for_a_day_restarts_the_same_request(rp: RelyingParty, in_a_while: Travel) -> None:
    """Its form still signs in; the request has ended, and one click starts the same one again."""
    page = rp.browser.follow(rp.authorize())
    in_a_while(DAY)
    response = rp.browser.follow(sign_in_on(rp.browser, page))
    asserts.is_error_page(response, "flow_expired")
    again = rp.browser.follow(rp.browser.get(restart_link(response)))
    answer = answer_of(allow(rp.browser, again))
    assert answer["state"] == "the-state"
    assert rp.exchange(answer["code"]).status_code == 200


def test_a_plain_login_page_left_open_for_a_day_still_works(browser: Browser, in_a_while: Travel) -> None:
    """The form's token has no clock; it is bound to the browser."""
    page = browser.get("/login")
    in_a_while(DAY)
    assert sign_in_on(browser, page).status_code == 303


def test_back_after_consent_does_not_break(rp: RelyingParty) -> None:
    """The finished step says so and starts the same request again; no second code comes of it."""
    consent = rp.browser.follow(sign_in_on(rp.browser, rp.browser.follow(rp.authorize())))
    code = answer_of(allow(rp.browser, consent))["code"]
    url = consent.request.full_path
    response = rp.browser.get(url)
    asserts.is_error_page(response, "flow_expired")
    asserts.is_error_page(rp.browser.submit(consent, url, decision="allow"), "flow_expired")
    assert rp.exchange(code).status_code == 200
    again = rp.browser.follow(rp.browser.get(restart_link(response)))
    assert answer_of(again)["state"] == "the-state"


def test_another_browsers_request_is_refused(rp: RelyingParty) -> None:
    """A flow id is worth nothing outside the browser it was begun in."""
    page = rp.authorize()
    url = asserts.is_page(rp.browser.follow(page), "login").inputs["next"]
    thief = Browser(rp.app)
    thief.sign_in()
    response = thief.get(url)
    error = asserts.is_error_page(response, "flow_expired")
    assert "Start again" not in error.text
    assert "wiki" not in thief.get("/login?next=" + quote(url, safe="")).text.lower()
    own = rp.browser.follow(sign_in_on(rp.browser, rp.browser.follow(page)))
    asserts.is_page(own, "consent")
    token = asserts.is_page(own, "consent").inputs["csrf_token"]
    stolen = thief.post(own.request.full_path, {"csrf_token": token, "decision": "allow"})
    assert stolen.status_code in (400, 403)
    assert "Location" not in stolen.headers
    assert answer_of(allow(rp.browser, own))["state"] == "the-state"


@pytest.mark.parametrize("flow", ["", "unknown", "%00", "%ff", "a" * 5000, "'", "\\", "%22%3E%3Cscript%3E"])
def test_an_unknown_request_is_a_page(browser: Browser, flow: str) -> None:
    """Whatever stands for the id, the answer is the page that says so, here and behind the login page."""
    asserts.is_error_page(browser.get(f"/oauth/authorize?flow={flow}"), "flow_expired")
    target = quote(f"/oauth/authorize?flow={flow}", safe="")
    asserts.is_page(browser.get(f"/login?next={target}"), "login")


def test_the_login_page_names_the_app(rp: RelyingParty) -> None:
    """Where one continues to, and the hint of who (OpenID Connect Core §3.1.2.1)."""
    page = asserts.is_page(rp.browser.follow(rp.authorize(login_hint="ada@example.org")), "login")
    assert "<bdi>Wiki</bdi>" in page.text
    assert 'value="ada@example.org"' in page.text


def test_markup_in_what_is_shown_again_is_text(app: Flask, ada: users.User) -> None:
    """The app's name, the hint and what was typed are escaped."""
    evil = '"><script>alert(1)</script>'
    client, secret = factories.client(app, client_name=evil)
    rp = RelyingParty(app, Browser(app), client, secret)
    page = rp.browser.follow(rp.authorize(login_hint=evil))
    failed = rp.browser.submit(page, "/login", email=evil, password=evil)
    rp.browser.sign_in()
    consent = rp.browser.follow(rp.authorize())
    for response in (page, failed, consent):
        assert response.status_code in (200, 401)
        assert "<script>alert(1)" not in response.text
        assert "&lt;script&gt;" in response.text


def test_signing_in_as_somebody_else_ends_the_first_session(browser: Browser, app: Flask, ben: users.User) -> None:
    """One browser is one person: the first handle is dead afterwards."""
    browser.sign_in()
    first = browser.cookie("auth_server")
    browser.sign_in(email="ben@example.org")
    assert "ben@example.org" in browser.get("/account").text
    thief = Browser(app)
    thief.client.set_cookie("auth_server", first or "", domain="localhost")
    assert thief.get("/account").status_code == 303
    assert len(asserts.events_of(app, "session.ended")) == 1


def test_identity_headers_from_the_network_are_ignored(browser: Browser) -> None:
    """No header says who somebody is."""
    names = ("Remote-User", "X-Remote-User", "X-Forwarded-User", "X-Forwarded-Email", "X-Auth-Request-User")
    headers = dict.fromkeys(names, "ada@example.org")
    environ = {"REMOTE_USER": "ada@example.org"}
    assert browser.get("/account", headers=headers, environ_base=environ).status_code == 303
    browser.sign_in()
    assert browser.get("/account", headers=headers, environ_base=environ).status_code == 200
