"""The consent page: when it is shown, what it says, what an answer grants, and who may answer."""

from __future__ import annotations

import re

from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.tokens import ending
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.factories import REDIRECT_URI
from tests.support.rp import RelyingParty, answer_of, payload


def ask(rp: RelyingParty, **changed: object) -> TestResponse:
    """Send a request as somebody who is signed in; return the consent page."""
    if "error" in answer_of_none(rp):
        rp.browser.sign_in()
    page = rp.browser.follow(rp.authorize(**changed))
    asserts.is_page(page, "consent")
    return page


def answer_of_none(rp: RelyingParty) -> dict[str, str]:
    """Return what `prompt=none` says; only `login_required` is an error here."""
    answer = answer_of(rp.authorize(prompt="none"))
    return answer if answer.get("error") == "login_required" else {}


def submit(rp: RelyingParty, page: TestResponse, **fields: object) -> TestResponse:
    return rp.browser.follow(rp.browser.submit(page, page.request.full_path, **fields))


def scopes_shown(page: TestResponse) -> set[str]:
    """Return the titles of the permissions."""
    return set(re.findall(r'<span class="scope-title">([^<]+)</span>', page.text))


def boxes(page: TestResponse) -> dict[str, bool]:
    """Return the optional scopes, and whether each is ticked."""
    found = re.findall(r'<input type="checkbox" name="scope" value="([^"]+)"( checked)?>', page.text)
    return {scope: bool(ticked) for scope, ticked in found}


def test_the_page_says_who_gets_what_and_where_it_leads(rp: RelyingParty) -> None:
    """The app's name, the account, scopes in words, the host, and deny before allow."""
    page = ask(rp)
    for part in ("Wiki", "ada@example.org", "wiki.example.org", "Use another account", "after 14 days without use"):
        assert part in page.text
    assert {"See your name and profile", "See your e-mail address"} < scopes_shown(page)
    decisions = [value for name, value in Page(page.text).buttons if name == "decision"]
    assert decisions == ["switch", "deny", "allow"]


def test_a_homograph_name_stands_beside_its_host(app: Flask, browser: Browser) -> None:
    """Whatever an app calls itself, the person sees where the browser goes (ASVS 10.7.2)."""
    client, secret = factories.client(
        app, client_name="G\u043e\u043egle", redirect_uris=["https://evil.example.net:444/cb"]
    )
    rp = RelyingParty(app, browser, client, secret)
    assert '<strong dir="ltr">evil.example.net:444</strong>' in ask(rp).text


def test_an_app_on_the_own_machine_is_named_as_one(app: Flask, browser: Browser) -> None:
    """Loopback and private schemes are shown for what they are (RFC 8252 §8.6)."""
    local = factories.public_client(app, redirect_uris=["http://127.0.0.1/cb"])
    page = ask(RelyingParty(app, browser, local), redirect_uri="http://127.0.0.1:5123/cb")
    assert "an app on this computer" in page.text
    assert "127.0.0.1:5123" in page.text
    native = factories.public_client(app, redirect_uris=["com.example.app:/cb"])
    page = ask(RelyingParty(app, browser, native))
    assert "an app on this device" in page.text
    assert "com.example.app" in page.text


def test_an_answer_without_the_browsers_token_is_refused(rp: RelyingParty) -> None:
    """CSRF: no token, another browser's token, a foreign origin (ASVS 3.5.1); nothing is granted."""
    page = ask(rp)
    path = page.request.full_path
    stranger = Browser(rp.app)
    foreign = Page(stranger.get("/login").text).inputs["csrf_token"]
    own = Page(page.text).inputs["csrf_token"]
    for fields in ({}, {"csrf_token": foreign}, {"csrf_token": "x"}, {"csrf_token": ""}):
        asserts.is_error_page(rp.browser.post(path, {"decision": "allow", **fields}), "csrf", 403)
    right = {"decision": "allow", "csrf_token": own}
    for headers in ({"Origin": "https://evil.test"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}):
        asserts.is_error_page(rp.browser.post(path, right, headers=headers), "csrf", 403)
    assert asserts.events_of(rp.app, "consent.granted") == []
    assert "code" in answer_of(rp.browser.follow(rp.browser.post(path, right)))


def test_an_answer_without_a_decision_is_refused(rp: RelyingParty) -> None:
    """Neither allowed nor denied: nothing happens, and the right answer still counts."""
    page = ask(rp)
    for decision in ("", "ALLOW", "yes", "allow "):
        asserts.is_error_page(submit(rp, page, decision=decision), "invalid_request")
    assert "code" in answer_of(submit(rp, page, decision="allow"))


