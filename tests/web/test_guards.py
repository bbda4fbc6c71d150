"""Hosts, sizes and where a sign-in may lead."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network

import pytest
from flask import Flask, Response, jsonify, request
from werkzeug.test import TestResponse

from auth_server.accounts import users
from auth_server.web import guards
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.factories import PASSWORD

EVIL = [
    "",
    "evil.example",
    "https://evil.example",
    "HTTPS://evil.example",
    "http:/evil.example",
    "https:evil.example",
    "//evil.example",
    "///evil.example",
    "////evil.example/%2e%2e",
    "/\\evil.example",
    "\\\\evil.example",
    "/account\\..\\evil",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "/ /evil.example",
    "/\x00/evil.example",
    "/\x0b/evil.example",
    "/account\r\nSet-Cookie: a=b",
    "javascript:alert(1)",
    "data:text/html,x",
    "mailto:x@evil.example",
    "@evil.example",
    ".evil.example",
    "?next=//evil.example",
    "#//evil.example",
    "/ünïcode",
    "/\u2028/evil.example",
    "//[evil",
    "/login",
    "/login?next=/login",
    "/" + "a" * 5000,
]
LOCAL = [
    "/",
    "/account",
    "/account/sessions?a=1&b=2",
    "/oauth/authorize?flow=abc",
    "/account#top",
    "/account?next=https://evil.example",
    "/account?next=//evil.example",
    "/a//b",
    "/%2f%2fevil.example",
    "/%5cevil.example",
    "/.evil.example",
    "/@evil.example",
]


@pytest.mark.parametrize("target", EVIL)
def test_a_sign_in_never_leads_away(target: str) -> None:
    """Anything that a browser could read as another site is the account instead (ASVS 3.7.2)."""
    assert guards.safe_next(target) == "/account"


@pytest.mark.parametrize("target", LOCAL)
def test_a_sign_in_leads_back_to_a_local_page(target: str) -> None:
    """Local paths, with query and fragment, are kept as they are."""
    assert guards.safe_next(target) == target


def test_the_default_may_be_chosen() -> None:
    """Where nothing was asked, the caller says where to go."""
    assert guards.safe_next("https://evil.example", "/apps") == "/apps"


def ask(
    app: Flask, host: str, path: str = "/login?next=%2Faccount", method: str = "GET", **options: object
) -> TestResponse:
    return app.test_client().open(path, method=method, headers={"Host": host}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost", "localhost:8422", "127.0.0.1:8421", "localhost:8421.evil.example", ""]
)
def test_a_page_under_another_host_leads_to_the_issuer(app: Flask, ada: users.User, host: str) -> None:
    """GET is redirected to the same page there; the host is never echoed."""
    response = ask(app, host)
    assert response.status_code == 302
    assert response.headers["Location"] == "http://localhost:8421/login?next=%2Faccount"
    assert ask(app, "localhost:8421").status_code == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_form_under_another_host_is_misdirected(app: Flask, ada: users.User, method: str) -> None:
    """Other methods get 421 with a page, right token or not."""
    asserts.is_error_page(ask(app, "evil.example", "/login", method), "invalid_request", 421)
    assert ask(app, "localhost:8421", "/login", method).status_code in (403, 405)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/.well-known/openid-configuration", "/.well-known/jwks.json"])
def test_machines_are_answered_under_any_host(app: Flask, path: str) -> None:
    """Probes and metadata answer, and their addresses are the issuer's."""
    response = ask(app, "evil.example", path)
    assert response.status_code == 200
    assert "evil.example" not in response.text
    assert response.text == ask(app, "localhost:8421", path).text


def test_a_token_endpoint_answers_under_any_host(app: Flask) -> None:
    """A service behind an internal name gets its answer there, from the same issuer."""
    response = ask(app, "auth.internal", "/oauth/token", "POST", data={"grant_type": "client_credentials"})
    asserts.is_oauth_error(response, "invalid_client", 401)


@pytest.mark.parametrize(("trusted", "status"), [(("127.0.0.1/32",), 200), ((), 302)])
def test_only_a_trusted_proxy_says_which_host_was_asked(
    make_app: Callable[..., Flask], trusted: tuple[str, ...], status: int
) -> None:
    """`X-Forwarded-Host` counts from TRUSTED_PROXIES and from nobody else."""
    app = make_app(trusted_proxies=tuple(ip_network(network) for network in trusted))
    factories.person(app, roles=["administrator"])
    headers = {"Host": "backend:8000", "X-Forwarded-Host": "localhost:8421"}
    assert app.test_client().get("/login", headers=headers).status_code == status
    forged = {"Host": "localhost:8421", "X-Forwarded-Host": "evil.example"}
    assert "evil.example" not in str(app.test_client().get("/login", headers=forged).headers)


def test_an_overlong_query_is_refused(browser: Browser) -> None:
    """414 above 16 kB, as a page or in JSON; below it is read."""
    assert browser.get("/login?x=" + "a" * 16_000).status_code == 200
    asserts.is_error_page(browser.get("/login?x=" + "a" * 17_000), "invalid_request", 414)
    response = browser.get("/oauth/userinfo?x=" + "a" * 17_000)
    assert (response.status_code, response.content_type) == (414, "application/json")


