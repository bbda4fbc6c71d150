"""What people say about themselves: each claim has a check, and nothing else can be set."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from auth_server.accounts import profile, users
from auth_server.database import db
from auth_server.errors import RefusedFields, RefusedInput
from auth_server.infra import clock
from auth_server.tokens import claims

EVERYTHING = {
    "name": "Ada King",
    "given_name": "Ada",
    "middle_name": "Augusta",
    "family_name": "King",
    "nickname": "Countess",
    "preferred_username": "ada",
    "profile": "https://ada.example.org/me",
    "website": "http://ada.example.org:8080/?a=b#c",
    "picture": "https://ada.example.org/ada.png",
    "gender": "woman",
    "birthdate": "1815-12-10",
    "zoneinfo": "Europe/London",
    "locale": "en-GB",
    "phone_number": "+442079460000",
}
ADDRESS = {
    "street_address": "12 St James's Square\nFlat 2",
    "postal_code": "SW1Y 4JH",
    "locality": "London",
    "region": "Greater London",
    "country": "United Kingdom",
    "formatted": "Ada King\nLondon",
}
_COLUMNS = [column.name for column in users.TABLE.columns]


@pytest.fixture
def user(domain: None) -> users.User:
    return users.create("ada@example.org", "Ada", verified=True)


def refused(user: users.User, **fields: str) -> dict[str, str]:
    """Return the problems of a change that is refused, and check that it changed nothing."""
    before = profile.shown(user), user.updated_at
    with pytest.raises(RefusedFields) as refusal:
        profile.update(user, fields)
    assert (profile.shown(user), user.updated_at) == before
    return refusal.value.problems


def test_every_standard_claim_can_be_set_and_forgotten(user: users.User) -> None:
    """OpenID Connect Core §5.1, as the scopes release it; empty text takes a claim away."""
    sent = {**EVERYTHING, **ADDRESS, "birthdate": "1915-12-10"}
    assert profile.update(user, sent) == sorted(sent)
    assert profile.shown(user) == sent
    person = users.find_person(user.id)
    assert person is not None
    told = claims.of_person(person, ["profile", "phone", "address"])
    assert told["address"] == ADDRESS
    assert (told["phone_number_verified"], told["name"]) == (False, "Ada King")
    settable = {name for scope in ("profile", "phone") for name in claims.OF_SCOPE[scope]}
    assert set(profile.CHECKS) == settable - {"updated_at", "phone_number_verified"}
    assert profile.update(user, dict.fromkeys(sent, " ")) == sorted(sent)
    assert (user.name, user.claims) == ("", {})


@pytest.mark.parametrize(
    ("field", "good", "stored"),
    [
        ("name", "  Ada \u200eآدا 💥 ", "Ada \u200eآدا 💥"),
        ("name", "e\u0301", "\u00e9"),
        ("birthdate", "1985", "1985"),
        ("birthdate", "1985-07-31", "1985-07-31"),
        ("birthdate", "0000-02-29", "0000-02-29"),
        ("birthdate", "2000-02-29", "2000-02-29"),
        ("zoneinfo", "America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("zoneinfo", "UTC", "UTC"),
        ("locale", "DE_ch", "de-CH"),
        ("locale", "zh-hant-tw", "zh-Hant-TW"),
        ("locale", "es-419", "es-419"),
        ("phone_number", "+44 (20) 7946-0000", "+442079460000"),
        ("website", "https://bücher.example/é", "https://bücher.example/é"),
        ("picture", "https://[2001:db8::1]/a.png", "https://[2001:db8::1]/a.png"),
        ("street_address", "1 High Street\r\nBack door", "1 High Street\nBack door"),
    ],
)
def test_good_values_are_taken(user: users.User, field: str, good: str, stored: str) -> None:
    """In one spelling each."""
    assert profile.update(user, {field: good}) == [field]
    assert profile.shown(user)[field] == stored


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        *((field, "x" * 201) for field in ("name", "nickname", "preferred_username", "gender", "locality")),
        *((field, "two\nlines") for field in ("name", "preferred_username", "country")),
        *((field, "nul\x00") for field in ("given_name", "preferred_username", "street_address", "formatted")),
        *(("nickname", text) for text in ("a\u2028b", "a\x1b[0m", "a\x85b")),
        *((field, text) for field in ("website", "profile") for text in ("ada", "javascript:alert(1)", "//a.example")),
        *(("website", text) for text in ("ftp://a.example", "https://", "https://a b.example", "https://a.example/\x00")),
        *(("website", text) for text in ('https://a.example/"', "https://[::1", "https://me:pw@a.example", "https:a")),
        ("website", "https://a.example/" + "x" * 1000),
        *(("picture", text) for text in ("http://a.example/a.png", "data:image/png;base64,AAAA")),
        *(("birthdate", text) for text in ("31.7.1985", "1985-7-31", "1985-02-30", "2001-02-29", "1985-07", "0000")),
        *(("birthdate", text) for text in ("1849", "9999", "1985-00-01", "0000-02-30", "19850731", "١٩٨٥", "1985\n")),
        *(("zoneinfo", text) for text in ("Mars/Base", "../../etc/passwd", "Europe", "/etc/localtime")),
        *(("locale", text) for text in ("english", "e", "en-", "en-GB-x", "en GB", "*", "ｅn")),
        *(("phone_number", text) for text in ("020 7946 0000", "0044 20", "+0", "+44 abc", "+123456", "+" + "1" * 16)),
        ("formatted", "x" * 1001),
    ],
)  # fmt: skip
def test_bad_values_are_refused(user: users.User, field: str, bad: str) -> None:
    """With the field's name, and nothing changes."""
    if field == "birthdate" and bad.endswith("\n"):
        assert profile.update(user, {field: bad}) == [field]  # what surrounds a value does not count
    else:
        assert list(refused(user, **{field: bad})) == [field]