def test_consent_is_remembered_and_asked_again_only_for_more(rp: RelyingParty) -> None:
    """It covers exactly its scopes; a new one asks again and is marked (ASVS 10.7.1)."""
    assert "code" in answer_of(submit(rp, ask(rp, scope="openid"), decision="allow"))
    assert "code" in answer_of(rp.authorize(scope="openid"))
    asserts.is_redirect_error(rp.authorize(scope="openid email", prompt="none"), "consent_required")
    page = ask(rp, scope="openid email")
    assert scopes_shown(page) == {"See your e-mail address"}
    assert "New" in page.text
    answer = submit(rp, page, decision="allow")
    assert rp.exchange(answer_of(answer)["code"]).json["scope"] == "openid email"
    assert "code" in answer_of(rp.authorize(scope="openid email", prompt="none"))


def test_denial_goes_back_and_stores_nothing(rp: RelyingParty) -> None:
    """`access_denied` for the app; the next request asks again (OAuth 2.1 §4.1.2.1)."""
    asserts.is_redirect_error(submit(rp, ask(rp), decision="deny"), "access_denied")
    assert asserts.rows(rp.app)["consent"] == []
    asserts.is_redirect_error(rp.authorize(prompt="none"), "consent_required")
    (event,) = asserts.events_of(rp.app, "consent.denied")
    assert event.client_id == rp.client.client_id


def test_consent_is_one_persons(rp: RelyingParty, ben: users.User) -> None:
    """Ada's answer is not Ben's."""
    rp.walk()
    bens = RelyingParty(rp.app, Browser(rp.app), rp.client, rp.secret)
    bens.browser.sign_in("ben@example.org")
    asserts.is_redirect_error(bens.authorize(prompt="none"), "consent_required")
    assert "code" in answer_of(rp.authorize(prompt="none"))


def test_consent_is_one_apps(rp: RelyingParty) -> None:
    """What one app was allowed, another asks for itself."""
    rp.walk()
    other = RelyingParty(rp.app, rp.browser, *factories.client(rp.app))
    asserts.is_redirect_error(other.authorize(prompt="none"), "consent_required")


def test_the_account_may_be_switched(rp: RelyingParty, ben: users.User) -> None:
    """ "Use another account" leads to the login page and back to the same request."""
    page = ask(rp)
    login = submit(rp, page, decision="switch")
    asserts.is_page(login, "login")
    as_ben = rp.browser.follow(rp.browser.submit(login, "/login", email="ben@example.org", password=factories.PASSWORD))
    asserts.is_page(as_ben, "consent")
    assert "ben@example.org" in as_ben.text
    answer = answer_of(submit(rp, as_ben, decision="allow"))
    assert payload(rp.exchange(answer["code"]).json["id_token"])["sub"] == ben.id


def test_a_first_party_app_is_not_asked_about(app: Flask, browser: Browser) -> None:
    """By the operator's flag alone; `prompt=consent` still asks."""
    rp = RelyingParty(app, browser, *factories.client(app, first_party=True))
    browser.sign_in()
    assert "code" in answer_of(rp.authorize())
    assert "code" in answer_of(rp.authorize(prompt="none"))
    asserts.is_page(browser.follow(rp.authorize(prompt="consent")), "consent")


def test_an_app_with_a_private_scheme_is_always_asked_about(app: Flask, browser: Browser) -> None:
    """Any app on the device may claim the scheme, so never silently (RFC 8252 §8.6)."""
    uris = ["com.example.app:/cb", REDIRECT_URI]
    rp = RelyingParty(app, browser, factories.public_client(app, redirect_uris=uris))
    for _time in range(2):
        assert "code" in answer_of(submit(rp, ask(rp), decision="allow"))
    asserts.is_redirect_error(rp.authorize(prompt="none"), "consent_required")
    assert "code" in answer_of(rp.authorize(prompt="none", redirect_uri=REDIRECT_URI))


def test_a_disconnected_app_is_asked_about_again_and_holds_nothing(rp: RelyingParty, ada: users.User) -> None:
    """Disconnecting forgets the consent and ends the tokens it gave (ASVS 10.4.9)."""
    tokens = rp.tokens()
    assert rp.userinfo(tokens["access_token"]).status_code == 200
    assert factories.within(rp.app, lambda: ending.disconnect(ada.id, rp.client.client_id))
    assert rp.userinfo(tokens["access_token"]).status_code == 401
    asserts.is_oauth_error(rp.refresh(tokens["refresh_token"]), "invalid_grant")
    asserts.is_redirect_error(rp.authorize(prompt="none"), "consent_required")
    assert rp.userinfo(rp.tokens()["access_token"]).status_code == 200


