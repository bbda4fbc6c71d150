"""Parameters of an authorization request: PKCE, repetition, scopes, and what is refused properly."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

import pytest
from flask import Flask

from auth_server.clients import client as clients
from auth_server.clients.client import Client
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.factories import ORDERS, REDIRECT_URI
from tests.support.rp import RelyingParty, answer_of, challenge_of, payload

ONCE_ONLY = (
    *("response_type", "response_mode", "scope", "state", "nonce", "prompt", "max_age", "login_hint", "id_token_hint"),
    *("ui_locales", "acr_values", "display", "claims", "code_challenge", "code_challenge_method", "unheard_of"),
)


def refused_by_page(rp: RelyingParty, **changed: Any) -> bool:
    """Tell whether the answer is an error page that sends nobody anywhere."""
    response = rp.authorize(**changed)
    page = Page(response.text)
    stays = "Location" not in response.headers and "data-autosubmit" not in response.text
    return response.status_code == 400 and page.marker == "error" and stays


@pytest.mark.parametrize(
    ("sent", "code"),
    [(kind, "unsupported_response_type") for kind in ("token", "id_token", "code token", "code id_token", "none")]
    + [(kind, "unsupported_response_type") for kind in ("CODE", "code code", 'to"ken')]
    + [(None, "invalid_request"), ("", "invalid_request")],
)  # fmt: skip
def test_only_the_code_is_a_response_type(rp: RelyingParty, sent: str | None, code: str) -> None:
    """OAuth 2.1 §10; nothing ever stands in a fragment."""
    refused = rp.authorize(response_type=sent)
    asserts.is_redirect_error(refused, code)
    assert "#" not in refused.headers["Location"]
    assert refused.headers["Location"].startswith(REDIRECT_URI + "?")


@pytest.mark.parametrize("name", ONCE_ONLY)
def test_a_repeated_parameter_is_refused(rp: RelyingParty, name: str) -> None:
    """OAuth 2.1 §3.1, CVE-2026-9689: twice in the query or the body, or once in each: never first or last wins."""
    value = rp.request().get(name, "{}" if name == "claims" else "x")
    state = None if name == "state" else "the-state"
    asserts.is_redirect_error(rp.authorize(**{name: [value, value]}), "invalid_request", state=state)
    body = {**rp.request(), name: [value, value]}
    asserts.is_redirect_error(rp.browser.post("/oauth/authorize", body), "invalid_request", state=state)
    both = rp.browser.post("/oauth/authorize?" + urlencode({name: "other"}), {**rp.request(), name: value})
    asserts.is_redirect_error(both, "invalid_request", state=state)
    once = {} if name in ("response_mode", "prompt", "max_age", "id_token_hint") else {name: value}
    assert rp.authorize(**once).headers["Location"].startswith("/login?")


@pytest.mark.parametrize("name", ["client_id", "redirect_uri"])
def test_a_repeated_client_or_redirect_uri_gets_a_page(rp: RelyingParty, name: str) -> None:
    """Neither of the two can be trusted, so nobody is redirected."""
    value = rp.request()[name]
    error = {"client_id": "unknown_client", "redirect_uri": "redirect_uri_mismatch"}[name]
    for sent in ([value, value], [value, "https://evil.test/"], ["https://evil.test/", value]):
        asserts.is_error_page(rp.authorize(**{name: sent}), error)
    both = rp.browser.post("/oauth/authorize?" + urlencode({name: value}), rp.request())
    asserts.is_error_page(both, error)


@pytest.mark.parametrize("state", ["a+b %20&c=d\"<é>'\\/?#", "s" * 512, "日本語 🙂", "%2B%00", "0"])
def test_state_comes_back_byte_for_byte(rp: RelyingParty, state: str) -> None:
    """And so does `iss`, in success and in error, by either mode (RFC 9207 §2)."""
    assert answer_of(rp.walk(state=state))["state"] == state
    answer = asserts.is_redirect_error(rp.authorize(state=state, prompt="x"), "invalid_request", state=state)
    assert answer["iss"] == "http://localhost:8421"
    for changed in ({}, {"prompt": "x"}):
        page = asserts.is_page(rp.authorize(state=state, response_mode="form_post", **changed), "form-post")
        assert page.inputs["state"] == state
        assert page.inputs["iss"] == "http://localhost:8421"


def test_a_request_without_state_is_answered_without_one(rp: RelyingParty) -> None:
    """`state` is the app's own; none is invented (RFC 6749 §4.1.2)."""
    assert "state" not in answer_of(rp.walk(state=None))
    asserts.is_redirect_error(rp.authorize(state=None, prompt="x"), "invalid_request", state=None)


