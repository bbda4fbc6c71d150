"""Pushed authorization requests (RFC 9126). Tests that stand for a module of the conformance suite bear its name."""

from __future__ import annotations

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from auth_server.clients import client as clients
from auth_server.oauth import waiting as requests
from auth_server.oauth.authorization_request import REFERENCE
from auth_server.values import Rate
from tests.oauth.test_redirect_uri import EVIL
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.database import dump
from tests.support.rp import RelyingParty, answer_of, basic

PAR = "/oauth/par"
Travel = Callable[[timedelta], None]


def waiting(app: Flask) -> list[str]:
    return asserts.rows(app)["authorization_request"]


@pytest.fixture
def other(app: Flask, browser: Browser) -> RelyingParty:
    """Return another client at the same browser."""
    return RelyingParty(app, browser, *factories.client(app, client_name="Notes"))


def test_happy_flow(rp: RelyingParty) -> None:
    """201 with a reference that nobody guesses; the browser brings it, and the code redeems as any other."""
    answer = rp.push()
    assert answer.status_code == 201
    assert answer.content_type == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert set(answer.json) == {"request_uri", "expires_in"}
    assert 60 <= answer.json["expires_in"] <= 90
    reference = answer.json["request_uri"]
    assert reference.startswith("urn:ietf:params:oauth:request_uri:")
    assert len(base64.urlsafe_b64decode(reference.removeprefix(REFERENCE) + "=")) * 8 >= 128
    back = rp.walk_on(rp.bring(reference))
    assert back.headers["Location"].startswith(factories.REDIRECT_URI + "?")
    assert answer_of(back)["state"] == "the-state"
    assert answer_of(back)["iss"] == "http://localhost:8421"
    tokens = rp.exchange(answer_of(back)["code"])
    assert tokens.status_code == 200
    assert set(tokens.json["scope"].split()) == {"openid", "profile", "email", "offline_access"}
    assert rp.reference() != rp.reference()


def test_par_without_duplicate_parameters(rp: RelyingParty) -> None:
    """`client_id` and `request_uri` are all that the browser brings; both are needed."""
    rp.browser.sign_in()
    reference = rp.reference()
    asserts.is_error_page(rp.browser.get("/oauth/authorize?request_uri=" + reference), "unknown_client")
    asserts.is_page(rp.browser.follow(rp.bring(reference)), "consent")


def test_what_stands_beside_the_reference_is_ignored(rp: RelyingParty) -> None:
    """ensure-different-nonce/state-inside-and-outside-request-object: what was pushed counts (RFC 9126 §4, PA-03)."""
    beside = {"redirect_uri": "https://evil.test/", "state": "outside", "scope": "openid", "response_mode": "form_post"}
    back = rp.walk_on(rp.bring(rp.reference(), **beside, nonce="outside", prompt="none", code_challenge="x" * 43))
    assert back.headers["Location"].startswith(factories.REDIRECT_URI + "?")
    assert answer_of(back)["state"] == "the-state"
    assert "offline_access" in rp.exchange(answer_of(back)["code"]).json["scope"]


def test_state_only_outside_request_object_not_used(rp: RelyingParty) -> None:
    """A `state` that was not pushed does not come back."""
    assert "state" not in answer_of(rp.walk_on(rp.bring(rp.reference(state=None), state="outside")))


@pytest.mark.parametrize("given", [{"state": "s" * 384}, {"nonce": "n" * 384}, {"nonce": "n" * 64}, {"nonce": None}])
def test_long_and_missing_values_come_back_whole(rp: RelyingParty, given: dict[str, Any]) -> None:
    """ensure-authorization-request-with-long-state, -long-nonce, -64-char-nonce-success, -without-nonce-success."""
    back = rp.walk_on(rp.bring(rp.reference(**given)))
    assert answer_of(back)["state"] == given.get("state", "the-state")
    assert rp.exchange(answer_of(back)["code"]).status_code == 200