def test_optional_scopes_may_be_unticked(app: Flask, browser: Browser) -> None:
    """What the person unticks is in no token, at no userinfo, and not after a refresh (OAuth 2.1 §1.4.1)."""
    rp = RelyingParty(app, browser, *factories.client(app, optional_scopes="email profile"))
    page = ask(rp)
    assert boxes(page) == {"profile": True, "email": True}
    code = answer_of(submit(rp, page, decision="allow", scope=["profile"]))["code"]
    tokens = rp.exchange(code).json
    assert tokens["scope"] == "openid profile offline_access"
    assert "email" not in payload(tokens["id_token"])
    assert "email" not in rp.userinfo(tokens["access_token"]).json
    refreshed = rp.refresh(tokens["refresh_token"]).json
    assert refreshed["scope"] == "openid profile offline_access"
    asserts.is_oauth_error(rp.refresh(refreshed["refresh_token"], scope="openid email"), "invalid_scope")


def test_an_unticked_scope_is_not_asked_about_every_time(app: Flask, browser: Browser) -> None:
    """The remembered answer covers the request, and grants what was allowed."""
    rp = RelyingParty(app, browser, *factories.client(app, optional_scopes="email"))
    submit(rp, ask(rp), decision="allow")
    again = rp.authorize()
    assert rp.exchange(answer_of(again)["code"]).json["scope"] == "openid profile offline_access"


def test_a_scope_unticked_later_is_gone(app: Flask, browser: Browser) -> None:
    """Asked again, the person may take back what they had allowed: the page's boxes are what counts."""
    rp = RelyingParty(app, browser, *factories.client(app, optional_scopes="email"))
    submit(rp, ask(rp), decision="allow", scope=["email"])
    assert rp.exchange(answer_of(rp.authorize())["code"]).json["scope"] == "openid profile email offline_access"
    page = ask(rp, prompt="consent")
    assert boxes(page) == {"email": True}
    answers = [submit(rp, page, decision="allow"), rp.authorize()]
    for answer in answers:
        assert rp.exchange(answer_of(answer)["code"]).json["scope"] == "openid profile offline_access"


def test_a_new_question_leaves_earlier_answers_alone(app: Flask, browser: Browser) -> None:
    """Where only what is new is shown, what was allowed before stays allowed."""
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid email phone", optional_scopes="email"))
    submit(rp, ask(rp, scope="openid email"), decision="allow", scope=["email"])
    page = ask(rp, scope="openid email phone")
    assert boxes(page) == {}
    assert scopes_shown(page) == {"See your phone number"}
    answer = submit(rp, page, decision="allow")
    assert rp.exchange(answer_of(answer)["code"]).json["scope"] == "openid email phone"


def test_a_ticked_scope_that_was_not_offered_is_not_granted(app: Flask, browser: Browser) -> None:
    """The form cannot add what the request did not ask or the client may not have."""
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid email phone", optional_scopes="email"))
    page = ask(rp, scope="openid email")
    answer = submit(rp, page, decision="allow", scope=["email", "phone", "groups", "administrator"])
    assert rp.exchange(answer_of(answer)["code"]).json["scope"] == "openid email"


def test_only_the_session_that_was_asked_answers(rp: RelyingParty, ben: users.User) -> None:
    """Somebody else signs in to the same browser before the form is sent: they are asked themselves."""
    page = ask(rp)
    rp.browser.sign_out()
    rp.browser.sign_in("ben@example.org")
    asserts.is_page(rp.browser.get(page.request.full_path), "consent")
    answer = answer_of(submit(rp, page, decision="allow"))
    assert payload(rp.exchange(answer["code"]).json["id_token"])["sub"] == ben.id
    assert {event.subject for event in asserts.events_of(rp.app, "consent.granted")} == {ben.id}


def test_a_scope_taken_from_the_client_meanwhile_is_not_granted(rp: RelyingParty) -> None:
    """Every step decides from what is registered now."""
    page = ask(rp)
    factories.within(rp.app, lambda: clients.change(rp.client, {"scope": "openid"}))
    answer = answer_of(submit(rp, page, decision="allow"))
    assert rp.exchange(answer["code"]).json["scope"] == "openid"
