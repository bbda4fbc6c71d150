"""Requests that wait while a page is shown: of one browser, answered once, in any order, and how they travel."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

from tests.support import asserts, factories
from tests.support.asking import flow_of, leads_to_login, sign_in
from tests.support.browser import Browser
from tests.support.factories import REDIRECT_URI
from tests.support.rp import RelyingParty, answer_of

Travel = Callable[[timedelta], None]


def test_a_waiting_request_belongs_to_its_browser(rp: RelyingParty) -> None:
    """Nobody finishes, or even sees, another browser's request (CVE-2026-7507)."""
    flow = flow_of(rp.authorize())
    stranger = Browser(rp.app)
    asserts.is_error_page(stranger.get(flow), "flow_expired")
    stranger.sign_in()
    page = asserts.is_error_page(stranger.get(flow), "flow_expired")
    assert "Start again" not in page.text
    assert "Wiki" not in stranger.get("/login?next=" + flow.replace("?", "%3F").replace("=", "%3D")).text
    for unknown in ("x" * 43, "", "é", "'", "x" * 4000):
        asserts.is_error_page(rp.browser.get("/oauth/authorize?flow=" + unknown), "flow_expired")
    asserts.is_page(sign_in(rp.browser, rp.browser.follow(rp.browser.get(flow))), "consent")


def test_the_stored_request_wins(rp: RelyingParty) -> None:
    """What a person adds to the URL or the form on the way changes nothing (CVE-2026-7571)."""
    other, _ = factories.client(rp.app, redirect_uris=["https://evil.example.org/cb"])
    login = rp.browser.follow(rp.authorize(scope="openid"))
    changed = {
        "client_id": other.client_id,
        "redirect_uri": "https://evil.example.org/cb",
        "scope": "openid email groups",
        "state": "changed",
        "code_challenge": "x" * 43,
    }
    consent = sign_in(rp.browser, login)
    path = consent.request.full_path + "".join(f"&{name}={value}" for name, value in changed.items())
    asserts.is_page(rp.browser.get(path), "consent")
    answer = rp.browser.follow(rp.browser.submit(consent, path, decision="allow", **changed))
    assert answer.headers["Location"].startswith(REDIRECT_URI)
    assert answer_of(answer)["state"] == "the-state"
    assert rp.exchange(answer_of(answer)["code"]).json["scope"] == "openid"


def test_a_finished_request_cannot_be_answered_again(rp: RelyingParty) -> None:
    """A second post of the consent form, or the back button, makes no second code."""
    consent = sign_in(rp.browser, rp.browser.follow(rp.authorize()))
    path = consent.request.full_path
    assert "code" in answer_of(rp.browser.follow(rp.browser.submit(consent, path, decision="allow")))
    page = asserts.is_error_page(rp.browser.submit(consent, path, decision="allow"), "flow_expired")
    asserts.is_error_page(rp.browser.get(path), "flow_expired")
    asserts.is_error_page(rp.browser.submit(consent, path, decision="deny"), "flow_expired")
    assert len(asserts.events_of(rp.app, "code.issued")) == 1
    again = re.search(r'href="(/oauth/authorize\?[^"]+)"', page.text)
    assert again is not None
    assert "code" in answer_of(rp.browser.get(again[1].replace("&amp;", "&")))


def test_a_denied_request_is_finished_too(rp: RelyingParty) -> None:
    """Back to the app with `access_denied`, once."""
    consent = sign_in(rp.browser, rp.browser.follow(rp.authorize()))
    path = consent.request.full_path
    asserts.is_redirect_error(rp.browser.submit(consent, path, decision="deny"), "access_denied")
    asserts.is_error_page(rp.browser.submit(consent, path, decision="allow"), "flow_expired")


def test_a_waiting_request_expires(rp: RelyingParty, in_a_while: Travel) -> None:
    """After half an hour the person starts again where they were."""
    flow = flow_of(rp.authorize())
    in_a_while(timedelta(minutes=29))
    assert leads_to_login(rp.browser.get(flow))
    in_a_while(timedelta(minutes=2))
    page = asserts.is_error_page(rp.browser.get(flow), "flow_expired")
    again = re.search(r'href="(/oauth/authorize\?[^"]+)"', page.text)
    assert again is not None
    assert leads_to_login(rp.browser.get(again[1].replace("&amp;", "&")))


def test_tabs_finish_in_any_order(rp: RelyingParty) -> None:
    """Two requests of one browser keep their own state; one sign-in serves both."""
    one, two = rp.authorize(state="one"), rp.authorize(state="two", response_mode="form_post")
    consent = sign_in(rp.browser, rp.browser.follow(two))
    form = rp.browser.follow(rp.browser.submit(consent, consent.request.full_path, decision="allow"))
    assert asserts.is_page(form, "form-post").inputs["state"] == "two"
    assert answer_of(rp.browser.get(flow_of(one)))["state"] == "one"


def test_another_site_may_post_the_request(rp: RelyingParty) -> None:
    """OpenID Connect Core §3.1.2.1: without cookies, bound to the browser at the GET that follows."""
    cross_site = {"Origin": "https://wiki.example.org", "Sec-Fetch-Site": "cross-site"}
    posted = Browser(rp.app).post("/oauth/authorize", rp.request(), headers=cross_site)
    assert posted.status_code == 303
    assert posted.headers["Location"].startswith("/oauth/authorize?flow=")
    first = rp.browser.get(posted.headers["Location"])
    assert leads_to_login(first)
    asserts.is_error_page(Browser(rp.app).get(posted.headers["Location"]), "flow_expired")
    consent = sign_in(rp.browser, rp.browser.get(first.headers["Location"]))
    answer = rp.browser.follow(rp.browser.submit(consent, consent.request.full_path, decision="allow"))
    assert rp.exchange(answer_of(answer)["code"]).status_code == 200
    asserts.is_redirect_error(rp.browser.post("/oauth/authorize", rp.request(prompt="x")), "invalid_request")
    asserts.is_error_page(rp.browser.post("/oauth/authorize", rp.request(client_id="x")), "unknown_client")


def test_a_posted_request_with_prompt_none_shows_no_page(rp: RelyingParty) -> None:
    """The GET that follows answers at once."""
    posted = rp.browser.post("/oauth/authorize", rp.request(prompt="none"))
    asserts.is_redirect_error(rp.browser.follow(posted), "login_required")
    rp.walk()
    posted = rp.browser.post("/oauth/authorize", rp.request(prompt="none"))
    assert "code" in answer_of(rp.browser.follow(posted))
