"""Clients whose id is the address of a document about them (Client ID Metadata Document), from beginning to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_server import config
from auth_server.access import consents, unwanted
from auth_server.clients import client as clients
from auth_server.tokens import ending
from tests.support import assertion, asserts, described, factories
from tests.support.assertion import signer
from tests.support.browser import Browser, inputs_of
from tests.support.described import REDIRECT_URI, Publisher
from tests.support.rp import RelyingParty, answer_of, payload
from tests.support.web_server import answer

Travel = Callable[[timedelta], None]
MakeApp = Callable[..., Flask]
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
CHANGED = "This app has changed since you allowed it"


@pytest.fixture
def wiki(make_app: MakeApp, tmp_path: Path) -> Iterator[Publisher]:
    with described.published(make_app, tmp_path) as found:
        yield found


def consent_page(rp: RelyingParty, **changed: Any) -> Any:
    """Return the consent page of a signed-in person."""
    page = rp.browser.follow(rp.authorize(**changed))
    asserts.is_page(page, "consent")
    return page


def consents_of(wiki: Publisher) -> list[consents.Given]:
    return factories.within(wiki.app, lambda: consents.of_user(wiki.ada.id))


def allow(rp: RelyingParty, page: Any) -> Any:
    return rp.browser.follow(rp.browser.submit(page, page.request.full_path, decision="allow"))


def test_an_app_that_nobody_registered_signs_somebody_in(wiki: Publisher) -> None:
    """Code flow with PKCE, userinfo, refresh; the id is the address everywhere, and the document is read once."""
    rp = wiki.party()
    tokens = rp.tokens()
    assert payload(tokens["access_token"])["client_id"] == wiki.client_id
    assert payload(tokens["id_token"])["aud"] == wiki.client_id
    assert rp.userinfo(tokens["access_token"]).json["email"] == "ada@example.org"
    assert rp.refresh(tokens["refresh_token"]).status_code == 200
    assert wiki.asked == 1
    (event,) = asserts.events_of(wiki.app, "client.created")
    assert event.client_id == wiki.client_id


def test_tokens_are_renewed_without_the_document(wiki: Publisher, in_a_while: Travel) -> None:
    """Days later, and whatever the address answers by then: nobody is asked for it."""
    rp = wiki.party()
    token = rp.tokens()["refresh_token"]
    wiki.serve(answer(b"", "404 Not Found"))
    in_a_while(5 * DAY)
    assert rp.refresh(token).status_code == 200
    assert wiki.asked == 1


def test_pkce_is_a_must(wiki: Publisher) -> None:
    """As for every public client (OAuth 2.1 §7.5.1)."""
    asserts.is_redirect_error(wiki.begin(code_challenge=None, code_challenge_method=None), "invalid_request")
    asserts.is_redirect_error(wiki.begin(code_challenge="x" * 43, code_challenge_method="plain"), "invalid_request")
    assert wiki.begin().status_code == 303


@pytest.mark.parametrize("port", ["", ":1", ":43210"])
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
def test_a_program_on_this_computer_listens_at_any_port(wiki: Publisher, host: str, port: str) -> None:
    """Loopback addresses without port and `application_type`, as real programs publish them (RFC 8252 §7.3)."""
    wiki.publish(redirect_uris=["http://localhost/callback", "http://127.0.0.1/callback"])
    assert wiki.begin(redirect_uri=f"http://{host}{port}/callback").status_code == 303
    asserts.is_error_page(wiki.begin(redirect_uri=f"http://{host}{port}/other"), "redirect_uri_mismatch")
    asserts.is_error_page(wiki.begin(redirect_uri="https://evil.example/callback"), "redirect_uri_mismatch")


def test_the_consent_page_shows_where_the_app_is_from(wiki: Publisher) -> None:
    """Each time, with its host, that nobody has checked it, and where the answer goes (CM-03)."""
    rp = wiki.party()
    rp.browser.sign_in()
    for _time in range(2):
        page = consent_page(rp)
        host = f"{described.HOST}:{wiki.server.port}"
        assert f'<strong dir="ltr">{host}</strong>' in page.text
        assert "We have not checked who runs this app" in page.text
        assert "You will be sent to" in page.text
        assert CHANGED not in page.text
        assert "could pass itself off" not in page.text
        assert "code" in answer_of(allow(rp, page))
    asserts.is_redirect_error(rp.authorize(prompt="none"), "consent_required")
    connected = rp.browser.get("/account/apps").text
    assert "Unverified" in connected
    assert host in connected


def test_the_consent_page_warns_of_programs_on_this_computer(wiki: Publisher) -> None:
    """Nobody can tell one from another there."""
    wiki.publish(redirect_uris=["http://localhost/callback"])
    rp = wiki.party()
    rp.browser.sign_in()
    page = consent_page(rp, redirect_uri="http://localhost:9/callback")
    assert "Any program on this computer could pass itself off as this app." in page.text
    assert "Continue only if you just started it" in page.text


@pytest.mark.parametrize(
    "changed",
    [
        {"client_name": "Wiki Pro"},
        {"redirect_uris": [REDIRECT_URI, "https://evil.example/callback"]},
        {"jwks_uri": "https://wiki.example.org/jwks"},
        {"jwks": {"keys": [signer("ES256").jwk()]}},
    ],
)
def test_an_app_that_has_changed_is_looked_at_as_a_new_one(
    wiki: Publisher, in_a_while: Travel, changed: dict[str, Any]
) -> None:
    """Name, hosts, keys: the page says so until it was allowed again, and nothing of the former consent remains."""
    rp = wiki.party()
    rp.tokens(scope="openid profile email")
    in_a_while(2 * HOUR)
    wiki.publish(client_uri="https://wiki.example.org/about")
    rp.browser.sign_in()
    assert CHANGED not in consent_page(rp, scope="openid profile").text
    in_a_while(4 * HOUR)
    wiki.publish(**changed)
    rp.browser.sign_in()
    page = consent_page(rp, scope="openid profile")
    assert CHANGED in page.text
    assert "code" in answer_of(allow(rp, page))
    assert CHANGED not in consent_page(rp, scope="openid profile").text
    (held,) = consents_of(wiki)
    assert held.scopes == {"openid", "profile"}
    assert len(asserts.events_of(wiki.app, "client.changed")) == 2


def test_nobody_allows_what_they_have_not_seen(wiki: Publisher, in_a_while: Travel) -> None:
    """A document that changes while the page is open, or right after it: the person is asked again."""
    rp = wiki.party()
    rp.browser.sign_in(remember="on")
    page = consent_page(rp)
    in_a_while(20 * MINUTE)
    factories.within(wiki.app, lambda: clients.change(rp.client, {"client_name": "Your Bank"}))
    again = allow(rp, page)
    assert "Your Bank" in again.text
    asserts.is_page(again, "consent")
    answered = rp.browser.submit(again, again.request.full_path, decision="allow")
    assert answered.status_code == 303
    factories.within(wiki.app, lambda: clients.change(rp.client, {"client_name": "Your Lottery"}))
    once_more = rp.browser.follow(answered)
    asserts.is_page(once_more, "consent")
    assert CHANGED in once_more.text
    assert "code" in answer_of(allow(rp, once_more))


def test_a_form_without_what_was_shown_allows_nothing(wiki: Publisher) -> None:
    """Whoever leaves the field away sees the page again."""
    rp = wiki.party()
    rp.browser.sign_in()
    page = consent_page(rp)
    fields = {name: value for name, value in inputs_of(page).items() if name != "shown"}
    answered = rp.browser.post(page.request.full_path, {**fields, "decision": "allow"})
    asserts.is_page(rp.browser.follow(answered), "consent")
    assert consents_of(wiki) == []


def test_a_redirect_uri_that_is_gone_is_gone(wiki: Publisher, in_a_while: Travel) -> None:
    """As soon as what was read counts no more (CM-04)."""
    other = "https://wiki.example.org/other"
    wiki.publish(redirect_uris=[REDIRECT_URI, other])
    assert wiki.begin(redirect_uri=other).status_code == 303
    wiki.publish()
    assert wiki.begin(redirect_uri=other).status_code == 303
    in_a_while(HOUR + MINUTE)
    asserts.is_error_page(wiki.begin(redirect_uri=other), "redirect_uri_mismatch")
    assert wiki.begin().status_code == 303
    assert wiki.asked == 2


def test_a_request_may_be_pushed_at_once(wiki: Publisher) -> None:
    """Nobody needs to have come with the id before (RFC 9126)."""
    pushed = wiki.push()
    assert pushed.status_code == 201, pushed.text
    rp = RelyingParty(wiki.app, Browser(wiki.app), wiki.client())  # type: ignore[arg-type]
    assert "code" in answer_of(rp.walk_on(rp.bring(pushed.json["request_uri"])))
    assert wiki.asked == 1


def test_a_pushed_request_says_what_is_wrong_with_the_document(wiki: Publisher) -> None:
    """`invalid_client`, with the member that must change."""
    wiki.publish(client_name=None)
    refused = wiki.push()
    asserts.is_oauth_error(refused, "invalid_client", 401)
    assert refused.json["error_description"] == "client_name: is missing"
    (event,) = asserts.events_of(wiki.app, "client.authentication_failed")
    assert event.reason == "client_id: client_name: is missing"
    assert wiki.client() is None


def test_a_client_with_a_key_proves_itself(wiki: Publisher, in_a_while: Travel) -> None:
    """`private_key_jwt` with the document's keys, also when it changes them; without proof it gets nothing."""
    old, new = signer("ES256", "old"), signer("ES256", "new")
    method: dict[str, Any] = {"token_endpoint_auth_method": "private_key_jwt"}
    wiki.publish(**method, jwks={"keys": [old.jwk()]})
    rp = wiki.party()

    def exchange(by: assertion.Signer, **form: str) -> Any:
        claims = assertion.claims(wiki.client_id, config.current().issuer)
        proof = assertion.fields(by.token(claims), code=rp.code(), code_verifier=rp.verifier, redirect_uri=REDIRECT_URI)
        return rp.post("/oauth/token", {**proof, "grant_type": "authorization_code", **form}, headers={})

    asserts.is_oauth_error(rp.exchange(rp.code()), "invalid_client", 401)
    assert exchange(old).status_code == 200
    asserts.is_oauth_error(exchange(new), "invalid_client", 401)
    in_a_while(HOUR + MINUTE)
    wiki.publish(**method, jwks={"keys": [new.jwk()]})
    rp.browser.sign_in()
    asserts.is_oauth_error(exchange(old), "invalid_client", 401)
    assert exchange(new).status_code == 200


