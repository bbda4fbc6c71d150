"""The authorization endpoint's steps: prompts, ages, hints, browsers and tabs, and how the answer travels."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.tokens import ending
from tests.support import asserts, factories
from tests.support.asking import flow_of, leads_to_login, sign_in
from tests.support.browser import Browser, Page
from tests.support.factories import PASSWORD, REDIRECT_URI
from tests.support.rp import RelyingParty, answer_of, payload

Travel = Callable[[timedelta], None]


def disable(user_id: str) -> None:
    user = users.find(user_id)
    assert user is not None
    ending.disable_user(user)


def claims_after(rp: RelyingParty, response: TestResponse) -> dict[str, object]:
    """Redeem the code of an answer and return the ID token's claims."""
    return payload(rp.exchange(answer_of(response)["code"]).json["id_token"])


def test_a_person_signs_in_allows_and_goes_back(rp: RelyingParty) -> None:
    """The whole way: login, consent, and a redirect with `code`, `state`, `iss` and nothing else (OAuth 2.1 §4.1)."""
    first = rp.authorize()
    assert leads_to_login(first)
    login = asserts.is_page(rp.browser.follow(first), "login")
    assert "Wiki" in login.text
    consent = sign_in(rp.browser, rp.browser.get(first.headers["Location"]))
    asserts.is_page(consent, "consent")
    answer = rp.browser.follow(rp.browser.submit(consent, consent.request.full_path, decision="allow"))
    assert answer.status_code == 303
    assert answer.headers["Location"].startswith(REDIRECT_URI + "?code=")
    assert set(answer_of(answer)) == {"code", "state", "iss"}
    (issued,) = asserts.events_of(rp.app, "code.issued")
    assert (issued.client_id, issued.actor_kind) == (rp.client.client_id, "person")


def test_every_answer_after_a_form_is_a_303(rp: RelyingParty) -> None:
    """Never 307 or 308, which would send the password on to the app (RFC 9700 §4.12)."""
    login = rp.browser.follow(rp.authorize())
    after_login = rp.browser.submit(login, "/login", email="ada@example.org", password=PASSWORD)
    consent = rp.browser.follow(after_login)
    after_consent = rp.browser.submit(consent, consent.request.full_path, decision="allow")
    assert [after_login.status_code, after_consent.status_code] == [303, 303]
    assert rp.browser.get(after_consent.headers["Location"]).status_code == 303


def test_somebody_signed_in_is_not_asked_again(rp: RelyingParty) -> None:
    """With a live session and a remembered consent the answer comes at once, and nothing is stored for it."""
    rp.walk()
    waiting = len(asserts.rows(rp.app)["authorization_request"])
    assert "code" in answer_of(rp.authorize())
    assert len(asserts.rows(rp.app)["authorization_request"]) == waiting


@pytest.mark.parametrize("changed", [{}, {"response_mode": "form_post"}])
def test_prompt_none_shows_no_page(rp: RelyingParty, changed: dict[str, str]) -> None:
    """`login_required`, then `consent_required`, then a code (OpenID Connect Core §3.1.2.6); nothing is stored."""

    def answer() -> dict[str, str]:
        response = rp.authorize(prompt="none", **changed)
        return answer_of(response) if not changed else asserts.is_page(response, "form-post").inputs

    assert answer()["error"] == "login_required"
    rp.browser.sign_in()
    assert answer()["error"] == "consent_required"
    assert asserts.rows(rp.app)["authorization_request"] == []
    rp.walk()
    assert set(answer()) == {"code", "state", "iss"}


def test_prompt_login_wants_a_new_sign_in(rp: RelyingParty, in_a_while: Travel) -> None:
    """A live session is not enough, nor is coming back without `prompt`; the ID token tells of the new sign-in."""
    old = claims_after(rp, rp.walk())
    in_a_while(timedelta(minutes=2))
    first = rp.authorize(prompt="login")
    assert leads_to_login(first)
    flow = flow_of(first)
    assert leads_to_login(rp.browser.get(flow))
    assert leads_to_login(rp.browser.get(flow + "&prompt=consent"))
    login = rp.browser.get(first.headers["Location"])
    assert ("decision", "continue") not in Page(login.text).buttons
    forced = rp.browser.post("/login", {**Page(login.text).inputs, "decision": "continue"})
    assert leads_to_login(rp.browser.get(forced.headers["Location"]))
    wrong = rp.browser.submit(login, "/login", email="ada@example.org", password="wrong password entirely")
    assert wrong.status_code == 401
    assert leads_to_login(rp.browser.get(flow))
    new = claims_after(rp, sign_in(rp.browser, login))
    assert int(str(new["auth_time"])) >= int(str(old["auth_time"])) + 120


