"""Pairwise subjects (OpenID Connect Core §8): a person has a name in each sector, the same wherever an app looks."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode

import pytest
from flask import Flask

from auth_server import jobs
from auth_server.access import apis
from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.clients import registration
from auth_server.errors import InvalidClientMetadata
from auth_server.infra.events import Event
from auth_server.keys import jose, keyring
from auth_server.tokens import ending
from tests.conftest import SECRET_KEY
from tests.support import asserts, device, factories, web_server
from tests.support.browser import Browser
from tests.support.registering import put, register
from tests.support.rp import RelyingParty, answer_of, basic, payload
from tests.support.web_server import WebServer, answer, as_json

WIKI, NOTES = "https://wiki.example.org/callback", "https://notes.example.net/callback"
ALSO_WIKI = "https://wiki.example.org/other"
NATIVE = "com.example.notes:/callback"


@pytest.fixture
def sector() -> Iterator[WebServer]:
    """Return the host of a sector document."""
    with web_server.running(as_json([])) as server:
        yield server


@pytest.fixture
def app(make_app: Callable[..., Flask], sector: WebServer) -> Flask:
    """Return a server that may reach it."""
    return make_app(outbound_allow_hosts=(f"127.0.0.1:{sector.port}",), registration="open")


def party(app: Flask, browser: Browser, uri: str = WIKI, **about: Any) -> RelyingParty:
    """Return an app that is told pairwise names."""
    about = {"subject_type": "pairwise", "redirect_uris": [uri], **about}
    return RelyingParty(app, browser, *factories.client(app, **about))


def sub_of(rp: RelyingParty, **changed: Any) -> str:
    return str(payload(rp.tokens(**changed)["id_token"])["sub"])


def test_two_sectors_have_nothing_in_common(app: Flask, browser: Browser, ada: users.User) -> None:
    """Neither `sub` nor `sid` nor anything else of the tokens is the same, but times and what the person is."""
    found = []
    for uri in (WIKI, NOTES):
        tokens = party(app, browser, uri).tokens(scope="openid")
        found.append([payload(tokens[name]) for name in ("id_token", "access_token")])
    for one, other in zip(*found, strict=True):
        same = {name for name in one if one[name] == other.get(name)}
        assert same <= {"iss", "exp", "iat", "auth_time", "acr", "amr", "nonce", "scope"} | (
            {"aud"} if "scope" in one else set()
        )
        assert ada.id not in json.dumps([one, other])
        assert len(one["sub"]) >= 43


def test_one_sector_has_one_name(app: Flask, browser: Browser, ada: users.User, ben: users.User) -> None:
    """Two apps of one host agree about a person and a session; two people differ; a public app gets the id."""
    first, second = party(app, browser), party(app, browser, ALSO_WIKI)
    one, two = (payload(rp.tokens()["id_token"]) for rp in (first, second))
    assert (one["sub"], one["sid"]) == (two["sub"], two["sid"])
    other = RelyingParty(app, Browser(app), first.client, first.secret)
    assert sub_of(other, email="ben@example.org") != one["sub"]
    assert sub_of(RelyingParty(app, browser, *factories.client(app))) == ada.id


def test_the_name_is_the_same_wherever_an_app_looks(app: Flask, browser: Browser) -> None:
    """ID token, access token (JWT and opaque), userinfo, introspection of both tokens, and after a refresh too."""
    factories.api(app, token_format="opaque")
    rp = party(app, browser, scope="openid profile offline_access orders:read")
    subject = sub_of(rp)
    for scope in ("openid offline_access", "openid orders:read"):
        tokens = rp.tokens(scope=scope)
        for refreshes in (False, True):
            found = rp.refresh(tokens["refresh_token"]).json if refreshes else tokens
            told = {payload(found["id_token"])["sub"], rp.userinfo(found["access_token"]).json["sub"]}
            told |= {rp.introspect(found[name])["sub"] for name in ("access_token", "refresh_token")}
            if "." in found["access_token"]:
                told.add(payload(found["access_token"])["sub"])
            assert told == {subject}
            sid = payload(found["id_token"])["sid"]
            assert rp.introspect(found["access_token"])["sid"] == sid


def test_an_api_sees_what_the_app_sees(app: Flask, browser: Browser) -> None:
    """The app can read its own JWT, so a second name in it would undo the first."""
    _made, secret = factories.api(app)
    (api,) = factories.within(app, apis.listing)
    rp = party(app, browser, scope="openid orders:read")
    tokens = rp.tokens(scope="openid orders:read")
    told = rp.introspect(tokens["access_token"], headers=basic(api.client_id, secret))
    assert told["sub"] == payload(tokens["access_token"])["sub"] == payload(tokens["id_token"])["sub"]


def test_the_audit_knows_the_person(app: Flask, browser: Browser, ada: users.User) -> None:
    """What is recorded is about the account, so that people see it in their history and operators find it."""
    rp = party(app, browser)
    tokens = rp.tokens()
    rp.userinfo(tokens["access_token"])
    rp.revoke(tokens["access_token"])
    for event in ("code.issued", "token.issued", "token.revoked"):
        assert [found.subject for found in asserts.events_of(app, event)] == [ada.id]
    (issued,) = asserts.events_of(app, "token.issued")
    assert issued.session != payload(tokens["id_token"])["sid"]
    asserts.is_oauth_error(rp.userinfo(tokens["access_token"]), "invalid_token", 401)


def test_ending_and_deleting_reach_pairwise_tokens(app: Flask, browser: Browser, ben: users.User) -> None:
    """Signing out, disabling and deleting are about the person behind the name."""
    rp = party(app, browser)
    tokens = rp.tokens(scope="openid")
    rp.browser.sign_out()
    asserts.is_oauth_error(rp.userinfo(tokens["access_token"]), "invalid_token", 401)
    mine = RelyingParty(app, Browser(app), rp.client, rp.secret)
    token = mine.tokens(email="ben@example.org")["access_token"]
    assert mine.userinfo(token).status_code == 200
    factories.within(app, lambda: ending.delete_user(factories.again(ben)))
    asserts.is_oauth_error(mine.userinfo(token), "invalid_token", 401)


def test_names_outlive_keys(
    make_app: Callable[..., Flask], app: Flask, browser: Browser, sector: WebServer, ada: users.User
) -> None:
    """Signing keys rotate, and SECRET_KEY is replaced: nobody becomes a stranger; another database has other names."""
    rp = party(app, browser)
    subject = sub_of(rp)
    factories.within(app, keyring.rotate)
    assert sub_of(rp) == subject
    renewed = make_app(secret_key="another-" + SECRET_KEY, secret_key_previous=SECRET_KEY)
    moved = RelyingParty(renewed, Browser(renewed), rp.client, rp.secret)
    assert sub_of(moved) == subject


def test_a_hint_and_claims_use_the_apps_own_name(app: Flask, browser: Browser, ada: users.User) -> None:
    """`id_token_hint` and `claims.sub` by the pairwise name; the account's id is worth nothing here."""
    rp = party(app, browser)
    hint = rp.tokens()["id_token"]
    subject = payload(hint)["sub"]
    assert "code" in answer_of(rp.authorize(prompt="none", id_token_hint=hint))

    def only(name: str) -> str:
        return json.dumps({"id_token": {"sub": {"value": name}}})

    assert "code" in answer_of(rp.authorize(prompt="none", claims=only(subject)))
    asserts.is_redirect_error(rp.authorize(prompt="none", claims=only(ada.id)), "login_required")
    rp.browser.sign_out()
    asserts.is_redirect_error(rp.authorize(prompt="none", id_token_hint=hint), "login_required")


