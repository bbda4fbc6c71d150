"""The device authorization grant (RFC 8628): codes for a device, and what it is told until a person has decided."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server import jobs
from auth_server.access import apis
from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.clients.metadata import DEVICE_CODE
from auth_server.errors import InvalidClientMetadata, InvalidRedirectUri
from auth_server.infra import crypto
from auth_server.tokens import devices, ending
from auth_server.values import Rate
from tests.support import asserts, factories
from tests.support import device as devices_of
from tests.support.browser import Browser
from tests.support.database import dump
from tests.support.device import PATH, Device, allow, decide, enter
from tests.support.factories import ORDERS, REDIRECT_URI
from tests.support.rp import RelyingParty, basic, bearer, payload

Travel = Callable[[timedelta], None]


@pytest.fixture
def device(app: Flask, ada: users.User) -> Device:
    """Return a device of a public client."""
    return Device(app, *devices_of.client_of(app))


def test_a_device_gets_both_codes(device: Device) -> None:
    """RFC 8628 §3.2: a secret for itself, a short code for a person, where to type it, how long and how often."""
    answer = device.ask(scope="openid")
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    codes = answer.json
    assert set(codes) == {
        *("device_code", "user_code", "verification_uri", "verification_uri_complete", "expires_in", "interval"),
    }
    assert re.fullmatch(r"[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", codes["user_code"])
    assert re.fullmatch(r"[A-Za-z0-9_-]{43}", codes["device_code"])
    assert codes["verification_uri"] == "http://localhost:8421/device"
    assert codes["verification_uri_complete"] == f"http://localhost:8421/device?user_code={codes['user_code']}"
    assert (codes["expires_in"], codes["interval"]) == (600, 5)
    assert [row.data["scope"] for row in asserts.events_of(device.app, "device.asked")] == ["openid"]


def test_neither_code_is_in_the_database(device: Device, browser: Browser) -> None:
    """The device code by digest, the user code under a key that is not there (DV-01, ST-01)."""
    device.started()
    allow(browser, device.user_code)
    tokens = device.tokens()
    bare = device.user_code.replace("-", "")
    kept = repr(dump(device.app))
    for secret in (device.codes["device_code"], device.user_code, bare, crypto.digest(bare), tokens["refresh_token"]):
        assert secret not in kept
    assert crypto.digest(device.codes["device_code"]) in kept


def test_user_codes_differ(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """A code that is taken is not given again, however the dice fall (RFC 8628 §6.1)."""
    assert len({device.started().user_code for _ in range(20)}) == 20
    letters = iter("BBBBBBBB" + "BBBBBBBB" + "CCCCCCCC")
    monkeypatch.setattr("auth_server.tokens.devices.secrets.choice", lambda _alphabet: next(letters))
    assert device.started().user_code == "BBBB-BBBB"
    assert device.started().user_code == "CCCC-CCCC"


@pytest.mark.parametrize("method", ["none", "client_secret_basic", "client_secret_post"])
def test_the_whole_way(app: Flask, browser: Browser, method: str) -> None:
    """Pending, allowed, tokens for the person; refresh and userinfo work, for each kind of client."""
    client, secret = devices_of.client_of(app, token_endpoint_auth_method=method)
    device = Device(app, client, secret if method == "client_secret_basic" else "")
    body = {"client_secret": secret} if method == "client_secret_post" else {}
    device.started(scope="openid profile offline_access", **body)
    asserts.is_oauth_error(device.poll(**body), "authorization_pending")
    page = asserts.is_page(allow(browser, device.user_code), "done")
    assert "Go back to your device" in page.text
    answer = device.poll(**body)
    assert answer.status_code == 200
    assert answer.headers["Cache-Control"] == "no-store"
    tokens = answer.json
    assert tokens["scope"] == "openid profile offline_access"
    claims = payload(tokens["access_token"])
    assert (claims["client_id"], claims["amr"], claims["acr"]) == (client.client_id, ["pwd"], "aal1")
    identity = payload(tokens["id_token"])
    assert (identity["aud"], identity["sub"], identity["sid"]) == (client.client_id, claims["sub"], claims["sid"])
    assert "nonce" not in identity
    renewed = device.post(
        "/oauth/token", {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"], **body}
    )
    assert renewed.status_code == 200
    machine = app.test_client(use_cookies=False)
    person = machine.get("/oauth/userinfo", headers=bearer(renewed.json["access_token"])).json
    assert person["name"] == "Ada Lovelace"
    assert [row.client_id for row in asserts.events_of(app, "device.allowed")] == [client.client_id]


def test_a_client_without_refresh_tokens_gets_none(app: Flask, browser: Browser) -> None:
    """And the app is among the connected ones all the same."""
    device = Device(app, *devices_of.client_of(app, grant_types=[DEVICE_CODE])).started()
    allow(browser, device.user_code)
    assert "refresh_token" not in device.tokens()
    assert "TV" in browser.get("/account/apps").text


def test_only_a_registered_client_may_ask(app: Flask, ada: users.User) -> None:
    """The grant is off unless the client's metadata name it (DV-06, ASVS 10.4.4), at both endpoints."""
    without, secret = factories.client(app)
    asserts.is_oauth_error(Device(app, without, secret).ask(), "unauthorized_client")
    poll = {"grant_type": DEVICE_CODE, "device_code": "x"}
    asserts.is_oauth_error(Device(app, without, secret).post("/oauth/token", poll), "unauthorized_client")
    assert asserts.rows(app)["device_grant"] == []


