"""The pages of a device: the code is typed or scanned, the person looks twice, and one browser alone decides."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from urllib.parse import quote, unquote

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.tokens import devices, ending
from tests.support import asserts, authenticator, factories
from tests.support import device as devices_of
from tests.support.browser import Browser, Page
from tests.support.device import CONFIRM, PAGE, Device, allow, decide, enter
from tests.support.geo import write
from tests.support.rp import payload
from tests.support.sameness import Seen, normalised

Travel = Callable[[timedelta], None]
WRONG = "This code is not right, or no longer good."


@pytest.fixture
def device(app: Flask, ada: users.User) -> Device:
    """Return a device that waits, of a program on a machine elsewhere."""
    client, _none = devices_of.client_of(app, scope="openid profile offline_access")
    return Device(app, client, agent="tv-app/4.2", address="203.0.113.77").started(scope="openid profile")


def type_code(browser: Browser, user_code: str) -> TestResponse:
    return browser.submit(browser.get(PAGE), PAGE, user_code=user_code)


def is_wrong(response: TestResponse) -> Page:
    """The form again, with one calm sentence."""
    page = asserts.is_page(response, "device", 400)
    assert WRONG in page.text
    return page


def test_a_link_fills_the_code_in_and_no_more(device: Device, browser: Browser) -> None:
    """Neither looked up nor decided: the person reads the warning and goes on (DV-02, USR-17)."""
    browser.sign_in()
    before = asserts.rows(device.app)
    page = asserts.is_page(browser.get(f"{PAGE}?user_code={device.user_code}"), "device")
    assert f'value="{device.user_code}"' in page.text
    assert "only if the code is on a device in front of you" in page.text
    assert asserts.rows(device.app) == before
    asserts.is_oauth_error(device.poll(), "authorization_pending")


@pytest.mark.parametrize("value", ["<b>x</b>", "not a code at all", "AEIO-UAEI", ""])
def test_a_link_shows_nothing_but_a_code(browser: Browser, value: str) -> None:
    """Other people's text does not get onto our page."""
    page = asserts.is_page(browser.get(f"{PAGE}?user_code={quote(value)}"), "device")
    assert "value=" not in page.text.partition('id="user_code"')[2].partition(">")[0]


def test_somebody_who_is_not_signed_in_types_once(device: Device, browser: Browser) -> None:
    """Form, sign-in, question: what was typed before the sign-in is taken after it."""
    answer = type_code(browser, device.user_code)
    assert answer.headers["Location"].startswith("/login?next=%2Fdevice")
    asserts.is_page(enter(browser, device.user_code), "consent")


def test_nobody_else_can_have_a_code_taken(device: Device, browser: Browser) -> None:
    """The same address, made elsewhere and without this browser's seal, only fills the form in."""
    forged = type_code(Browser(device.app), device.user_code).headers["Location"]
    browser.sign_in()
    asserts.is_page(browser.get(unquote(forged.partition("next=")[2])), "device")
    asserts.is_page(browser.get(f"{CONFIRM}?user_code={device.user_code}"), "error", 400)


@pytest.mark.parametrize(
    "write_it", [str.lower, str, lambda c: c.replace("-", ""), lambda c: f"  {c.replace('-', ' ')} "]
)
def test_case_and_separators_do_not_matter(device: Device, browser: Browser, write_it: Callable[[str], str]) -> None:
    """RFC 8628 §6.1."""
    asserts.is_page(enter(browser, write_it(device.user_code)), "consent")


def test_the_question_says_what_asks_and_from_where(make_app: Callable[..., Flask], tmp_path: Path) -> None:
    """App, account, permissions, the code, the program, its network and country, and since when (USR-17)."""
    app = make_app(geoip_file=write(tmp_path / "places.mmdb"))
    factories.person(app, roles=["administrator"])
    client, _none = devices_of.client_of(app)
    device = Device(app, client, agent="tv-app/4.2", address="203.0.113.77").started(scope="openid profile")
    page = asserts.is_page(enter(Browser(app), device.user_code), "consent")
    for part in (
        *("TV", "ada@example.org", "See your name and profile", device.user_code, "tv-app", "203.0.113.0/24"),
        *("France", "just now", "only if you started it on your own device just now"),
    ):
        assert part in page.text, part
    assert "203.0.113.77" not in page.text
    assert "You will be sent" not in page.text
    assert [value for name, value in page.buttons if name == "decision"] == ["switch", "deny", "allow"]