def test_par_ensure_reused_request_uri_prior_to_auth_completion_succeeds(rp: RelyingParty, in_a_while: Travel) -> None:
    """The browser that came first may come again, after the reference's life too, until it is done."""
    reference = rp.reference()
    login = rp.browser.follow(rp.bring(reference))
    asserts.is_page(login, "login")
    in_a_while(timedelta(minutes=5))
    again = rp.bring(reference)
    assert again.headers["Location"] == rp.bring(reference).headers["Location"]
    assert len(waiting(rp.app)) == 1
    assert "code" in answer_of(rp.walk_on(again))


def test_par_attempt_reuse_request_uri(rp: RelyingParty) -> None:
    """Once a code was issued, the same browser gets a page with the way back to the app, another one too."""
    reference = rp.reference()
    assert "code" in answer_of(rp.walk_on(rp.bring(reference)))
    page = asserts.is_error_page(rp.bring(reference), "flow_expired")
    assert 'href="https://wiki.example.org/"' in page.text
    assert "Back to Wiki" in page.text
    assert "the-state" not in page.text
    asserts.is_error_page(rp.bring(reference, Browser(rp.app)), "invalid_request_uri")
    assert len(asserts.events_of(rp.app, "code.issued")) == 1


def test_user_rejects_authentication(rp: RelyingParty) -> None:
    """A refusal by the person uses the reference up, too."""
    rp.browser.sign_in()
    reference = rp.reference()
    consent = rp.browser.follow(rp.bring(reference))
    denied = rp.browser.submit(consent, consent.request.full_path, decision="deny")
    asserts.is_redirect_error(denied, "access_denied")
    asserts.is_error_page(rp.bring(reference), "flow_expired")


def test_par_attempt_to_use_expired_request_uri(rp: RelyingParty, in_a_while: Travel) -> None:
    """Nobody came in time: a page, never a redirect; a moment earlier is in time."""
    in_time, too_late = rp.reference(), rp.reference()
    in_a_while(timedelta(seconds=88))
    assert rp.bring(in_time).status_code == 303
    in_a_while(timedelta(seconds=4))
    page = asserts.is_error_page(rp.bring(too_late), "invalid_request_uri")
    assert "Back to Wiki" in page.text
    assert rp.bring(in_time).status_code == 303


def test_par_attempt_to_use_request_uri_for_different_client(rp: RelyingParty, other: RelyingParty) -> None:
    """Another client's name beside it is refused, and costs the owner nothing."""
    reference = rp.reference()
    asserts.is_error_page(other.bring(reference), "invalid_request_uri")
    asserts.is_error_page(other.bring(reference), "invalid_request_uri")
    assert "code" in answer_of(rp.walk_on(rp.bring(reference)))


def test_a_reference_is_for_the_browser_that_first_comes_with_it(rp: RelyingParty) -> None:
    """Whoever copies the link later gets nothing; whoever was first goes on (AZ-09)."""
    reference = rp.reference()
    first = rp.bring(reference)
    asserts.is_error_page(rp.bring(reference, Browser(rp.app)), "invalid_request_uri")
    assert "code" in answer_of(rp.walk_on(first))


def test_the_row_opens_nothing_before_its_reference_was_brought(rp: RelyingParty) -> None:
    """Whoever reads the database finds a digest, and an id that no browser may use yet."""
    reference = rp.reference()
    ((row,),) = [dump(rp.app)["authorization_request"]]
    assert reference.removeprefix(REFERENCE) not in row
    flow = row.split("'")[1]
    asserts.is_error_page(rp.browser.get(f"/oauth/authorize?flow={flow}"), "flow_expired")
    assert rp.bring(reference).status_code == 303
    assert rp.browser.get(f"/oauth/authorize?flow={flow}").status_code == 303


def test_what_proves_the_client_is_not_stored(app: Flask, browser: Browser) -> None:
    """Nor is it taken for a part of the request."""
    rp = RelyingParty(app, browser, *factories.client(app, token_endpoint_auth_method="client_secret_post"))
    proof = {"client_id": rp.client.client_id, "client_secret": rp.secret}
    assert rp.post(PAR, {**rp.request(), **proof}, headers={}).status_code == 201
    (row,) = waiting(app)
    assert rp.secret not in row
    assert "client_secret" not in row


