"""Security headers on every answer."""

from __future__ import annotations

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.rp import RelyingParty

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
MACHINE_POLICY = "default-src 'none'; frame-ancestors 'none'"
ACCOUNT_PAGES = ("/account", "/account/sessions", "/account/apps", "/nowhere", "/")
FLOW_PAGES = (
    *("/login", "/logout", "/recover", "/recover/reset?token=x", "/oauth/authorize", "/oauth/authorize?flow=x"),
    "/account/security/app",
)
MACHINE_PATHS = (
    *("/oauth/token", "/oauth/par", "/oauth/userinfo", "/oauth/introspect", "/oauth/revoke"),
    *("/healthz", "/readyz", "/metrics"),
    *("/.well-known/openid-configuration", "/.well-known/jwks.json", "/.well-known/nothing"),
)


@pytest.fixture
def signed_in(browser: Browser) -> Browser:
    browser.sign_in()
    return browser


def style_sheet(browser: Browser) -> TestResponse:
    page = browser.get("/login").text
    return browser.get(page.split('rel="stylesheet" href="')[1].split('"')[0])


@pytest.mark.parametrize("path", ACCOUNT_PAGES)
def test_a_page_outside_flows_may_only_send_forms_here(signed_in: Browser, path: str) -> None:
    """The exact policy, with `form-action 'self'`, and a window of its own."""
    headers = signed_in.get(path).headers
    assert headers["Content-Security-Policy"] == POLICY + "; form-action 'self'"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"


@pytest.mark.parametrize("path", FLOW_PAGES)
def test_a_page_in_a_flow_may_lead_to_the_app(signed_in: Browser, path: str) -> None:
    """Without `form-action`, which Chromium checks against redirects, and without COOP, for pop-ups."""
    headers = signed_in.get(path).headers
    assert headers["Content-Security-Policy"] == POLICY
    assert "Cross-Origin-Opener-Policy" not in headers


def test_the_consent_and_form_post_pages_have_the_policy_of_flows(rp: RelyingParty) -> None:
    """The consent form's redirect to the app must not be blocked, nor the form that posts to it."""
    rp.browser.sign_in()
    consent = rp.browser.follow(rp.authorize(response_mode="form_post"))
    asserts.is_page(consent, "consent")
    answer = rp.browser.follow(rp.browser.submit(consent, consent.request.full_path, decision="allow"))
    asserts.is_page(answer, "form-post")
    for response in (consent, answer):
        assert response.headers["Content-Security-Policy"] == POLICY


@pytest.mark.parametrize("path", MACHINE_PATHS)
def test_a_machine_answer_may_do_nothing_in_a_browser(browser: Browser, path: str) -> None:
    """No scripts, no frames; no `Vary: Cookie`, because no cookie is read."""
    headers = browser.get(path).headers
    assert headers["Content-Security-Policy"] == MACHINE_POLICY
    assert "Cookie" not in headers.get("Vary", "")


@pytest.mark.parametrize("path", [*ACCOUNT_PAGES, *FLOW_PAGES])
def test_pages_are_not_stored_and_depend_on_the_cookie(signed_in: Browser, path: str) -> None:
    """`no-store` and `Vary: Cookie` on everything that a person sees."""
    headers = signed_in.get(path).headers
    assert headers["Cache-Control"] == "no-store"
    assert "Cookie" in headers.getlist("Vary")


@pytest.mark.parametrize("path", [*ACCOUNT_PAGES, *FLOW_PAGES])
def test_pages_cannot_be_framed_and_use_no_devices(signed_in: Browser, path: str) -> None:
    """X-Frame-Options for old browsers and a Permissions-Policy."""
    headers = signed_in.get(path).headers
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Permissions-Policy"] == "camera=(), geolocation=(), microphone=(), payment=()"


@pytest.mark.parametrize("path", [*ACCOUNT_PAGES, *FLOW_PAGES, *MACHINE_PATHS])
def test_every_answer_forbids_sniffing_and_foreign_referrers(signed_in: Browser, path: str) -> None:
    """nosniff, `same-origin` (only the origin where the address holds a secret), and nothing about the software."""
    headers = signed_in.get(path).headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == ("strict-origin" if path.startswith("/recover/") else "same-origin")
    assert "X-Powered-By" not in headers


@pytest.mark.parametrize("path", ["/login", "/account", "/oauth/token", "/.well-known/jwks.json"])
def test_hsts_is_sent_on_https_alone(make_app: Callable[..., Flask], path: str) -> None:
    """A year on an https issuer; on http it would lock a developer out of the host's other ports."""
    app = make_app()
    factories.person(app, roles=["administrator"])
    assert "Strict-Transport-Security" not in app.test_client().get(path, base_url="http://localhost:8421").headers
    app = make_app(issuer="https://id.example.org")
    response = app.test_client().get(path, base_url="https://id.example.org")
    assert response.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_static_files_are_cached_for_ever_under_an_address_of_their_content(browser: Browser) -> None:
    """Immutable under the right address, not found under another; no listing."""
    response = style_sheet(browser)
    assert (response.status_code, response.mimetype) == (200, "text/css")
    assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert "Cookie" not in response.headers.get("Vary", "")
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    digest = response.request.path.split("/")[2]
    for path in ("/static/0/style.css", f"/static/{digest}/..%2fconfig.py", f"/static/{digest}/nothing", "/static/"):
        assert browser.get(path).status_code == 404, path
    response.close()


class Loads(HTMLParser):
    """Everything a page loads or runs."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.inline: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.urls += [str(found[name]) for name in ("src", "srcset", "data", "poster") if name in found]
        if tag == "link":
            self.urls.append(str(found.get("href")))
        if tag == "style" or (tag == "script" and "src" not in found):
            self.inline.append(tag)
        self.inline += [name for name in found if name.startswith("on") or name == "style"]


def test_pages_load_nothing_from_elsewhere_and_run_nothing_inline(rp: RelyingParty) -> None:
    """Style, script and icon of our own, no handler, no style attribute."""
    login = rp.browser.follow(rp.authorize())
    pages = [login, rp.browser.submit(login, "/login", email="x", password="x"), rp.browser.get("/nowhere")]
    rp.browser.sign_in()
    pages += [rp.browser.get(path) for path in (*ACCOUNT_PAGES, *FLOW_PAGES)]
    pages.append(rp.browser.follow(rp.authorize()))
    assert len({response.text for response in pages}) > 10
    for response in pages:
        if response.status_code != 303:
            found = Loads(response.text)
            assert found.urls
            assert all(url.startswith("/static/") for url in found.urls), found.urls
            assert found.inline == []


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://localhost:8421"])
@pytest.mark.parametrize("path", ["/login", "/account", "/oauth/authorize", "/nowhere", "/healthz"])
def test_no_page_answers_other_origins(signed_in: Browser, path: str, origin: str) -> None:
    """CORS is for machine endpoints; a page with a cookie never has it."""
    headers = signed_in.get(path, headers={"Origin": origin}).headers
    assert not [name for name, _value in headers if name.startswith("Access-Control-")]
    machine = signed_in.get("/.well-known/jwks.json", headers={"Origin": origin}).headers
    assert machine["Access-Control-Allow-Origin"] == "*"
    assert "Access-Control-Allow-Credentials" not in machine
