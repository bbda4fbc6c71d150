"""The profile page: what people say about themselves, who is told, and how our own pages follow it."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from flask import Flask

from auth_server.accounts import users
from tests.support import asserts, factories
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, payload

PROFILE = "/account/profile"


def save(browser: Browser, **fields: Any) -> Any:
    return browser.submit(browser.get(PROFILE), PROFILE, **fields)


def card_of(text: str, heading: str) -> str:
    """Return the part of the page under a heading."""
    found = re.search(rf"<(legend|h2)[^>]*>{heading}</\1>(.*?)</(?:fieldset|section)>", text, re.DOTALL)
    assert found, heading
    return found[2]


def test_a_change_is_seen_by_apps_and_on_the_page(rp: RelyingParty, ada: users.User) -> None:
    """User info at once, the next ID token too; `updated_at` moves (OpenID Connect Core §5.1)."""
    before = rp.userinfo(rp.tokens()["access_token"]).json
    sent = {"name": "Countess of Lovelace", "nickname": "Ada", "zoneinfo": "Europe/London", "birthdate": "1985"}
    done = save(rp.browser, **sent)
    assert (done.status_code, done.headers["Location"]) == (303, PROFILE + "?saved=1")
    page = asserts.is_page(rp.browser.get(done.headers["Location"]), "account-profile")
    assert "Saved." in page.text
    assert 'value="Countess of Lovelace"' in page.text
    assert re.search(r'<option value="Europe/London" selected>London<', page.text)
    tokens = rp.tokens()
    for told in (rp.userinfo(tokens["access_token"]).json, payload(tokens["id_token"])):
        assert sent.items() <= told.items()
        assert told["updated_at"] >= before["updated_at"]


def test_the_event_names_fields_and_no_value(app: Flask, browser: Browser, ada: users.User) -> None:
    """Who changed what; a page sent back unchanged is no event."""
    browser.sign_in()
    save(browser, nickname="Top secret nickname", phone_number="+442079460000")
    save(browser, nickname="Top secret nickname")
    (row,) = asserts.events_of(app, "user.changed")
    assert (row.subject, row.actor, row.actor_kind) == (ada.id, ada.id, "person")
    assert row.data["fields"] == ["nickname", "phone_number", "phone_number_verified"]
    assert "Top secret" not in repr(vars(row))
    assert "Name, address or other details changed" in browser.get("/account/security/events").text


def test_mistakes_are_told_at_once_and_what_was_typed_stays(app: Flask, browser: Browser) -> None:
    """422, a sentence for each, nothing stored; the same without the mistakes is taken."""
    browser.sign_in()
    page = save(browser, nickname="Countess", birthdate="soon", picture="http://a.example/a.png")
    text = asserts.is_page(page, "account-profile", 422).text
    assert text.count('class="error"') == 2
    for part in ("Error: Your profile", 'href="#birthdate"', 'href="#picture"', 'value="Countess"', 'value="soon"'):
        assert part in text
    assert "Saved." not in text
    assert asserts.events_of(app, "user.changed") == []
    assert save(browser, nickname="Countess", birthdate="", picture="").status_code == 303


def test_a_form_cannot_set_more(app: Flask, browser: Browser, ben: users.User) -> None:
    """Neither address nor power nor somebody else (mass assignment)."""
    browser.sign_in("ben@example.org")
    before = asserts.rows(app)
    extra = {"email": "ada@example.org", "email_verified": "true", "roles": "administrator", "groups": "staff"}
    more = {
        "id": "x",
        "sub": "x",
        "user_id": "x",
        "claims": '{"a": 1}',
        "theme": "dark",
        "phone_number_verified": "true",
    }
    assert save(browser, **extra, **more, department="R&D").status_code == 303
    assert asserts.rows(app) == before
    assert save(browser, **extra, nickname="B").status_code == 303
    (row,) = asserts.events_of(app, "user.changed")
    assert row.data["fields"] == ["nickname"]


def test_each_part_says_which_apps_get_it(app: Flask, rp: RelyingParty) -> None:
    """By consent or, for first-party apps, by the tokens they hold; nobody else's apps."""
    rp.browser.sign_in()
    text = rp.browser.get(PROFILE).text
    assert text.count("Goes to no app at present.") == 6
    rp.tokens(scope="openid email")
    house, secret = factories.client(app, client_name="House <app>", first_party=True, scope="openid profile phone")
    RelyingParty(app, rp.browser, house, secret).tokens(scope="openid profile phone")
    other, secret = factories.client(app, client_name="Ben's app", scope="openid profile phone address")
    factories.person(app, "ben@example.org")
    RelyingParty(app, Browser(app), other, secret).tokens(email="ben@example.org", scope="openid address profile")
    text = rp.browser.get(PROFILE).text
    for heading in ("Name", "About you", "Time and language", "Phone"):
        assert "Goes to: <bdi>House &lt;app&gt;</bdi>." in card_of(text, heading)
    assert "Goes to: <bdi>Wiki</bdi>." in card_of(text, "E-mail")
    assert "Goes to no app at present." in card_of(text, "Postal address")
    assert "Ben&#39;s app" not in text


