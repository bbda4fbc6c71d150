"""Our two cookies: the session, and the browser that authenticates nobody."""

from __future__ import annotations

from collections.abc import Callable
from http.cookies import SimpleCookie

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import users
from auth_server.infra import crypto
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.rp import RelyingParty

SESSION, BROWSER = "auth_server", "auth_server_browser"
HTTPS = "https://id.example.org"


def set_cookies(response: TestResponse) -> dict[str, dict[str, str]]:
    """Return each cookie that the answer sets, with its attributes in lower case."""
    found = {}
    for header in response.headers.getlist("Set-Cookie"):
        ((name, morsel),) = SimpleCookie(header).items()
        attributes = {key: str(value) for key, value in morsel.items() if value}
        found[name] = {"value": morsel.value, **attributes}
    return found


def with_cookie(app: Flask, header: str, path: str = "/account") -> TestResponse:
    """Ask for a page with a Cookie header as it stands."""
    client = app.test_client(use_cookies=False)
    return client.get(path, base_url="http://localhost:8421", headers={"Cookie": header})


def is_anonymous(response: TestResponse) -> bool:
    assert response.status_code in (200, 303), response.status_code
    return response.status_code == 303


def test_only_our_two_cookies_are_set(browser: Browser) -> None:
    """A first visit sets the browser cookie, a sign-in the session; both HttpOnly, Lax, for the whole host."""
    first = set_cookies(browser.get("/login"))
    assert set(first) == {BROWSER}
    second = set_cookies(browser.sign_in())
    assert set(second) == {SESSION}
    for cookie in (first[BROWSER], second[SESSION]):
        assert len(cookie["value"]) == 43
        assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == ("True", "Lax", "/")
        assert "domain" not in cookie
        assert "secure" not in cookie
    assert int(first[BROWSER]["max-age"]) == 400 * 86400
    assert "max-age" not in second[SESSION]
    assert "expires" not in second[SESSION]


def test_on_https_cookies_are_secure_and_bound_to_the_host(make_app: Callable[..., Flask]) -> None:
    """`__Host-` and Secure; a cookie without the prefix is not looked at."""
    app = make_app(issuer=HTTPS, bcrypt_rounds=12)
    factories.person(app, roles=["administrator"])
    client = app.test_client()
    page = client.get("/login", base_url=HTTPS)
    first = set_cookies(page)
    fields = {**Page(page.text).inputs, "email": "ada@example.org", "password": factories.PASSWORD}
    second = set_cookies(client.post("/login", data=fields, base_url=HTTPS))
    assert (set(first), set(second)) == ({"__Host-" + BROWSER}, {"__Host-" + SESSION})
    for cookie in (*first.values(), *second.values()):
        assert (cookie["secure"], cookie["httponly"], cookie["path"]) == ("True", "True", "/")
        assert "domain" not in cookie
    handle = second["__Host-" + SESSION]["value"]
    plain = app.test_client(use_cookies=False)
    bare = plain.get("/account", base_url=HTTPS, headers={"Cookie": f"{SESSION}={handle}"})
    assert is_anonymous(bare)
    prefixed = plain.get("/account", base_url=HTTPS, headers={"Cookie": f"__Host-{SESSION}={handle}"})
    assert not is_anonymous(prefixed)


def test_keep_me_signed_in_keeps_the_cookie(browser: Browser) -> None:
    """With the box ticked the cookie outlives the browser, and each visit prolongs it."""
    signed_in = set_cookies(browser.sign_in(remember="1"))[SESSION]
    assert int(signed_in["max-age"]) == 30 * 86400
    visit = set_cookies(browser.get("/account"))[SESSION]
    assert (visit["value"], int(visit["max-age"])) == (signed_in["value"], 30 * 86400)
    browser.sign_in()
    assert SESSION not in set_cookies(browser.get("/account"))


def test_signing_out_removes_the_session_cookie(browser: Browser) -> None:
    """With the attributes it was set with, or browsers would keep it; the browser cookie stays."""
    browser.sign_in(remember="1")
    gone = set_cookies(browser.sign_out())[SESSION]
    assert (gone["value"], gone["max-age"], gone["path"]) == ("", "0", "/")
    assert browser.cookie(BROWSER)


@pytest.mark.parametrize(
    "path", ["/healthz", "/.well-known/openid-configuration", "/static/x/style.css", "/oauth/token"]
)
def test_machines_and_static_files_get_no_cookie(browser: Browser, path: str) -> None:
    """No session is looked up and none is set there, signed in or not."""
    assert set_cookies(Browser(browser.app).get(path)) == {}
    browser.sign_in(remember="1")
    assert set_cookies(browser.get(path)) == {}


def test_every_sign_in_gives_a_new_handle_and_ends_the_old_one(browser: Browser, app: Flask) -> None:
    """Also for the same person in the same browser; the browser cookie stays."""
    handles = []
    seeds = set()
    for _ in range(3):
        browser.sign_in()
        handles.append(browser.cookie(SESSION))
        seeds.add(browser.cookie(BROWSER))
    assert len(set(handles)) == 3
    assert len(seeds) == 1
    assert [is_anonymous(with_cookie(app, f"{SESSION}={handle}")) for handle in handles] == [True, True, False]


