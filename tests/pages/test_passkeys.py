"""Signing in with a passkey: alone, or as the second step."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server.accounts import users
from auth_server.tokens import ending
from tests.support import asserts, authenticator, factories, passkey
from tests.support.browser import Browser, inputs_of, is_in
from tests.support.database import dump
from tests.support.factories import PASSWORD
from tests.support.passkey import ADD, SECURITY, UV, Passkey, decoded, encoded, options_on
from tests.support.rp import RelyingParty, answer_of, payload

Travel = Callable[[timedelta], None]


def test_a_passkey_alone_lets_in_with_two_factors(app: Flask, browser: Browser, rp: RelyingParty, key: Passkey) -> None:
    """No e-mail, no password, no code afterwards; tokens say `hwk user mfa` and `aal2` (RFC 8176)."""
    stranger = Browser(app)
    done = passkey.sign_in(stranger, key, "/login?next=/account/apps")
    assert (done.status_code, done.headers["Location"]) == (303, "/account/apps")
    assert is_in(stranger)
    assert asserts.events_of(app, "sign_in.succeeded")[-1].data["amr"] == ["hwk", "user", "mfa"]
    page = browser.follow(rp.authorize(acr_values="aal2"))
    consent = browser.follow(browser.submit(page, "/login", credential=key.get(options_on(page))))
    answer = browser.follow(browser.submit(consent, consent.request.full_path, decision="allow"))
    claims = payload(rp.exchange(answer_of(answer)["code"]).json["id_token"])
    assert (claims["acr"], claims["amr"]) == ("aal2", ["hwk", "user", "mfa"])


@pytest.mark.parametrize("alg", [-7, -8, -257])
def test_each_algorithm_on_offer_works(app: Flask, browser: Browser, alg: int) -> None:
    """ES256, EdDSA and RS256; a synced one is a software key, and never counts."""
    browser.sign_in()
    made, _shown = passkey.add(browser, Passkey(alg=alg, synced=True))
    stranger = Browser(app)
    for _time in range(2):
        assert passkey.sign_in(stranger, made).status_code == 303
    assert asserts.events_of(app, "sign_in.succeeded")[-1].data["amr"] == ["swk", "user", "mfa"]


def test_what_the_browser_is_asked_for_names_nobody(app: Flask, browser: Browser, key: Passkey) -> None:
    """The same for all: no passkey is listed, the host is the issuer's, verification is demanded (WK-10, WK-13)."""
    for page in (browser.get("/login"), browser.get("/login?next=/account", headers={"X-Forwarded-Host": "evil.test"})):
        options = options_on(page)
        assert options["allowCredentials"] == []
        assert (options["rpId"], options["userVerification"]) == ("localhost", "required")
        assert len(decoded(options["challenge"])) >= 16
    browser.sign_in(email="ada@example.org", password="wrong")
    failed = [Browser(app).sign_in(email=name, password="wrong") for name in ("ada@example.org", "nobody@example.org")]
    assert [options_on(page)["allowCredentials"] for page in failed] == [[], []]
    assert browser.get("/.well-known/webauthn").status_code == 404


def test_looking_at_the_pages_stores_nothing(browser: Browser, key: Passkey) -> None:
    """Neither the login page nor its fresh options write a row."""
    browser.get("/login")
    before = dump(browser.app)
    browser.get("/login")
    fresh = browser.get("/login/passkey")
    assert fresh.json["challenge"] != browser.get("/login/passkey").json["challenge"]
    assert fresh.headers["Cache-Control"] == "no-store"
    assert dump(browser.app) == before


def test_fresh_options_are_as_good(browser: Browser, key: Passkey) -> None:
    """What the script fetches for a page that was open for a while is taken."""
    fresh = browser.get("/login/passkey").json
    assert browser.submit(browser.get("/login"), "/login", credential=key.get(fresh)).status_code == 303


def test_a_disabled_account_looks_like_any_refusal(app: Flask, browser: Browser, ben: users.User) -> None:
    """The same page, and it works again afterwards."""
    browser.sign_in(email="ben@example.org")
    made, _shown = passkey.add(browser)
    factories.within(app, lambda: ending.disable_user(users.find(ben.id) or ben))
    page = asserts.is_page(passkey.sign_in(browser, made), "login", 401)
    assert "This passkey was not accepted." in page.text
    factories.within(app, lambda: users.enable(users.find(ben.id) or ben))
    assert passkey.sign_in(browser, made).status_code == 303


def test_it_is_a_second_factor_too(app: Flask, browser: Browser, ada: users.User, key: Passkey) -> None:
    """After the password it is asked for, with the person's own passkeys; recovery codes are the other way."""
    page = browser.follow(browser.sign_in())
    asserts.is_page(page, "mfa")
    options = options_on(page)
    assert [item["id"] for item in options["allowCredentials"]] == [encoded(key.id)]
    assert options["userVerification"] == "required"
    for part in ("Use your passkey", "Try another way", "method=recovery", "data-without-passkey"):
        assert part in page.text
    assert "method=app" not in page.text
    assert not is_in(browser)
    done = browser.submit(page, "/login/mfa", credential=key.get(options), trust_device="1")
    assert (done.status_code, done.headers["Location"]) == (303, "/account")
    assert asserts.events_of(app, "sign_in.succeeded")[-1].data["amr"] == ["pwd", "hwk", "user", "mfa"]
    browser.sign_out()
    assert browser.sign_in().headers["Location"] == "/account"  # trusted


