"""Passkeys: made, used alone and as a second factor, renamed and removed; and every way in which one is refused."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import cbor2
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import passkeys, passwords, second_factor, users
from auth_server.database import db
from auth_server.tokens import ending
from tests.support import asserts, authenticator, factories, passkey
from tests.support.browser import Browser, Page
from tests.support.database import dump
from tests.support.factories import PASSWORD
from tests.support.passkey import ADD, BE, BS, SECURITY, UP, UV, Passkey, decoded, encoded, options_on
from tests.support.rp import RelyingParty, answer_of, payload

Travel = Callable[[timedelta], None]
TEN_MINUTES = timedelta(minutes=10, seconds=1)
ICLOUD = bytes.fromhex("fbfc3007154e4ecc8c0b6e020557d7bd")


def is_in(browser: Browser) -> bool:
    return browser.get("/account").status_code == 200


def inputs_of(page: TestResponse) -> dict[str, str]:
    return Page(page.text).inputs


@pytest.fixture
def key(browser: Browser) -> Passkey:
    """Ada has a passkey on her device; her browser is signed out again."""
    browser.sign_in()
    made, shown = passkey.add(browser)
    browser.recovery_codes = authenticator.codes_on(shown)  # type: ignore[attr-defined]
    browser.sign_out()
    return made


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


WRONG: dict[str, dict[str, Any]] = {
    "type": {"type": "webauthn.create"},
    "evil origin": {"origin": "https://evil.example"},
    "other scheme": {"origin": "https://localhost:8421"},
    "other port": {"origin": "http://localhost:8422"},
    "no port": {"origin": "http://localhost"},
    "host with our name at its end": {"origin": "http://notlocalhost:8421"},
    "host with our name at its start": {"origin": "http://localhost:8421.evil.example"},
    "a frame in another site": {"cross_origin": True},
    "top origin": {"client_data": {"topOrigin": "https://evil.example"}},
    "cross origin as text": {"cross_origin": "false"},
    "rp id": {"rp_id": "evil.example"},
    "user not present": {"flags_off": UP},
    "user not verified": {"flags_off": UV},
    "copied but not to be copied": {"flags_on": BS},
    "now to be copied": {"flags_on": BE},
    "signature": {"signature": b"\x30\x06\x02\x01\x01\x02\x01\x01"},
    "no signature": {"signature": b""},
    "challenge of nobody": {"challenge": encoded(b"x" * 56)},
    "empty challenge": {"challenge": ""},
    "no user handle": {"user_handle": None},
    "another's handle": {"user_handle": encoded(b"somebody-else")},
    "unknown id": {"credential_id": b"unknown"},
    "id that is not the raw one": {"id": "AAAA"},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
def test_one_wrong_thing_is_enough(browser: Browser, key: Passkey, wrong: dict[str, Any]) -> None:
    """401, one calm sentence, nothing else changed; the same passkey is taken without it (WK-01 to WK-04, WK-07)."""
    before = dump(browser.app, but=("limit_bucket", "audit_event"))
    page = asserts.is_page(passkey.sign_in(browser, key, **wrong), "login", 401)
    assert "This passkey was not accepted. Try again, or another way." in page.text
    assert not is_in(browser)
    assert dump(browser.app, but=("limit_bucket", "audit_event")) == before
    assert asserts.events_of(browser.app, "sign_in.failed")[-1].data == {"method": "passkey"}
    assert passkey.sign_in(browser, key).status_code == 303


def test_a_challenge_is_good_once(browser: Browser, key: Passkey) -> None:
    """The very same answer is refused the second time, and after five minutes the first time too."""
    page = browser.get("/login")
    sent = key.get(options_on(page))
    assert browser.submit(page, "/login", credential=sent).status_code == 303
    browser.sign_out()
    page = browser.get("/login")
    asserts.is_page(browser.submit(page, "/login", credential=sent), "login", 401)
    assert not is_in(browser)


def test_a_challenge_ends(browser: Browser, key: Passkey, in_a_while: Travel) -> None:
    """Five minutes, to the second."""
    for wait, status in ((timedelta(minutes=4, seconds=55), 303), (timedelta(minutes=5, seconds=1), 401)):
        page = browser.get("/login")
        sent = key.get(options_on(page))
        in_a_while(wait)
        assert browser.submit(page, "/login", credential=sent).status_code == status
        browser.sign_out()


def test_a_challenge_is_of_one_browser(app: Flask, browser: Browser, key: Passkey) -> None:
    """Somebody else's answer is refused here, and taken where it was asked for."""
    asked = browser.get("/login")
    sent = key.get(options_on(asked))
    other = Browser(app)
    asserts.is_page(other.submit(other.get("/login"), "/login", credential=sent), "login", 401)
    assert browser.submit(asked, "/login", credential=sent).status_code == 303


