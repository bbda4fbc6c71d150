"""The `claims` parameter (OpenID Connect Core §5.5): what is told by name, when, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.access import consents
from auth_server.clients import client as clients
from auth_server.tokens import ending
from tests.support import assertion, asserts, authenticator, factories
from tests.support.browser import Browser, Page
from tests.support.rp import RelyingParty, answer_of, payload
from tests.support.shop import A_CODE_LATER, Shop
from tests.support.walking import go_on_signed_in, titles_of

HELD = {
    **{"given_name": "Eve", "birthdate": "1990-01-01", "locale": "en-GB", "phone_number": "+33155550100"},
    **{"phone_number_verified": True, "address": {"country": "France"}, "department": "R&D"},
}
EVE = "eve@example.org"
ALL = "openid profile email address phone groups roles offline_access"
KEY = assertion.signer("ES256", kid="k")


def app_of(app: Flask, browser: Browser, **about: Any) -> RelyingParty:
    """Return an app that may ask everything, unless told otherwise; Eve is there."""
    factories.person(app, EVE, "Eve Example", groups=["staff"], claims=HELD)
    about = {"scope": ALL, "jwks": {"keys": [KEY.jwk()]}, **about}
    return RelyingParty(app, browser, *factories.client(app, **about))


@pytest.fixture
def eve(app: Flask, browser: Browser) -> RelyingParty:
    return app_of(app, browser)


def asking(**places: Any) -> str:
    return json.dumps(places)


def userinfo(rp: RelyingParty, tokens: dict[str, Any]) -> dict[str, Any]:
    answer = rp.userinfo(tokens["access_token"])
    assert answer.status_code == 200, answer.text
    return dict(answer.json)


def page_of(rp: RelyingParty, **changed: Any) -> TestResponse:
    """Sign Eve in and return the consent page."""
    rp.browser.sign_in(EVE)
    page = rp.browser.follow(rp.authorize(**changed))
    asserts.is_page(page, "consent")
    return page


def test_oidcc_claims_essential(eve: RelyingParty) -> None:
    """`name` asked as essential at userinfo comes there, and nothing else of the profile; the ID token stays small."""
    tokens = eve.tokens(email=EVE, scope="openid", claims=asking(userinfo={"name": {"essential": True}}))
    assert userinfo(eve, tokens) == {"sub": payload(tokens["id_token"])["sub"], "name": "Eve Example"}
    assert "name" not in payload(tokens["id_token"])
    assert tokens["scope"] == "openid"


def test_each_place_gets_what_was_asked_there(eve: RelyingParty) -> None:
    """Values that are wished for change nothing: the true one is told (§5.5.1)."""
    wanted = asking(
        userinfo={"email": None, "phone_number": {"value": "+1"}, "groups": None},
        id_token={"birthdate": None, "locale": {"values": ["de", "en"]}, "address": {"essential": False}},
    )
    tokens = eve.tokens(email=EVE, scope="openid", claims=wanted)
    told = userinfo(eve, tokens)
    assert told == {"sub": told["sub"], "email": EVE, "phone_number": HELD["phone_number"], "groups": ["staff"]}
    id_token = payload(tokens["id_token"])
    assert {name: id_token[name] for name in ("birthdate", "locale", "address")} == {
        name: HELD[name] for name in ("birthdate", "locale", "address")
    }
    assert not {"email", "phone_number", "groups", "name"} & set(id_token)


def test_a_claim_of_an_asked_scope_can_be_put_into_a_small_id_token(app: Flask, browser: Browser) -> None:
    """`id_token_claims: minimal` and `claims.id_token`: just this one, and no further line on the page."""
    rp = app_of(app, browser, id_token_claims="minimal")
    page = page_of(rp, scope="openid email", claims=asking(id_token={"email": None}))
    assert titles_of(page) == ["See your e-mail address"]
    tokens = rp.tokens(email=EVE, scope="openid email", claims=asking(id_token={"email": None}))
    assert payload(tokens["id_token"])["email"] == EVE
    assert "email_verified" not in payload(tokens["id_token"])
    assert "email" not in payload(rp.tokens(email=EVE, scope="openid email")["id_token"])


def test_what_is_not_known_is_left_out(eve: RelyingParty) -> None:
    """Nothing is null, and even an essential claim is no reason for an error (§5.5.1)."""
    wanted = asking(userinfo={"nickname": {"essential": True}, "picture": None, "birthdate": None})
    tokens = eve.tokens(email=EVE, scope="openid", claims=wanted)
    assert set(userinfo(eve, tokens)) == {"sub", "birthdate"}


def test_names_out_of_reach_are_ignored(app: Flask, browser: Browser) -> None:
    """Beyond the client's scopes, not standard, or the server's own: neither asked of the person nor told (ID-05)."""
    rp = app_of(app, browser, scope="openid email")
    names = ("name", "phone_number", "groups", "roles", "department", "password", "iss", "fam", "name#de", "")
    wanted = asking(userinfo=dict.fromkeys((*names, "email")), id_token=dict.fromkeys((*names, "aud")), other=7)
    assert titles_of(page_of(rp, scope="openid", claims=wanted)) == ["See your e-mail address"]
    tokens = rp.tokens(email=EVE, scope="openid", claims=wanted)
    assert set(userinfo(rp, tokens)) == {"sub", "email"}
    plain = payload(rp.tokens(email=EVE, scope="openid")["id_token"])
    assert set(payload(tokens["id_token"])) == set(plain)
    assert payload(tokens["id_token"])["aud"] == rp.client.client_id


def test_the_person_is_asked_for_each_detail(eve: RelyingParty) -> None:
    """In words; who does not allow it gives nothing; what was allowed is remembered, and more is asked as new."""
    wanted = asking(userinfo={"birthdate": None, "given_name": None, "phone_number_verified": None})
    page = page_of(eve, scope="openid", claims=wanted)
    assert titles_of(page) == ["See some of your profile", "See your phone number"]
    assert "First name, Date of birth" in page.text
    denied = eve.browser.submit(page, page.request.full_path, decision="deny")
    asserts.is_redirect_error(denied, "access_denied")
    answer = eve.authorize(scope="openid", claims=wanted, prompt="none")
    asserts.is_redirect_error(answer, "consent_required")
    assert set(userinfo(eve, eve.tokens(email=EVE, scope="openid", claims=wanted))) == {
        *("sub", "birthdate", "given_name", "phone_number_verified"),
    }
    assert "code" in answer_of(eve.authorize(scope="openid", claims=wanted, prompt="none"))
    more = asking(userinfo={"birthdate": None, "email": None})
    asserts.is_redirect_error(eve.authorize(scope="openid", claims=more, prompt="none"), "consent_required")
    asserts.is_redirect_error(eve.authorize(scope="openid profile", prompt="none"), "consent_required")
    page = eve.browser.follow(eve.authorize(scope="openid", claims=more))
    assert titles_of(page) == ["See your e-mail address"]
    assert page.text.count(">New<") == 1


def test_what_a_scope_has_given_needs_no_second_question(eve: RelyingParty) -> None:
    """The app knows the address already, and gets it again by name."""
    eve.tokens(email=EVE, scope="openid email")
    answer = eve.authorize(scope="openid", claims=asking(userinfo={"email": None}), prompt="none")
    assert set(userinfo(eve, eve.exchange(answer_of(answer)["code"]).json)) == {"sub", "email"}


def test_consent_is_to_what_the_page_said(eve: RelyingParty) -> None:
    """Claims that were allowed in one request are not told in the next that is only for scopes."""
    wanted = asking(userinfo={"email": None}, id_token={"email": None})
    eve.tokens(email=EVE, scope="openid", claims=wanted)
    tokens = eve.tokens(email=EVE, scope="openid")
    assert set(userinfo(eve, tokens)) == {"sub"}
    assert "email" not in payload(tokens["id_token"])


def test_an_optional_detail_can_be_unticked(app: Flask, browser: Browser) -> None:
    """As the scope that it belongs to: it is not told, a remembered yes is taken back, and the rest goes on."""
    rp = app_of(app, browser, optional_scopes="phone")
    wanted = asking(userinfo={"phone_number": None, "birthdate": None}, id_token={"phone_number": None})
    page = page_of(rp, scope="openid", claims=wanted)
    assert 'name="claims" value="phone" checked' in page.text
    answer = rp.browser.submit(page, page.request.full_path, decision="allow", claims="phone")
    first = rp.exchange(answer_of(rp.browser.follow(answer))["code"]).json
    assert set(userinfo(rp, first)) == {"sub", "phone_number", "birthdate"}
    page = rp.browser.follow(rp.authorize(scope="openid", claims=wanted, prompt="consent"))
    answer = rp.browser.submit(page, page.request.full_path, decision="allow")
    second = rp.exchange(answer_of(rp.browser.follow(answer))["code"]).json
    assert set(userinfo(rp, second)) == {"sub", "birthdate"}
    assert "phone_number" not in payload(second["id_token"])
    third = rp.exchange(answer_of(rp.authorize(scope="openid", claims=wanted, prompt="none"))["code"]).json
    assert set(userinfo(rp, third)) == {"sub", "birthdate"}


def test_an_unticked_scope_is_not_told_by_name_either(app: Flask, browser: Browser) -> None:
    """Scope and claim in one request are one question."""
    rp = app_of(app, browser, optional_scopes="email")
    wanted = asking(userinfo={"email": {"essential": True}}, id_token={"email": None})
    page = page_of(rp, scope="openid email", claims=wanted)
    assert titles_of(page) == ["See your e-mail address"]
    answer = rp.browser.submit(page, page.request.full_path, decision="allow")
    tokens = rp.exchange(answer_of(rp.browser.follow(answer))["code"]).json
    assert set(userinfo(rp, tokens)) == {"sub"}
    assert "email" not in payload(tokens["id_token"])


def test_a_first_party_app_is_not_asked_about(app: Flask, browser: Browser) -> None:
    """The operator has decided; the reach of its scopes still holds."""
    rp = app_of(app, browser, first_party=True, scope="openid email")
    browser.sign_in(EVE)
    answer = rp.authorize(scope="openid", claims=asking(userinfo={"email": None, "phone_number": None}))
    assert set(userinfo(rp, rp.exchange(answer_of(answer)["code"]).json)) == {"sub", "email"}


def test_without_openid_there_is_nothing_to_ask(eve: RelyingParty) -> None:
    """A plain OAuth request has neither ID token nor userinfo."""
    assert titles_of(page_of(eve, scope="profile", claims=asking(userinfo={"email": None}))) == [
        "See your name and profile"
    ]


def test_it_survives_refresh_and_ends_with_what_the_client_may_have(eve: RelyingParty) -> None:
    """Both tokens, again and again, narrowed too; until the operator takes the scope away, or the person everything."""
    wanted = asking(userinfo={"email": None, "birthdate": None}, id_token={"email": None, "phone_number": None})
    tokens = eve.tokens(email=EVE, scope="openid phone offline_access", claims=wanted)
    for _time in range(2):
        tokens = eve.refresh(tokens["refresh_token"]).json
        assert {"email", "phone_number"} <= set(payload(tokens["id_token"]))
        assert set(userinfo(eve, tokens)) == {"sub", "email", "birthdate", "phone_number", "phone_number_verified"}
    narrow = eve.refresh(tokens["refresh_token"], scope="openid").json
    assert set(userinfo(eve, narrow)) == {"sub", "email", "birthdate"}
    assert "phone_number" not in payload(narrow["id_token"])
    assert "email" in payload(narrow["id_token"])
    factories.within(eve.app, lambda: clients.change(eve.client, {"scope": "openid profile offline_access"}))
    assert set(userinfo(eve, narrow)) == {"sub", "birthdate"}
    assert "email" not in payload(eve.refresh(narrow["refresh_token"]).json["id_token"])
    subject = payload(narrow["id_token"])["sub"]
    factories.within(eve.app, lambda: ending.disconnect(subject, eve.client.client_id))
    asserts.is_oauth_error(eve.userinfo(narrow["access_token"]), "invalid_token", 401)
    assert factories.within(eve.app, lambda: consents.find(subject, eve.client.client_id)) is None


def test_an_opaque_access_token_opens_the_same(app: Flask, browser: Browser) -> None:
    """The claims are kept with the authorization, not in the token."""
    factories.api(app, token_format="opaque")
    rp = app_of(app, browser, scope="openid email orders:read")
    tokens = rp.tokens(email=EVE, scope="openid orders:read", claims=asking(userinfo={"email": None}))
    assert "." not in tokens["access_token"]
    assert set(userinfo(rp, tokens)) == {"sub", "email"}


def test_an_access_token_does_not_say_what_was_asked(eve: RelyingParty) -> None:
    """APIs are told nothing of it."""
    tokens = eve.tokens(email=EVE, scope="openid", claims=asking(userinfo={"email": None}))
    plain = eve.tokens(email=EVE, scope="openid")
    assert set(payload(tokens["access_token"])) == set(payload(plain["access_token"]))


def pushed(rp: RelyingParty, claims: str) -> TestResponse:
    return rp.bring(rp.reference(scope="openid", claims=claims))


def in_an_object(rp: RelyingParty, claims: str) -> TestResponse:
    request = rp.request(
        scope="openid", claims=json.loads(claims), iss=rp.client.client_id, aud="http://localhost:8421"
    )
    return rp.browser.get(f"/oauth/authorize?client_id={rp.client.client_id}&request={KEY.token(request)}")


@pytest.mark.parametrize("send", [pushed, in_an_object])
def test_it_may_be_pushed_and_signed(eve: RelyingParty, send: Callable[[RelyingParty, str], TestResponse]) -> None:
    """PAR (RFC 9126), and an object as an object (RFC 9101, OpenID Connect Core §6.1)."""
    done = eve.walk_on(send(eve, asking(userinfo={"email": {"essential": True}})), EVE)
    assert set(userinfo(eve, eve.exchange(answer_of(done)["code"]).json)) == {"sub", "email"}


NO_OBJECT = "claims must be a JSON object, well-formed and with no name twice"
MALFORMED: dict[str, tuple[str, str]] = {
    "no JSON": ("{", NO_OBJECT),
    "half a character": ('{"userinfo":{"\\ud800":null}}', NO_OBJECT),
    "a text": ('"x"', NO_OBJECT),
    "a list": ("[]", NO_OBJECT),
    "null": ("null", NO_OBJECT),
    "not a number": ('{"userinfo":{"email":{"value":NaN}}}', NO_OBJECT),
    "nested without end": ("[" * 4000, NO_OBJECT),
    "twice the same": ('{"userinfo":{},"userinfo":{"email":null}}', NO_OBJECT),
    "twice the same inside": ('{"id_token":{"sub":null,"sub":{"value":"x"}}}', NO_OBJECT),
    "userinfo null": ('{"userinfo":null}', "claims: userinfo must be an object"),
    "id_token a list": ('{"id_token":["email"]}', "claims: id_token must be an object"),
    "a claim that is true": ('{"userinfo":{"email":true}}', "claims: userinfo.email must be null or an object"),
    "essential a text": (
        '{"id_token":{"email":{"essential":"true"}}}',
        "claims: id_token.email: essential must be true or false",
    ),
    "essential null": (
        '{"id_token":{"acr":{"essential":null}}}',
        "claims: id_token.acr: essential must be true or false",
    ),
    "values a text": (
        '{"id_token":{"acr":{"values":"aal2"}}}',
        "claims: id_token.acr: values must be a list, and not an empty one",
    ),
    "no values": (
        '{"userinfo":{"name":{"values":[]}}}',
        "claims: userinfo.name: values must be a list, and not an empty one",
    ),
    "values null": (
        '{"userinfo":{"name":{"values":null}}}',
        "claims: userinfo.name: values must be a list, and not an empty one",
    ),
    "both": (
        '{"userinfo":{"name":{"value":"a","values":["a"]}}}',
        "claims: userinfo.name: value and values exclude each other",
    ),
    "sub a number": ('{"id_token":{"sub":{"value":7}}}', "claims: id_token.sub: value or values must be text"),
    "sub null": ('{"userinfo":{"sub":{"value":null}}}', "claims: userinfo.sub: value or values must be text"),
    "acr a list": ('{"id_token":{"acr":{"value":["aal2"]}}}', "claims: id_token.acr: value or values must be text"),
    "a stranger's name": (
        '{"userinfo":{"<b>x":7}}',
        "claims: userinfo: the request of another claim must be null or an object",
    ),
    "too long": (asking(userinfo={"x" * 9000: None}), "a parameter is too long or malformed"),
}


@pytest.mark.parametrize("what", MALFORMED)
def test_malformed_claims_are_refused_by_name(eve: RelyingParty, what: str) -> None:
    """`invalid_request` that names the member, by redirect and pushed; the request's own text is not repeated."""
    sent, sentence = MALFORMED[what]
    answer = asserts.is_redirect_error(eve.authorize(claims=sent), "invalid_request")
    assert answer["error_description"] == sentence
    refused = eve.push(claims=sent)
    asserts.is_oauth_error(refused, "invalid_request")
    assert refused.json["error_description"] in (sentence, "a parameter is too long or malformed")