def test_a_hint_of_another_sector_is_refused(app: Flask, browser: Browser, ada: users.User) -> None:
    """Two apps that lend each other their ID tokens do not find out whether they mean the same person."""
    one, other, public = party(app, browser), party(app, browser, NOTES), factories.client(app)
    plain = RelyingParty(app, browser, *public)
    hints = {rp: rp.tokens()["id_token"] for rp in (one, other, plain)}
    for rp in hints:
        for of, hint in hints.items():
            answered = rp.authorize(prompt="none", id_token_hint=hint)
            if of is rp:
                assert "code" in answer_of(answered)
            else:
                asserts.is_redirect_error(answered, "invalid_request")


def test_sign_out_with_a_pairwise_hint(app: Flask, browser: Browser, ada: users.User, ben: users.User) -> None:
    """RP-initiated logout: at once for the person that the hint names, a question for everybody else."""
    back = "https://wiki.example.org/bye"
    rp = party(app, browser, post_logout_redirect_uris=[back])
    hint = rp.tokens()["id_token"]
    query = "/oauth/logout?" + urlencode({"id_token_hint": hint, "post_logout_redirect_uri": back})
    other = Browser(app)
    other.sign_in("ben@example.org")
    asserts.is_page(other.get(query), "logout")
    assert other.get("/account").status_code == 200
    assert browser.get(query).headers["Location"] == back
    assert browser.get("/account").status_code != 200