def test_it_asks_even_a_first_party_app_and_what_was_allowed_before(app: Flask, browser: Browser) -> None:
    """A device is never allowed silently (RFC 8628 §5.4)."""
    device = Device(app, *devices_of.client_of(app, first_party=True))
    for _time in range(2):
        page = enter(browser, device.started(scope="openid profile").user_code)
        assert "See your name and profile" in asserts.is_page(page, "consent").text
        asserts.is_page(decide(browser, page), "done")
        assert device.poll().status_code == 200


def test_optional_scopes_may_be_unticked(app: Flask, browser: Browser) -> None:
    """The device gets what stayed ticked (USR-14)."""
    device = Device(app, *devices_of.client_of(app, scope="openid profile email", optional_scopes="email"))
    allow(browser, device.started().user_code)
    assert device.tokens()["scope"] == "openid profile"
    allow(browser, device.started().user_code, scope="email")
    assert device.tokens()["scope"] == "openid profile email"


def test_pressing_twice_reloading_and_going_back_are_harmless(device: Device, browser: Browser) -> None:
    """One family, and each time the page that says how it stands."""
    page = enter(browser, device.user_code)
    where = page.request.full_path
    for decision in ("allow", "allow", "deny"):
        answer = browser.submit(page, where, decision=decision)
        assert answer.status_code == 303
        assert "Go back to your device" in asserts.is_page(browser.follow(answer), "done").text
    assert "Go back to your device" in browser.get(where).text
    assert len(asserts.rows(device.app)["family"]) == 1
    assert device.poll().status_code == 200
    assert "Go back to your device" in browser.get(where).text


def test_a_code_works_for_one_browser(device: Device, browser: Browser, ben: users.User) -> None:
    """Whoever comes second, with the right code, is told what everybody with a wrong one is told (DV-04)."""
    page = enter(browser, device.user_code)
    bens = Browser(device.app, "203.0.113.9")
    bens.sign_in("ben@example.org")
    is_wrong(type_code(bens, device.user_code))
    where = f"{CONFIRM}?user_code={device.user_code}"
    asserts.is_error_page(bens.get(where), "flow_expired")
    token = Page(bens.get(PAGE).text).inputs["csrf_token"]
    fields = {"csrf_token": token, "user_code": device.user_code, "decision": "allow"}
    asserts.is_error_page(bens.post(where, fields), "flow_expired")
    asserts.is_oauth_error(device.poll(), "authorization_pending")
    decide(browser, page)
    assert device.tokens()["scope"] == "openid profile"


def test_a_decision_without_the_browsers_token_is_refused(device: Device, browser: Browser) -> None:
    """CSRF: none, another browser's, a foreign origin; nothing is decided."""
    page = enter(browser, device.user_code)
    foreign = Page(Browser(device.app).get(PAGE).text).inputs["csrf_token"]
    own = Page(page.text).inputs
    for fields in ({"csrf_token": ""}, {"csrf_token": foreign}):
        refused = browser.post(page.request.full_path, {**own, "decision": "allow", **fields})
        asserts.is_error_page(refused, "csrf", 403)
    elsewhere = {"Origin": "https://evil.example"}
    asserts.is_error_page(
        browser.post(page.request.full_path, {**own, "decision": "allow"}, headers=elsewhere), "csrf", 403
    )
    asserts.is_oauth_error(device.poll(), "authorization_pending")


def test_a_decision_counts_for_the_account_that_was_asked(device: Device, browser: Browser, ben: users.User) -> None:
    """In another tab somebody else signs in: the form of before decides nothing, and the question is asked anew."""
    page = enter(browser, device.user_code)
    browser.sign_out()
    browser.sign_in("ben@example.org")
    asked_again = asserts.is_page(decide(browser, page), "consent")
    assert "ben@example.org" in asked_again.text
    asserts.is_oauth_error(device.poll(), "authorization_pending")


def test_another_account_can_be_chosen(device: Device, browser: Browser, ben: users.User) -> None:
    """`Use another account` leads back to the same question, and the device gets that account."""
    page = enter(browser, device.user_code)
    login = decide(browser, page, "switch")
    page = browser.follow(browser.submit(login, "/login", email="ben@example.org", password=factories.PASSWORD))
    assert "ben@example.org" in asserts.is_page(page, "consent").text
    decide(browser, page)
    claims = payload(device.tokens()["access_token"])
    assert claims["sub"] == ben.id


