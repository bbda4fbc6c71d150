"""Which language a page speaks, and the choice in its footer."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import users
from auth_server.database import db
from auth_server.infra import language
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.database import failing
from tests.support.rp import RelyingParty
from tests.web.test_cookies import HTTPS, set_cookies

COOKIE = "auth_server_language"
GERMAN, ARABIC = {"Accept-Language": "de-AT,de;q=0.8,en;q=0.5"}, {"Accept-Language": "ar"}


def spoken(response: TestResponse) -> str:
    """Return the language that the page says it has; its heading and header agree."""
    found = re.search(r'<html lang="(\w+)" dir="(\w+)"', response.text)
    assert found, response.text[:200]
    assert response.headers["Content-Language"] == found[1]
    assert found[2] == ("rtl" if found[1] == "ar" else "ltr")
    return found[1]


def choose(browser: Browser, tag: str, back: str = "/login") -> TestResponse:
    """Press a language's button on a page."""
    page = browser.get(back)
    return browser.post("/language", {**_footer(page), "language": tag})


def _footer(page: TestResponse) -> dict[str, str]:
    form = page.text.partition('action="/language"')[2]
    fields = re.findall(r'name="(csrf_token|next)" value="([^"]*)"', form)
    return {name: value.replace("&amp;", "&") for name, value in fields}


def in_language(app: Flask, user: users.User, **claims: str) -> None:
    factories.within(app, lambda: users.change(db.session.get_one(users.User, user.id), claims=claims))


def test_what_outweighs_what(browser: Browser, app: Flask, ada: users.User) -> None:
    """`ui_locales`, the cookie, the account, Accept-Language, English; each is heard where nothing above it speaks."""
    browser.sign_in()
    assert spoken(browser.get("/account")) == "en"
    assert spoken(browser.get("/account", headers=GERMAN)) == "de"
    in_language(app, ada, locale="ar-EG")
    assert spoken(browser.get("/account", headers=GERMAN)) == "ar"
    choose(browser, "de", "/account")
    assert spoken(browser.get("/account", headers={"Accept-Language": "en"})) == "de"
    assert spoken(browser.get("/account?ui_locales=xx+ar+en")) == "ar"
    assert spoken(browser.get("/account?ui_locales=xx")) == "de"


def test_signed_out_nobody_s_account_is_asked(browser: Browser, app: Flask, ada: users.User) -> None:
    """The language of an account is for whoever is signed in to it."""
    in_language(app, ada, locale="de")
    assert spoken(browser.get("/login")) == "en"
    browser.sign_in()
    assert spoken(browser.get("/login")) == "de"
    browser.sign_out()
    assert spoken(browser.get("/login")) == "en"


@pytest.mark.parametrize("locale", ["xx", "", 5, None, ["de"], {"a": 1}, "de" * 5000])
def test_a_strange_locale_is_no_language(browser: Browser, app: Flask, ada: users.User, locale: object) -> None:
    """Whatever the claim holds, the page is there."""
    factories.within(app, lambda: users.change(db.session.get_one(users.User, ada.id), claims={"locale": locale}))
    browser.sign_in()
    assert spoken(browser.get("/account")) == "en"


def test_the_app_s_wish_holds_through_the_whole_flow(rp: RelyingParty) -> None:
    """Login, its mistake, consent: though only the authorization request named the language."""
    login = rp.browser.follow(rp.authorize(ui_locales="de"))
    assert spoken(login) == "de"
    assert "Anmelden" in login.text
    url = login.request.full_path
    assert "ui_locales" not in url
    wrong = rp.browser.submit(login, url, email="ada@example.org", password="wrong")
    assert spoken(wrong) == "de"
    assert "stimmt nicht" in wrong.text
    consent = rp.browser.follow(rp.browser.submit(login, url, email="ada@example.org", password=factories.PASSWORD))
    asserts.is_page(consent, "consent")
    assert spoken(consent) == "de"
    assert "Erlauben" in consent.text