def test_markup_in_any_parameter_is_text(app: Flask, browser: Browser) -> None:
    """Every reflected value is escaped (CVE-2026-42849, CVE-2019-8400), the client's name among them."""
    markup = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
    client, secret = factories.client(app, client_name="Wiki " + markup)
    rp = RelyingParty(app, browser, client, secret)
    answers = [rp.authorize(**{name: markup}) for name in (*rp.request(), "login_hint", "ui_locales", "request")]
    answers += [browser.follow(rp.authorize(login_hint=markup)), rp.authorize(response_mode="form_post", state=markup)]
    answers += [rp.authorize(response_mode="form_post", state=markup, prompt=markup)]
    browser.sign_in()
    answers += [browser.follow(rp.authorize()), rp.walk(response_mode="form_post", state=markup)]
    for answer in answers:
        assert "<script>alert" not in answer.text
        assert "<img" not in answer.text
    assert sum("&lt;script&gt;" in answer.text for answer in answers) >= 4


@pytest.mark.parametrize("method", ["plain", "s256", "S512", "", None, "S256 plain"])
def test_only_s256_is_a_challenge_method(rp: RelyingParty, method: str | None) -> None:
    """`plain`, a missing method and junk are refused (ASVS 10.4.6)."""
    answer = asserts.is_redirect_error(rp.authorize(code_challenge_method=method), "invalid_request")
    assert answer["error_description"] == "code_challenge_method must be S256"
    assert "Location" in rp.authorize(code_challenge_method="S256").headers


@pytest.mark.parametrize("challenge", ["a" * 42, "a" * 44, "a" * 42 + "=", "a" * 42 + "+", "a" * 42 + "é", "a" * 128])
def test_a_malformed_challenge_is_refused(rp: RelyingParty, challenge: str) -> None:
    """43 characters of base64url, without padding (RFC 7636 §4.2)."""
    asserts.is_redirect_error(rp.authorize(code_challenge=challenge), "invalid_request")
    assert rp.authorize(code_challenge=challenge_of("v" * 43)).headers["Location"].startswith("/login?")


def test_pkce_is_required_of_every_client_by_default(app: Flask, browser: Browser, rp: RelyingParty) -> None:
    """Public clients always, confidential ones unless told otherwise (OAuth 2.1 §4.1.1)."""
    public = RelyingParty(app, browser, factories.public_client(app))
    relaxed = RelyingParty(app, browser, *factories.client(app, require_pkce=False))
    without = {"code_challenge": None, "code_challenge_method": None}
    for party in (rp, public):
        answer = asserts.is_redirect_error(party.authorize(**without), "invalid_request")
        assert answer["error_description"] == "code_challenge is missing: PKCE with S256 is required"
    assert relaxed.authorize(**without).headers["Location"].startswith("/login?")
    asserts.is_redirect_error(relaxed.authorize(code_challenge=None), "invalid_request")
    asserts.is_redirect_error(relaxed.authorize(code_challenge_method="plain"), "invalid_request")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"request_uri": "https://wiki.example.org/request.jwt"}, "request_uri_not_supported"),
        ({"request_uri": "urn:ietf:params:oauth:request:abc"}, "request_uri_not_supported"),
        ({"registration": '{"client_name": "x"}'}, "registration_not_supported"),
    ],
)
def test_what_is_not_supported_is_refused_as_a_whole(rp: RelyingParty, changed: dict[str, str], code: str) -> None:
    """Never honoured by half (RFC 9101 §6.3, OpenID Connect Core §3.1.2.6)."""
    asserts.is_redirect_error(rp.authorize(**changed), code)
    assert rp.authorize().headers["Location"].startswith("/login?")


@pytest.mark.parametrize("mode", ["fragment", "fragment.jwt", "JWT", "web_message.jwt", "web_message", "QUERY", '"'])
def test_an_unknown_response_mode_is_refused_by_query(rp: RelyingParty, mode: str) -> None:
    """A code never goes into a fragment."""
    refused = rp.authorize(response_mode=mode)
    asserts.is_redirect_error(refused, "invalid_request")
    assert "#" not in refused.headers["Location"]