def test_par_authorization_request_containing_request_uri_form_param(rp: RelyingParty) -> None:
    """400 `invalid_request`, whatever it names, even another push of the same client (PA-04)."""
    for uri in (rp.reference(), "https://wiki.example.org/request", "urn:x"):
        asserts.is_oauth_error(rp.push(request_uri=uri), "invalid_request")
    assert rp.push(request_uri="").status_code == 201  # an empty parameter counts as not sent


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
def test_par_attempt_invalid_http_method(rp: RelyingParty, method: str) -> None:
    """405 in JSON that names POST."""
    answer = rp.machine.open(PAR, method=method, data=rp.request(), headers=basic(rp.client.client_id, rp.secret))
    asserts.is_oauth_error(answer, "invalid_request", 405)
    assert answer.headers["Allow"] == "POST, OPTIONS"
    assert waiting(rp.app) == []


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"redirect_uri": None}, "invalid_request"),  # ensure-request-object-without-redirect-uri-fails
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),  # par-ensure-pkce-required
        ({"code_challenge_method": "plain"}, "invalid_request"),  # par-plain-pkce-rejected
        ({"response_type": "code id_token"}, "unsupported_response_type"),  # ensure-response-type-code-idtoken-fails
        ({"response_type": "token"}, "unsupported_response_type"),  # ensure-response-type-token-fails
        ({"response_type": None}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"scope": "nothing:known"}, "invalid_scope"),
        ({"prompt": "none login"}, "invalid_request"),
        ({"max_age": "soon"}, "invalid_request"),
        ({"id_token_hint": "forged"}, "invalid_request"),
        ({"request": "e30.e30."}, "invalid_request_object"),
        ({"registration": "{}"}, "registration_not_supported"),
        ({"resource": "https://nobody.example.org"}, "invalid_target"),
        ({"state": ["one", "two"]}, "invalid_request"),
        ({"nonce": "\x00"}, "invalid_request"),
        ({"client_id": "somebody-else"}, "invalid_request"),
    ],
)
def test_a_wrong_request_is_refused_when_it_is_pushed(rp: RelyingParty, changed: dict[str, Any], code: str) -> None:
    """JSON, never a page or a redirect; nothing is stored, and the log has the cause (PA-01)."""
    answer = rp.push(**changed)
    asserts.is_oauth_error(answer, code)
    assert answer.json["error_description"]
    assert "Location" not in answer.headers
    assert waiting(rp.app) == []


def test_plain_fapi_tolerate_unregistered_redirect_uri(rp: RelyingParty) -> None:
    """Only registered redirect URIs, for clients with a secret too: no near miss is pushed."""
    assert [uri for uri in EVIL if rp.push(redirect_uri=uri).status_code != 400] == []
    assert waiting(rp.app) == []
    refusal = rp.push(redirect_uri="https://evil.test/").json
    assert refusal["error_description"] == "redirect_uri is not one that is registered for this app"
    refused = asserts.events_of(rp.app, "authorization.refused")
    assert refused[-1].client_id == rp.client.client_id
    assert refused[-1].reason.startswith("redirect_uri: ")
    assert rp.push().status_code == 201


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_every_way_to_authenticate(app: Flask, browser: Browser, method: str) -> None:
    """The token endpoint's gate; a public client names itself, and its PKCE is all that protects it (RFC 9126 §2)."""
    rp = RelyingParty(app, browser, *factories.client(app, token_endpoint_auth_method=method))
    named = {"client_id": rp.client.client_id}
    headers = basic(rp.client.client_id, rp.secret) if method == "client_secret_basic" else {}
    fields = named | ({"client_secret": rp.secret} if method == "client_secret_post" else {})
    reference = rp.post(PAR, {**rp.request(), **fields}, headers=headers).json["request_uri"]
    assert "code" in answer_of(rp.walk_on(rp.bring(reference)))
    before = asserts.rows(app)
    wrong: tuple[tuple[dict[str, str], dict[str, str]], ...] = (
        (basic(rp.client.client_id, "wrong"), {}),
        ({}, {**named, "client_secret": "wrong"}),
        ({}, {"client_id": "nobody"}),
        ({}, {"client_id": ""}),
        ({}, named) if method != "none" else ({}, {**named, "client_assertion": "x"}),
    )
    for sent, proof in wrong:
        answer = rp.post(PAR, {**rp.request(client_id=None), **proof}, headers=sent)
        asserts.is_oauth_error(answer, "invalid_client", 401)
    assert asserts.rows(app) == before