def test_logout_tokens_and_frames_use_the_apps_own_names(app: Flask, browser: Browser, sector: WebServer) -> None:
    """Back-channel (§2.4) and front-channel: `sub` and `sid` of the ID token; the audit names the person."""
    sector.behave = answer(b"", "200 OK", "")
    frame = "https://wiki.example.org/frame"
    about = {"backchannel_logout_uri": sector.url("/logout"), "frontchannel_logout_uri": frame}
    rp = party(app, browser, **about)
    id_token = payload(rp.tokens()["id_token"])
    page = rp.browser.sign_out()
    assert f"sid={id_token['sid']}" in page.text
    assert factories.within(app, jobs.deliver_due) == 1
    (raw,) = sector.requests
    token = parse_qs(raw.partition(b"\r\n\r\n")[2].decode())["logout_token"][0]
    key = factories.within(app, lambda: keyring.verifier(jose.header(token)["kid"]))
    assert key is not None
    claims = jose.verify(token, key)
    assert (claims["sub"], claims["sid"]) == (id_token["sub"], id_token["sid"])
    (event,) = asserts.events_of(app, Event.APP_TOLD)
    assert event.subject not in (None, id_token["sub"])


def test_a_device_gets_the_same_name(app: Flask, browser: Browser) -> None:
    """RFC 8628: one app with both grants."""
    grants = ["authorization_code", "refresh_token", device.DEVICE_CODE]
    rp = party(app, browser, grant_types=grants)
    one = device.Device(app, rp.client, rp.secret).started(scope="openid")
    device.allow(browser, one.user_code)
    tokens = one.tokens()
    assert payload(tokens["id_token"])["sub"] == payload(tokens["access_token"])["sub"] == sub_of(rp)


def test_what_an_app_was_told_stays_until_it_ends(app: Flask, browser: Browser, ada: users.User) -> None:
    """Becoming pairwise changes the next authorization, not a running one (OpenID Connect Core §12.2)."""
    rp = RelyingParty(app, browser, *factories.client(app))
    tokens = rp.tokens()
    factories.within(app, lambda: clients.change(rp.client, {"subject_type": "pairwise"}))
    refreshed = rp.refresh(tokens["refresh_token"]).json
    assert payload(refreshed["id_token"])["sub"] == rp.userinfo(refreshed["access_token"]).json["sub"] == ada.id
    assert sub_of(rp) != ada.id


