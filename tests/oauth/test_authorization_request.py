"""Parameters of an authorization request: redirect URIs, PKCE, repetition, scopes, and what is refused properly."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from flask import Flask

from auth_server.clients import client as clients
from auth_server.clients.client import Client
from auth_server.tokens import ending
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.factories import ORDERS, REDIRECT_URI
from tests.support.rp import RelyingParty, answer_of, challenge_of, payload

WITH_QUERY = "https://wiki.example.org/callback?tenant=a&x=1"
EVIL = (
    *(REDIRECT_URI + tail for tail in ("/extra", "/", "?", "?next=1", "?code=x", "#", "#fragment", ";param", ".evil")),
    *(REDIRECT_URI + tail for tail in ("%00", "\x00", "\r\n", "\t", " ", "%20", "%0d%0aX:%20y", "%2f", "/.", "é")),
    *("https://wiki.example.org/" + path for path in ("", "Callback", "CALLBACK", "/callback", "//callback")),
    "https://wiki.example.org/%63allback",
    *("https://wiki.example.org/" + path for path in ("x/../callback", "./callback", "..;/callback", "*", "callbac")),
    *("https://wiki.example.org/callback/" + path for path in ("../evil", "..;/evil", "%2e%2e/evil", "..%2fevil", "*")),
    *("https://wiki.example.org" + text for text in ("", ":443/callback", ":8443/callback", ".evil.test/callback")),
    *("https://wiki.example.org" + text for text in ("@evil.test/callback", "%40evil.test/callback", "./callback")),
    *("https://wiki.example.org" + text for text in ("\\@evil.test/callback", "%2fcallback", "%5ccallback")),
    *("https://" + text for text in ("evil.wiki.example.org/callback", "example.org/callback", "org/callback")),
    *("https://" + text for text in ("user@wiki.example.org/callback", "a@b@wiki.example.org/callback")),
    *("https://" + text for text in ("good@evil.test@wiki.example.org/callback", "wikixexample.org/callback")),
    *("https://" + text for text in ("w\u0456ki.example.org/callback", "wiki.ex\u0430mple.org/callback")),
    *("https://" + text for text in ("wiki\uff0eexample.org/callback", "xn--wki-2qa.example.org/callback")),
    *("https://" + text for text in ("WIKI.example.org/callback", "*.example.org/callback", "[::1]/callback")),
    *("https://" + text for text in ("2130706433/callback", "0177.0.0.1/callback", "0x7f.1/callback", "/callback")),
    *("http://wiki.example.org/callback", "HTTPS://wiki.example.org/callback", "Https://wiki.example.org/callback"),
    *("//wiki.example.org/callback", "///wiki.example.org/callback", "/callback", "callback", "wiki.example.org"),
    *("https:wiki.example.org/callback", "https:/wiki.example.org/callback", "https:///wiki.example.org/callback"),
    *("https:\\\\wiki.example.org\\callback", "https:\\/wiki.example.org/callback", " " + REDIRECT_URI),
    "\t" + REDIRECT_URI,
    *("javascript:alert(1)//" + REDIRECT_URI, "data:text/html,x", "vbscript:x", "file:///etc/passwd", "about:blank"),
    *("com.example.wiki:/callback", "urn:ietf:wg:oauth:2.0:oob", "null", "0", "[", "https://[", "https://["+ "::1"),
    *('https://wiki.example.org/callback"', "https://wiki.example.org/callback'", REDIRECT_URI + "<script>"),
    *(REDIRECT_URI + " " + REDIRECT_URI, REDIRECT_URI + "," + REDIRECT_URI, "x" * 3000, REDIRECT_URI + "x" * 6000),
    *(WITH_QUERY + "&y=2", "https://wiki.example.org/callback?x=1&tenant=a", "https://wiki.example.org/callback?tenant=a"),
    *("https://wiki.example.org/callback?tenant=b&x=1", "https://wiki.example.org/callback?tenant=a&x=1#f"),
    *("https://wiki.example.org/callback?Tenant=a&x=1", "https://wiki.example.org/callback?tenant=a&x=1&"),
)  # fmt: skip
BROKEN: tuple[dict[str, Any], ...] = (
    {"response_type": "token"},
    {"response_type": 'to"ken'},
    {"response_type": None},
    {"response_mode": "fragment"},
    {"scope": "nothing:known"},
    {"prompt": "sometimes"},
    {"request_uri": "https://evil.test/request"},
    {"registration": "{}"},
    {"code_challenge": None},
    {"code_challenge_method": "plain"},
    {"max_age": "soon"},
    {"claims": "{"},
    {"id_token_hint": "forged"},
    {"resource": "https://nobody.example.org"},
    {"state": ["one", "two"]},
    {"nonce": "\x00"},
)
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


@pytest.mark.parametrize("mode", [None, "query", "form_post", "fragment", "jwt", "form_post.jwt"])
def test_only_the_very_redirect_uri_is_accepted(rp: RelyingParty, mode: str | None) -> None:
    """Every near miss ends on our own page, whatever the response mode (ASVS 10.4.1, RFC 9700 §2.1)."""
    factories.within(rp.app, lambda: clients.change(rp.client, {"redirect_uris": [REDIRECT_URI, WITH_QUERY]}))
    before = asserts.rows(rp.app)
    assert [uri for uri in EVIL if not refused_by_page(rp, redirect_uri=uri, response_mode=mode)] == []
    assert asserts.rows(rp.app) == before
    good = None if mode == "fragment" else mode
    for uri in (REDIRECT_URI, WITH_QUERY):
        assert rp.authorize(redirect_uri=uri, response_mode=good).headers["Location"].startswith("/login?")


def test_a_redirect_uri_that_differs_is_named_by_kind(rp: RelyingParty) -> None:
    """The page tells the app's developer what was sent and what differs, never what is registered."""
    page = asserts.is_error_page(rp.authorize(redirect_uri=REDIRECT_URI + "/"), "redirect_uri_mismatch")
    assert "only a trailing slash" in page.text
    hidden = asserts.is_error_page(rp.authorize(redirect_uri="https://evil.test/"), "redirect_uri_mismatch")
    assert "https://evil.test/" in hidden.text
    assert REDIRECT_URI not in hidden.text


