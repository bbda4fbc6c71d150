"""`offline_access` (OpenID Connect Core §11): an app that stays when the person has gone, if the person says so."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.support import asserts, device, factories
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, answer_of
from tests.support.walking import titles_of

STAY = "Stay connected when you are away"
OFFLINE = "openid offline_access"


def alive(rp: RelyingParty, refresh_token: str) -> bool:
    return rp.refresh(refresh_token).status_code == 200


def test_with_it_the_app_outlives_the_sign_in_and_without_it_ends_with_it(rp: RelyingParty) -> None:
    """Both get refresh tokens; a sign-out ends the one and leaves the other (RF-11)."""
    staying, going = rp.tokens(scope=OFFLINE), rp.tokens(scope="openid")
    rp.browser.sign_out()
    assert alive(rp, staying["refresh_token"])
    asserts.refused(rp, going["refresh_token"], "the authorization has ended")


def test_the_person_is_asked_even_when_all_else_was_allowed(rp: RelyingParty) -> None:
    """A consent to the rest is none to this: `consent_required`, then a line of its own; then it is remembered."""
    rp.tokens(scope="openid")
    asserts.is_redirect_error(rp.authorize(scope=OFFLINE, prompt="none"), "consent_required")
    page = rp.browser.follow(rp.authorize(scope=OFFLINE))
    assert titles_of(page) == [STAY]
    assert "Sensitive" in page.text
    rp.tokens(scope=OFFLINE)
    answer = rp.authorize(scope=OFFLINE, prompt="none")
    assert "offline_access" in rp.exchange(answer_of(answer)["code"]).json["scope"]


def test_prompt_consent_asks_each_time(rp: RelyingParty) -> None:
    """What §11 wants clients to send gets the page, whatever was remembered."""
    rp.tokens(scope=OFFLINE)
    page = rp.browser.follow(rp.authorize(scope=OFFLINE, prompt="consent"))
    assert STAY in titles_of(page)


@pytest.mark.parametrize("uri", ["com.example.app:/callback", "http://localhost/callback"])
def test_a_native_app_is_asked_about_too(app: Flask, browser: Browser, uri: str) -> None:
    """§11 only advises it there; one with a scheme of its own is never answered silently."""
    client = factories.public_client(app, application_type="native", redirect_uris=[uri])
    rp = RelyingParty(app, browser, client)
    rp.tokens(scope="openid")
    asserts.is_redirect_error(rp.authorize(scope=OFFLINE, prompt="none"), "consent_required")


def test_it_is_never_given_unasked(rp: RelyingParty) -> None:
    """Without `scope` the registered ones count, but for this one."""
    assert "offline_access" in rp.client.scopes
    assert "offline_access" not in rp.tokens(scope=None)["scope"].split()


def test_a_client_without_refresh_tokens_has_no_use_for_it(app: Flask, browser: Browser) -> None:
    """It is ignored (§11): neither on the page nor in the answer, nor does the access token outlive the sign-in."""
    rp = RelyingParty(app, browser, *factories.client(app, grant_types=["authorization_code"]))
    browser.sign_in()
    page = browser.follow(rp.authorize(scope="openid email offline_access"))
    assert titles_of(page) == ["See your e-mail address"]
    tokens = rp.tokens(scope="openid email offline_access")
    assert tokens["scope"] == "openid email"
    assert "refresh_token" not in tokens
    asserts.is_redirect_error(rp.authorize(scope="offline_access"), "invalid_scope")
    browser.sign_out()
    asserts.is_oauth_error(rp.userinfo(tokens["access_token"]), "invalid_token", 401)


def test_a_client_that_is_not_registered_for_it_does_not_get_it(app: Flask, browser: Browser) -> None:
    """Its refresh tokens end with the sign-in."""
    rp = RelyingParty(app, browser, *factories.client(app, scope="openid"))
    tokens = rp.tokens(scope=OFFLINE)
    assert tokens["scope"] == "openid"
    browser.sign_out()
    assert not alive(rp, tokens["refresh_token"])


def test_an_unticked_one_is_not_given(app: Flask, browser: Browser) -> None:
    """Where the operator makes it optional, the app goes on without."""
    rp = RelyingParty(app, browser, *factories.client(app, optional_scopes="offline_access"))
    browser.sign_in()
    page = browser.follow(rp.authorize(scope=OFFLINE))
    answer = browser.follow(browser.submit(page, page.request.full_path, decision="allow"))
    tokens = rp.exchange(answer_of(answer)["code"]).json
    assert tokens["scope"] == "openid"
    browser.sign_out()
    assert not alive(rp, tokens["refresh_token"])


def test_a_first_party_app_gets_it_by_the_operators_word(app: Flask, browser: Browser) -> None:
    """`first_party` is the other condition that §11 speaks of; it cannot be registered by the app itself."""
    rp = RelyingParty(app, browser, *factories.client(app, first_party=True))
    browser.sign_in()
    tokens = rp.exchange(answer_of(rp.authorize(scope=OFFLINE))["code"]).json
    browser.sign_out()
    assert alive(rp, tokens["refresh_token"])


def test_a_device_stays_only_when_the_page_said_so(app: Flask, browser: Browser) -> None:
    """RFC 8628 with the same line, and the same end without it."""
    client, secret = device.client_of(app)
    found = {}
    for scope in (OFFLINE, "openid"):
        one = device.Device(app, client, secret).started(scope=scope)
        page = device.enter(browser, one.user_code)
        assert (STAY in page.text) is (scope == OFFLINE)
        device.decide(browser, page)
        found[scope] = one.tokens()["refresh_token"]
    browser.sign_out()
    rp = RelyingParty(app, browser, client)
    assert [alive(rp, found[scope]) for scope in (OFFLINE, "openid")] == [True, False]
