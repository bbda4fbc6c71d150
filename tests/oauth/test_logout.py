"""The end session endpoint (RP-Initiated Logout 1.0), named by the certification's modules where there is one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.tokens import ending
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.rp import RelyingParty, answer_of, payload

BACK = "https://wiki.example.org/signed-out"
STATE = "s" * 128


@pytest.fixture
def leaver(app: Flask, browser: Browser) -> RelyingParty:
    """Return an app with an address to come back to."""
    return RelyingParty(app, browser, *factories.client(app, post_logout_redirect_uris=[BACK, BACK + "?from=us"]))


def hint_of(rp: RelyingParty, **changed: Any) -> str:
    return str(rp.tokens(**changed)["id_token"])


def ask(rp: RelyingParty, **parameters: str) -> TestResponse:
    return rp.browser.get("/oauth/logout?" + urlencode(parameters))


def is_signed_in(rp: RelyingParty) -> bool:
    return rp.browser.get("/account").status_code == 200


def asks_first(rp: RelyingParty, response: TestResponse) -> Page:
    """The page asks; nothing has ended."""
    page = asserts.is_page(response, "logout")
    assert is_signed_in(rp)
    return page


def test_an_app_signs_the_person_out(leaver: RelyingParty) -> None:
    """oidcc-rp-initiated-logout: back with `state` and nothing else; then `prompt=none` says `login_required`."""
    hint = hint_of(leaver)
    answer = ask(leaver, id_token_hint=hint, post_logout_redirect_uri=BACK, state=STATE)
    assert (answer.status_code, answer.headers["Location"]) == (303, f"{BACK}?state={STATE}")
    assert answer.headers["Clear-Site-Data"] == '"cache"'
    asserts.is_redirect_error(leaver.authorize(prompt="none"), "login_required")
    assert not is_signed_in(leaver)


def test_without_state_none_comes_back(leaver: RelyingParty) -> None:
    """oidcc-rp-initiated-logout-no-state; a registered query stays as it is."""
    hint = hint_of(leaver)
    assert ask(leaver, id_token_hint=hint, post_logout_redirect_uri=BACK).headers["Location"] == BACK
    again = ask(leaver, id_token_hint=hint, post_logout_redirect_uri=BACK + "?from=us", state="x")
    assert again.headers["Location"] == BACK + "?from=us&state=x"


def test_an_expired_hint_is_as_good(leaver: RelyingParty, in_a_while: Callable[[timedelta], None]) -> None:
    """RP-Initiated Logout §2: the session may outlive the ID token."""
    hint = hint_of(leaver)
    in_a_while(timedelta(minutes=50))
    assert is_signed_in(leaver)
    assert ask(leaver, id_token_hint=hint, post_logout_redirect_uri=BACK).headers["Location"] == BACK
    assert not is_signed_in(leaver)


def test_an_app_may_post(leaver: RelyingParty) -> None:
    """RP-Initiated Logout §2: a POST from another site brings no cookie, so it goes on as a GET."""
    hint = hint_of(leaver)
    stranger = leaver.app.test_client(use_cookies=False)
    fields = {"id_token_hint": hint, "post_logout_redirect_uri": BACK, "state": "x"}
    posted = stranger.post(
        "/oauth/logout", data=fields, headers={"Origin": "https://wiki.example.org"}, base_url="http://localhost:8421"
    )
    assert posted.status_code == 303
    assert hint.split(".")[1] not in posted.headers["Location"]
    assert is_signed_in(leaver)
    assert leaver.browser.follow(posted).headers["Location"] == BACK + "?state=x"
    assert not is_signed_in(leaver)


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/",
        BACK + "/",
        BACK + "?added=1",
        BACK + "#x",
        BACK.upper(),
        "//wiki.example.org/signed-out",
        "javascript:alert(1)",
        "https://wiki.example.org@evil.example/signed-out",
        "https://wiki.example.org/callback",
    ],
)
def test_an_unregistered_address_ends_the_session_and_leads_nowhere(leaver: RelyingParty, uri: str) -> None:
    """…-bad-post-logout-redirect-uri, …-query-added-to-post-logout-redirect-uri (USR-24)."""
    answer = ask(leaver, id_token_hint=hint_of(leaver), post_logout_redirect_uri=uri, state="x")
    asserts.is_page(answer, "signed-out")
    assert "Location" not in answer.headers
    assert 'href="https://evil' not in answer.text
    assert not is_signed_in(leaver)


def altered(hint: str, how: str) -> str:
    head, body, signature = hint.split(".")
    if how == "alg none":
        head = base64.urlsafe_b64encode(json.dumps({"alg": "none", "typ": "JWT"}).encode()).rstrip(b"=").decode()
        return f"{head}.{body}."
    if how == "a stranger's":
        return f"{head}.{body}.{signature[::-1]}"
    return {"no token": "x", "empty parts": "..", "cut": hint[:-10]}[how]


@pytest.mark.parametrize("how", ["alg none", "a stranger's", "no token", "empty parts", "cut"])
def test_an_altered_hint_proves_nothing(leaver: RelyingParty, how: str) -> None:
    """…-modified-id-token-hint, …-bad-id-token-hint: the person is asked, and no redirect follows."""
    hint = altered(hint_of(leaver), how)
    client_id = leaver.client.client_id
    page = ask(leaver, id_token_hint=hint, client_id=client_id, post_logout_redirect_uri=BACK, state="x")
    asks_first(leaver, page)
    answer = leaver.browser.submit(page, "/logout", decision="logout")
    asserts.is_page(answer, "signed-out")
    assert not is_signed_in(leaver)


def test_an_access_token_is_no_hint(leaver: RelyingParty) -> None:
    """Another kind of token that we signed proves nothing (RFC 8725 §3.11)."""
    access_token = leaver.tokens()["access_token"]
    asks_first(leaver, ask(leaver, id_token_hint=access_token, post_logout_redirect_uri=BACK))


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"state": "x"},
        {"post_logout_redirect_uri": BACK},
        {"post_logout_redirect_uri": BACK, "client_id": "nobody"},
        {"request": "made-up"},
    ],
)
def test_without_a_hint_the_person_is_asked(leaver: RelyingParty, parameters: dict[str, str]) -> None:
    """…-no-params, …-only-state, …-no-id-token-hint: no image on a foreign page signs anybody out."""
    leaver.tokens()
    page = ask(leaver, **parameters)
    asks_first(leaver, page)
    asserts.is_page(leaver.browser.submit(page, "/logout", decision="logout"), "signed-out")
    assert not is_signed_in(leaver)


def test_a_hint_alone_signs_out_to_our_page(leaver: RelyingParty) -> None:
    """…-no-post-logout-redirect-uri."""
    asserts.is_page(ask(leaver, id_token_hint=hint_of(leaver)), "signed-out")
    assert not is_signed_in(leaver)


def test_a_named_client_gets_the_browser_back_once_the_person_agreed(leaver: RelyingParty) -> None:
    """RP-Initiated Logout §2: `client_id` without a hint."""
    leaver.tokens()
    wanted = {"client_id": leaver.client.client_id, "post_logout_redirect_uri": BACK, "state": "x"}
    page = ask(leaver, **wanted)
    assert "Wiki" in asks_first(leaver, page).text
    stays = leaver.browser.submit(page, "/logout", decision="stay")
    assert stays.headers["Location"] == "/account"
    assert is_signed_in(leaver)
    assert leaver.browser.submit(page, "/logout", decision="logout").headers["Location"] == BACK + "?state=x"
    assert not is_signed_in(leaver)


def test_a_hint_of_another_person_or_app_is_not_believed(leaver: RelyingParty, ben: object) -> None:
    """LO-04: Ben's hint in Ada's session asks; so does a `client_id` that is not the hint's."""
    bens = RelyingParty(leaver.app, Browser(leaver.app), leaver.client, leaver.secret)
    foreign = hint_of(bens, email="ben@example.org")
    own = hint_of(leaver)
    page = ask(leaver, id_token_hint=foreign, post_logout_redirect_uri=BACK)
    assert "ada@example.org" in asks_first(leaver, page).text
    asks_first(leaver, ask(leaver, id_token_hint=own, client_id="other", post_logout_redirect_uri=BACK))