@pytest.mark.parametrize("gone", [True, False])
def test_keys_of_a_document_that_is_gone_count_no_more(wiki: Publisher, in_a_while: Travel, gone: bool) -> None:
    """But those of one that does not answer do: tokens outlive an outage."""
    key = signer("ES256")
    wiki.publish(token_endpoint_auth_method="private_key_jwt", jwks={"keys": [key.jwk()]})
    rp = wiki.party()
    claims = assertion.claims(wiki.client_id, config.current().issuer)
    proof = assertion.fields(key.token(claims), code=rp.code(), code_verifier=rp.verifier, redirect_uri=REDIRECT_URI)
    token = rp.post("/oauth/token", {**proof, "grant_type": "authorization_code"}, headers={}).json["refresh_token"]
    wiki.serve(answer(b"", "410 Gone" if gone else "500 Internal Server Error"))
    in_a_while(3 * DAY)
    renewed = assertion.fields(key.token(assertion.claims(wiki.client_id, config.current().issuer)))
    fields = {**renewed, "grant_type": "refresh_token", "refresh_token": token}
    assert rp.post("/oauth/token", fields, headers={}).status_code == (401 if gone else 200)


def test_a_blocked_client_stays_blocked(wiki: Publisher, in_a_while: Travel) -> None:
    """An operator disables it: no page, no token, no look at its document, and it is not forgotten either."""
    rp = wiki.party()
    token = rp.tokens()["refresh_token"]
    factories.within(wiki.app, lambda: ending.disable_client(rp.client))
    in_a_while(40 * DAY)
    assert factories.within(wiki.app, unwanted.prune) == 0
    wiki.publish(client_name="Somebody else")
    asserts.is_error_page(wiki.begin(), "client_disabled")
    asserts.is_oauth_error(wiki.push(), "invalid_client", 401)
    asserts.is_oauth_error(rp.refresh(token), "invalid_client", 401)
    assert wiki.asked == 1
    factories.within(wiki.app, lambda: clients.switch(rp.client, enabled=True))
    assert wiki.begin().status_code == 303