def test_prompt_consent_asks_again(rp: RelyingParty) -> None:
    """Even where everything was allowed before (OpenID Connect Core §3.1.2.1)."""
    rp.walk()
    page = asserts.is_page(rp.browser.follow(rp.authorize(prompt="consent")), "consent")
    assert "See your e-mail address" in page.text
    assert "code" in answer_of(rp.walk(prompt="consent"))


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt": "login"},
        {"max_age": "0"},
        {"prompt": "login consent"},
        {"prompt": "login select_account consent", "max_age": "0"},
        {"prompt": "select_account"},
    ],
    ids=str,
)
def test_one_sign_in_satisfies_whatever_was_demanded(rp: RelyingParty, changed: dict[str, str]) -> None:
    """Nobody is asked twice: the login page once, the consent page once, and back."""
    consent = sign_in(rp.browser, rp.browser.follow(rp.authorize(**changed)))
    asserts.is_page(consent, "consent")
    answer = rp.browser.follow(rp.browser.submit(consent, consent.request.full_path, decision="allow"))
    assert "code" in answer_of(answer)
    assert len(asserts.events_of(rp.app, "sign_in.succeeded")) == 1


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_do_not_exist(rp: RelyingParty, method: str) -> None:
    """405 or, for what could change something, the CSRF answer; never a redirect."""
    answer = rp.browser._send(method, "/oauth/authorize", query_string=rp.request())
    assert answer.status_code in (403, 405)
    assert "Location" not in answer.headers


def test_prompt_select_account_offers_the_account(rp: RelyingParty, ben: users.User) -> None:
    """The person goes on as who they are, or as somebody else."""
    ada = claims_after(rp, rp.walk())["sub"]
    first = rp.authorize(prompt="select_account")
    assert leads_to_login(first)
    login = rp.browser.get(first.headers["Location"])
    assert ("decision", "continue") in Page(login.text).buttons
    chosen = rp.browser.follow(rp.browser.submit(login, "/login", decision="continue"))
    assert claims_after(rp, chosen)["sub"] == ada
    again = rp.browser.get(rp.authorize(prompt="select_account").headers["Location"])
    as_ben = sign_in(rp.browser, again, "ben@example.org")
    allowed = rp.browser.follow(rp.browser.submit(as_ben, as_ben.request.full_path, decision="allow"))
    assert claims_after(rp, allowed)["sub"] == ben.id


def test_max_age_wants_a_recent_sign_in(rp: RelyingParty, in_a_while: Travel) -> None:
    """A sign-in older than `max_age` seconds is not enough; a younger one is (OpenID Connect Core §3.1.2.1)."""
    rp.walk()
    in_a_while(timedelta(minutes=5))
    assert "code" in answer_of(rp.authorize(max_age="600"))
    first = rp.authorize(max_age="200")
    assert leads_to_login(first)
    assert leads_to_login(rp.browser.get(flow_of(first) + "&max_age=600"))
    asserts.is_redirect_error(rp.authorize(max_age="200", prompt="none"), "login_required")
    assert "code" in answer_of(sign_in(rp.browser, rp.browser.get(first.headers["Location"])))
    assert "code" in answer_of(rp.authorize(max_age="200", prompt="none"))


def test_max_age_zero_always_wants_a_sign_in(rp: RelyingParty) -> None:
    """It means the same as `prompt=login`; the sign-in that follows satisfies it."""
    rp.walk()
    first = rp.authorize(max_age="0")
    assert leads_to_login(first)
    answer = sign_in(rp.browser, rp.browser.get(first.headers["Location"]))
    assert "auth_time" in claims_after(rp, answer)
    assert leads_to_login(rp.authorize(max_age="0"))


def test_default_max_age_counts_when_none_is_sent(rp: RelyingParty, in_a_while: Travel) -> None:
    """OpenID Connect Registration §2."""
    rp.walk()
    in_a_while(timedelta(minutes=5))
    assert "code" in answer_of(rp.authorize())
    factories.within(rp.app, lambda: clients.change(rp.client, {"default_max_age": 60}))
    assert leads_to_login(rp.authorize())
    assert "code" in answer_of(rp.authorize(max_age="600"))