def test_claims_nested_without_end_are_no_crash(eve: RelyingParty) -> None:
    """An unknown member, or too deep to be read: never a fault of ours."""
    for deep in ('{"a":' * 1300 + "1" + "}" * 1300, '{"userinfo":{"email":{"value":' + "[" * 3900 + "]" * 3900 + "}}}"):
        assert eve.push(claims=deep).status_code in (201, 400)


def test_claims_sent_twice_are_refused(eve: RelyingParty) -> None:
    """Nobody chooses for the reader which one counts."""
    good = asking(userinfo={"email": None})
    asserts.is_redirect_error(eve.authorize(claims=[good, good]), "invalid_request")
    assert "code" in answer_of(eve.walk(email=EVE, claims=good))


def test_odd_but_wellformed_claims_do_no_harm(eve: RelyingParty) -> None:
    """Unicode, unknown members, values of any kind; they are no error (§5.5)."""
    odd = {
        "userinfo": {
            "email": {"value": {"a": [1]}, "purpose": "x", "é🙂": 1},
            "ﬁ": {"essential": True},
        },
        "verified_claims": {"x": 1},
    }
    tokens = eve.tokens(email=EVE, scope="openid", claims=json.dumps(odd))
    assert set(userinfo(eve, tokens)) == {"sub", "email"}
    assert set(userinfo(eve, eve.tokens(email=EVE, scope="openid", claims="{}"))) == {"sub"}


