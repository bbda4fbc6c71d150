"""What a browser may answer for a passkey: one wrong, late, foreign or broken thing is enough to be refused."""

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

from auth_server.accounts import users
from tests.support import asserts, authenticator, factories, passkey
from tests.support.browser import Browser, is_in
from tests.support.database import dump
from tests.support.passkey import ADD, BE, BS, SECURITY, UP, UV, Passkey, decoded, encoded, options_on

Travel = Callable[[timedelta], None]
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