def test_login_hint_fills_the_form_in(rp: RelyingParty) -> None:
    """And decides nothing: whoever signs in is who is signed in."""
    login = rp.browser.follow(rp.authorize(login_hint="ben@example.org"))
    assert 'value="ben@example.org"' in login.text
    answer = sign_in(rp.browser, login)
    asserts.is_page(answer, "consent")
    assert "ada@example.org" in answer.text


def test_an_id_token_hint_names_whom_the_app_expects(rp: RelyingParty, ben: users.User, in_a_while: Travel) -> None:
    """The own person's answers at once, expired too; another person's wants that person (§3.1.2.1, §3.1.2.2)."""
    answer = rp.browser.sign_in(remember="yes")
    assert answer.status_code == 303
    hint = rp.tokens()["id_token"]
    in_a_while(timedelta(hours=2))
    assert "code" in answer_of(rp.authorize(id_token_hint=hint, prompt="none"))
    others = RelyingParty(rp.app, Browser(rp.app), rp.client, rp.secret)
    bens = others.tokens(email="ben@example.org")["id_token"]
    asserts.is_redirect_error(rp.authorize(id_token_hint=bens, prompt="none"), "login_required")
    first = rp.authorize(id_token_hint=bens)
    assert leads_to_login(first)
    insisting = sign_in(rp.browser, rp.browser.get(first.headers["Location"]))
    asserts.is_redirect_error(insisting, "login_required")
    first = rp.authorize(id_token_hint=bens)
    right = sign_in(rp.browser, rp.browser.get(first.headers["Location"]), "ben@example.org")
    assert claims_after(rp, right)["sub"] == ben.id


def test_a_forged_id_token_hint_is_refused(rp: RelyingParty) -> None:
    """Altered, foreign, unsigned, or a token of another kind (OpenID Connect Core §3.1.2.2)."""
    tokens = rp.tokens()
    header, body, signature = tokens["id_token"].split(".")
    altered = f"{header}.{body}.{'A' if signature[0] != 'A' else 'B'}{signature[1:]}"
    unsigned = f"eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}."
    kinds = (altered, unsigned, f"{header}.{body}.", tokens["access_token"], tokens["refresh_token"], "a.b.c", "é", "x")
    for hint in kinds:
        asserts.is_redirect_error(rp.authorize(id_token_hint=hint), "invalid_request")
        asserts.is_redirect_error(rp.authorize(id_token_hint=hint, prompt="none"), "invalid_request")
    assert "code" in answer_of(rp.authorize(id_token_hint=tokens["id_token"]))


def test_form_post_hands_the_answer_over_in_a_form(rp: RelyingParty) -> None:
    """OAuth 2.0 Form Post Response Mode: escaped hidden fields, not stored, not framed, nothing inline."""
    state = '"><script>alert(1)</script>&amp;'
    response = rp.walk(response_mode="form_post", state=state)
    page = asserts.is_page(response, "form-post")
    assert f'action="{REDIRECT_URI}"' in response.text
    assert set(page.inputs) == {"code", "state", "iss"}
    assert page.inputs["state"] == state
    assert response.headers["Cache-Control"] == "no-store"
    assert "Location" not in response.headers
    policy = response.headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert re.findall(r"<script(?![^>]*\bsrc=)|\bon\w+=|javascript:", response.text.replace("&lt;script", "")) == []
    assert rp.exchange(page.inputs["code"]).status_code == 200


def test_a_form_post_denial_is_a_form_too(rp: RelyingParty) -> None:
    """Errors travel the same way as codes."""
    consent = sign_in(rp.browser, rp.browser.follow(rp.authorize(response_mode="form_post")))
    denied = rp.browser.submit(consent, consent.request.full_path, decision="deny")
    inputs = asserts.is_page(denied, "form-post").inputs
    assert (inputs["error"], inputs["state"]) == ("access_denied", "the-state")
    assert inputs["iss"] == "http://localhost:8421"