def test_only_signed_in_people_see_and_change_it(app: Flask, browser: Browser, ada: users.User) -> None:
    """A stranger's form changes nothing."""
    assert browser.get(PROFILE).headers["Location"].startswith("/login?next=")
    token = asserts.is_page(browser.get("/login"), "login").inputs["csrf_token"]
    before = asserts.rows(app)
    for path in (PROFILE, "/account/theme"):
        assert browser.post(path, {"csrf_token": token, "nickname": "A", "theme": "dark"}).status_code == 303
    assert asserts.rows(app) == before


def test_the_browsers_languages_are_offered(browser: Browser) -> None:
    """Each by its own name; an odd one that somebody stored is there too."""
    browser.sign_in()
    text = browser.get(PROFILE, headers={"Accept-Language": "de-CH, fr;q=0.8, *;q=0.1, x_y;q=0.1"}).text
    for option in (">English<", ">Deutsch (Schweiz)<", ">Français<"):
        assert option in text
    assert 'value="*"' not in text
    save(browser, locale="tlh")
    assert re.search(r'<option value="tlh" selected>tlh<', browser.get(PROFILE).text)


def test_a_look_is_chosen_and_kept_with_the_account(app: Flask, browser: Browser) -> None:
    """On every page where the person is known, in every browser, rendered by the server (X-5)."""
    browser.sign_in()
    assert "data-theme" not in browser.get(PROFILE).text
    for theme in ("dark", "light"):
        done = browser.submit(browser.get(PROFILE), "/account/theme", theme=theme)
        assert (done.status_code, done.headers["Location"]) == (303, PROFILE + "#look")
        text = browser.get(PROFILE).text
        assert f'<html lang="en" dir="ltr" data-theme="{theme}">' in text
        assert f'value="{theme}" aria-pressed="true"' in text
        assert text.count('aria-pressed="true"') == 1
    elsewhere = Browser(app)
    assert "data-theme" not in elsewhere.get("/login").text
    elsewhere.sign_in()
    for path in ("/account", "/account/apps", "/logout", "/login"):
        assert 'data-theme="light"' in elsewhere.get(path).text, path
    assert set(browser.client._cookies) == set(elsewhere.client._cookies)  # the choice is in no cookie
    page = browser.get(PROFILE)
    asserts.is_error_page(browser.submit(page, "/account/theme", theme="pink"), "invalid_request")
    browser.submit(page, "/account/theme", theme="system")
    assert "data-theme" not in browser.get(PROFILE).text
    assert "data-theme" not in browser.sign_out().text


def test_no_app_is_told_the_look(rp: RelyingParty) -> None:
    tokens = rp.tokens()
    rp.browser.submit(rp.browser.get(PROFILE), "/account/theme", theme="dark")
    for told in (rp.userinfo(tokens["access_token"]).json, payload(rp.tokens()["id_token"])):
        assert not {"theme", "dark"} & {*told, *map(str, told.values())}


def test_times_follow_the_person(browser: Browser) -> None:
    """On hover the time where the person is, and UTC beside it (X-11, X-13)."""
    browser.sign_in()
    titles = re.compile(r'<time datetime="([^"]+)" title="([^"]+)">')
    before = titles.findall(browser.get("/account/sessions").text)
    save(browser, zoneinfo="Asia/Kathmandu")
    after = titles.findall(browser.get("/account/sessions").text)
    assert before
    for (_at, former), (at, title) in zip(before, after, strict=True):
        here = datetime.fromisoformat(at).astimezone(ZoneInfo("Asia/Kathmandu"))
        assert title != former
        assert f":{here:%M}" in title
        assert "UTC" in title