def test_nobody_is_signed_in_any_more(leaver: RelyingParty) -> None:
    """There is nothing to ask: a proved app gets the browser back, others our page."""
    hint = hint_of(leaver)
    leaver.browser.sign_out()
    assert ask(leaver, id_token_hint=hint, post_logout_redirect_uri=BACK).headers["Location"] == BACK
    asserts.is_page(ask(leaver), "signed-out")


def test_a_named_app_proves_nothing_when_nobody_is_signed_in(leaver: RelyingParty) -> None:
    """LO-03: `client_id` alone redirects nobody; the page offers the way back, to registered addresses only."""
    wanted = {"client_id": leaver.client.client_id, "post_logout_redirect_uri": BACK, "state": "x"}
    answer = ask(leaver, **wanted)
    asserts.is_page(answer, "signed-out")
    assert f'<a href="{BACK}?state=x">Back to Wiki</a>' in answer.text
    foreign = ask(leaver, **{**wanted, "post_logout_redirect_uri": "https://evil.example/"})
    assert "Back to" not in foreign.text


def test_a_disabled_app_gets_nobody_back(leaver: RelyingParty) -> None:
    """What it had registered does not count any more."""
    hint = hint_of(leaver)
    factories.within(leaver.app, lambda: ending.disable_client(leaver.client))
    answer = ask(leaver, id_token_hint=hint, post_logout_redirect_uri=BACK)
    assert "Location" not in answer.headers


