"""Errors as answers: the page in three layers, JSON for machines, never a trace, never markup."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from html import unescape
from html.parser import HTMLParser
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.clients import client as clients
from auth_server.clients.client import Client
from auth_server.tokens import ending
from auth_server.values import Rate
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.rp import RelyingParty

MARKUP = "\"'><script>alert(1)</script><img src=x onerror=alert(2)>{{8191*8191}}"


class Shape(HTMLParser):
    """Tags and text of a page: whether what was sent became part of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags += [(tag, name) for name in found] or [(tag, "")]
        self.links += [str(found[name]) for name in ("href", "src", "action") if found.get(name)]

    def handle_data(self, data: str) -> None:
        self.text += data


def authorize(rp: RelyingParty, **changed: Any) -> TestResponse:
    return rp.browser.get("/oauth/authorize?" + urlencode(rp.request(**changed), doseq=True))


def disable(rp: RelyingParty) -> None:
    factories.within(rp.app, lambda: ending.disable_client(clients.find(rp.client.client_id) or rp.client))


def is_calm(response: TestResponse) -> Page:
    """What every error page has: no redirect, the request id and time, no store, nothing foreign."""
    page = asserts.is_page(response, "error", response.status_code)
    assert "Location" not in response.headers
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["X-Request-Id"] in page.text
    assert 'time datetime="20' in page.text
    assert "Traceback" not in page.text
    assert all(link.startswith(("/", "#")) for link in Shape(page.text).links)
    return page


def test_an_unknown_app(rp: RelyingParty) -> None:
    """`unknown_client`: the value that was sent, as text; a known one goes on to sign in."""
    response = authorize(rp, client_id="gr4fana")
    asserts.is_error_page(response, "unknown_client")
    page = is_calm(response)
    assert "We don't know this app" in unescape(page.text)
    assert "gr4fana" in page.text
    assert authorize(rp).status_code == 303


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        ("http://wiki.example.org/callback", "scheme"),
        ("https://evil.example/callback", "host"),
        ("https://wiki.example.org:8443/callback", "port"),
        ("https://wiki.example.org/other", "path"),
        ("https://wiki.example.org/callback/", "trailing slash"),
        ("https://wiki.example.org/Callback", "upper"),
        ("https://wiki.example.org/callback?x=1", "query"),
    ],
)
def test_a_redirect_uri_that_differs(rp: RelyingParty, sent: str, kind: str) -> None:
    """`redirect_uri_mismatch`: the value and the kind of difference, never the registered list (row 2)."""
    response = authorize(rp, redirect_uri=sent)
    asserts.is_error_page(response, "redirect_uri_mismatch")
    page = is_calm(response)
    assert "This app's sign-in link isn't set up correctly" in unescape(page.text)
    assert "<bdi>Wiki</bdi>" in page.text
    assert sent in unescape(page.text)
    assert kind in unescape(page.text)
    text = unescape(page.text).replace(sent, "")
    assert "https://wiki.example.org/callback" not in text


def test_a_missing_redirect_uri(rp: RelyingParty) -> None:
    """`redirect_uri_missing`, with the app's name."""
    response = authorize(rp, redirect_uri=None)
    asserts.is_error_page(response, "redirect_uri_missing")
    assert "<bdi>Wiki</bdi>" in is_calm(response).text


def test_a_switched_off_app(rp: RelyingParty) -> None:
    """`client_disabled`: "This app is switched off" (row 3)."""
    disable(rp)
    response = authorize(rp)
    asserts.is_error_page(response, "client_disabled")
    assert "This app is switched off" in is_calm(response).text


def test_a_finished_or_expired_flow(rp: RelyingParty) -> None:
    """`flow_expired`: 400 with a way to start again, where the request is known."""
    response = rp.browser.get("/oauth/authorize?flow=" + "x" * 43)
    asserts.is_error_page(response, "flow_expired")
    assert "start again" in is_calm(response).text


def test_too_many_tries(make_app: Callable[..., Flask], rp: RelyingParty) -> None:
    """`rate_limited`: 429 with the time to wait, on the page and in the header."""
    app = make_app(create_rate_limit=Rate(1, timedelta(minutes=1)))
    limited = RelyingParty(app, Browser(app), rp.client, rp.secret)
    authorize(limited)
    response = authorize(limited)
    asserts.is_error_page(response, "rate_limited", 429)
    assert "Wait 1 minute, then try again." in is_calm(response).text
    assert int(response.headers["Retry-After"]) <= 60


def test_a_page_that_does_not_exist(browser: Browser) -> None:
    """`not_found`, 404."""
    response = browser.get("/nowhere")
    asserts.is_error_page(response, "not_found", 404)
    assert "This page does not exist" in is_calm(response).text