def test_a_request_without_any_field(app: Flask, ada: users.User) -> None:
    """A client that says who it is in a header has nothing else to say: an empty form needs no content type."""
    client, secret = devices_of.client_of(app, token_endpoint_auth_method="client_secret_basic")
    post = app.test_client(use_cookies=False).post
    assert post(PATH, headers=basic(client.client_id, secret)).status_code == 200
    other_type = {**basic(client.client_id, secret), "Content-Type": "application/json"}
    asserts.is_oauth_error(post(PATH, headers=other_type), "invalid_request")
    asserts.is_oauth_error(post(PATH), "invalid_client", 401)


def test_a_confidential_client_authenticates(app: Flask, ada: users.User) -> None:
    """Without its secret, or with a wrong one, there are no codes and no tokens (TE-02, RFC 8628 §3.1)."""
    client, secret = devices_of.client_of(app, token_endpoint_auth_method="client_secret_basic")
    for wrong in (Device(app, client), Device(app, client, "wrong")):
        asserts.is_oauth_error(wrong.ask(), "invalid_client", 401)
        asserts.is_oauth_error(
            wrong.post("/oauth/token", {"grant_type": DEVICE_CODE, "device_code": "x"}), "invalid_client", 401
        )
    assert Device(app, client, secret).ask().status_code == 200


def test_scopes_and_apis_are_checked_as_for_an_authorization_request(app: Flask, browser: Browser) -> None:
    """Foreign scopes are dropped, nothing left is refused, a foreign API too; `resource` says what the token is for."""
    factories.api(app)
    device = Device(app, *devices_of.client_of(app, scope="openid orders:read"))
    asserts.is_oauth_error(device.ask(scope="unknown"), "invalid_scope")
    asserts.is_oauth_error(device.ask(resource="https://files.example.org"), "invalid_target")
    asserts.is_oauth_error(device.ask(resource="not an address"), "invalid_target")
    device.started(scope="orders:read unknown", resource=ORDERS)
    allow(browser, device.user_code)
    tokens = device.tokens()
    assert (tokens["scope"], payload(tokens["access_token"])["aud"]) == ("orders:read", ORDERS)
    device.started()  # without `scope`: what is registered, but not `offline_access`
    allow(browser, device.user_code)
    assert device.tokens()["scope"] == "openid orders:read"


def test_a_device_that_asks_too_often_must_slow_down(device: Device, in_a_while: Travel) -> None:
    """RFC 8628 §3.5: five seconds longer each time, for this and all later requests; who waits hears `pending`."""
    device.started()
    asserts.is_oauth_error(device.poll(), "authorization_pending")
    asserts.is_oauth_error(device.poll(), "slow_down")  # 10 seconds from now on
    in_a_while(timedelta(seconds=6))
    asserts.is_oauth_error(device.poll(), "slow_down")  # 15
    in_a_while(timedelta(seconds=11))
    asserts.is_oauth_error(device.poll(), "slow_down")  # 20
    for _patient in range(2):
        in_a_while(timedelta(seconds=21))
        asserts.is_oauth_error(device.poll(), "authorization_pending")


def test_a_device_that_keeps_its_interval_is_never_slowed_down(device: Device, in_a_while: Travel) -> None:
    """Five seconds between polls, for the whole life of the code."""
    device.started()
    for _poll in range(20):
        asserts.is_oauth_error(device.poll(), "authorization_pending")
        in_a_while(timedelta(seconds=5))


def test_what_was_decided_is_told_at_once(device: Device, browser: Browser) -> None:
    """Also to a device that has just asked."""
    device.started()
    asserts.is_oauth_error(device.poll(), "authorization_pending")
    allow(browser, device.user_code)
    assert device.poll().status_code == 200