def test_odd_input_is_no_crash(leaver: RelyingParty) -> None:
    """Repeated, empty, oversized and binary parameters count as not sent."""
    for query in (
        "state=a&state=b",
        "id_token_hint=",
        "state=" + "x" * 9000,
        "client_id=%00",
        "request=%00",
        "%ff=%ff",
    ):
        assert leaver.browser.get("/oauth/logout?" + query).status_code == 200


def test_metadata_names_it(leaver: RelyingParty) -> None:
    """…-discovery-endpoint-verification."""
    found = leaver.machine.get("/.well-known/openid-configuration").json
    assert found["end_session_endpoint"] == "http://localhost:8421/oauth/logout"


def test_apps_in_the_front_are_told_through_frames(app: Flask, browser: Browser) -> None:
    """oidcc-frontchannel-rp-initiated-logout: a frame with `iss` and `sid`, allowed by name, and then onward."""
    told = {"frontchannel_logout_uri": "https://wiki.example.org/front?x=1", "post_logout_redirect_uris": [BACK]}
    rp = RelyingParty(app, browser, *factories.client(app, **told))
    found = rp.tokens()
    sid = payload(found["id_token"])["sid"]
    answer = ask(rp, id_token_hint=found["id_token"], post_logout_redirect_uri=BACK, state="x")
    asserts.is_page(answer, "signed-out")
    about = urlencode({"iss": "http://localhost:8421", "sid": sid}).replace("&", "&amp;")
    assert f'src="https://wiki.example.org/front?x=1&amp;{about}"' in answer.text
    assert f'href="{BACK}?state=x"' in answer.text
    assert "frame-src https://wiki.example.org" in answer.headers["Content-Security-Policy"]
    assert not is_signed_in(rp)
    assert "frame-src" not in rp.browser.get("/login").headers["Content-Security-Policy"]
    assert answer_of(rp.authorize(prompt="none"))["error"] == "login_required"
