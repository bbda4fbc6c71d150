"""The redirect URI of an authorization request: the very one that is registered, before anything else is looked at."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from flask import Flask

from auth_server.clients import client as clients
from auth_server.tokens import ending
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.factories import REDIRECT_URI
from tests.support.rp import RelyingParty

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