def test_a_second_step_is_of_one_person_and_browser(
    app: Flask, browser: Browser, ben: users.User, key: Passkey
) -> None:
    """A's first step with B's passkey, of A's or B's browser, is refused; so is one without verification (MF-08)."""
    other = Browser(app)
    other.sign_in(email="ben@example.org")
    bens, _shown = passkey.add(other)
    other.sign_out()
    mine = browser.follow(browser.sign_in())
    theirs = other.follow(other.sign_in(email="ben@example.org"))
    for sent in (
        bens.get(options_on(mine)),
        bens.get(options_on(theirs)),
        key.get(options_on(theirs)),
        key.get(options_on(mine), user_handle=bens.user_handle),
        key.get(options_on(mine), flags_off=UV),
    ):
        asserts.is_page(browser.submit(mine, "/login/mfa", credential=sent), "mfa", 401)
    assert len(asserts.events_of(app, "mfa.failed")) == 5
    assert browser.submit(mine, "/login/mfa", credential=key.get(options_on(mine))).status_code == 429
    assert passkey.answer(other, other.sign_in(email="ben@example.org"), bens).status_code == 303


def test_a_passkey_that_names_nobody_is_enough_as_second_step(browser: Browser, key: Passkey) -> None:
    """Security keys may leave the handle out where the passkey was named (WebAuthn §7.2 step 6)."""
    assert passkey.answer(browser, browser.sign_in(), key, user_handle=None).status_code == 303


def test_fresh_options_of_the_second_step(app: Flask, browser: Browser, key: Passkey) -> None:
    """To the browser that waits; to nobody else."""
    page = browser.follow(browser.sign_in())
    place = f"/login/mfa/passkey?pending={inputs_of(page)['pending']}"
    asserts.is_error_page(Browser(app).get(place), "flow_expired")
    assert browser.submit(page, "/login/mfa", credential=key.get(browser.get(place).json)).status_code == 303


def test_the_method_used_last_comes_first(browser: Browser, key: Passkey, in_a_while: Travel) -> None:
    """App, passkey or the other way round; the others are one step away (USR-11)."""
    passkey.sign_in(browser, key)
    phone = authenticator.begin(browser)
    in_a_while(timedelta(minutes=2))
    page = browser.get(f"{SECURITY}/app")
    assert browser.submit(page, f"{SECURITY}/app", decision="confirm", code=phone.code()).status_code == 303
    browser.sign_out()
    in_a_while(timedelta(minutes=2))
    page = browser.follow(browser.sign_in())
    assert "Enter the code of your app" in page.text
    assert "method=passkey" in page.text
    assert passkey.answer(browser, browser.sign_in(), key).status_code == 303
    browser.sign_out()
    page = browser.follow(browser.sign_in())
    assert "Use your passkey" in page.text
    for name in ("method=app", "method=recovery"):
        assert name in page.text


def test_operators_who_require_a_factor_are_content_with_a_passkey(make_app: Callable[..., Flask]) -> None:
    """MFA=required: the first app waits at a page that offers both, and goes on after the passkey."""
    app = make_app(mfa="required")
    factories.person(app, roles=["administrator"])
    browser = Browser(app)
    rp = RelyingParty(app, browser, *factories.client(app))
    browser.sign_in()
    choice = browser.follow(rp.authorize())
    asserts.is_page(choice, "account-second-factor")
    assert "Set up an authenticator app" in choice.text
    link = choice.text.partition(f'href="{ADD}')[2].partition('"')[0]
    page = browser.get(ADD + link.replace("&amp;", "&"))
    shown = browser.submit(page, ADD, credential=Passkey().create(options_on(page)))
    asserts.is_page(shown, "account-codes")
    consent = browser.follow(browser.submit(shown, SECURITY, decision="saved", saved="1"))
    asserts.is_page(consent, "consent")
    answer = browser.follow(browser.submit(consent, consent.request.full_path, decision="allow"))
    assert payload(rp.exchange(answer_of(answer)["code"]).json["id_token"])["acr"] == "aal2"
    assert browser.get(f"{SECURITY}/second-factor").headers["Location"] == SECURITY


def test_where_no_second_factor_is_offered_passkeys_sign_in_alone(make_app: Callable[..., Flask]) -> None:
    """MFA=off: no step after the password, no recovery codes; the passkey lets in."""
    app = make_app(mfa="off")
    factories.person(app, roles=["administrator"])
    factories.person(app, "ben@example.org")
    browser = Browser(app)
    browser.sign_in("ben@example.org")
    made, shown = passkey.add(browser)
    assert shown.status_code == 303
    assert "Recovery codes" not in browser.get(SECURITY).text
    browser.sign_out()
    assert browser.sign_in("ben@example.org").headers["Location"] == "/account"
    assert passkey.sign_in(Browser(app), made).status_code == 303


def test_a_host_that_is_an_address_has_no_passkeys(make_app: Callable[..., Flask]) -> None:
    """Browsers would refuse; so no control is shown that cannot work."""
    app = make_app(issuer="http://127.0.0.1:8421")
    factories.person(app, roles=["administrator"])
    browser = Browser(app)
    assert "data-passkey" not in browser.get("/login").text
    browser.sign_in()
    assert "passkeys/add" not in browser.get(SECURITY).text
    asserts.is_error_page(browser.get(ADD), "not_found", 404)


def test_the_password_is_not_looked_at_beside_a_passkey(browser: Browser, key: Passkey) -> None:
    """What the browser has filled in besides changes nothing, right or wrong."""
    page = browser.get("/login")
    filled = {"email": "nobody@example.org", "password": PASSWORD, "remember": "1"}
    assert browser.submit(page, "/login", credential=key.get(options_on(page)), **filled).status_code == 303
    assert "ada@example.org" in browser.get("/account").text