def test_a_client_that_proved_itself_need_not_name_itself(rp: RelyingParty) -> None:
    """Libraries that authenticate by Basic leave `client_id` out."""
    assert "code" in answer_of(rp.walk_on(rp.bring(rp.reference(client_id=None))))


def test_ensure_unsigned_authorization_request_without_using_par_fails(app: Flask, browser: Browser) -> None:
    """A client that must push: the same request by the browser is refused, its push is not (PA-05)."""
    rp = RelyingParty(app, browser, *factories.client(app, require_pushed_authorization_requests=True))
    answer = asserts.is_redirect_error(rp.authorize(), "invalid_request")
    assert "pushed" in answer["error_description"]
    asserts.is_redirect_error(rp.browser.post("/oauth/authorize", rp.request()), "invalid_request")
    asserts.is_error_page(rp.authorize(redirect_uri="https://evil.test/"), "redirect_uri_mismatch")
    assert "code" in answer_of(rp.walk_on(rp.bring(rp.reference())))


def test_the_whole_server_may_demand_it(make_app: Callable[..., Flask]) -> None:
    """`REQUIRE_PAR`: every client must push."""
    app = make_app(require_par=True)
    factories.person(app, roles=["administrator"])
    rp = RelyingParty(app, Browser(app), *factories.client(app))
    about = rp.machine.get("/.well-known/oauth-authorization-server").json
    assert about["require_pushed_authorization_requests"] is True
    asserts.is_redirect_error(rp.authorize(), "invalid_request")
    assert "code" in answer_of(rp.walk_on(rp.bring(rp.reference())))


def test_a_demand_that_comes_later_counts_at_the_next_step(rp: RelyingParty) -> None:
    """A request that waits and was not pushed goes no further."""
    plain, pushed = rp.browser.follow(rp.authorize()), rp.bring(rp.reference())
    factories.within(rp.app, lambda: clients.change(rp.client, {"require_pushed_authorization_requests": True}))
    path = plain.request.args["next"]
    asserts.is_redirect_error(rp.browser.get(path), "invalid_request")
    assert "code" in answer_of(rp.walk_on(pushed))


def test_a_reference_that_is_posted_is_taken_by_the_get_that_follows(rp: RelyingParty) -> None:
    """A cross-site POST carries no cookie, so it must not bind the reference to a browser that nobody is."""
    reference = rp.reference()
    fields = {"client_id": rp.client.client_id, "request_uri": reference, "state": "outside"}
    stranger = Browser(rp.app).post("/oauth/authorize", fields)
    assert stranger.status_code == 303
    assert "outside" not in stranger.headers["Location"]
    assert "code" in answer_of(rp.walk_on(rp.browser.post("/oauth/authorize", fields)))


def test_prompt_none(rp: RelyingParty) -> None:
    """Without a session the app hears `login_required`; with one and consent, the code comes without a page."""
    asserts.is_redirect_error(rp.bring(rp.reference(prompt="none")), "login_required")
    rp.walk()
    assert "code" in answer_of(rp.bring(rp.reference(prompt="none")))


def test_prompt_login_wants_a_sign_in_after_the_browser_came(rp: RelyingParty) -> None:
    """One between the push and the browser's coming was for something else (AZ-12)."""
    reference = rp.reference(prompt="login")
    rp.browser.sign_in()
    asserts.is_page(rp.browser.follow(rp.bring(reference)), "login")
    assert "code" in answer_of(rp.walk_on(rp.bring(reference)))


def test_what_was_right_when_it_was_pushed_is_checked_again(rp: RelyingParty) -> None:
    """A redirect URI that was removed, a client that was disabled meanwhile."""
    reference, another = rp.reference(), rp.reference()
    moved = ["https://wiki.example.org/other"]
    factories.within(rp.app, lambda: clients.change(rp.client, {"redirect_uris": moved}))
    asserts.is_error_page(rp.bring(reference), "redirect_uri_mismatch")
    factories.within(rp.app, lambda: clients.switch(rp.client, enabled=False))
    asserts.is_error_page(rp.bring(another), "client_disabled")
    asserts.is_oauth_error(rp.push(), "invalid_client", 401)


