"""Passwords: every character counts, the cost is the same for everybody, rules are about length."""

from __future__ import annotations

import re
from collections.abc import Callable

import bcrypt
import pytest
from flask import Flask
from sqlalchemy import select

from auth_server.accounts import guessable, passwords, users
from auth_server.accounts.passwords import Password
from auth_server.database import db
from auth_server.errors import RefusedInput
from auth_server.infra.sealed_keys import SealedKey
from tests.support import asserts, factories
from tests.support.browser import Browser

GOOD = "correct horse battery staple"


@pytest.fixture
def user(domain: None) -> users.User:
    return users.create("ada@example.org", "Ada", verified=True)


def stored(user: users.User) -> str:
    found = db.session.scalar(select(Password.hash).where(Password.user_id == user.id))
    return str(found)


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "wxyz" * 18 + "?",
        "abcd" * 256,  # 1,024 bytes
        "before\x00 after the NUL",
        "\x00" * 10 + "abcd" * 3,
        "🔑🐎🔋📎" * 4,
        "пароль из многих слов",
        "  blanks at both ends  ",
        "trailing newline is kept\n",
        "quotes \" and ' and \\ and <b>",
        "long " * 200,
    ],
)
def test_any_password_signs_in_and_a_near_miss_does_not(user: users.User, password: str) -> None:
    """Long ones, NUL, emoji and blanks: no truncation, no trimming."""
    passwords.store(user.id, password)
    assert passwords.check(user.id, password)
    for other in (password[:-1], password + "x", password[:-1] + "!", password.swapcase() + " "):
        assert not passwords.check(user.id, other)


def test_the_same_first_72_bytes_are_not_enough(user: users.User) -> None:
    """bcrypt alone reads 72 bytes; the pre-hash reads all."""
    passwords.store(user.id, "a1b2" * 18 + "right")
    assert not passwords.check(user.id, "a1b2" * 18 + "wrong")
    assert passwords.check(user.id, "a1b2" * 18 + "right")


def test_what_follows_a_nul_counts(user: users.User) -> None:
    """C strings end at NUL; passwords do not."""
    passwords.store(user.id, "a long beginning\x00right")
    assert not passwords.check(user.id, "a long beginning\x00wrong")
    assert not passwords.check(user.id, "a long beginning")


def test_one_text_typed_in_two_ways_is_one_password(user: users.User) -> None:
    """Composed and decomposed forms are the same (NFC, NIST SP 800-63B-4 §3.1.1.2)."""
    passwords.store(user.id, "crème brûlée à la carte")
    assert passwords.check(user.id, "cre\u0300me bru\u0302le\u0301e a\u0300 la carte")
    assert not passwords.check(user.id, "creme brulee a la carte")


@pytest.mark.parametrize(("count", "good"), [(1024, True), (1025, False), (60_000, False)])
def test_a_password_has_at_most_1024_bytes(user: users.User, count: int, good: bool) -> None:
    """Up to 1,024 are taken whole; more is refused, and never cut and accepted."""
    password = ("abcdefgh" * 8000)[:count]
    if good:
        passwords.store(user.id, password)
        assert passwords.check(user.id, password)
        assert not passwords.check(user.id, password + "x")
    else:
        with pytest.raises(RefusedInput, match="at most 1024 bytes"):
            passwords.store(user.id, password)
        assert not passwords.exists(user.id)


def test_bytes_are_counted_not_characters(user: users.User) -> None:
    """256 four-byte characters fit, 257 do not."""
    passwords.store(user.id, "🔑🐎🔋📎" * 64)
    with pytest.raises(RefusedInput):
        passwords.store(user.id, "🔑🐎🔋📎" * 64 + "🔑")


@pytest.mark.parametrize(
    ("password", "broken"),
    [
        ("fourteen chars", "at least 15"),
        ("", "at least 15"),
        ("a" * 20, "too easy"),
        ("ababababababababab", "too easy"),
        ("ada.lovelace@example.org", "too easy"),
        ("ADA.Lovelace@example.org", "too easy"),
    ],
)
def test_a_weak_password_is_refused_with_the_reason(user: users.User, password: str, broken: str) -> None:
    """Length, monotony and the person's own words; nothing is stored (NIST SP 800-63B-4 §3.1.1.2)."""
    with pytest.raises(RefusedInput, match=broken):
        passwords.store(user.id, password, context=("ada.lovelace@example.org",))
    assert not passwords.exists(user.id)


@pytest.mark.parametrize(
    "password",
    [
        "Password123456!",
        "P@ssw0rd1234567",
        "  !!Dragon 20262026",
        "1234567890123456",
        "98765432109876543",
        "abcdefghijklmnop",
        "1q2w3e4r5t6y7u8i",
        "qwertyuiopasdfghjkl",
        "passwordpassword",
        "letmein letmein letmein",
        "Sunshine-Princess7",
        "ｐａｓｓｗｏｒｄ1234567",
    ],
)
def test_a_common_password_is_refused_however_it_is_lengthened(user: users.User, password: str) -> None:
    """Signs around it, twice, or two of them: still among the first that are tried (NIST SP 800-63B-4 §3.1.1.2)."""
    with pytest.raises(RefusedInput, match="little more than a common password"):
        passwords.store(user.id, password)
    assert not passwords.exists(user.id)


@pytest.mark.parametrize(
    "password",
    [
        "lovelace1234567",
        "Ada.Lovelace.1815",
        "lovelace10121815!!",
        "adalovelaceadalovelace",
        "localhost:8421 pass",
        "Auth Server 2026!",
        "example example 1",
    ],
)
def test_words_about_the_person_do_not_make_a_password(user: users.User, password: str) -> None:
    """The address, the name, this site and its product: refused when little is left without them."""
    with pytest.raises(RefusedInput, match="your name, your address or this site"):
        passwords.store(user.id, password, context=("ada.lovelace@example.org", "Ada Lovelace"))
    assert not passwords.exists(user.id)


