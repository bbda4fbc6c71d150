"""A copy of everything: complete by comparison with the database, and without anything that opens anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from auth_server.access import groups, identities
from auth_server.accounts import users
from auth_server.clients import issuers
from auth_server.database import Base
from auth_server.pages import recover
from auth_server.tokens import export
from tests.support import asserts, authenticator, exchange, factories, passkey
from tests.support.browser import Browser
from tests.support.device import Device, allow, client_of
from tests.support.factories import PASSWORD
from tests.support.rp import RelyingParty

EXPORT = "/account/export"


def download(browser: Browser) -> dict[str, Any]:
    response = browser.submit(browser.get(EXPORT), EXPORT)
    assert response.status_code == 200, response.text
    return dict(json.loads(response.text))


def test_every_table_and_column_is_exported_or_left_out_for_a_reason(app: Flask) -> None:
    """A new table or column must be put on a list; what names a person by a foreign key may not be left out."""
    parts = {part.table: part for part in export.PARTS.values()}
    tables = {table.name: table for table in Base.metadata.sorted_tables}
    assert sorted([*parts, *export.LEFT_OUT]) == sorted(tables)
    assert all(export.LEFT_OUT.values())
    for name, part in parts.items():
        assert {*part.shown, *part.withheld, part.owner} == set(tables[name].columns.keys()), name
        assert not set(part.shown) & set(part.withheld)
    for name in export.LEFT_OUT:
        columns = tables[name].columns
        assert not {"user_id", "subject"} & set(columns.keys()), name
        assert not any(key.column.table.name == "user_account" for column in columns for key in column.foreign_keys)


def test_nothing_secret_is_on_the_lists() -> None:
    """Neither secrets nor digests nor sealed values."""
    for part in export.PARTS.values():
        assert not [name for name in part.shown if any(word in name for word in ("digest", "sealed", "hash", "secret"))]


def test_the_file_has_everything(app: Flask, rp: RelyingParty, ada: users.User) -> None:
    """Every part has rows for somebody who has used everything; it comes at once, as a file that nobody keeps."""
    factories.group(app, "staff")
    factories.within(app, lambda: groups.put(ada.id, ["staff"]))
    factories.within(app, lambda: issuers.save("https://id.example.org", {"uses": ["id-jag"]}))
    factories.within(app, lambda: identities.link("https://id.example.org", "x", ada.id))
    tokens = rp.tokens()
    rp.refresh(tokens["refresh_token"])
    rp.browser.submit(rp.browser.get("/account/profile"), "/account/profile", nickname="Countess")
    phone, _codes = authenticator.set_up(rp.browser)
    passkey.add(rp.browser)
    shop, backend = exchange.shop(app, rp.browser), exchange.service(app)
    exchange.rule(app)
    backend.exchanged(exchange.token(shop))
    device = Device(app, *client_of(app)).started()
    device_tokens = (allow(rp.browser, device.user_code), device.tokens())[1]
    link = factories.within(app, lambda: recover.make_link(users.find(ada.id) or ada))
    elsewhere = Browser(app)
    elsewhere.sign_in()
    assert phone
    response = rp.browser.submit(rp.browser.get(EXPORT), EXPORT)
    assert response.content_type == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert response.headers["Content-Disposition"].startswith('attachment; filename="account-')
    found = json.loads(response.text)
    assert [name for name in export.PARTS if not found[name]] == []
    assert found["account"]["email"] == "ada@example.org"
    assert found["account"]["claims"] == {"nickname": "Countess"}
    assert found["groups"] == [{"group_name": "staff"}]
    (passed_on,) = found["app_access_passed_on"]
    assert (passed_on["client_id"], passed_on["audience"]) == ("orders-backend", exchange.FILES)
    assert found["roles_in_force"] == ["administrator"]
    assert found["app_names"] == {rp.client.client_id: "Wiki", device.client.client_id: "TV", "shop": "Shop"}
    assert len(found["recovery_codes"]) == 10
    assert {row["purpose"] for row in found["links"]} == {"not-me", "password-reset"}
    assert len(found["app_access_renewals"]) == 4
    assert device_tokens["refresh_token"] not in response.text
    assert device.codes["device_code"] not in response.text
    assert {"sign_in.succeeded", "mfa.turned_on", "user.exported"} <= {row["event"] for row in found["events"]}
    handle = rp.browser.cookie("auth_server") or "-"
    for secret in (tokens["refresh_token"], tokens["access_token"], link.partition("token=")[2], handle, PASSWORD):
        assert secret not in response.text


def test_nobody_elses_data_is_in_it(app: Flask, rp: RelyingParty, ada: users.User, ben: users.User) -> None:
    """Neither rows nor addresses of another person, whoever is asked for."""
    rp.tokens()
    bens = Browser(app)
    bens.sign_in("ben@example.org")
    page = bens.get(EXPORT)
    for fields in ({}, {"user_id": ada.id, "id": ada.id, "sub": ada.id}):
        text = bens.submit(page, EXPORT, **fields).text
        assert json.loads(text)["account"]["id"] == ben.id
        assert ada.id not in text
        assert "ada@example.org" not in text
    assert json.loads(text)["app_access"] == []
    assert len(download(rp.browser)["app_access"]) == 1


def test_it_is_recorded_and_seen(app: Flask, browser: Browser, ada: users.User) -> None:
    """Looking at the page is nothing; the download is."""
    browser.sign_in()
    browser.get(EXPORT)
    assert asserts.events_of(app, "user.exported") == []
    download(browser)
    (row,) = asserts.events_of(app, "user.exported")
    assert (row.subject, row.actor) == (ada.id, ada.id)
    assert "Copy of your data downloaded" in browser.get("/account/security/events").text


@pytest.mark.parametrize("method", ["get", "post"])
def test_it_needs_a_fresh_sign_in(browser: Browser, in_a_while: Callable[[timedelta], None], method: str) -> None:
    """After ten minutes the person proves again who they are, and lands on the page (USR-23)."""
    browser.sign_in()
    page = asserts.is_page(browser.get(EXPORT), "account-export")
    in_a_while(timedelta(minutes=10, seconds=1))
    asked = browser.get(EXPORT) if method == "get" else browser.post(EXPORT, page.inputs)
    assert asked.headers["Location"] == "/login?fresh=1&next=%2Faccount%2Fexport"
    back = browser.submit(browser.follow(asked), "/login", email="ada@example.org", password=PASSWORD)
    assert back.headers["Location"] == EXPORT
    assert download(browser)["account"]["email"] == "ada@example.org"


def test_it_says_when_nothing_is_there(app: Flask, ada: users.User, ben: users.User) -> None:
    """A person without app, factor and link has empty parts, and the file is still whole."""
    bens = Browser(app)
    bens.sign_in("ben@example.org")
    found = download(bens)
    assert set(export.PARTS) <= set(found)
    assert found["authenticator_app"] == found["app_access"] == found["links"] == []
    assert len(found["password"]) == 1