def test_a_challenge_is_of_one_ceremony(browser: Browser, key: Passkey) -> None:
    """What was asked for at sign-in, as a second step and for a new passkey is not taken for another (WK-01)."""
    login = options_on(browser.get("/login"))
    mfa = browser.follow(browser.sign_in())
    second = options_on(mfa)
    asserts.is_page(browser.submit(mfa, "/login/mfa", credential=key.get(login)), "mfa", 401)
    asserts.is_page(browser.submit(browser.get("/login"), "/login", credential=key.get(second)), "login", 401)
    assert passkey.answer(browser, browser.sign_in(), key).status_code == 303
    page = browser.get(ADD)
    new = Passkey()
    for options in (login, second):
        tampered = {**options_on(page), "challenge": options["challenge"]}
        asserts.is_page(browser.submit(page, ADD, credential=new.create(tampered)), "account-passkey", 422)
    register = {**login, "challenge": options_on(page)["challenge"]}
    asserts.is_page(browser.submit(browser.get("/login"), "/login", credential=key.get(register)), "login", 401)
    assert browser.submit(page, ADD, credential=new.create(options_on(page))).status_code == 303


def test_a_lower_counter_is_refused_and_told(browser: Browser, ada: users.User, key: Passkey) -> None:
    """Two that count differently may be copies (WK-06); the person sees it, and the right one goes on."""
    for _time in range(3):
        assert passkey.sign_in(browser, key).status_code == 303
        browser.sign_out()
    for counter in (2, 3, 0):
        asserts.is_page(passkey.sign_in(browser, key, counter=counter), "login", 401)
    rows = asserts.events_of(browser.app, "passkey.counter_went_back")
    assert [(row.subject, row.data["stored"], row.data["presented"]) for row in rows] == [
        (ada.id, 3, 2), (ada.id, 3, 3), (ada.id, 3, 0)
    ]  # fmt: skip
    assert passkey.sign_in(browser, key).status_code == 303
    events = browser.get(f"{SECURITY}/events").text
    for words in ("A passkey that may have been copied was refused", "A passkey was not accepted", "Passkey added"):
        assert words in events
    assert "Wrong password" not in events


def test_a_disabled_account_looks_like_any_refusal(app: Flask, browser: Browser, ben: users.User) -> None:
    """The same page, and it works again afterwards."""
    browser.sign_in(email="ben@example.org")
    made, _shown = passkey.add(browser)
    factories.within(app, lambda: ending.disable_user(users.find(ben.id) or ben))
    page = asserts.is_page(passkey.sign_in(browser, made), "login", 401)
    assert "This passkey was not accepted." in page.text
    factories.within(app, lambda: users.enable(users.find(ben.id) or ben))
    assert passkey.sign_in(browser, made).status_code == 303


def test_wrong_answers_are_limited(app: Flask, browser: Browser, key: Passkey) -> None:
    """Five per address, then 429; a browser that she has used before counts for itself, and so does her passkey."""
    stranger = Browser(app, "203.0.113.5")
    statuses = [passkey.sign_in(stranger, Passkey()).status_code for _try in range(6)]
    assert statuses == [401] * 5 + [429]
    throttled = passkey.sign_in(Browser(app, "203.0.113.5"), key)
    asserts.is_page(throttled, "login", 429)
    assert int(throttled.headers["Retry-After"]) > 0
    browser.address = "203.0.113.5"
    assert passkey.sign_in(browser, key).status_code == 303
    for number in range(6):
        Browser(app, f"198.51.100.{number}").sign_in(password="wrong")
    assert Browser(app, "198.51.100.77").sign_in().status_code == 429
    assert passkey.sign_in(Browser(app, "198.51.100.78"), key).status_code == 303  # LG-05