def test_a_handle_is_dead_after_sign_out(browser: Browser, app: Flask) -> None:
    """Whoever kept the cookie is nobody."""
    browser.sign_in()
    handle = browser.cookie(SESSION)
    assert not is_anonymous(with_cookie(app, f"{SESSION}={handle}"))
    browser.sign_out()
    assert is_anonymous(with_cookie(app, f"{SESSION}={handle}"))


def test_a_planted_handle_is_not_taken_over(browser: Browser, app: Flask) -> None:
    """A handle that somebody chose for the visitor is replaced at the sign-in (session fixation)."""
    planted = crypto.new_secret()
    browser.client.set_cookie(SESSION, planted, domain="localhost")
    browser.sign_in()
    assert browser.cookie(SESSION) != planted
    assert is_anonymous(with_cookie(app, f"{SESSION}={planted}"))
    assert browser.get("/account").status_code == 200


def test_an_attackers_session_is_not_prolonged_into_the_victims(browser: Browser, app: Flask, ben: users.User) -> None:
    """Ben's live handle planted in Ada's browser: after her sign-in it is dead, and hers is new."""
    bens = Browser(app)
    bens.sign_in(email="ben@example.org")
    planted = bens.cookie(SESSION) or ""
    browser.client.set_cookie(SESSION, planted, domain="localhost")
    browser.sign_in()
    assert "ada@example.org" in browser.get("/account").text
    assert browser.cookie(SESSION) != planted
    assert is_anonymous(with_cookie(app, f"{SESSION}={planted}"))


@pytest.mark.parametrize(
    "header",
    [
        f"{SESSION}=HANDLE; {SESSION}=HANDLE",
        f"{SESSION}=HANDLE; {SESSION}=other",
        f"{SESSION}=other; {SESSION}=HANDLE",
        f"{SESSION}=; {SESSION}=HANDLE",
        f"{SESSION}=HANDLEx",
        f"{SESSION}=XHANDLE",
        f"{SESSION}=",
        f"={SESSION}=HANDLE",
        f"__Host-{SESSION}=HANDLE",
        f"{SESSION.upper()}=HANDLE",
        f"x{SESSION}=HANDLE",
        f"{SESSION}={'a' * 5000}",
        f"{SESSION}=%00",
        "session=HANDLE",
        "remember_token=HANDLE",
    ],
)
def test_odd_cookies_are_nobody(browser: Browser, app: Flask, header: str) -> None:
    """Duplicated, nameless, prefixed, oversized or foreign cookies open nothing."""
    browser.sign_in()
    handle = browser.cookie(SESSION) or ""
    assert is_anonymous(with_cookie(app, header.replace("HANDLE", handle)))
    assert not is_anonymous(with_cookie(app, f"{SESSION}={handle}"))


@pytest.mark.parametrize("name", ["session", "remember_token", "auth_server_session", "csrf_token"])
def test_foreign_cookies_change_nothing(browser: Browser, app: Flask, ben: users.User, name: str) -> None:
    """Neighbours on the host have a `session` and a `remember_token` of their own."""
    browser.sign_in()
    handle = browser.cookie(SESSION)
    for value in (ben.id, f"{ben.id}|deadbeef", "eyJfdXNlcl9pZCI6IjEifQ.x.y", "x" * 43):
        assert is_anonymous(with_cookie(app, f"{name}={value}"))
        both = with_cookie(app, f"{name}={value}; {SESSION}={handle}")
        assert "ada@example.org" in both.text
        assert name not in set_cookies(both)
        page = with_cookie(app, f"{name}={value}", "/login")
        asserts.is_page(page, "login")
        assert set(set_cookies(page)) == {BROWSER}


def test_duplicated_browser_cookies_are_no_browser(rp: RelyingParty, app: Flask) -> None:
    """A second value cannot shadow the first: the request is refused and a new cookie set."""
    rp.authorize()
    seed = rp.browser.cookie(BROWSER)
    url = rp.authorize().headers["Location"]
    flow = url.rpartition("%3D")[2]
    path = f"/oauth/authorize?flow={flow}"
    assert with_cookie(app, f"{BROWSER}={seed}", path).status_code == 303
    double = with_cookie(app, f"{BROWSER}={seed}; {BROWSER}={'x' * 43}", path)
    asserts.is_error_page(double, "flow_expired")
    assert set_cookies(double)[BROWSER]["value"] not in (seed, "x" * 43)


def test_the_browser_cookie_authenticates_nobody(browser: Browser, app: Flask) -> None:
    """With it alone one is a stranger, though the browser is known."""
    browser.sign_in()
    assert is_anonymous(with_cookie(app, f"{BROWSER}={browser.cookie(BROWSER)}"))


def test_a_browser_keeps_its_cookie(browser: Browser) -> None:
    """It is set once, and neither sign-in nor sign-out rotates it."""
    browser.get("/login")
    seed = browser.cookie(BROWSER)
    browser.sign_in()
    browser.get("/account")
    browser.sign_out()
    assert browser.cookie(BROWSER) == seed
    assert BROWSER not in set_cookies(browser.get("/login"))