@pytest.mark.parametrize(
    "uri", ["", "x", "x" * 43, "x" * 5000, "\x00", "é", "' OR '1'='1", "../x", "%00", "<script>alert(1)</script>"]
)
def test_an_unknown_reference_is_a_page(rp: RelyingParty, uri: str) -> None:
    """Nobody knows where to send the browser; nothing of it is on the page."""
    page = asserts.is_error_page(rp.bring(REFERENCE + uri), "invalid_request_uri")
    assert "<script>alert" not in page.text
    twice = [rp.reference(), REFERENCE + uri]
    asserts.is_error_page(rp.bring("", request_uri=twice), "invalid_request_uri")
    assert rp.bring(rp.reference()).status_code == 303


def test_the_way_back_is_the_apps_home_page(app: Flask, browser: Browser) -> None:
    """The registered one; without it the site of a redirect URI; an app on the device has none."""
    unknown = REFERENCE + "x" * 43
    homes = {
        "https://home.example.org/": factories.client(app, client_uri="https://home.example.org/"),
        "https://wiki.example.org/": factories.client(app),
        "": factories.client(app, redirect_uris=["com.example.app:/cb", "http://127.0.0.1/cb"]),
    }
    for home, client in homes.items():
        page = asserts.is_error_page(RelyingParty(app, browser, *client).bring(unknown), "invalid_request_uri")
        assert (f'class="btn btn-primary" href="{home}"' in page.text) is bool(home)
        assert "Go back to the app" in page.text


def test_a_large_request_fits_and_a_huge_one_does_not(rp: RelyingParty) -> None:
    """64 kB, as at every endpoint (PA-06); a value may have 8 kB, more than an address takes."""
    long = {f"x{number}": "y" * 8000 for number in range(6)}
    reference = rp.reference(**long)
    assert rp.bring(reference).status_code == 303
    asserts.is_oauth_error(rp.push(x="y" * 1_000_000), "invalid_request", 413)
    asserts.is_oauth_error(rp.push(**{f"x{number}": "y" for number in range(200)}), "invalid_request", 413)
    asserts.is_oauth_error(rp.push(x="y" * 9000), "invalid_request")


def test_a_flood_is_refused(make_app: Callable[..., Flask]) -> None:
    """Pushes create rows, so they count per address, whoever sends them (PA-06); the token endpoint stays open."""
    app = make_app(create_rate_limit=Rate(5, timedelta(minutes=1)), endpoint_rate_limit=Rate(5, timedelta(minutes=1)))
    factories.person(app, roles=["administrator"])
    rp = RelyingParty(app, Browser(app), *factories.client(app))
    assert [rp.push().status_code for _ in range(12)] == [201] * 5 + [429] * 7
    asserts.is_oauth_error(rp.push(), "temporarily_unavailable", 429)
    assert 0 < int(rp.push().headers["Retry-After"]) <= 60
    asserts.is_oauth_error(rp.exchange("unknown"), "invalid_grant")
    elsewhere = Browser(app, "203.0.113.7").post(PAR, rp.request(), headers=basic(rp.client.client_id, rp.secret))
    assert elsewhere.status_code == 201
    assert len(waiting(app)) == 6


def test_what_nobody_came_with_is_deleted(rp: RelyingParty, in_a_while: Travel) -> None:
    """As soon as it has expired; what a browser came with stays as long as any other request."""
    brought = rp.reference()
    rp.reference()
    rp.bring(brought)
    in_a_while(timedelta(minutes=2))
    assert factories.within(rp.app, requests.prune) == 1
    assert "code" in answer_of(rp.walk_on(rp.bring(brought)))


def test_browser_apps_may_push(rp: RelyingParty) -> None:
    """CORS as at the token endpoint: preflight, answer and error, never with credentials."""
    asked = {"Origin": "https://spa.example.org", "Access-Control-Request-Method": "POST"}
    preflight = rp.machine.options(PAR, headers=asked)
    assert preflight.status_code == 204
    assert "DPoP" in preflight.headers["Access-Control-Allow-Headers"]
    for answer in (preflight, rp.push(), rp.push(scope="nothing:known")):
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert "Access-Control-Allow-Credentials" not in answer.headers