def test_wrong_answers_count_for_the_account(app: Flask, browser: Browser, key: Passkey) -> None:
    """From however many addresses: the sixth is not looked at."""
    statuses = [
        passkey.sign_in(Browser(app, f"198.51.100.{number}"), key, flags_off=UV).status_code for number in range(6)
    ]
    assert statuses == [401] * 5 + [429]
    assert len(asserts.events_of(app, "sign_in.throttled")) == 1
    assert passkey.sign_in(browser, key).status_code == 303


BROKEN = [
    "", "x", "{}", "[]", "null", "1", '"x"', "{" * 5000, "[" * 19_000, "\x00", "x" * 30_000, '{"id": 1}',
    '{"id": "a", "response": []}', '{"id": "a", "response": {"clientDataJSON": 1}}',
    '{"id": "a\\u0000", "rawId": "a", "type": "public-key", "response": {"clientDataJSON": "e30"}}',
    '{"id": "a", "rawId": "a", "type": "public-key", "response": {"clientDataJSON": "W10"}}',
    '{"id": "a", "rawId": "a", "type": "public-key", "response": {"clientDataJSON": "ÿ"}}',
]  # fmt: skip


@pytest.mark.parametrize("sent", BROKEN, ids=range(len(BROKEN)))
def test_what_is_no_answer_is_refused_calmly(make_app: Callable[..., Flask], sent: str) -> None:
    """At all three places; never 500 (WK-14)."""
    app = make_app(login_rate_limit=None)
    factories.person(app, roles=["administrator"])
    browser = Browser(app)
    browser.sign_in()
    made, _shown = passkey.add(browser)
    asserts.is_page(browser.submit(browser.get(ADD), ADD, credential=sent), "account-passkey", 422)
    browser.sign_out()
    asserts.is_page(browser.submit(browser.get("/login"), "/login", credential=sent), "login", 401)
    page = browser.follow(browser.sign_in())
    asserts.is_page(browser.submit(page, "/login/mfa", credential=sent), "mfa", 401)
    assert passkey.sign_in(browser, made).status_code == 303


ODD: list[Any] = [None, True, 0, -1, 2**70, 1.5, "", "AAAA", "é\x00", "A" * 9_000, [], [[]], {}, {"a": 1}]


def mutated(sent: str, chance: random.Random) -> str:
    """Return an answer with one part replaced by something odd, or one byte of it flipped and perhaps its end cut."""
    changed = json.loads(sent)
    where = chance.choice([changed, changed["response"], changed["response"]])
    name = chance.choice(sorted(where))
    if isinstance(where[name], str) and chance.random() < 0.7:
        raw = bytearray(decoded(where[name]))
        raw[chance.randrange(len(raw))] ^= chance.randint(1, 255)
        where[name] = encoded(bytes(raw[: chance.randint(0, len(raw))] if chance.random() < 0.3 else raw))
    else:
        where[name] = chance.choice(ODD)
    return json.dumps(changed)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_answers_are_refused_calmly(make_app: Callable[..., Flask], seed: int) -> None:
    """Any part replaced, any byte of CBOR, JSON or signature flipped: refused, or taken where it did not matter."""
    app, chance = make_app(login_rate_limit=None), random.Random(seed)
    factories.person(app, roles=["administrator"])
    browser = Browser(app)
    browser.sign_in()
    made, _shown = passkey.add(browser)
    login, add = browser.get("/login"), browser.get(ADD)
    statuses = Counter(
        browser.submit(page, path, credential=mutated(sent, chance)).status_code
        for _round in range(40)
        for page, path, sent in (
            (login, "/login", made.get(options_on(login))),
            (add, ADD, Passkey().create(options_on(add))),
        )
    )
    assert set(statuses) <= {200, 303, 401, 422}
    assert statuses[401] > 20
    assert statuses[422] > 20


