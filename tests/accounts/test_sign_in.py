"""The guess limit in front of passwords: exact under sixty tries at once."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import bcrypt
import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import sign_in, users
from auth_server.pages import recover
from auth_server.values import Rate
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.sameness import normalised

Travel = Callable[[timedelta], None]


def addresses() -> Iterator[str]:
    """Return addresses that were not used before."""
    number = 0
    while True:
        number += 1
        yield f"198.51.{number // 256}.{number % 256}"


def stranger(app: Flask, address: str = "203.0.113.1") -> Browser:
    """Return a browser that never signed in to anything."""
    return Browser(app, address)


def fail(browser: Browser, times: int = 1, email: str = "ada@example.org") -> list[int]:
    return [browser.sign_in(email=email, password="wrong").status_code for _ in range(times)]


def is_throttled(response: TestResponse) -> Page:
    """The login page with 429 and the time to wait."""
    assert 0 < int(response.headers["Retry-After"]) <= 901
    page = asserts.is_page(response, "login", 429)
    assert "Too many tries. Wait 15 minutes" in page.text
    return page


@pytest.fixture
def evaluated(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Return a list that grows with every password that is really looked at."""
    seen: list[bytes] = []
    genuine = bcrypt.checkpw

    def counting(password: bytes, hashed: bytes) -> bool:
        seen.append(hashed)
        return genuine(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    return seen


def test_of_sixty_parallel_wrong_passwords_at_most_five_are_evaluated(
    app: Flask, ada: users.User, evaluated: list[bytes]
) -> None:
    """From sixty addresses at one account: at most five are looked at, and the owner gets in."""
    owner = Browser(app)
    assert owner.sign_in().status_code == 303
    evaluated.clear()
    attackers = [stranger(app, address) for address, _ in zip(addresses(), range(60), strict=False)]
    pages = [attacker.get("/login") for attacker in attackers]
    answers: list[TestResponse] = []
    owners: list[int] = []
    gate = threading.Barrier(61)

    def attack(browser: Browser, page: TestResponse) -> None:
        gate.wait()
        answers.append(browser.submit(page, "/login", email="ada@example.org", password="wrong"))

    def come_home() -> None:
        gate.wait()
        while len(owners) < 3:
            status = owner.sign_in().status_code
            owners.extend([status] if status != 503 else [])  # the line was full: once more

    threads = [threading.Thread(target=attack, args=pair) for pair in zip(attackers, pages, strict=True)]
    threads.append(threading.Thread(target=come_home))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {401, 429, 503}
    assert 1 <= statuses.count(401) <= 5
    assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers if answer.status_code != 401)
    assert owners == [303, 303, 303]
    assert len(evaluated) == statuses.count(401) + 3
    assert len(asserts.events_of(app, "sign_in.throttled")) == 1  # however many there were