def in_sector(sector: WebServer, *uris: str) -> dict[str, Any]:
    sector.behave = as_json(list(uris))
    return {"sector_identifier_uri": sector.url("/sector.json"), "redirect_uris": list(uris)}


def test_oidcc_registration_sector_uri(app: Flask, browser: Browser, sector: WebServer) -> None:
    """Two hosts and a private scheme in one sector, by the document that lists them all (§8.1); asked once."""
    first = party(app, browser, **in_sector(sector, WIKI, NOTES, NATIVE))
    assert first.client.sector == "127.0.0.1"
    second = party(app, browser, **{**in_sector(sector, WIKI, NOTES), "redirect_uris": [NOTES]})
    assert sub_of(first) == sub_of(second)
    assert sub_of(first) != sub_of(party(app, browser))
    asked = len(sector.requests)
    factories.within(app, lambda: clients.change(first.client, {"client_name": "Still the same addresses"}))
    assert len(sector.requests) == asked == 2
    made = register(app, subject_type="pairwise", **in_sector(sector, WIKI, NOTES))
    assert made.status_code == 201, made.text
    assert made.json["subject_type"] == "pairwise"
    assert made.json["sector_identifier_uri"] == sector.url("/sector.json")


BAD: dict[str, web_server.Behave] = {
    "one is missing": as_json([WIKI]),
    "nothing": as_json([]),
    "almost": as_json([WIKI, NOTES + "/"]),
    "another case": as_json([WIKI, NOTES.upper()]),
    "an object": as_json({"redirect_uris": [WIKI, NOTES]}),
    "a text": as_json(f"{WIKI} {NOTES}"),
    "numbers among them": as_json([WIKI, NOTES, 7]),
    "no JSON": answer(b"<html>"),
    "HTML": answer(json.dumps([WIKI, NOTES]).encode(), content_type="text/html"),
    "not found": answer(json.dumps([WIKI, NOTES]).encode(), "404 Not Found"),
    "a redirect": answer(b"", "302 Found", Location="https://elsewhere.example/"),
    "too large": answer(json.dumps([WIKI, NOTES, "x" * 70_000]).encode()),
}


@pytest.mark.parametrize("what", BAD)
def test_oidcc_registration_sector_bad(app: Flask, sector: WebServer, what: str) -> None:
    """400 `invalid_client_metadata` for a document that does not list every redirect URI, and nothing is made."""
    about = {**in_sector(sector, WIKI, NOTES), "subject_type": "pairwise"}
    sector.behave = BAD[what]
    refused = register(app, **about)
    asserts.is_oauth_error(refused, "invalid_client_metadata")
    assert refused.json["error_description"].startswith("sector_identifier_uri")
    asserts.is_oauth_error(register(app, **{**about, "subject_type": "public"}), "invalid_client_metadata")
    assert not asserts.rows(app)["client"]
    in_sector(sector, WIKI, NOTES)
    assert register(app, **about).status_code == 201


@pytest.mark.parametrize(
    "uri", ["https://10.0.0.1/sector", "https://localhost:9/sector", "https://[::1]/x", "https://169.254.169.254/"]
)
def test_a_sector_document_is_no_way_into_the_network(app: Flask, uri: str) -> None:
    """The guarded client refuses, and the answer does not say more than that (SS-01)."""
    refused = register(app, subject_type="pairwise", sector_identifier_uri=uri)
    asserts.is_oauth_error(refused, "invalid_client_metadata")
    assert refused.json["error_description"] == "sector_identifier_uri: its document could not be read"


def test_a_used_up_initial_token_is_not_the_price_of_a_bad_document(
    make_app: Callable[..., Flask], sector: WebServer
) -> None:
    """The document is asked before the token is spent."""
    app = make_app(registration="token", outbound_allow_hosts=(f"127.0.0.1:{sector.port}",))
    token = factories.within(app, lambda: registration.make_initial_token(timedelta(days=1)))
    about = {**in_sector(sector, WIKI), "subject_type": "pairwise"}
    sector.behave = as_json([])
    asserts.is_oauth_error(register(app, token, **about), "invalid_client_metadata")
    in_sector(sector, WIKI)
    assert register(app, token, **about).status_code == 201