BAD_NEW: dict[str, dict[str, Any]] = {
    "type": {"type": "webauthn.get"},
    "origin": {"origin": "https://evil.example"},
    "a frame in another site": {"cross_origin": True},
    "rp id": {"rp_id": "evil.example"},
    "not verified": {"flags_off": UV},
    "not present": {"flags_off": UP},
    "copied but not to be copied": {"flags_on": BS},
    "id too long": {"credential_id": b"x" * 1024},
    "no id": {"credential_id": b""},
    "key that is none": {"public_key": cbor2.dumps(4)},
    "point off the curve": {"public_key": cbor2.dumps({1: 2, 3: -7, -1: 1, -2: b"\x01" * 32, -3: b"\x02" * 32})},
    "algorithm of no use": {"public_key": cbor2.dumps({1: 2, 3: -47, -1: 8, -2: b"\x01" * 32, -3: b"\x02" * 32})},
    "attestation that proves nothing": {"fmt": "packed", "att_stmt": {"alg": -7, "sig": b"x"}},
    "attestation of no kind": {"fmt": "made-up"},
    "statement where there is none": {"att_stmt": {"sig": b"x"}},
}


@pytest.mark.parametrize("wrong", BAD_NEW.values(), ids=BAD_NEW)
def test_a_wrong_new_passkey_is_not_taken(browser: Browser, wrong: dict[str, Any]) -> None:
    """422, nothing stored; the same one without the fault is taken (WK-01 to WK-05, WK-07, WK-11)."""
    browser.sign_in()
    made, refused = passkey.add(browser, **wrong)
    asserts.is_page(refused, "account-passkey", 422)
    assert "The passkey could not be taken. Nothing was changed; try again." in refused.text
    assert dump(browser.app)["passkey"] == dump(browser.app)["recovery_code"] == []
    authenticator.codes_on(passkey.add(browser, made)[1])


def test_the_longest_id_is_taken(app: Flask, browser: Browser) -> None:
    """1023 bytes (WebAuthn §4)."""
    browser.sign_in()
    made, _shown = passkey.add(browser, Passkey(id=b"\xff" * 1023))
    assert passkey.sign_in(Browser(app), made).status_code == 303


def test_a_passkey_is_of_one_person(app: Flask, browser: Browser, ben: users.User, key: Passkey) -> None:
    """A known id is not taken again, by nobody; B's passkey with A's handle opens neither account (WK-04, WK-05)."""
    other = Browser(app)
    other.sign_in(email="ben@example.org")
    page = other.get(ADD)
    stolen = Passkey(id=key.id)
    refused = other.submit(page, ADD, credential=stolen.create(options_on(page)))
    asserts.is_page(refused, "account-passkey", 422)
    assert "This passkey is known here already." in refused.text
    bens, _shown = passkey.add(other)
    assert bens.user_handle != key.user_handle
    asserts.is_page(passkey.sign_in(Browser(app), bens, user_handle=key.user_handle), "login", 401)
    asserts.is_page(passkey.sign_in(Browser(app), key, user_handle=bens.user_handle), "login", 401)
    assert passkey.sign_in(Browser(app), bens).status_code == 303


def test_one_may_not_have_endlessly_many(app: Flask, browser: Browser, ada: users.User) -> None:
    """Twenty; the next is refused with the reason."""
    browser.sign_in()
    for _one in range(passkeys.MOST):
        passkey.add(browser)
    refused = passkey.add(browser)[1]
    asserts.is_page(refused, "account-passkey", 422)
    assert "as many passkeys as one account may have" in refused.text


def test_the_first_one_ends_sessions_without_it_and_gives_recovery_codes(app: Flask, browser: Browser) -> None:
    """As for an app (ASVS 7.4.3); the next one does neither. This session has both factors from now on."""
    elsewhere = Browser(app)
    elsewhere.sign_in()
    browser.sign_in()
    former = browser.cookie("auth_server")
    _made, shown = passkey.add(browser)
    assert len(authenticator.codes_on(shown)) == 10
    assert (is_in(browser), is_in(elsewhere)) == (True, False)
    assert browser.cookie("auth_server") != former
    assert "aal2" in dump(app)["session"][0]
    other, _shown = Passkey(), passkey.sign_in(elsewhere, _made)
    codes = dump(app)["recovery_code"]
    second = passkey.add(browser, other)[1]
    assert (second.status_code, second.headers["Location"]) == (303, SECURITY)
    assert (is_in(browser), is_in(elsewhere)) == (True, True)
    assert dump(app)["recovery_code"] == codes