def test_of_sixty_parallel_from_one_address_at_most_five_are_evaluated(
    app: Flask, ada: users.User, evaluated: list[bytes]
) -> None:
    """Sixty accounts tried from one address: at most five are looked at."""
    browsers = [stranger(app) for _ in range(60)]
    pages = [browser.get("/login") for browser in browsers]
    statuses: list[int] = []

    def spray(number: int) -> None:
        answer = browsers[number].submit(
            pages[number], "/login", email=f"person{number}@example.org", password="Password1234567"
        )
        statuses.append(answer.status_code)

    threads = [threading.Thread(target=spray, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {401, 429, 503}
    assert 1 <= statuses.count(401) == len(evaluated) <= 5


def test_beyond_the_limit_even_the_right_password_is_refused(app: Flask, ada: users.User) -> None:
    """Five wrong tries are answered, the sixth is not looked at; one try earlier the right one is fine."""
    browser = stranger(app)
    assert fail(browser, 5) == [401] * 5
    is_throttled(browser.sign_in())
    is_throttled(stranger(app, "203.0.113.9").sign_in())
    factories.person(app, "ben@example.org")
    second = stranger(app, "203.0.113.2")
    assert fail(second, 4, "ben@example.org") == [401] * 4
    assert second.sign_in(email="ben@example.org").status_code == 303


def test_the_limit_ends_with_its_window(app: Flask, ada: users.User, in_a_while: Travel) -> None:
    """A quarter of an hour after the first try the account is open again."""
    browser = stranger(app)
    fail(browser, 5)
    in_a_while(timedelta(minutes=14))
    waited = browser.sign_in()
    assert waited.status_code == 429
    assert 0 < int(waited.headers["Retry-After"]) <= 61
    in_a_while(timedelta(minutes=1, seconds=1))
    assert browser.sign_in().status_code == 303


def test_a_known_browser_is_not_locked_out_and_has_its_own_limit(app: Flask, ada: users.User) -> None:
    """It counts in no other bucket, nor others in its own, and its own is as small."""
    owner = Browser(app, "203.0.113.1")
    owner.sign_in()
    owner.sign_out()
    fail(stranger(app), 5)
    is_throttled(stranger(app).sign_in())
    assert owner.sign_in().status_code == 303
    assert fail(owner, 5) == [401] * 5
    is_throttled(owner.sign_in())
    assert stranger(app, "203.0.113.77").sign_in().status_code == 429
    factories.person(app, "ben@example.org")
    assert stranger(app, "203.0.113.78").sign_in(email="ben@example.org").status_code == 303


def test_a_known_browsers_failures_do_not_count_against_the_account(app: Flask, ada: users.User) -> None:
    """The owner who mistypes five times does not lock the account for another browser."""
    owner = Browser(app)
    owner.sign_in()
    assert fail(owner, 5) == [401] * 5
    assert stranger(app).sign_in().status_code == 303


def test_a_browser_known_to_one_account_is_a_stranger_to_another(app: Flask, ada: users.User, ben: users.User) -> None:
    """Knowing a browser is a matter of one account: an attacker's own account opens no other's bucket."""
    attacker = Browser(app)
    attacker.sign_in(email="ben@example.org")
    assert fail(attacker, 6) == [401] * 5 + [429]


def test_success_clears_the_accounts_bucket_not_the_addresss(app: Flask, ada: users.User, ben: users.User) -> None:
    """After a success the account starts anew; the address keeps its four failures."""
    first = stranger(app, "203.0.113.1")
    assert fail(first, 4) == [401] * 4
    assert first.sign_in().status_code == 303
    second = stranger(app, "203.0.113.2")
    assert fail(second, 5) == [401] * 5
    third = stranger(app, "203.0.113.1")
    assert fail(third, 2, "ben@example.org") == [401, 429]


def test_success_does_not_count_at_the_address(app: Flask, ada: users.User) -> None:
    """An office behind one address signs in all morning."""
    for number in range(8):
        factories.person(app, f"colleague{number}@example.org")
        assert stranger(app).sign_in(email=f"colleague{number}@example.org").status_code == 303


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("192.0.2.1", "192.0.2.2", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
    ],
)
def test_ipv6_counts_by_64(app: Flask, ada: users.User, first: str, second: str, is_one: bool) -> None:
    """A household's /64 is one address; neighbours and mapped IPv4 addresses are told apart."""
    for number in range(5):
        fail(stranger(app, first), email=f"nobody{number}@example.org")
    status = stranger(app, second).sign_in().status_code
    assert status == (429 if is_one else 303)
    assert (sign_in.address_bucket(first) == sign_in.address_bucket(second)) is is_one


def test_spellings_of_an_address_are_one_account(app: Flask, ada: users.User) -> None:
    """Case and blanks do not make new tries."""
    spellings = ["ada@example.org", "ADA@example.org", " ada@example.org", "Ada@Example.Org", "ａda@example.org"]
    for spelling, address in zip(spellings, addresses(), strict=False):
        assert fail(stranger(app, address), email=spelling) == [401]
    is_throttled(stranger(app).sign_in())


def test_a_forged_forwarded_address_changes_nothing(app: Flask, ada: users.User) -> None:
    """`X-Forwarded-For` of a stranger is not an address."""
    browser = stranger(app)
    for number in range(5):
        fields = {**Page(browser.get("/login").text).inputs, "email": f"n{number}@example.org", "password": "x"}
        headers = {"X-Forwarded-For": f"192.0.2.{number}"}
        assert browser.post("/login", fields, headers=headers).status_code == 401
    assert browser.sign_in().status_code == 429


def test_the_limit_holds_over_a_restart(make_app: Callable[..., Flask]) -> None:
    """The counters are in the database."""
    app = make_app()
    factories.person(app, roles=["administrator"])
    fail(stranger(app), 5)
    is_throttled(stranger(make_app()).sign_in())


def test_the_limit_is_a_setting(make_app: Callable[..., Flask]) -> None:
    """LOGIN_RATE_LIMIT holds, and may be off on loopback."""
    app = make_app(login_rate_limit=Rate(2, timedelta(hours=1)))
    factories.person(app, roles=["administrator"])
    assert fail(stranger(app), 3) == [401, 401, 429]
    assert fail(stranger(make_app(login_rate_limit=None)), 10) == [401] * 10


def test_the_right_password_of_a_disabled_person_is_a_wrong_one(app: Flask, ada: users.User, ben: users.User) -> None:
    """The answer is the same as for a wrong password; enabled again it is right."""
    factories.within(app, lambda: users.disable(users.find(ben.id) or ben))
    wrong = normalised(stranger(app, "203.0.113.1").sign_in(password="wrong"), "ada@example.org")
    right = stranger(app, "203.0.113.2").sign_in(email="ben@example.org")
    assert normalised(right, "ben@example.org") == wrong
    factories.within(app, lambda: users.enable(users.find(ben.id) or ben))
    assert stranger(app, "203.0.113.2").sign_in(email="ben@example.org").status_code == 303


def test_throttled_tries_are_audited_once_and_not_counted(app: Flask, ada: users.User, in_a_while: Travel) -> None:
    """Hammering a closed door does not keep it closed: the window is not prolonged."""
    browser = stranger(app)
    fail(browser, 5)
    in_a_while(timedelta(minutes=14))
    assert fail(browser, 5) == [429] * 5
    assert [row.subject for row in asserts.events_of(app, "sign_in.throttled")] == [ada.id]  # once a window
    in_a_while(timedelta(minutes=1, seconds=1))
    assert browser.sign_in().status_code == 303


def patiently(app: Flask, in_a_while: Travel, email: str, days: int = 40) -> list[int]:
    """Try a wrong password each half hour, from another address each time; return how many were looked at each day."""
    looked_at, fresh = [], addresses()
    for _day in range(days):
        statuses = []
        half_hours = 0
        while half_hours < 48:
            statuses.append(stranger(app, next(fresh)).sign_in(email=email, password="wrong").status_code)
            pause = 6 if statuses[-1] == 429 else 1  # once refused, now and then is enough
            in_a_while(timedelta(minutes=30) * pause)
            half_hours += pause
        looked_at.append(statuses.count(401))
        if len(looked_at) > 1 and looked_at[-2:] == [0, 0]:
            break
    return looked_at


@pytest.mark.parametrize("email", ["ada@example.org", "nobody@example.org"])
def test_failures_in_a_row_are_counted_over_weeks(app: Flask, ada: users.User, in_a_while: Travel, email: str) -> None:
    """However slowly, and from however many addresses: thirty a day and a hundred in a row (NIST SP 800-63B-4 §3.2.2).

    An address without an account is answered alike. The owner's known browser is let in, and ends the row.
    """
    owner = Browser(app)
    owner.sign_in()
    assert patiently(app, in_a_while, email) == [30, 30, 30, 10, 0, 0]
    refused = stranger(app, "203.0.113.200").sign_in(email=email)
    page = asserts.is_page(refused, "login", 429)
    assert int(refused.headers["Retry-After"]) > 20 * 86400
    assert re.search(r"Wait \d\d days, then try again.", page.text)
    assert "Get back into your account" in page.text
    assert owner.sign_in().status_code == 303
    if email == "ada@example.org":
        assert stranger(app, "203.0.113.201").sign_in().status_code == 303


def test_a_new_password_ends_the_row(app: Flask, ada: users.User, in_a_while: Travel) -> None:
    """Whoever may set the password anew may use it at once, wherever."""
    fresh = addresses()
    for _window in range(6):
        for _try in range(5):
            assert fail(stranger(app, next(fresh))) == [401]
        in_a_while(timedelta(minutes=15, seconds=1))
    assert stranger(app, next(fresh)).sign_in().status_code == 429
    link = factories.within(app, lambda: recover.make_link(ada))
    browser = stranger(app, next(fresh))
    assert browser.submit(browser.get(link), "/recover/reset", password="seven purple lanterns").status_code == 200
    assert browser.sign_in(password="seven purple lanterns").status_code == 303


def test_one_password_at_five_hundred_accounts_is_slow(app: Flask, ada: users.User, evaluated: list[bytes]) -> None:
    """One address gets five tries in a quarter of an hour, whatever accounts it names; its neighbour is not harmed."""
    browser = stranger(app)
    page = Page(browser.get("/login").text)
    statuses = [
        browser.post(
            "/login", {**page.inputs, "email": f"person{number}@example.org", "password": "Password123456!"}
        ).status_code
        for number in range(500)
    ]
    assert statuses == [401] * 5 + [429] * 495
    assert len(evaluated) == 5
    assert stranger(app, "203.0.113.2").sign_in().status_code == 303