@pytest.mark.parametrize("kind", ["malformed", "nothing", "denied", "redeemed", "expired", "taken"])
def test_every_code_that_is_not_good_gets_the_same_answer(
    device: Device, browser: Browser, in_a_while: Travel, kind: str
) -> None:
    """Malformed, decided, redeemed, expired, another browser's: word for word what an unknown one gets."""
    browser.sign_in(remember="1")
    code = {"malformed": "not a code", "nothing": ""}.get(kind, device.user_code)
    if kind == "denied":
        decide(browser, enter(browser, code), "deny")
    if kind == "redeemed":
        allow(browser, code)
        device.tokens()
    if kind == "expired":
        in_a_while(devices.LIFE)
    if kind == "taken":
        asserts.is_page(enter(Browser(device.app, "203.0.113.10"), code), "consent")
    assert _answer(browser, code) == _answer(browser, "BCDF-GHJK")


def _answer(browser: Browser, code: str) -> Seen:
    """Return what is seen, without the code that the field shows again."""
    response = type_code(browser, code)
    is_wrong(response)
    status, body, headers = normalised(response)
    return status, body.replace(f' value="{code}"', ""), headers


def test_guesses_are_limited(device: Device, browser: Browser) -> None:
    """Five wrong ones per account and per address; then even the right one is not looked at (DV-01)."""
    browser.sign_in()
    for _wrong in range(5):
        is_wrong(type_code(browser, "BCDF-GHJK"))
    refused = type_code(browser, device.user_code)
    assert "Too many tries" in asserts.is_page(refused, "device", 429).text
    assert 0 < int(refused.headers["Retry-After"]) <= 900
    elsewhere = Browser(device.app, "203.0.113.9")
    elsewhere.sign_in()
    asserts.is_page(type_code(elsewhere, device.user_code), "device", 429)
    factories.person(device.app, "eve@example.org")
    same_place = Browser(device.app)
    same_place.sign_in("eve@example.org")
    asserts.is_page(type_code(same_place, device.user_code), "device", 429)
    away = Browser(device.app, "203.0.113.10")
    away.sign_in("eve@example.org")
    asserts.is_page(away.follow(type_code(away, device.user_code)), "consent")
    assert len(asserts.events_of(device.app, "device.user_code_failed")) == 5
    assert len(asserts.events_of(device.app, "device.user_code_throttled")) == 3


def test_right_codes_do_not_buy_more_guesses(device: Device, browser: Browser) -> None:
    """Anybody can make right codes: they count as no try, and clear none."""
    browser.sign_in()
    for _wrong in range(4):
        is_wrong(type_code(browser, "BCDF-GHJK"))
    for _right in range(3):
        own = Device(device.app, device.client).started()
        asserts.is_page(enter(browser, own.user_code), "consent")
    is_wrong(type_code(browser, "BCDF-GHJK"))
    asserts.is_page(type_code(browser, "BCDF-GHJK"), "device", 429)


def test_what_cannot_be_a_code_costs_no_try(device: Device, browser: Browser) -> None:
    """A vowel, a letter too few: the same page, and afterwards the right code still works."""
    browser.sign_in()
    for slip in ("AAAA-AAAA", "BCDF", "", "BCDF-GHJKL", "1234-5678", "é" * 8) * 2:
        is_wrong(type_code(browser, slip))
    asserts.is_page(enter(browser, device.user_code), "consent")


@pytest.mark.parametrize("decision", ["", "approve"])
def test_no_other_decision_exists(device: Device, browser: Browser, decision: str) -> None:
    """What is neither yes nor no is refused, and decides nothing."""
    page = enter(browser, device.user_code)
    asserts.is_error_page(browser.submit(page, page.request.full_path, decision=decision), "invalid_request")
    asserts.is_oauth_error(device.poll(), "authorization_pending")


def test_a_question_that_is_too_old(device: Device, browser: Browser, in_a_while: Travel) -> None:
    """A page left open: it says so, and leads to a new start (USR-3)."""
    page = enter(browser, device.user_code)
    in_a_while(devices.LIFE + timedelta(seconds=1))
    error = asserts.is_error_page(browser.submit(page, page.request.full_path, decision="allow"), "flow_expired")
    assert "This code is no longer good" in error.text
    assert f'href="{PAGE}"' in error.text
    assert asserts.rows(device.app)["family"] == []