def of_sub(value: str, place: str = "id_token", **more: Any) -> str:
    return asking(**{place: {"sub": {"value": value, **more}}})


@pytest.mark.parametrize("place", ["id_token", "userinfo"])
def test_a_request_for_one_person_is_answered_for_nobody_else(eve: RelyingParty, place: str) -> None:
    """§5.5.1, §3.1.2.1: that person signs in, or the app gets `login_required`; never tokens of another."""
    eve.browser.sign_in(EVE)
    subject = payload(eve.tokens(email=EVE)["id_token"])["sub"]
    assert "code" in answer_of(eve.authorize(prompt="none", claims=of_sub(subject, place)))
    among = asking(**{place: {"sub": {"values": ["x", subject]}}})
    assert "code" in answer_of(eve.authorize(prompt="none", claims=among))
    for other in ("x", subject.upper(), ""):
        asserts.is_redirect_error(eve.authorize(prompt="none", claims=of_sub(other, place)), "login_required")
    both = asking(id_token={"sub": {"value": subject}}, userinfo={"sub": {"value": "x"}})
    asserts.is_redirect_error(eve.authorize(prompt="none", claims=both), "login_required")


def test_the_other_person_is_asked_to_sign_in(eve: RelyingParty) -> None:
    """Ada is here, Eve is meant: the login page; Eve gets her tokens, and Ada, who insists, gets an error."""
    subject = payload(eve.tokens(email=EVE)["id_token"])["sub"]
    eve.browser.sign_out()
    eve.browser.sign_in()
    page = eve.browser.follow(eve.authorize(claims=of_sub(subject)))
    asserts.is_page(page, "login")
    tokens = eve.exchange(answer_of(eve.walk_on(page, EVE))["code"]).json
    assert payload(tokens["id_token"])["sub"] == subject
    eve.browser.sign_out()
    asserts.is_redirect_error(eve.walk(claims=of_sub(subject)), "login_required")