def test_the_redirect_uri_is_always_needed(rp: RelyingParty) -> None:
    """Even a client with one URI must name it (OAuth 2.1 §4.1.1); an empty one counts as missing."""
    for missing in (None, ""):
        asserts.is_error_page(rp.authorize(redirect_uri=missing), "redirect_uri_missing")
    assert "Location" in rp.authorize().headers


def test_an_overlong_request_is_refused_quickly(rp: RelyingParty) -> None:
    """100 kB in the query or the body reach no check."""
    long = REDIRECT_URI + "x" * 100_000
    assert rp.authorize(redirect_uri=long).status_code == 414
    assert rp.browser.post("/oauth/authorize", rp.request(redirect_uri=long)).status_code == 413
    answer = asserts.is_redirect_error(rp.authorize(scope="openid " + "s " * 5000), "invalid_request")
    assert answer["error_description"] == "a parameter is too long or malformed"


def test_the_port_of_a_loopback_redirect_may_vary(app: Flask, browser: Browser) -> None:
    """RFC 8252 §7.3 for public and native clients; everything but the port stays exact."""
    uris = ["http://127.0.0.1/cb", "http://[::1]:1/cb", "http://localhost:3000/cb?a=b"]
    rp = RelyingParty(app, browser, factories.public_client(app, redirect_uris=uris))
    good = ("http://127.0.0.1/cb", "http://127.0.0.1:51004/cb", "http://127.0.0.1:65535/cb", "http://[::1]:8080/cb")
    for uri in (*good, "http://[::1]/cb", "http://localhost:1/cb?a=b", "http://localhost/cb?a=b"):
        assert "Location" in rp.authorize(redirect_uri=uri).headers, uri
    bad = (
        *("http://127.0.0.1:1/cb/", "http://127.0.0.1:1/CB", "http://127.0.0.1:1/", "http://127.0.0.1:1/cb?a=b"),
        *("https://127.0.0.1:1/cb", "http://127.0.0.1.evil.test:1/cb", "http://127.0.0.2:1/cb", "http://127.1:1/cb"),
        *("http://127.0.0.1:1@evil.test/cb", "http://user@127.0.0.1:1/cb", "http://127.0.0.1:/cb", "http://0.0.0.0:1/cb"),
        *("http://127.0.0.1:65536/cb", "http://127.0.0.1:0/cb", "http://127.0.0.1:1:2/cb", "http://127.0.0.1:x/cb"),
        *("http://2130706433:1/cb", "http://localhost.:1/cb?a=b", "http://localhost:1/cb", "http://LOCALHOST:1/cb?a=b"),
        *("http://[::1%25eth0]:1/cb", "http://[0:0:0:0:0:0:0:1]:1/cb", "http://127.0.0.1:１/cb", "http://127.0.0.1:1/cb#"),
        *("http://127.0.0.1:1/cb%00", "http://127.0.0.1:1\\cb", "http://127.0.0.1:1/cb\r\n"),
    )  # fmt: skip
    assert [uri for uri in bad if not refused_by_page(rp, redirect_uri=uri)] == []