REFLECTED: list[Callable[[RelyingParty], TestResponse]] = [
    lambda rp: authorize(rp, client_id=MARKUP),
    lambda rp: authorize(rp, redirect_uri=MARKUP),
    lambda rp: authorize(rp, redirect_uri="https://wiki.example.org/callback" + MARKUP),
    lambda rp: authorize(rp, redirect_uri=["https://wiki.example.org/callback", MARKUP]),
    lambda rp: authorize(rp, redirect_uri="javascript:alert(1)//" + MARKUP),
    lambda rp: rp.browser.get("/oauth/authorize?flow=" + quote(MARKUP)),
    lambda rp: rp.browser.get("/" + quote(MARKUP)),
    lambda rp: rp.browser.get("/account?x=" + quote(MARKUP)),
    lambda rp: rp.browser.get("/login?next=" + quote("/account?" + MARKUP)),
    lambda rp: rp.browser.get("/recover/reset?token=" + quote(MARKUP)),
    lambda rp: rp.browser.post("/login?next=" + quote("/" + MARKUP), {"next": MARKUP, "email": MARKUP}),
    lambda rp: rp.browser.post("/" + quote(MARKUP), {}),
    lambda rp: rp.browser.get("/login?ui_locales=" + quote(MARKUP)),
    lambda rp: rp.browser.get("/nowhere", headers={"User-Agent": MARKUP, "Referer": MARKUP, "Accept-Language": MARKUP}),
]


@pytest.mark.parametrize("ask", REFLECTED, ids=range(len(REFLECTED)))
def test_markup_in_a_request_is_text_in_the_answer(
    rp: RelyingParty, ask: Callable[[RelyingParty], TestResponse]
) -> None:
    """Whatever a request sends comes back as text or not at all."""
    response = ask(rp)
    assert response.status_code in (200, 303, 400, 403, 404)
    shape = Shape(response.text)
    assert not [name for _tag, name in shape.tags if name.startswith("on")]
    assert not [tag for tag, name in shape.tags if tag == "img"]
    assert "<script>alert" not in response.text
    assert str(8191 * 8191) not in response.text
    assert all(link.startswith(("/", "#")) for link in shape.links)


@pytest.mark.parametrize("count", [300, 301, 5000])
def test_a_long_value_is_cut(rp: RelyingParty, count: int) -> None:
    """At most 300 characters of what was sent are shown."""
    sent = "https://wiki.example.org/" + "a" * (count - 25)
    response = authorize(rp, redirect_uri=sent)
    asserts.is_error_page(response, "redirect_uri_mismatch")
    page = is_calm(response)
    assert (sent in page.text) is (count <= 300)
    assert "a" * 301 not in page.text


def test_the_name_of_an_app_is_text(app: Flask, browser: Browser) -> None:
    """Its owner chose it; markup in it stays text."""
    client, secret = factories.client(app, client_name=MARKUP)
    rp = RelyingParty(app, browser, client, secret)
    response = authorize(rp, redirect_uri="https://evil.example/")
    asserts.is_error_page(response, "redirect_uri_mismatch")
    assert "<script>alert" not in response.text
    assert MARKUP in Shape(response.text).text


MACHINE = [
    ("GET", "/oauth/token", 405),
    ("GET", "/oauth/revoke", 405),
    ("GET", "/oauth/introspect", 405),
    ("GET", "/.well-known/nothing", 404),
    ("POST", "/.well-known/jwks.json", 405),
    ("GET", "/oauth/register", 404),
    ("POST", "/oauth/register", 404),
    ("DELETE", "/oauth/token", 405),
    ("PUT", "/oauth/userinfo", 405),
]


@pytest.mark.parametrize(("method", "path", "status"), MACHINE)
def test_a_machine_is_answered_in_json(browser: Browser, method: str, path: str, status: int) -> None:
    """Unknown paths and methods too, with CORS, and `Allow` for 405."""
    response = browser.client.open(path, method=method, base_url="http://localhost:8421")
    assert (response.status_code, response.content_type) == (status, "application/json")
    assert response.json["error"] == "invalid_request"
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    assert ("Allow" in response.headers) is (status == 405)
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/par", "/oauth/revoke", "/oauth/introspect"])
@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{}", "application/json"),
        (b"grant_type=client_credentials", "text/plain"),
        (b"grant_type=client_credentials", ""),
        (b"\xff\xfe=\x00", "application/x-www-form-urlencoded"),
        (b"token=%00&grant_type=%00", "application/x-www-form-urlencoded"),
        (b"token=a&token=b", "application/x-www-form-urlencoded"),
        (b"--x\r\nbroken", "multipart/form-data; boundary=x"),
    ],
)
def test_odd_bodies_are_refused(
    app: Flask, wiki: tuple[Client, str], path: str, body: bytes, content_type: str
) -> None:
    """A 4xx of the endpoint's own format, never a 500."""
    response = app.test_client().post(path, data=body, content_type=content_type, base_url="http://localhost:8421")
    assert response.status_code in (400, 401)
    assert response.content_type == "application/json"
    assert response.json["error"] in ("invalid_request", "invalid_client")