def test_an_overlarge_form_is_refused(browser: Browser) -> None:
    """413 above 64 kB, as a page or in JSON; below it is read."""
    page = browser.get("/login")
    asserts.is_page(browser.submit(page, "/login", email="x", password="a" * 60_000), "login", 401)
    asserts.is_error_page(browser.submit(page, "/login", email="x", password="a" * 70_000), "invalid_request", 413)
    response = browser.post("/oauth/token", {"grant_type": "a" * 70_000})
    assert (response.status_code, response.json["error"]) == (413, "invalid_request")


@pytest.mark.parametrize(("path", "status"), [("/login", 401), ("/oauth/token", 401)])
def test_a_form_of_too_many_fields_is_refused(browser: Browser, path: str, status: int) -> None:
    """At most a hundred, whatever the encoding."""
    token = asserts.is_page(browser.get("/login"), "login").inputs["csrf_token"]
    fields = {"csrf_token": token, "email": "x", "password": "x", "grant_type": "client_credentials"}

    def send(count: int, content_type: str) -> int:
        more = {f"f{number}": "x" for number in range(count - len(fields))}
        return browser.post(path, {**fields, **more}, content_type=content_type).status_code

    assert send(100, "application/x-www-form-urlencoded") == status
    assert send(101, "application/x-www-form-urlencoded") == 413
    assert send(101, "multipart/form-data") in (400, 413)


def test_a_method_that_a_page_does_not_take_is_405(browser: Browser) -> None:
    """With `Allow`, for pages and machine endpoints."""
    token = asserts.is_page(browser.get("/login"), "login").inputs["csrf_token"]
    response = browser.post("/login/passkey", {"csrf_token": token})
    asserts.is_error_page(response, "invalid_request", 405)
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    response = browser.get("/oauth/token")
    assert (response.status_code, response.content_type) == (405, "application/json")
    assert "POST" in response.headers["Allow"]
    assert browser.client.open("/login", method="TRACE", base_url="http://localhost:8421").status_code in (403, 405)


@pytest.fixture
def sensitive(app: Flask, browser: Browser, in_a_while: Callable[[timedelta], None]) -> Browser:
    """Return a browser whose sign-in is too old for `/account/sensitive`, a page that keeps three inputs."""

    def view() -> Response:
        kept = {name: guards.typed(name) for name in ("first", "second", "third", "password")}
        return jsonify(kept=guards.kept(), typed=kept, method=request.method)

    guarded = guards.freshly_signed_in(view, keep=("first", "second", "third"))
    app.add_url_rule("/account/sensitive", "sensitive", guarded, methods=["GET", "POST"])
    browser.sign_in()
    in_a_while(timedelta(minutes=10, seconds=1))
    return browser


def sent(browser: Browser, **fields: str) -> TestResponse:
    """Send the form with a token of this browser."""
    return browser.submit(browser.get("/logout"), "/account/sensitive", **fields)


def back_from(browser: Browser, asked: TestResponse) -> TestResponse:
    """Sign in again where the guard asks for it, and follow the way back."""
    assert asked.headers["Location"].startswith("/login?fresh=1&next=%2Faccount%2Fsensitive")
    return browser.follow(browser.submit(browser.follow(asked), "/login", email="ada@example.org", password=PASSWORD))


def test_inputs_are_kept_over_a_sign_in(sensitive: Browser) -> None:
    """Those that the view names, whatever is in them, and no other (USR-23)."""
    odd = "a b+c&kept=x&third=\u00fc \U0001f4a5 100%\r\n<script>"
    asked = sent(sensitive, first=odd, second="", password="a secret", other="x")
    assert "secret" not in asked.headers["Location"]
    page = back_from(sensitive, asked)
    assert page.json["kept"] == {"first": odd, "second": ""}
    assert page.json["typed"] == {"first": odd, "second": "", "third": "", "password": ""}
    now = sent(sensitive, first="new").json
    assert (now["method"], now["typed"]["first"]) == ("POST", "new")


def test_what_is_too_long_is_left_out(sensitive: Browser) -> None:
    """The address stays one that every server takes; what fits is kept."""
    asked = sent(sensitive, first="x" * 1400, second="ü" * 40, third="short")
    assert len(asked.headers["Location"]) < 2500
    assert back_from(sensitive, asked).json["kept"] == {"first": "x" * 1400, "third": "short"}


def test_without_inputs_to_keep_the_address_is_plain(sensitive: Browser) -> None:
    assert sent(sensitive, other="x").headers["Location"] == "/login?fresh=1&next=%2Faccount%2Fsensitive"


def test_only_the_browser_that_typed_gets_it_back(app: Flask, sensitive: Browser) -> None:
    """A link made elsewhere, or altered, fills in nothing."""
    page = back_from(sensitive, sent(sensitive, first="mine"))
    assert page.json["kept"] == {"first": "mine"}
    path = page.request.full_path
    assert sensitive.get(path).json["kept"] == {"first": "mine"}
    for altered in (path.replace("mine", "yours"), path + "&second=x", "/account/sensitive?first=mine", path[:-1]):
        assert sensitive.get(altered).json["kept"] == {}
    stranger = Browser(app)
    stranger.sign_in()
    assert stranger.get(path).json["kept"] == {}


@pytest.mark.parametrize("name", ["password", "code", "current", "token", "csrf_token", "kept"])
def test_a_secret_is_never_kept(name: str) -> None:
    """A view that would put one into an address does not come up; others do."""
    for guard in (guards.freshly_signed_in, guards.signed_in):
        with pytest.raises(ValueError, match="secret"):
            guard(lambda: "", keep=("email", name))
        assert guard(lambda: "", keep=("email",))