@pytest.mark.parametrize("sent", ["soon", "-1", "1.5", "1e3", "٣", "99999999999", "0x10"])
def test_max_age_is_a_number_of_seconds(rp: RelyingParty, sent: str) -> None:
    """OpenID Connect Core §3.1.2.1."""
    asserts.is_redirect_error(rp.authorize(max_age=sent), "invalid_request")
    assert rp.authorize(max_age="0").headers["Location"].startswith("/login?")


@pytest.mark.parametrize("sent", ["sometimes", "none login", "none consent", "login none", "Login", "login,consent"])
def test_unknown_and_impossible_prompts_are_refused(rp: RelyingParty, sent: str) -> None:
    """`none` stands alone (OpenID Connect Core §3.1.2.1)."""
    asserts.is_redirect_error(rp.authorize(prompt=sent), "invalid_request")
    for good in ("login consent", "login select_account", "consent"):
        assert rp.authorize(prompt=good).headers["Location"].startswith("/login?")


def test_unheard_of_parameters_are_ignored(rp: RelyingParty) -> None:
    """So are those we tolerate without acting on them (RFC 6749 §3.1): `ui_locales`, `acr_values`, `claims`."""
    tolerated = {
        "ui_locales": "fr-CA xx",
        "acr_values": "urn:mace:gold 5",
        "claims": '{"userinfo":{}}',
        "display": "wap",
    }
    assert "code" in answer_of(rp.walk(**tolerated, login_hint="", audience="x", foo="bar", vtr="x"))


def test_foreign_scopes_are_dropped_and_the_answer_says_so(rp: RelyingParty) -> None:
    """Unknown scopes, and those of APIs that the client is not registered for, are never granted."""
    factories.api(rp.app)
    tokens = rp.tokens(scope="openid admin orders:read email roles")
    assert tokens["scope"] == "openid email"
    assert payload(tokens["access_token"])["scope"] == "openid email"
    asserts.is_redirect_error(rp.authorize(scope="admin orders:read"), "invalid_scope")


def test_without_scope_the_registered_ones_count_but_for_offline_access(app: Flask, browser: Browser) -> None:
    """An empty `scope` counts as not sent (RFC 6749 §3.1)."""
    factories.api(app)
    client, secret = factories.client(app, scope="openid email offline_access orders:read nothing:known")
    rp = RelyingParty(app, browser, client, secret)
    for absent in (None, ""):
        assert rp.tokens(scope=absent)["scope"] == "openid email orders:read"
    assert "offline_access" in rp.tokens(scope="openid offline_access")["scope"]


@pytest.mark.parametrize("resource", ["https://nobody.example.org", "orders", "https://x#f", "https://x/é", '"', " "])
def test_a_resource_that_the_client_may_not_use_is_refused(rp: RelyingParty, resource: str) -> None:
    """`invalid_target` for unknown, malformed and foreign APIs (RFC 8707 §2)."""
    factories.api(rp.app)
    asserts.is_redirect_error(rp.authorize(resource=resource), "invalid_target")
    asserts.is_redirect_error(rp.authorize(resource=ORDERS), "invalid_target")
    asserts.is_redirect_error(rp.authorize(resource=["https://a.example"] * 30), "invalid_target")
    factories.within(rp.app, lambda: clients.change(rp.client, {"scope": "openid orders:read"}))
    assert rp.authorize(resource=ORDERS).headers["Location"].startswith("/login?")
    asserts.is_redirect_error(rp.authorize(resource=[ORDERS, resource]), "invalid_target")


def test_a_refused_request_leaves_one_event_and_no_row(rp: RelyingParty) -> None:
    """Audit says which client was refused and why; nothing else is written."""
    before = asserts.rows(rp.app)
    refused = rp.authorize(prompt="x")
    assert asserts.rows(rp.app) == before
    (event,) = asserts.events_of(rp.app, "authorization.refused")
    assert (event.client_id, event.result, event.data["error"]) == (rp.client.client_id, "failure", "invalid_request")
    assert event.request_id == refused.headers["X-Request-Id"]


def test_a_waiting_request_holds_no_secret(rp: RelyingParty, wiki: tuple[Client, str]) -> None:
    """The browser carries the row's id only, and the row only what came by the browser."""
    waiting = rp.authorize()
    (row,) = asserts.rows(rp.app)["authorization_request"]
    assert rp.verifier not in row
    assert wiki[1] not in row
    assert "the-state" not in waiting.headers["Location"]