def test_no_answer_of_the_endpoint_is_shared_framed_or_read_by_scripts(rp: RelyingParty) -> None:
    """No CORS, no caching, no framing, no referrer to others: pages, redirects and errors alike (RFC 9700 §2.6)."""
    elsewhere = {"Origin": "https://evil.test"}
    answers = [rp.authorize(), rp.authorize(prompt="x"), rp.authorize(client_id="x"), rp.walk()]
    answers.append(rp.browser.get("/oauth/authorize?client_id=x", headers=elsewhere))
    answers.append(rp.browser._send("OPTIONS", "/oauth/authorize", headers=elsewhere))
    for answer in answers:
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["Referrer-Policy"] == "same-origin"


def test_a_page_loads_nothing_from_others(rp: RelyingParty) -> None:
    """Otherwise a code could leak in `Referer` (RFC 9700 §4.2)."""
    pages = [rp.browser.follow(rp.authorize()), rp.authorize(client_id="x"), rp.walk(response_mode="form_post")]
    for page in pages:
        assert re.findall(r'(?:src|href)="(?:https?:)?//[^"]*"', page.text) == []


def test_another_host_is_sent_to_the_issuer(rp: RelyingParty) -> None:
    """A GET with its query; a form gets 421."""
    wrong = rp.browser.get("/oauth/authorize?client_id=a%20b&state=x", base_url="http://127.0.0.1:8421")
    assert wrong.status_code == 302
    assert wrong.headers["Location"] == "http://localhost:8421/oauth/authorize?client_id=a%20b&state=x"
    form = rp.browser.post("/oauth/authorize", rp.request(), base_url="http://127.0.0.1:8421")
    asserts.is_error_page(form, "invalid_request", 421)
    assert rp.browser.post("/oauth/authorize", rp.request()).status_code == 303


@pytest.mark.parametrize("deactivate", [disable, lambda user_id: ending.sign_out_everywhere(user_id, "test")])
def test_a_session_that_was_ended_gives_no_code(
    rp: RelyingParty, ben: users.User, deactivate: Callable[[str], object]
) -> None:
    """Disabled, or signed out from elsewhere: the next request is a stranger's (CVE-2025-29928)."""
    assert "code" in answer_of(rp.walk(email="ben@example.org"))
    assert "code" in answer_of(rp.authorize(prompt="none"))
    factories.within(rp.app, lambda: deactivate(ben.id))
    asserts.is_redirect_error(rp.authorize(prompt="none"), "login_required")
    assert leads_to_login(rp.authorize())


def test_a_role_that_the_person_lacks_denies_its_scopes(app: Flask, browser: Browser) -> None:
    """Scopes that a role names go to that role's people only; with none left the app is told."""
    factories.api(app)
    factories.role(app, "support", ["orders:write"])
    client, secret = factories.client(app, scope="openid orders:read orders:write")
    rp = RelyingParty(app, browser, client, secret)
    assert rp.tokens(scope="openid orders:read orders:write")["scope"] == "openid orders:read"
    asserts.is_redirect_error(rp.walk(scope="orders:write"), "access_denied")
    factories.person(app, "eve@example.org", "Eve", roles=["support"])
    eve = RelyingParty(app, Browser(app), client, secret)
    assert eve.tokens(email="eve@example.org", scope="orders:write")["scope"] == "orders:write"


def test_identity_headers_from_the_network_are_ignored(rp: RelyingParty) -> None:
    """Only the session cookie says who is signed in (issue: `Remote-User` and the like)."""
    names = ("Remote-User", "X-Remote-User", "X-Forwarded-User", "X-Forwarded-Email", "X-Auth-Request-Email")
    more = ("X-WebAuth-User", "X-Authenticated-User", "X-Forwarded-Preferred-Username", "Client-Cert", "From")
    claimed = dict.fromkeys((*names, *more), "ada@example.org")
    environ = {"REMOTE_USER": "ada@example.org", "AUTH_TYPE": "Basic"}
    cookies = {"Cookie": "session=ada@example.org; remember_token=ada|x; auth_server=" + "a" * 43}
    for headers in (claimed, cookies, {"Authorization": "Basic YWRhOng="}):
        asserts.is_redirect_error(
            rp.browser.get(
                "/oauth/authorize", query_string=rp.request(prompt="none"), headers=headers, environ_base=environ
            ),
            "login_required",
        )
        account = rp.browser.get("/account", headers=headers, environ_base=environ)
        assert account.headers["Location"].startswith("/login")
    rp.browser.sign_in()
    assert rp.browser.get("/account").status_code == 200