def test_one_that_nobody_allows_is_forgotten(wiki: Publisher, in_a_while: Travel) -> None:
    """A month after somebody came with it; one that somebody allows stays, and one that comes back is a new one."""
    wiki.begin()
    in_a_while(29 * DAY)
    wiki.begin()
    in_a_while(29 * DAY)
    assert factories.within(wiki.app, unwanted.prune) == 0
    in_a_while(62 * DAY)
    assert factories.within(wiki.app, unwanted.prune) == 1
    assert wiki.client() is None
    rp = wiki.party()
    rp.tokens()
    in_a_while(200 * DAY)
    assert factories.within(wiki.app, unwanted.prune) == 0
    factories.within(wiki.app, lambda: ending.disconnect(wiki.ada.id, wiki.client_id))
    assert factories.within(wiki.app, unwanted.prune) == 1


def test_what_an_operator_has_decided_stays(wiki: Publisher, in_a_while: Travel) -> None:
    """Scopes of APIs and lifetimes outlive a change of the document, which can neither ask for them nor drop them."""
    factories.api(wiki.app)
    wiki.publish(scope="openid orders:read groups", access_token_ttl=3600, first_party=True, require_pkce=False)
    client = wiki.party().client
    assert client.scopes == ("openid",)
    assert (client.first_party, client.require_pkce, client.access_token_ttl) == (False, True, None)
    decided = {"scope": "openid orders:read", "access_token_ttl": 60}
    factories.within(wiki.app, lambda: clients.change(client, decided))
    in_a_while(HOUR + MINUTE)
    wiki.publish(client_name="Wiki 2")
    client = wiki.party().client
    assert client.name == "Wiki 2"
    assert client.access_token_ttl == MINUTE
    assert set(client.scopes) == {"openid", "profile", "email", "offline_access", "orders:read"}
    tokens = RelyingParty(wiki.app, Browser(wiki.app), client).tokens(scope="openid orders:read")
    assert tokens["scope"] == "openid orders:read"