def test_the_port_counts_for_confidential_web_clients(app: Flask, browser: Browser) -> None:
    """Only public and native clients have the loopback exception."""
    web = RelyingParty(app, browser, *factories.client(app, redirect_uris=["http://localhost:3000/cb"]))
    assert refused_by_page(web, redirect_uri="http://localhost:3001/cb")
    native, secret = factories.client(app, redirect_uris=["http://localhost:3000/cb"], application_type="native")
    assert (
        "Location"
        in RelyingParty(app, browser, native, secret).authorize(redirect_uri="http://localhost:3001/cb").headers
    )


def test_a_removed_redirect_uri_counts_for_waiting_requests(rp: RelyingParty) -> None:
    """Every step checks the stored request again."""
    waiting = rp.authorize()
    other = rp.authorize()
    factories.within(rp.app, lambda: clients.change(rp.client, {"redirect_uris": ["https://new.example.org/cb"]}))
    rp.browser.sign_in()
    flow = parse_qs(urlsplit(waiting.headers["Location"]).query)["next"][0]
    asserts.is_error_page(rp.browser.get(flow), "redirect_uri_mismatch")
    factories.within(rp.app, lambda: clients.change(rp.client, {"redirect_uris": [REDIRECT_URI]}))
    assert rp.browser.follow(other).status_code == 200


def test_the_answer_is_appended_to_a_registered_query(app: Flask, browser: Browser) -> None:
    """OAuth 2.1 §4.1.2: what was registered stays, in success and in error."""
    client, secret = factories.client(app, redirect_uris=[WITH_QUERY, "https://wiki.example.org/cb?"])
    rp = RelyingParty(app, browser, client, secret)
    assert rp.walk().headers["Location"].startswith(WITH_QUERY + "&code=")
    assert rp.authorize(prompt="x").headers["Location"].startswith(WITH_QUERY + "&error=invalid_request")
    odd = rp.authorize(redirect_uri="https://wiki.example.org/cb?", prompt="x").headers["Location"]
    assert odd.startswith("https://wiki.example.org/cb?error=")


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: next(iter(broken)))
def test_the_redirect_uri_is_checked_before_anything_else(rp: RelyingParty, broken: dict[str, Any]) -> None:
    """Whatever else is wrong, a foreign redirect URI gets a page (CVE-2026-44681); a right one gets the answer."""
    for mode in ("query", "form_post", "jwt", "form_post.jwt"):
        assert refused_by_page(rp, redirect_uri="https://evil.test/", **{"response_mode": mode, **broken})
        assert refused_by_page(rp, client_id="nobody", **{"response_mode": mode, **broken})
    assert rp.authorize(**broken).status_code == 303


def test_an_unknown_client_never_redirects(rp: RelyingParty) -> None:
    """Unknown, missing, malformed or repeated `client_id`: a page, with a valid URI of another client too."""
    other, _ = factories.client(rp.app, redirect_uris=["https://other.example.org/cb"])
    for sent in ("nobody", "", None, "x" * 300, "é", '"', "\x00", "a b", [rp.client.client_id, other.client_id]):
        asserts.is_error_page(rp.authorize(client_id=sent), "unknown_client")
    twice = [rp.client.client_id] * 2
    asserts.is_error_page(rp.authorize(client_id=twice), "unknown_client")
    asserts.is_error_page(rp.authorize(client_id=other.client_id), "redirect_uri_mismatch")
    assert "Location" in rp.authorize().headers


def test_a_disabled_client_never_redirects(rp: RelyingParty) -> None:
    """Never a redirect; enabled again, it works."""
    factories.within(rp.app, lambda: ending.disable_client(rp.client))
    page = asserts.is_error_page(rp.authorize(), "client_disabled")
    assert "Wiki" in page.text
    factories.within(rp.app, lambda: clients.switch(rp.client, enabled=True))
    assert "Location" in rp.authorize().headers


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
    value = rp.request().get(name, "x")
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
def test_request_objects_are_refused_as_a_whole(rp: RelyingParty, changed: dict[str, str], code: str) -> None:
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