@pytest.mark.parametrize(
    "password",
    [
        GOOD,
        "lovelace purple lanterns",
        "dragon lanterns in seven rows",
        "my password is a teapot",
        "7291 0046 8853 1127",
        "password" * 9,
    ],
)
def test_a_word_of_many_does_no_harm(user: users.User, password: str) -> None:
    """The twin: what has enough beside the word is taken, and very long ones are not looked at in parts."""
    passwords.store(user.id, password, context=("ada.lovelace@example.org", "Ada Lovelace"))
    assert passwords.check(user.id, password)


def test_the_list_is_long_enough() -> None:
    """Ten thousand entries that the shortest allowed password could be, all in the form in which they are looked up."""
    entries = guessable._common()
    assert sum(len(entry) >= 8 for entry in entries) >= 10_000
    assert all(entry == entry.casefold().strip() and len(entry) >= 5 for entry in entries)
    assert guessable._FILE.stat().st_size < 100_000


def test_there_are_no_composition_rules(user: users.User) -> None:
    """Twenty lower-case letters are fine."""
    passwords.store(user.id, "purplemonkeydishwash")
    assert passwords.check(user.id, "purplemonkeydishwash")


def test_the_stored_form_is_bcrypt_over_a_keyed_prehash(make_app: Callable[..., Flask]) -> None:
    """Cost 12 by default, a salt of its own each, under a scheme mark; bcrypt alone does not verify it."""
    app = make_app(bcrypt_rounds=12)
    user = factories.person(app, password=GOOD)

    def form() -> str:
        return stored(user)

    first = factories.within(app, form)
    factories.within(app, lambda: passwords.store(user.id, GOOD))
    second = factories.within(app, form)
    assert first != second
    for one in (first, second):
        assert re.fullmatch(r"v1\$\$2b\$12\$[./A-Za-z0-9]{53}", one)
        assert not bcrypt.checkpw(GOOD.encode(), one.removeprefix("v1$").encode())


def test_the_prehash_key_is_sealed_and_needed(user: users.User) -> None:
    """The key lies sealed in the database: a dump without the master secret cannot even be guessed at."""
    passwords.store(user.id, GOOD)
    rows = db.session.scalars(select(SealedKey)).all()
    assert "password-prehash" in [row.name for row in rows]
    assert all(row.sealed.startswith("v1.") for row in rows)


def test_a_new_master_secret_keeps_passwords(make_app: Callable[..., Flask]) -> None:
    """The pre-hash key is random and only sealed by SECRET_KEY, so changing that breaks nobody."""
    from tests.conftest import SECRET_KEY

    user = factories.person(make_app())
    app = make_app(secret_key="another-0123456789-abcdefghijklmnopqrstuvwxyz", secret_key_previous=SECRET_KEY)
    assert factories.within(app, lambda: passwords.check(user.id, GOOD)) is True
    assert factories.within(app, lambda: passwords.check(user.id, GOOD + "x")) is False


def test_a_plain_bcrypt_hash_is_verified(user: users.User) -> None:
    """`apply` and imports bring them."""
    passwords.store_hash(user.id, bcrypt.hashpw(b"imported", bcrypt.gensalt(4)).decode())
    assert passwords.check(user.id, "imported")
    assert not passwords.check(user.id, "imported!")


@pytest.mark.parametrize("broken", ["", "nonsense", "v1$", "v1$nonsense", "$2b$12$short", "v1$$2b$04$" + "!" * 53])
def test_a_malformed_hash_is_a_wrong_password(user: users.User, broken: str) -> None:
    """Nothing opens an account whose stored hash is broken, and nothing crashes."""
    passwords.store_hash(user.id, broken)
    assert not passwords.check(user.id, broken)
    assert not passwords.check(user.id, "")


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return a list that grows with each computed bcrypt hash: its cost."""
    computed: list[int] = []
    genuine = bcrypt.checkpw

    def counting(password: bytes, hashed: bytes) -> bool:
        computed.append(int(hashed.split(b"$")[2]))
        return genuine(password, hashed)

    monkeypatch.setattr(bcrypt, "checkpw", counting)
    return computed


@pytest.mark.parametrize("who", ["known", "passwordless", "disabled", "unknown", "no address", "empty", "nul"])
def test_every_failure_costs_one_hash(app: Flask, browser: Browser, hashes: list[int], who: str) -> None:
    """Unknown, disabled and passwordless accounts cost what a wrong password costs."""
    factories.person(app, "known@example.org")
    factories.person(app, "passwordless@example.org", password=None)
    disabled = factories.person(app, "disabled@example.org")
    factories.within(app, lambda: users.disable(users.find(disabled.id) or disabled))
    email = {"no address": "nonsense", "empty": "", "nul": "a\x00@example.org"}.get(who, f"{who}@example.org")
    browser.sign_in(email="known@example.org", password="warm up the dummy hash")
    hashes.clear()
    asserts.is_page(browser.sign_in(email=email, password="wrong"), "login", 401)
    assert hashes == [4]


@pytest.mark.parametrize("password", ["x" * 60_000, "", "\x00", "🔑" * 2000])
def test_an_odd_password_is_just_wrong(browser: Browser, hashes: list[int], password: str) -> None:
    """However long, it costs one hash and the answer is the usual one."""
    asserts.is_page(browser.sign_in(password=password), "login", 401)
    assert hashes == [4]
    assert browser.sign_in().status_code == 303