def test_a_hint_and_claims_must_agree(eve: RelyingParty) -> None:
    """Two people cannot be meant at once."""
    hint = eve.tokens(email=EVE)["id_token"]
    subject = payload(hint)["sub"]
    assert "code" in answer_of(eve.authorize(prompt="none", id_token_hint=hint, claims=of_sub(subject)))
    answer = eve.authorize(prompt="none", id_token_hint=hint, claims=of_sub("x"))
    asserts.is_redirect_error(answer, "login_required")


def acr(essential: bool = True, **ask: Any) -> str:
    return asking(id_token={"acr": {"essential": essential, **ask}})


def test_an_essential_acr_steps_up(shop: Shop, in_a_while: Any) -> None:
    """§5.5.1.1: as `acr_values` would, and the token says what was demanded."""
    phone, rp = shop.set_up(), shop.app_with()
    in_a_while(A_CODE_LATER)
    authenticator.answer(shop.browser, shop.sign_in(), phone.code(), trust_device="1")
    shop.browser.sign_out()
    shop.sign_in()
    for demand in (acr(values=["aal2", "urn:x"]), acr(value="aal2"), acr(essential=False, values=["aal2"])):
        asserts.is_redirect_error(rp.authorize(scope="openid", prompt="none", claims=demand), "login_required")
    in_a_while(2 * A_CODE_LATER)
    answer = rp.authorize(scope="openid", claims=acr(values=["aal2"]))
    page = shop.browser.follow(answer)
    asserts.is_page(page, "mfa")
    done = go_on_signed_in(rp, authenticator.answer(shop.browser, page, phone.code()))
    tokens = rp.exchange(answer_of(done)["code"]).json
    assert payload(tokens["id_token"])["acr"] == "aal2"
    weaker = go_on_signed_in(rp, rp.authorize(scope="openid", claims=acr(values=["aal1"])))
    tokens = rp.exchange(answer_of(weaker)["code"]).json
    assert payload(tokens["id_token"])["acr"] == "aal1"  # the strongest of what was demanded, which was reached
    assert payload(tokens["access_token"])["acr"] == "aal2"


