"""The second step of a sign-in, from every side: it cannot be skipped, guessed, replayed or carried elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server.accounts import users
from auth_server.tokens import ending
from tests.support import asserts, authenticator, factories
from tests.support.authenticator import Authenticator
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, answer_of, payload

Travel = Callable[[timedelta], None]
HALF_A_MINUTE = timedelta(seconds=31)


@pytest.fixture
def phone(browser: Browser, in_a_while: Travel) -> Authenticator:
    """Ada has an app; her browser is signed out again, and the app shows a new code."""
    browser.sign_in()
    app, browser.recovery_codes = authenticator.set_up(browser)  # type: ignore[attr-defined]
    browser.sign_out()
    in_a_while(HALF_A_MINUTE)
    return app


def is_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200


def test_password_and_code_let_in(browser: Browser, phone: Authenticator, ada: users.User) -> None:
    """One page more, with the fields that automation relies on; the event names both methods."""
    response = browser.sign_in()
    assert not is_in(browser)
    page = browser.follow(response)
    for part in ('autocomplete="one-time-code"', 'inputmode="numeric"', 'name="trust_device"', "method=recovery"):
        assert part in page.text
    done = authenticator.answer(browser, response, phone.code())
    assert (done.status_code, done.headers["Location"]) == (303, "/account")
    assert is_in(browser)
    row = asserts.events_of(browser.app, "sign_in.succeeded")[-1]
    assert (row.subject, row.data["amr"]) == (ada.id, ["pwd", "otp", "mfa"])


def test_spaces_and_a_slow_clock_are_fine(browser: Browser, phone: Authenticator, in_a_while: Travel) -> None:
    """RFC 6238 §5.2: one step before and after, no further."""
    in_a_while(timedelta(minutes=2))
    wrong = authenticator.answer(browser, browser.sign_in(), phone.code(2))
    assert wrong.status_code == 401
    early = phone.code(-1)
    assert authenticator.answer(browser, browser.sign_in(), f" {early[:3]} {early[3:]} ").status_code == 303


def test_a_code_works_once(browser: Browser, phone: Authenticator) -> None:
    """The second time it is wrong, and so is an older one."""
    code, older = phone.code(), phone.code(-1)
    assert authenticator.answer(browser, browser.sign_in(), code).status_code == 303
    browser.sign_out()
    for used in (code, older):
        page = authenticator.answer(browser, browser.sign_in(), used)
        asserts.is_page(page, "mfa", 401)
        assert "This code is not right, or has been used." in page.text
        assert not is_in(browser)


def test_the_second_wrong_code_names_the_clock(browser: Browser, phone: Authenticator) -> None:
    """The most frequent cause, said in general: nothing tells how near the code was (USR-9)."""
    hint = "let your phone set its clock by itself"
    page = browser.follow(browser.sign_in())
    for code in ("000000", phone.code(5)):
        assert hint not in page.text
        page = browser.submit(page, "/login/mfa", code=code)
        asserts.is_page(page, "mfa", 401)
    assert hint in page.text
    assert hint not in browser.submit(page, "/login/mfa", code="x", method="recovery").text
    assert browser.submit(page, "/login/mfa", code=phone.code()).status_code == 303


def test_what_another_tab_has_finished_is_not_asked_again(browser: Browser, phone: Authenticator) -> None:
    """Two tabs at the second step: the code is used up in one, and the other simply goes on (USR-3)."""
    first, second = (browser.follow(browser.sign_in()) for _tab in range(2))
    assert browser.submit(first, "/login/mfa", code=phone.code()).status_code == 303
    handle = browser.cookie("auth_server")
    on = browser.submit(second, "/login/mfa", code=phone.code(), next="/account/apps")
    assert (on.status_code, on.headers["Location"]) == (303, "/account/apps")
    assert browser.cookie("auth_server") == handle
    asserts.is_error_page(browser.get(second.request.full_path), "flow_expired")


def test_an_older_sign_in_is_no_answer_to_a_new_question(browser: Browser, phone: Authenticator) -> None:
    """The twin: a session with both factors from before does not stand for the code that is asked for now."""
    authenticator.answer(browser, browser.sign_in(), phone.code())
    again = browser.submit(browser.get("/login?fresh=1&next=/account"), "/login", email="ada@example.org",
                           password="correct horse battery staple")  # fmt: skip
    page = browser.follow(again)
    asserts.is_page(page, "mfa")
    asserts.is_page(browser.submit(page, "/login/mfa", code="000000"), "mfa", 401)


def test_three_apps_need_one_code(rp: RelyingParty, browser: Browser, phone: Authenticator) -> None:
    """Three tabs at the login page: once the first is through with both factors, the others take the password alone."""
    tabs = [browser.follow(rp.authorize(state=f"tab-{number}", prompt="login")) for number in range(3)]
    answers = []
    for number in (1, 2, 0):
        step = browser.submit(tabs[number], "/login", email="ada@example.org", password="correct horse battery staple")
        if number == 1:
            step = authenticator.answer(browser, step, phone.code())
        page = browser.follow(step)
        if page.status_code == 200:
            page = browser.follow(browser.submit(page, page.request.full_path, decision="allow"))
        answers.append(answer_of(page)["state"])
    assert answers == ["tab-1", "tab-2", "tab-0"]


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "１２３４５６", "\x00" * 6, "9" * 5000])
def test_odd_codes_are_wrong_codes(browser: Browser, phone: Authenticator, code: str) -> None:
    asserts.is_page(authenticator.answer(browser, browser.sign_in(), code), "mfa", 401)


def test_wrong_codes_are_limited_however_often_the_password_is_typed(app: Flask, phone: Authenticator) -> None:
    """Five, from whichever browser; then even the right one gets 429 (ASVS 6.3.1)."""
    for _try in range(5):
        stranger = Browser(app)
        asserts.is_page(authenticator.answer(stranger, stranger.sign_in(), "000000"), "mfa", 401)
    stranger = Browser(app)
    refused = authenticator.answer(stranger, stranger.sign_in(), phone.code())
    asserts.is_page(refused, "mfa", 429)
    assert int(refused.headers["Retry-After"]) > 0
    assert not is_in(stranger)
    assert len(asserts.events_of(app, "mfa.failed")) == 5
    assert len(asserts.events_of(app, "mfa.throttled")) == 1


def test_strangers_cannot_lock_the_owner_out(app: Flask, browser: Browser, phone: Authenticator) -> None:
    """The browser that she has used before counts for itself."""
    for _try in range(6):
        stranger = Browser(app)
        authenticator.answer(stranger, stranger.sign_in(), "000000")
    assert authenticator.answer(browser, browser.sign_in(), phone.code()).status_code == 303


def test_a_waiting_sign_in_opens_nothing(browser: Browser, phone: Authenticator, rp: RelyingParty) -> None:
    """Account, authorization and the pages of the account lead back to the sign-in (ASVS 2.3.1)."""
    browser.sign_in()
    for path in ("/account", "/account/security", "/account/security/app", "/account/sessions"):
        assert browser.get(path).headers["Location"].startswith("/login?")
    asserts.is_page(browser.follow(rp.authorize()), "login")
    asserts.is_redirect_error(rp.authorize(prompt="none"), "login_required")


def test_it_belongs_to_one_browser_and_ends(
    app: Flask, browser: Browser, phone: Authenticator, in_a_while: Travel
) -> None:
    """Elsewhere, finished, after ten minutes, or made up: start again."""
    place = browser.sign_in().headers["Location"]
    asserts.is_error_page(Browser(app).get(place), "flow_expired")
    page = browser.get(place)
    assert browser.submit(page, "/login/mfa", code=phone.code()).status_code == 303
    asserts.is_error_page(browser.get(place), "flow_expired")
    asserts.is_error_page(browser.get("/login/mfa?pending=x&next=/account"), "flow_expired")
    browser.sign_out()
    place = browser.sign_in().headers["Location"]
    in_a_while(timedelta(minutes=10, seconds=1))
    late = asserts.is_error_page(browser.get(place), "flow_expired")
    assert "/login?next=" in late.text


def test_a_code_of_somebody_else_is_wrong(app: Flask, browser: Browser, phone: Authenticator, ben: users.User) -> None:
    """The code is checked against the account of the first step."""
    other = Browser(app)
    other.sign_in(email="ben@example.org")
    authenticator.set_up(other)
    other.sign_out()
    page = authenticator.answer(other, other.sign_in(email="ben@example.org"), phone.code())
    asserts.is_page(page, "mfa", 401)


def test_a_changed_password_ends_what_waits(
    app: Flask, browser: Browser, phone: Authenticator, ada: users.User
) -> None:
    """Whoever typed the former password must begin again."""

    place = browser.sign_in().headers["Location"]
    factories.within(app, lambda: ending.sign_out_everywhere(ada.id, "password_reset"))
    asserts.is_error_page(browser.get(place), "flow_expired")


def test_recovery_codes_work_once_each(browser: Browser, phone: Authenticator) -> None:
    """Typed in any case, with spaces; the event says how many are left."""
    codes = browser.recovery_codes  # type: ignore[attr-defined]
    typed = codes[0].lower().replace("-", " ")
    for status in (303, 401):
        response = browser.follow(browser.sign_in())
        other_way = browser.get(response.request.full_path.replace("method=app", "method=recovery"))
        answer = browser.submit(other_way, "/login/mfa", code=typed)
        assert answer.status_code == status
        browser.sign_out()
    assert [row.data for row in asserts.events_of(browser.app, "mfa.recovery_code_used")] == [{"left": 9}]


def test_the_last_recovery_codes_are_announced(browser: Browser, phone: Authenticator) -> None:
    """Three left: the page says so, and leads on."""
    codes = browser.recovery_codes  # type: ignore[attr-defined]
    for number, code in enumerate(codes[:7]):
        response = browser.follow(browser.sign_in())
        page = browser.get(response.request.full_path.replace("method=app", "method=recovery"))
        answer = browser.submit(page, "/login/mfa", code=code)
        assert answer.status_code == (200 if number == 6 else 303)
        if number < 6:
            browser.sign_out()
    asserts.is_page(answer, "done")
    assert "You have 3 recovery codes left." in answer.text
    assert 'href="/account"' in answer.text


def test_a_trusted_browser_is_not_asked_for_a_month(
    app: Flask, browser: Browser, phone: Authenticator, in_a_while: Travel
) -> None:
    """The box is off at first; only this browser, only this account; what it reaches is one factor."""
    done = authenticator.answer(browser, browser.sign_in(), phone.code(), trust_device="1")
    assert done.status_code == 303
    browser.sign_out()
    assert browser.sign_in().headers["Location"] == "/account"
    assert asserts.events_of(app, "sign_in.succeeded")[-1].data["amr"] == ["pwd"]
    asserts.is_page((lambda other: other.follow(other.sign_in()))(Browser(app)), "mfa")
    browser.sign_out()
    in_a_while(timedelta(days=30, minutes=1))
    asserts.is_page(browser.follow(browser.sign_in()), "mfa")


def test_an_app_gets_the_strength_it_asks_for(
    browser: Browser, phone: Authenticator, rp: RelyingParty, in_a_while: Travel
) -> None:
    """`acr_values=aal2` in a session with one factor: the code alone is asked for, and the same request goes on."""
    authenticator.answer(browser, browser.sign_in(), phone.code(), trust_device="1")
    browser.sign_out()
    browser.sign_in()
    weak = payload(rp.exchange(rp.code()).json["id_token"])
    assert (weak["acr"], weak["amr"]) == ("aal1", ["pwd"])
    asserts.is_redirect_error(rp.authorize(acr_values="aal2", prompt="none"), "login_required")
    in_a_while(HALF_A_MINUTE)
    answer = browser.follow(authenticator.answer(browser, rp.authorize(acr_values="aal2"), phone.code()))
    strong = payload(rp.exchange(answer_of(answer)["code"]).json["id_token"])
    assert (strong["acr"], strong["amr"]) == ("aal2", ["pwd", "otp", "mfa"])
    assert strong["auth_time"] > weak["auth_time"]
    assert strong["sid"] == weak["sid"]
    assert answer_of(rp.authorize(acr_values="aal2"))["code"]


def test_a_wish_for_strength_that_cannot_be_met_is_no_dead_end(browser: Browser, rp: RelyingParty) -> None:
    """Somebody without a second factor goes on; the token says with what."""
    assert payload(rp.tokens(acr_values="aal2 aal1")["id_token"])["acr"] == "aal1"
    assert payload(rp.tokens(acr_values="aal2")["id_token"])["acr"] == "aal1"


def test_guesses_are_few_in_a_day(app: Flask, phone: Authenticator, in_a_while: Travel) -> None:
    """However patiently somebody waits between the tries: fifty a day, then even the right code gets 429."""
    stranger = Browser(app)
    for _window in range(10):
        for _try in range(5):
            page = authenticator.answer(stranger, stranger.sign_in(), "000000")
            assert page.status_code == 401
        in_a_while(timedelta(minutes=15, seconds=1))
    page = authenticator.answer(stranger, stranger.sign_in(), phone.code())
    asserts.is_page(page, "mfa", 429)
    assert int(page.headers["Retry-After"]) > 3600
    in_a_while(timedelta(days=1))
    assert authenticator.answer(stranger, stranger.sign_in(), phone.code()).status_code == 303


def test_operators_may_require_it(make_app: Callable[..., Flask]) -> None:
    """MFA=required: the first app waits until a second factor is set up, and then gets its answer."""
    app = make_app(mfa="required")
    factories.person(app, "ada@example.org", "Ada", roles=["administrator"])
    browser = Browser(app)
    rp = RelyingParty(app, browser, *factories.client(app))
    browser.sign_in()
    asserts.is_redirect_error(rp.authorize(prompt="none"), "interaction_required")
    choice = browser.follow(rp.authorize())
    asserts.is_page(choice, "account-second-factor")
    assert "This server asks everybody for a second factor." in choice.text
    form = browser.follow(browser.submit(choice, f"{authenticator.SECURITY}/app", decision="begin"))
    phone = Authenticator(authenticator.key_on(form))
    codes = browser.submit(form, f"{authenticator.SECURITY}/app", decision="confirm", code=phone.code())
    asserts.is_page(codes, "account-codes")
    consent = browser.follow(browser.submit(codes, authenticator.SECURITY, decision="saved", saved="1"))
    asserts.is_page(consent, "consent")
    answer = browser.follow(browser.submit(consent, consent.request.full_path, decision="allow"))
    assert payload(rp.exchange(answer_of(answer)["code"]).json["id_token"])["acr"] == "aal2"
    removal = browser.get(f"{authenticator.SECURITY}/app/remove")
    assert "set up another before you use an app" in removal.text


def test_operators_may_switch_it_off(make_app: Callable[..., Flask]) -> None:
    """MFA=off: it is neither asked for nor offered; administrators may still have one, and are asked for it."""
    app = make_app(mfa="off")
    factories.person(app, "ada@example.org", "Ada", roles=["administrator"])
    factories.person(app, "eve@example.org", "Eve")
    browser = Browser(app)
    browser.sign_in(email="eve@example.org")
    assert "This server does not offer it." in browser.get("/account/security").text
    asserts.is_error_page(browser.get("/account/security/app"), "not_found", 404)
    administrator = Browser(app)
    administrator.sign_in()
    authenticator.set_up(administrator)
    administrator.sign_out()
    asserts.is_page(administrator.follow(administrator.sign_in()), "mfa")