def test_a_registered_client_with_such_an_id_has_no_document(wiki: Publisher) -> None:
    """What an operator registers is what counts, and nobody is asked for anything."""
    client, secret = factories.client(wiki.app, client_id=wiki.client_id)
    rp = RelyingParty(wiki.app, Browser(wiki.app), client, secret)
    assert "code" in answer_of(rp.walk())
    assert not client.is_self_registered
    assert wiki.asked == 0


def test_any_api_may_be_named_and_is_shown(wiki: Publisher) -> None:
    """`aud` says it, the page shows it, and it brings no scope (RFC 8707); a registered client is refused that."""
    api = "https://mcp.example.org/mcp"
    rp = wiki.party()
    rp.browser.sign_in()
    page = consent_page(rp, resource=api)
    assert api in page.text
    tokens = rp.exchange(answer_of(allow(rp, page))["code"], resource=api).json
    assert payload(tokens["access_token"])["aud"] == [api, config.current().url("/oauth/userinfo")]
    renewed = rp.refresh(tokens["refresh_token"], resource=api).json
    assert api in payload(renewed["access_token"])["aud"]
    asserts.is_oauth_error(rp.refresh(renewed["refresh_token"], resource="https://other.example.org"), "invalid_target")
    client, secret = factories.client(wiki.app)
    known = RelyingParty(wiki.app, rp.browser, client, secret)
    asserts.is_redirect_error(known.authorize(resource=api), "invalid_target")


@pytest.mark.parametrize(
    "resource",
    [
        *("http://mcp.example.org/", "urn:mcp", "https://user@mcp.example.org/", "mcp", "https://mcp.example.org/#x"),
        *("http://localhost:8421", "http://localhost:8421/oauth/userinfo", "http://LOCALHOST:8421/x"),
    ],
)
def test_an_api_without_tls_or_of_ours_may_not_be_named(wiki: Publisher, resource: str) -> None:
    """Nobody gets a token for this server, nor one that travels in the clear; on this computer it may."""
    asserts.is_redirect_error(wiki.begin(resource=resource), "invalid_target")
    assert wiki.begin(resource="http://localhost:3000/mcp").status_code == 303


def test_a_registered_api_keeps_its_demands(wiki: Publisher) -> None:
    """Who names it gets no scope of it, and must sign in as strongly as it wants."""
    factories.api(wiki.app, minimum_acr="aal2")
    rp = wiki.party()
    rp.browser.sign_in()
    answered = rp.authorize(resource=factories.ORDERS, scope="openid")
    assert "second-factor" in answered.headers["Location"]