def test_a_changed_address_is_looked_up_again(app: Flask, sector: WebServer) -> None:
    """RFC 7592 PUT: no way around the document."""
    made = register(app, subject_type="pairwise", **in_sector(sector, WIKI)).json
    same = {"subject_type": "pairwise", "sector_identifier_uri": made["sector_identifier_uri"]}
    assert put(app, made, **same, redirect_uris=[WIKI], client_name="Renamed").status_code == 200
    asserts.is_oauth_error(put(app, made, **same, redirect_uris=[NOTES]), "invalid_client_metadata")
    in_sector(sector, NOTES)
    assert put(app, made, **same, redirect_uris=[NOTES]).status_code == 200


@pytest.mark.parametrize(
    ("about", "is_good"),
    [
        ({"redirect_uris": [WIKI, ALSO_WIKI]}, True),
        ({"redirect_uris": [WIKI, NOTES]}, False),
        ({"redirect_uris": [NATIVE]}, False),
        ({"redirect_uris": ["http://localhost:3000/cb"]}, False),
        ({"redirect_uris": [], "grant_types": ["client_credentials"]}, False),
        ({"redirect_uris": [], "grant_types": [device.DEVICE_CODE]}, False),
    ],
)
def test_without_a_document_the_host_must_be_plain(app: Flask, about: dict[str, Any], is_good: bool) -> None:
    """§8.1: one host of https addresses, because loopback and private schemes are everybody's."""
    if is_good:
        assert factories.client(app, subject_type="pairwise", **about)[0].sector == "wiki.example.org"
        return
    with pytest.raises(InvalidClientMetadata) as caught:
        factories.client(app, subject_type="pairwise", **about)
    assert caught.value.description.startswith("subject_type: pairwise")


def test_nobody_registers_into_anothers_sector(app: Flask, sector: WebServer) -> None:
    """What needs no address of the sector's owner is an operator's to register."""
    everything = in_sector(sector, WIKI, NATIVE, "http://localhost/cb")
    base = {"subject_type": "pairwise", **everything}
    for changed in (
        {"redirect_uris": [NATIVE]},
        {"redirect_uris": ["http://localhost/cb"]},
        {"redirect_uris": [WIKI], "grant_types": ["authorization_code", device.DEVICE_CODE]},
        {"redirect_uris": [WIKI], "grant_types": [device.DEVICE_CODE]},
    ):
        refused = register(app, **{**base, **changed})
        asserts.is_oauth_error(refused, "invalid_client_metadata")
        assert "operator" in refused.json["error_description"]
    made = register(app, **{**base, "redirect_uris": [WIKI]})
    assert made.status_code == 201
    grants = ["authorization_code", device.DEVICE_CODE]
    asserts.is_oauth_error(
        put(app, made.json, **{**base, "redirect_uris": [WIKI], "grant_types": grants}), "invalid_client_metadata"
    )


def test_a_device_without_addresses_is_listed_by_its_keys(app: Flask, browser: Browser, sector: WebServer) -> None:
    """An operator registers it with a document that lists its `jwks_uri`."""
    about = {"subject_type": "pairwise", "redirect_uris": [], "grant_types": [device.DEVICE_CODE]}
    about |= {"sector_identifier_uri": sector.url("/sector.json"), "jwks_uri": "https://tv.example.org/jwks"}
    sector.behave = as_json(["https://tv.example.org/jwks"])
    client, _secret = device.client_of(app, **about)
    assert client.sector == "127.0.0.1"
    sector.behave = as_json([])
    with pytest.raises(InvalidClientMetadata) as caught:
        device.client_of(app, **about)
    assert "must list" in caught.value.description