def test_signed_out_before_the_answer(device: Device, browser: Browser) -> None:
    """Signing in again leads back to the question; what was pressed before does not count."""
    page = enter(browser, device.user_code)
    browser.sign_out()
    login = decide(browser, page)
    asserts.is_page(login, "login")
    back = browser.follow(browser.submit(login, "/login", email="ada@example.org", password=factories.PASSWORD))
    asserts.is_page(back, "consent")
    asserts.is_oauth_error(device.poll(), "authorization_pending")
    asserts.is_page(decide(browser, back), "done")
    assert device.poll().status_code == 200


def test_an_app_that_needs_two_factors(app: Flask, browser: Browser) -> None:
    """Whoever has a second factor shows it, whoever has none sets one up; both come back to the question (MF-06)."""
    device = Device(app, *devices_of.client_of(app, minimum_acr="aal2")).started()
    page = enter(browser, device.user_code)
    asserts.is_page(page, "account-second-factor")
    phone, _codes = authenticator.set_up(browser)
    browser.sign_out()
    step = enter(browser, device.user_code)
    answer = authenticator.answer(browser, browser.get(step.request.full_path), phone.code(1))
    asserts.is_page(decide(browser, browser.follow(answer)), "done")
    claims = payload(device.tokens()["access_token"])
    assert claims["acr"] == "aal2"
    assert "mfa" in claims["amr"]


def test_a_stronger_sign_in_that_nobody_can_have(make_app: Callable[..., Flask]) -> None:
    """The page says that there is no access; the device goes on waiting until its code has expired."""
    app = make_app(mfa="off")
    factories.person(app, "chief@example.org", roles=["administrator"])
    factories.person(app)
    device = Device(app, *devices_of.client_of(app, minimum_acr="aal2")).started()
    browser = Browser(app)
    asserts.is_error_page(enter(browser, device.user_code), "no_access", 403)
    asserts.is_oauth_error(device.poll(), "authorization_pending")


def test_a_sign_in_that_is_too_old_for_the_app(app: Flask, browser: Browser, in_a_while: Travel) -> None:
    """`default_max_age` counts here too: whoever was away longer signs in again, and comes back to the question."""
    browser.sign_in(remember="1")
    in_a_while(timedelta(minutes=5))
    device = Device(app, *devices_of.client_of(app, default_max_age=60)).started()
    login = browser.follow(type_code(browser, device.user_code))
    asserts.is_page(login, "login")
    again = browser.submit(login, login.request.full_path, email="ada@example.org", password=factories.PASSWORD)
    asserts.is_page(browser.follow(again), "consent")


def test_an_api_scope_that_a_role_guards(app: Flask, browser: Browser, ben: users.User) -> None:
    """Somebody without the role is told that there is no access; with it the device gets the scope."""
    factories.api(app)
    factories.role(app, "support", ["orders:read"])
    device = Device(app, *devices_of.client_of(app, scope="orders:read")).started()
    browser.sign_in("ben@example.org")
    asserts.is_error_page(browser.follow(type_code(browser, device.user_code)), "no_access", 403)
    factories.person(app, "eve@example.org", roles=["support"])
    own = Device(app, device.client).started()
    eves = Browser(app, "203.0.113.9")
    eves.sign_in("eve@example.org")
    page = eves.follow(type_code(eves, own.user_code))
    decide(eves, page)
    assert own.tokens()["scope"] == "orders:read"


def test_an_app_that_was_switched_off_meanwhile(device: Device, browser: Browser) -> None:
    """Its code is as good as none."""
    page = enter(browser, device.user_code)
    factories.within(device.app, lambda: ending.disable_client(clients.find(device.client.client_id) or device.client))
    asserts.is_error_page(browser.submit(page, page.request.full_path, decision="allow"), "flow_expired")


def test_the_person_sees_it_afterwards(device: Device, browser: Browser) -> None:
    """Among the connected apps, where it can be disconnected, and among the events; the file has it too."""
    allow(browser, device.user_code)
    tokens = device.tokens()
    assert "TV" in browser.get("/account/apps").text
    assert "App on another device allowed" in browser.get("/account/security/events").text
    export = browser.submit(browser.get("/account/export"), "/account/export").json
    (row,) = export["app_access_devices"]
    assert (row["network"], row["agent"]) == ("203.0.113.0/24", "tv-app")
    browser.submit(browser.get("/account/apps"), "/account/apps", decision="disconnect", app=device.client.client_id)
    again = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    asserts.is_oauth_error(device.post("/oauth/token", again), "invalid_grant")