def test_an_essential_acr_out_of_reach_is_an_error(make_app: Callable[..., Flask]) -> None:
    """Nobody can reach it, or not this person: never a weaker sign-in; as a wish it is only a wish."""
    app = make_app(mfa="off")
    factories.person(app, "ben@example.org", "Ben")
    factories.person(app, "admin@example.org", "Admin", roles=["administrator"])
    rp = RelyingParty(app, Browser(app), *factories.client(app))
    strange = acr(values=["urn:mace:incommon:iap:silver", "phr"])
    asserts.is_redirect_error(rp.authorize(claims=strange), "unmet_authentication_requirements")
    done = rp.walk(email="ben@example.org", claims=acr(value="aal2"))
    asserts.is_redirect_error(done, "unmet_authentication_requirements")
    for wish in (acr(essential=False, value="phr"), acr(essential=False, value="aal2"), acr(), acr(value="aal1")):
        tokens = rp.tokens(email="ben@example.org", claims=wish)
        assert payload(tokens["id_token"])["acr"] == "aal1"


def test_the_account_page_says_what_an_app_sees(eve: RelyingParty) -> None:
    """Both at the app, and in the profile beside what goes there."""
    eve.tokens(email=EVE, scope="openid", claims=asking(userinfo={"phone_number": None}))
    assert "See your phone number" in eve.browser.get("/account/apps").text
    profile = eve.browser.get("/account/profile").text
    phone = profile[profile.index("<legend>Phone") :]
    assert "<bdi>Wiki</bdi>" in phone[: phone.index("</fieldset>")]


def test_consent_is_recorded(eve: RelyingParty) -> None:
    """The audit names the claims."""
    eve.tokens(email=EVE, scope="openid", claims=asking(userinfo={"phone_number": None, "email": None}))
    (event,) = asserts.events_of(eve.app, "consent.granted")
    assert event.data["claims"] == "email phone_number"


def test_another_persons_answer_is_not_used(eve: RelyingParty) -> None:
    """Eve allowed it; Ada, who signs in within the same request, is asked herself."""
    wanted = asking(userinfo={"phone_number": None})
    page = page_of(eve, scope="openid", claims=wanted)
    switched = eve.browser.follow(eve.browser.submit(page, page.request.full_path, decision="switch"))
    asserts.is_page(switched, "login")
    page = eve.browser.follow(
        eve.browser.submit(switched, "/login", email="ada@example.org", password=factories.PASSWORD)
    )
    assert Page(page.text).marker == "consent"
    assert titles_of(page) == ["See your phone number"]