def test_a_birthday_is_not_in_the_future(user: users.User) -> None:
    """Today is the last day that is taken."""
    today = clock.now().date()
    assert refused(user, birthdate=(today + timedelta(days=1)).isoformat())
    assert profile.update(user, {"birthdate": today.isoformat()}) == ["birthdate"]


def test_every_problem_is_told_at_once(user: users.User) -> None:
    """And what was right beside them is not taken either."""
    problems = refused(user, nickname="A", birthdate="soon", picture="x", phone_number="1", country="a\nb")
    assert sorted(problems) == ["birthdate", "country", "phone_number", "picture"]
    assert len(set(problems.values())) == 4


@pytest.mark.parametrize(
    "claim",
    ["email", "email_verified", "phone_number_verified", "roles", "groups", "sub", "id", "updated_at", "address",
     "department", "claims", "theme", "disabled_at", "email_key", "created_at", "acr", "is_disabled"],
)  # fmt: skip
def test_nothing_else_can_be_set(user: users.User, claim: str) -> None:
    """Whatever a form is made to send besides."""
    before = {name: getattr(user, name) for name in _COLUMNS}
    assert profile.update(user, {claim: "administrator"}) == []
    assert {name: getattr(user, name) for name in _COLUMNS} == before
    assert profile.update(user, {"nickname": "A", claim: "administrator"}) == ["nickname"]
    assert (user.claims, user.email, user.theme) == ({"nickname": "A"}, "ada@example.org", "system")


def test_an_operators_claims_stay(user: users.User) -> None:
    """Those of the operator's own, and odd values of standard ones as long as the person leaves them alone."""
    odd: dict[str, Any] = {
        "department": {"name": "R&D"},
        "picture": "http://intranet/ada.png",
        "gender": 7,
        "address": {"country": "France", "building": "B"},
        "phone_number": "+33 1 55 55 01 00",
        "phone_number_verified": True,
    }
    users.change(user, claims=odd)
    assert profile.update(user, profile.shown(user)) == []
    assert profile.update(user, {**profile.shown(user), "nickname": "A", "locality": "Paris"}) == [
        "locality",
        "nickname",
    ]
    address = {"country": "France", "building": "B", "locality": "Paris"}
    assert user.claims == {**odd, "nickname": "A", "address": address}


def test_another_number_is_not_verified(user: users.User) -> None:
    """The same one in another spelling stays so; without a number there is nothing to verify."""
    users.change(user, claims={"phone_number": "+33 1 55 55 01 00", "phone_number_verified": True})
    assert profile.update(user, {"phone_number": "+33 155 550 100"}) == ["phone_number"]
    assert user.claims == {"phone_number": "+33155550100", "phone_number_verified": True}
    profile.update(user, {"phone_number": "+33 1 55 55 01 01"})
    assert user.claims == {"phone_number": "+33155550101", "phone_number_verified": False}
    profile.update(user, {"phone_number": ""})
    assert user.claims == {}


def test_a_theme_is_no_claim(user: users.User) -> None:
    """It moves nothing that apps are told; only three exist."""
    before = user.updated_at
    users.choose_theme(user, "dark")
    db.session.commit()
    assert (user.theme, user.claims, user.updated_at) == ("dark", {}, before)
    for wrong in ("", "pink", "DARK", "dark\x00"):
        with pytest.raises(RefusedInput):
            users.choose_theme(user, wrong)
    person = users.find_person(user.id)
    assert person is not None
    assert "theme" not in claims.of_person(person, claims.OF_SCOPE)


def test_only_named_places_are_offered() -> None:
    """The list for people has no abbreviations and no former names of areas; all of it is known to the machine."""
    offered = profile.usual_zones()
    assert {"Europe/Berlin", "Asia/Kolkata", "UTC"} <= set(offered) <= profile.zones()
    assert not {"EST", "Etc/GMT+5", "US/Pacific", "posixrules"} & set(offered)