def test_the_app_s_wish_holds_at_the_second_factor_and_on_errors(rp: RelyingParty, ada: users.User) -> None:
    """The page between, which knows the request by its `next`; and the page that says that it is over."""
    login = rp.browser.follow(rp.authorize(ui_locales="de"))
    then = parse_qs(urlsplit(login.request.full_path).query)["next"][0]
    lost = rp.browser.get(f"/login/mfa?pending=x&next={quote(then, safe='')}")
    asserts.is_error_page(lost, "flow_expired")
    assert spoken(lost) == "de"
    posted = rp.browser.submit(login, "/login/mfa", pending="x", code="000000")
    assert spoken(posted) == "de"
    other = Browser(rp.app)
    assert spoken(other.get(f"/login?next={quote(then, safe='')}")) == "en"
    assert spoken(other.get(then)) == "en"


def test_a_direct_error_speaks_the_wished_language(rp: RelyingParty) -> None:
    """Where no request was stored, the parameter itself says it."""
    assert spoken(rp.authorize(client_id="unknown", ui_locales="fi ar")) == "ar"
    posted = rp.browser.post("/oauth/authorize", {"client_id": "unknown", "ui_locales": "de"})
    assert spoken(posted) == "de"


def test_the_person_s_choice_outweighs_the_app_s_wish(rp: RelyingParty) -> None:
    """Chosen in a flow, the language stays for the rest of it, and the flow goes on."""
    login = rp.browser.follow(rp.authorize(ui_locales="de", scope="openid profile"))
    back = rp.browser.post("/language", {**_footer(login), "language": "ar"})
    again = rp.browser.follow(back)
    asserts.is_page(again, "login")
    assert spoken(again) == "ar"
    signed_in = rp.browser.submit(again, again.request.full_path, email="ada@example.org", password=factories.PASSWORD)
    consent = rp.browser.follow(signed_in)
    asserts.is_page(consent, "consent")
    assert spoken(consent) == "ar"


def test_another_browser_s_flow_is_left_alone(rp: RelyingParty) -> None:
    """Whoever knows a request's address changes nothing in it."""
    login = rp.browser.follow(rp.authorize(ui_locales="de"))
    stranger = Browser(rp.app)
    fields = {**_footer(stranger.get("/login")), "next": login.request.full_path, "language": "ar"}
    assert stranger.post("/language", fields).status_code == 303
    assert spoken(rp.browser.get(login.request.full_path)) == "de"


def test_the_choice_is_a_cookie_for_a_year(browser: Browser) -> None:
    """HttpOnly, Lax, a plain tag; it leads back, without the parameter that would outweigh it; GET sets nothing."""
    assert COOKIE not in set_cookies(browser.get("/login", headers=GERMAN))
    response = choose(browser, "ar", "/login?ui_locales=de&next=%2Faccount%2Fapps")
    assert response.headers["Location"] == "/login?next=%2Faccount%2Fapps"
    cookie = set_cookies(response)[COOKIE]
    assert (cookie["value"], cookie["httponly"], cookie["samesite"], cookie["path"]) == ("ar", "True", "Lax", "/")
    assert int(cookie["max-age"]) == 365 * 86400
    assert spoken(browser.get("/login", headers=GERMAN)) == "ar"


def test_on_https_the_choice_is_bound_to_the_host(make_app: Callable[..., Flask]) -> None:
    """`__Host-` and Secure."""
    app = make_app(issuer=HTTPS, bcrypt_rounds=12)
    factories.person(app, roles=["administrator"])
    cookie = set_cookies(choose(Browser(app), "de"))["__Host-" + COOKIE]
    assert (cookie["value"], cookie["secure"], cookie["path"]) == ("de", "True", "/")
    assert "domain" not in cookie


@pytest.mark.parametrize("tag", ["", "xx", "DE", "de-AT", "../de", "de\r\nSet-Cookie: x=y", "de" * 3000])
def test_no_other_language_can_be_chosen(browser: Browser, tag: str) -> None:
    """Only a tag with a catalogue, as it stands on the button; the button's own is taken."""
    refused = choose(browser, tag)
    asserts.is_error_page(refused, "invalid_request", 400)
    assert COOKIE not in set_cookies(refused)
    assert choose(browser, "de").status_code == 303


@pytest.mark.parametrize("tag", ["xx", "", "<script>", "de; ar", "x" * 4000])
def test_a_strange_cookie_is_no_choice(browser: Browser, tag: str) -> None:
    """What is no language of ours counts as not sent."""
    browser.client.set_cookie(COOKIE, tag, domain="localhost")
    assert spoken(browser.get("/login")) == "en"