def test_names_come_from_the_maker_or_the_browser(browser: Browser) -> None:
    """Two of a kind are told apart; each card says what the passkey is and how it was used."""
    agent = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0 Safari/537.36"}
    browser.sign_in()
    for made in (Passkey(aaguid=ICLOUD, synced=True), Passkey(aaguid=ICLOUD, synced=True), Passkey()):
        page = browser.get(ADD)
        browser.post(ADD, {**inputs_of(page), "credential": made.create(options_on(page))}, headers=agent)
    text = browser.get(SECURITY).text
    for part in ("<bdi>iCloud Keychain</bdi>", "<bdi>iCloud Keychain 2</bdi>", "<bdi>Chrome on Linux</bdi>"):
        assert part in text
    assert text.count("Synced by your password manager") == 2
    assert text.count("On this device or security key only") == 1
    assert "Last used: never." in text


def place_of(browser: Browser, made: Passkey, act: str) -> str:
    return f"{SECURITY}/passkeys/{act}?id={encoded(made.id)}"


def test_it_can_be_renamed(browser: Browser, key: Passkey) -> None:
    """One line of at most 60 characters; markup stays text everywhere (WK-12)."""
    passkey.sign_in(browser, key)
    place = place_of(browser, key, "rename")
    for odd in ("", "   ", "x" * 61, "a\nb", "a\x00b", "a\u2028b"):
        page = browser.submit(browser.get(place), place, name=odd)
        asserts.is_page(page, "account-passkey-name", 422)
        assert "Give it a name of one line" in page.text
    name = "<script>alert(1)</script> \u202e's"
    assert browser.submit(browser.get(place), place, name=f"  {name} ").status_code == 303
    text = browser.get(SECURITY).text
    assert "<script>alert(1)" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert asserts.events_of(browser.app, "passkey.renamed")[0].data["name"] == name
    assert "<script>alert(1)" not in browser.get(place_of(browser, key, "remove")).text


def test_a_persons_name_with_markup_stays_text(app: Flask, browser: Browser) -> None:
    """What the browser's own dialogue gets is data, and the attribute that carries it is escaped (WK-12)."""
    factories.person(app, "eve@example.org", """"><img src=x onerror=alert(1)>'""")
    browser.sign_in(email="eve@example.org")
    page = browser.get(ADD)
    assert "<img" not in page.text
    assert options_on(page)["user"]["displayName"] == """"><img src=x onerror=alert(1)>'"""


def test_it_can_be_removed(app: Flask, browser: Browser, key: Passkey) -> None:
    """Asked first, with what follows; afterwards it opens nothing, other sessions end, the codes are void."""
    elsewhere = Browser(app)
    for one in (browser, elsewhere):
        passkey.sign_in(one, key)
    place = place_of(browser, key, "remove")
    page = browser.get(place)
    asserts.is_page(page, "account-confirm")
    for part in ("You cannot sign in with it any more.", "Your recovery codes stop working.", "signed out"):
        assert part in page.text
    done = browser.submit(page, place, decision="confirm")
    assert (done.status_code, done.headers["Location"]) == (303, SECURITY)
    assert dump(app)["passkey"] == dump(app)["recovery_code"] == []
    assert (is_in(browser), is_in(elsewhere)) == (True, False)
    asserts.is_page(passkey.sign_in(elsewhere, key), "login", 401)
    assert browser.sign_out().status_code == 200
    assert browser.sign_in().headers["Location"] == "/account"
    assert len(asserts.events_of(app, "passkey.removed")) == 1


def without_password(app: Flask, user: users.User) -> None:
    table = passwords.TABLE
    factories.within(app, lambda: db.session.execute(table.delete().where(table.c.user_id == user.id)))