def test_waiting_is_no_refusal(make_app: Callable[..., Flask], in_a_while: Travel) -> None:
    """`authorization_pending` and `slow_down` do not count against the address, and are not recorded; others do."""
    app = make_app(endpoint_rate_limit=Rate(3, timedelta(minutes=1)))
    factories.person(app, roles=["administrator"])
    device = Device(app, *devices_of.client_of(app)).started()
    codes = [device.poll().json["error"] for _ in range(8)]
    assert codes == ["authorization_pending"] + ["slow_down"] * 7
    assert asserts.events_of(app, "token.refused") == []
    assert [device.poll(device_code="x").status_code for _ in range(4)] == [400, 400, 400, 429]
    assert len(asserts.events_of(app, "token.refused")) == 3


def test_whoever_never_slows_down_writes_nothing_more(device: Device) -> None:
    """The interval ends at a minute: a device that hammers costs a look each time."""
    device.started()
    for _poll in range(14):
        device.poll()
    before = asserts.rows(device.app)["device_grant"]
    assert "60" in before[0]
    asserts.is_oauth_error(device.poll(), "slow_down")
    assert asserts.rows(device.app)["device_grant"] == before


def test_a_person_who_says_no(device: Device, browser: Browser) -> None:
    """`access_denied`, again and again; nothing is granted or remembered."""
    device.started()
    page = decide(browser, enter(browser, device.user_code), "deny")
    assert "The device was not allowed" in asserts.is_page(page, "done").text
    for _poll in range(2):
        asserts.is_oauth_error(device.poll(), "access_denied")
    kept = asserts.rows(device.app)
    assert (kept["family"], kept["consent"]) == ([], [])
    assert len(asserts.events_of(device.app, "consent.denied")) == 1


@pytest.mark.parametrize("allowed", [False, True])
def test_a_code_that_is_too_old(device: Device, browser: Browser, in_a_while: Travel, allowed: bool) -> None:
    """`expired_token` after ten minutes, whether or not a person allowed it; an hour later it is unknown."""
    device.started()
    if allowed:
        allow(browser, device.user_code)
    in_a_while(devices.LIFE + timedelta(seconds=1))
    asserts.is_oauth_error(device.poll(), "expired_token")
    in_a_while(timedelta(hours=1))
    factories.within(device.app, jobs.run_due)
    assert asserts.rows(device.app)["device_grant"] == []
    asserts.is_oauth_error(device.poll(), "invalid_grant")


def test_a_device_code_is_good_once(device: Device, browser: Browser) -> None:
    """The second redemption is refused and ends what the first produced, as for a code (OAuth 2.1 §4.1.3)."""
    device.started(scope="openid offline_access")
    allow(browser, device.user_code)
    tokens = device.tokens()
    refused = device.poll()
    asserts.is_oauth_error(refused, "invalid_grant")
    assert refused.json["error_description"] == "the code was used before"
    again = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
    asserts.is_oauth_error(device.post("/oauth/token", again), "invalid_grant")
    assert len(asserts.events_of(device.app, "code.replayed")) == 1


@pytest.mark.parametrize("state", ["waiting", "allowed", "redeemed"])
def test_a_foreign_client_learns_and_changes_nothing(device: Device, browser: Browser, state: str) -> None:
    """Answered like an unknown code in every state, and the code stays as it was (DV-03)."""
    device.started()
    if state != "waiting":
        allow(browser, device.user_code)
    tokens = device.tokens() if state == "redeemed" else {}
    other = Device(device.app, *devices_of.client_of(device.app, client_name="Other"))
    before = asserts.rows(device.app)
    foreign = other.post("/oauth/token", {"grant_type": DEVICE_CODE, "device_code": device.codes["device_code"]})
    unknown = other.post("/oauth/token", {"grant_type": DEVICE_CODE, "device_code": "x" * 43})
    asserts.is_oauth_error(foreign, "invalid_grant")
    assert (foreign.status_code, foreign.data) == (unknown.status_code, unknown.data)
    assert asserts.rows(device.app) == before
    if tokens:
        renewal = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        assert device.post("/oauth/token", renewal).status_code == 200
    else:
        expected = 200 if state == "allowed" else 400
        assert device.poll().status_code == expected


def end_nothing(app: Flask, client: clients.Client, user: users.User) -> None:
    """Nothing happens between."""


def disable_person(app: Flask, client: clients.Client, user: users.User) -> None:
    factories.person(app, "chief@example.org", roles=["administrator"])
    factories.within(app, lambda: ending.disable_user(users.find(user.id) or user))


def disconnect(app: Flask, client: clients.Client, user: users.User) -> None:
    factories.within(app, lambda: ending.disconnect(user.id, client.client_id))


def sign_out_everywhere(app: Flask, client: clients.Client, user: users.User) -> None:
    factories.within(app, lambda: ending.sign_out_everywhere(user.id, "test"))