@pytest.mark.parametrize(
    "back", ["https://evil.example/", "//evil.example/", "/\\evil.example", "javascript:x", "", "\n/"]
)
def test_the_choice_leads_to_no_other_site(browser: Browser, back: str) -> None:
    """Anything but a local address is the front door; a local one is kept."""
    fields = {**_footer(browser.get("/login")), "language": "de"}
    assert browser.post("/language", {**fields, "next": back}).headers["Location"] == "/"
    assert browser.post("/language", {**fields, "next": "/recover"}).headers["Location"] == "/recover"


def test_the_footer_names_each_language_in_itself(browser: Browser) -> None:
    """One button a language, marked with its own `lang` and direction; the spoken one is marked as current."""
    page = browser.get("/login", headers=ARABIC)
    for tag in language.available():
        button = re.search(
            rf'<button type="submit" name="language" value="{tag}" lang="{tag}" dir="(\w+)"([^>]*)>(.+?)<', page.text
        )
        assert button
        assert button[3] == language.name_of(tag)
        assert button[1] == language.direction(tag)
        assert ("aria-current" in button[2]) == (tag == "ar")


def test_a_refused_form_can_be_asked_for_again(rp: RelyingParty) -> None:
    """The footer of a page that a form led to names what the form carried; of one that cannot be asked for, nothing."""
    rp.browser.sign_in()
    wrong = rp.browser.submit(rp.browser.get("/account/security/password"), "/account/security/password", current="x")
    assert _footer(wrong)["next"] == "/account/security/password"
    posted = Browser(rp.app)
    page = posted.get("/login")
    refused = posted.submit(page, "/login", next="/account/apps", email="x", password="y")
    assert _footer(refused)["next"] == "/login?next=%2Faccount%2Fapps"


def test_pages_vary_with_the_language(browser: Browser) -> None:
    """`Vary` names both; what has no language names none."""
    page = browser.get("/login")
    assert {"Cookie", "Accept-Language"} <= set(page.headers.getlist("Vary"))
    static = browser.get(re.findall(r'"(/static/[^"]+\.css)"', page.text)[0])
    static.close()
    assert "Content-Language" not in static.headers
    assert "Accept-Language" not in static.headers.get("Vary", "")


def test_refusals_of_the_domain_are_translated(browser: Browser) -> None:
    """What is raised in English is shown in the person's language, with its numbers."""
    browser.sign_in()
    path = "/account/security/password"
    page = browser.submit(browser.get(path), path + "?ui_locales=de", current=factories.PASSWORD, password="short")
    assert page.status_code == 422
    assert "Mindestens 15 Zeichen" in page.text


def test_a_silent_database_does_not_keep_the_page_from_speaking(rp: RelyingParty) -> None:
    """The page that says that the database cannot answer is there, in the browser's language."""
    login = rp.browser.follow(rp.authorize(ui_locales="ar"))
    with failing(rp.app):
        page = rp.browser.get(login.request.full_path, headers=GERMAN)
    assert page.status_code == 503
    assert spoken(page) == "de"
    assert 'action="/language"' not in page.text


def test_moments_are_in_the_person_s_zone(browser: Browser, app: Flask, ada: users.User) -> None:
    """`zoneinfo` of the account; UTC beside it in the title, and for programs in `datetime` (X-11, X-13)."""
    in_language(app, ada, zoneinfo="Asia/Kolkata", locale="de")
    browser.sign_in()
    found = re.findall(
        r'<time datetime="([^"]+)" title="([^"]+)">([^<]+)</time>', browser.get("/account/sessions").text
    )
    assert found
    for machine, title, words in found:
        assert machine.endswith("+00:00")
        assert words == "gerade eben"
        assert re.fullmatch(r"\d\d\.\d\d\.\d{4}, \d\d:\d\d:\d\d \(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\)", title)
        local, utc = title[12:17], title[-13:-8]
        assert local != utc


def test_before_the_set_up_the_language_can_be_chosen(app: Flask) -> None:
    """The page that everybody is sent to has the choice too."""
    browser = Browser(app)
    assert choose(browser, "de", "/setup").headers["Location"] == "/setup"
    assert spoken(browser.get("/setup")) == "de"
    assert Page(browser.get("/setup").text).marker == "setup"