def test_the_last_way_in_stays(app: Flask, browser: Browser, ada: users.User, key: Passkey) -> None:
    """Without a password and another passkey it is refused, with the reason; with either it goes (WK-09)."""
    without_password(app, ada)
    passkey.sign_in(browser, key)
    place = place_of(browser, key, "remove")
    page = browser.get(place)
    asserts.is_page(page, "account-passkey-stays")
    assert "is the only way into your account" in page.text
    forced = browser.post(place, {**inputs_of(browser.get(SECURITY)), "decision": "confirm"})
    asserts.is_page(forced, "account-passkey-stays", 422)
    assert len(dump(app)["passkey"]) == 1
    other, _shown = passkey.add(browser)
    assert browser.submit(browser.get(place), place, decision="confirm").status_code == 303
    asserts.is_page(browser.get(place_of(browser, other, "remove")), "account-passkey-stays")


def test_an_operators_reset_takes_passkeys_too(app: Flask, browser: Browser, ada: users.User, key: Passkey) -> None:
    """Both kinds and the codes; everything ends, and the password alone lets in."""
    passkey.sign_in(browser, key)
    assert factories.within(app, lambda: ending.reset_second_factor(ada.id)) is True
    assert dump(app)["passkey"] == dump(app)["recovery_code"] == []
    assert not is_in(browser)
    assert browser.sign_in().headers["Location"] == "/account"
    assert factories.within(app, lambda: ending.reset_second_factor(ada.id)) is False


@pytest.mark.parametrize("act", ["add", "options", "remove"])
def test_an_old_sign_in_is_not_enough(browser: Browser, key: Passkey, in_a_while: Travel, act: str) -> None:
    """After ten minutes the person shows again who they are, by the passkey, and comes back (WK-08)."""
    passkey.sign_in(browser, key)
    in_a_while(TEN_MINUTES)
    place = place_of(browser, key, act)
    asked = browser.get(place)
    assert asked.headers["Location"].startswith("/login?fresh=1&next=")
    page = browser.follow(asked)
    assert "Confirm that it is you" in page.text
    back = browser.submit(page, "/login", credential=key.get(options_on(page)))
    assert (back.status_code, back.headers["Location"]) == (303, place)
    assert browser.get(place).status_code == 200


def test_a_password_alone_does_not_add_one_where_there_is_a_second_factor(browser: Browser, key: Passkey) -> None:
    """Whoever has the password only, in a browser that is trusted, must show the second factor first (ASVS 7.5.1)."""
    page = passkey.answer(browser, browser.sign_in(), key)
    assert page.status_code == 303
    browser.sign_out()
    form = browser.follow(browser.sign_in())
    asserts.is_page(form, "mfa")
    assert browser.get(ADD).headers["Location"].startswith("/login?fresh=1")


def test_passkeys_of_others_are_not_found(app: Flask, browser: Browser, ben: users.User, key: Passkey) -> None:
    """Renaming and removing somebody else's is 404 (AD-02)."""
    other = Browser(app)
    other.sign_in(email="ben@example.org")
    token = inputs_of(other.get("/logout"))
    for act in ("rename", "remove"):
        place = place_of(other, key, act)
        asserts.is_error_page(other.get(place), "not_found", 404)
        asserts.is_error_page(other.post(place, {**token, "name": "mine", "decision": "confirm"}), "not_found", 404)
    assert len(dump(app)["passkey"]) == 1


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


def test_codes_come_with_the_first_factor_and_go_with_the_last(app: Flask, browser: Browser, ada: users.User) -> None:
    """App and passkey share them, whichever came first."""
    browser.sign_in()
    authenticator.set_up(browser)
    made, shown = passkey.add(browser)
    assert shown.status_code == 303
    app_removal = browser.get(f"{SECURITY}/app/remove")
    assert "Your passkeys go on working." in app_removal.text
    assert "recovery codes stop" not in app_removal.text
    browser.submit(app_removal, f"{SECURITY}/app/remove", decision="confirm")
    assert len(dump(app)["recovery_code"]) == 10
    assert factories.within(app, lambda: second_factor.methods(ada.id)) == ["passkey", "recovery"]
    place = place_of(browser, made, "remove")
    browser.submit(browser.get(place), place, decision="confirm")
    assert dump(app)["recovery_code"] == []


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