@pytest.mark.parametrize("act", [end_nothing, disable_person, disconnect, sign_out_everywhere])
def test_what_ended_between_decision_and_poll_gives_nothing(
    device: Device, browser: Browser, ada: users.User, act: Callable[..., None]
) -> None:
    """The person, the connection and everything's end are looked at when the code is redeemed (DV-05, LO-06)."""
    device.started(scope="openid offline_access")
    allow(browser, device.user_code)
    act(device.app, device.client, ada)
    if act is end_nothing:
        assert device.poll().status_code == 200
    else:
        asserts.is_oauth_error(device.poll(), "invalid_grant")


@pytest.mark.parametrize("scope", ["openid", "openid offline_access"])
def test_signing_out_ends_what_does_not_stay_connected(device: Device, browser: Browser, scope: str) -> None:
    """As for every other grant: with `offline_access` the device stays connected, without it does not."""
    device.started(scope=scope)
    allow(browser, device.user_code)
    browser.sign_out()
    assert device.poll().status_code == (200 if "offline_access" in scope else 400)


def test_a_client_that_is_switched_off_gets_nothing(device: Device, browser: Browser) -> None:
    """At both endpoints, also when a person allowed it before."""
    device.started()
    allow(browser, device.user_code)
    factories.within(device.app, lambda: ending.disable_client(device.client))
    asserts.is_oauth_error(device.poll(), "invalid_client", 401)
    asserts.is_oauth_error(device.ask(), "invalid_client", 401)


def test_an_api_that_is_gone_meanwhile_is_left_out(app: Flask, browser: Browser) -> None:
    """The tokens are for what exists when they are made."""
    factories.api(app)
    device = Device(app, *devices_of.client_of(app, scope="openid orders:read")).started()
    allow(browser, device.user_code)
    factories.within(app, lambda: apis.remove(ORDERS))
    assert device.tokens()["scope"] == "openid"


@pytest.mark.parametrize("fields", [{"device_code": None}, {"device_code": ""}])
def test_a_poll_without_a_code(device: Device, fields: dict[str, str | None]) -> None:
    """RFC 8628 §3.4: `device_code` is required; from the query it does not count."""
    device.started()
    asserts.is_oauth_error(device.poll(**fields), "invalid_request")
    by_query = device.post(
        f"/oauth/token?device_code={device.codes['device_code']}", {"grant_type": DEVICE_CODE, **fields}
    )
    asserts.is_oauth_error(by_query, "invalid_request")


def test_the_codes_of_another_kind_are_unknown(rp: RelyingParty) -> None:
    """A code is no device code, a user code is none, and a device code is no code."""
    app = rp.app
    both, secret = factories.client(app, grant_types=["authorization_code", DEVICE_CODE])
    app_of_both = RelyingParty(app, rp.browser, both, secret)
    device = Device(app, both, secret).started()
    asserts.is_oauth_error(device.poll(device_code=app_of_both.code()), "invalid_grant")
    asserts.is_oauth_error(device.poll(device_code=device.user_code), "invalid_grant")
    asserts.is_oauth_error(app_of_both.exchange(device.codes["device_code"]), "invalid_grant")
    asserts.is_oauth_error(device.poll(), "authorization_pending")


def test_asking_is_limited_per_address(make_app: Callable[..., Flask]) -> None:
    """Every request counts, for it makes a row for a stranger (CREATE_RATE_LIMIT); another address is free."""
    app = make_app(create_rate_limit=Rate(3, timedelta(minutes=1)))
    factories.person(app, roles=["administrator"])
    client, _none = devices_of.client_of(app)
    device = Device(app, client)
    assert [device.ask().status_code for _ in range(4)] == [200, 200, 200, 429]
    refused = device.ask()
    asserts.is_oauth_error(refused, "temporarily_unavailable", 429)
    assert 0 < int(refused.headers["Retry-After"]) <= 60
    assert Device(app, client, address="203.0.113.7").ask().status_code == 200
    assert device.poll().status_code == 400  # what was begun goes on


def test_metadata_of_a_client_that_only_has_devices() -> None:
    """No redirect URI and no response type is needed; the scopes are those for people."""
    from auth_server.clients import metadata

    found = metadata.validate({"grant_types": [DEVICE_CODE]})
    assert (found["redirect_uris"], found["response_types"]) == ([], [])
    assert found["scope"] == metadata.DEFAULT_SCOPE
    with pytest.raises(InvalidRedirectUri):
        metadata.validate({"grant_types": [DEVICE_CODE, "authorization_code"]})
    assert metadata.validate({"grant_types": [DEVICE_CODE, "authorization_code"], "redirect_uris": [REDIRECT_URI]})
    with pytest.raises(InvalidClientMetadata):
        metadata.validate({"grant_types": ["device_code"]})
