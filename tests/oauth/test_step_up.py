"""How strong a sign-in an app gets: what is asked for is just what is missing, and the tokens tell the truth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.web import guards
from tests.support import asserts, authenticator
from tests.support.authenticator import SECURITY, Authenticator
from tests.support.browser import Page
from tests.support.factories import PASSWORD
from tests.support.rp import answer_of, payload
from tests.support.shop import A_CODE_LATER, EMAIL, ORDINARY, VAULT, Shop, open_shop

Travel = Callable[[timedelta], None]


def step_of(response: TestResponse) -> str:
    """Name what the browser is sent to."""
    place = response.headers["Location"]
    for prefix, step in (("/login/step-up", "step up"), ("/login?", "sign in"), (guards.ENROLMENT_PATH, "enrol")):
        if place.startswith(prefix):
            assert "next=%2Foauth%2Fauthorize%3Fflow%3D" in place
            return step
    answer = answer_of(response)
    return "code" if "code" in answer else answer["error"]


PLAIN, WISHING, DEMANDING = "plain", "wishing", "demanding"
METADATA: dict[str, dict[str, Any]] = {
    PLAIN: {},
    WISHING: {"default_acr_values": ["aal2"]},
    DEMANDING: {"minimum_acr": "aal2"},
}
WISH, DEMAND, NEWNESS = "wish", "demand", "newness"
DEMANDS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "nothing": ("", PLAIN, {}),
    "acr_values of one factor": ("", PLAIN, {"acr_values": "aal1"}),
    "the weakest of two will do": ("", PLAIN, {"acr_values": "aal2 aal1"}),
    "a strength that is not ours": ("", PLAIN, {"acr_values": "urn:example:gold"}),
    "the app's usual wish, withdrawn": ("", WISHING, {"acr_values": "aal1"}),
    "acr_values": (WISH, PLAIN, {"acr_values": "urn:example:gold aal2"}),
    "the app's usual wish": (WISH, WISHING, {}),
    "the client": (DEMAND, DEMANDING, {}),
    "the client, though it wishes for less": (DEMAND, DEMANDING, {"acr_values": "aal1"}),
    "the API of a scope": (DEMAND, PLAIN, {"scope": "openid vault:open"}),
    "the API that is named": (DEMAND, PLAIN, {"scope": "openid", "resource": VAULT}),
    "a scope": (DEMAND, PLAIN, {"scope": "openid orders:refund"}),
    "a scope, though the app wishes for less": (DEMAND, PLAIN, {"scope": "orders:refund", "acr_values": "aal1"}),
    "max_age": (NEWNESS, PLAIN, {"max_age": "300"}),
    "max_age and acr_values": (NEWNESS, PLAIN, {"max_age": "300", "acr_values": "aal2"}),
}
"""What may demand a strength: the kind, the app, and what changes in its request."""
STEPS: dict[str, dict[str, str]] = {
    "nobody": {"": "sign in", WISH: "sign in", DEMAND: "sign in", NEWNESS: "sign in"},
    "a password, and no second factor": {"": "code", WISH: "code", DEMAND: "enrol", NEWNESS: "sign in"},
    "a password in a trusted browser": {"": "code", WISH: "step up", DEMAND: "step up", NEWNESS: "sign in"},
    "both": {"": "code", WISH: "code", DEMAND: "code", NEWNESS: "sign in"},
    "a password, and a code just now": {"": "code", WISH: "code", DEMAND: "code", NEWNESS: "sign in"},
}
"""The session's kind, each begun ten minutes ago, and the step for each kind of demand."""
SILENT = {"sign in": "login_required", "step up": "login_required", "enrol": "interaction_required", "code": "code"}


def begin(shop: Shop, kind: str, in_a_while: Travel) -> None:
    """Bring a session of this kind about."""
    if kind == "nobody":
        return
    if kind == "a password, and no second factor":
        shop.sign_in()
        in_a_while(timedelta(minutes=10))
        return
    phone = shop.set_up()
    in_a_while(A_CODE_LATER)
    authenticator.answer(shop.browser, shop.sign_in(), phone.code(), trust_device="1")
    if kind != "both":
        shop.browser.sign_out()
        assert shop.sign_in().headers["Location"] == "/account"
    in_a_while(timedelta(minutes=10))
    if kind == "a password, and a code just now":
        authenticator.answer(shop.browser, shop.browser.get("/login/step-up?next=/account"), phone.code())


@pytest.mark.parametrize("kind", STEPS)
def test_what_is_missing_is_asked_for_and_nothing_else(shop: Shop, in_a_while: Travel, kind: str) -> None:
    """Every kind of session and every kind of demand; with `prompt=none` the answer instead; `prompt=login` always."""
    apps = {name: shop.app_with(**metadata) for name, metadata in METADATA.items()}
    begin(shop, kind, in_a_while)
    found, silent, expected = {}, {}, {}
    for name, (of_kind, which, changed) in DEMANDS.items():
        request = {**ORDINARY, **changed}
        found[name] = step_of(apps[which].authorize(**request))
        silent[name] = step_of(apps[which].authorize(prompt="none", **request))
        expected[name] = STEPS[kind][of_kind]
        assert step_of(apps[which].authorize(prompt="login", **request)) == "sign in"
    assert found == expected
    assert silent == {name: SILENT[step] for name, step in expected.items()}


def test_the_code_alone_leads_back_to_the_same_request(shop: Shop, in_a_while: Travel) -> None:
    """A scope with a strength of its own: second step, and the answer; both tokens and introspection agree."""
    phone = shop.set_up()
    in_a_while(A_CODE_LATER)
    authenticator.answer(shop.browser, shop.sign_in(), phone.code(), trust_device="1")
    shop.browser.sign_out()
    shop.sign_in()
    rp = shop.app_with()
    weak = rp.tokens(**ORDINARY)
    assert payload(weak["access_token"])["acr"] == "aal1"
    in_a_while(A_CODE_LATER)
    page = shop.browser.follow(rp.authorize(scope="openid orders:refund"))
    asserts.is_page(page, "mfa")
    answer = shop.browser.follow(shop.browser.submit(page, "/login/mfa", code=phone.code()))
    tokens = rp.exchange(answer_of(answer)["code"]).json
    assert tokens["scope"] == "openid orders:refund"
    for claims in (payload(tokens["access_token"]), payload(tokens["id_token"]), rp.introspect(tokens["access_token"])):
        assert (claims["acr"], claims["amr"]) == ("aal2", ["pwd", "otp", "mfa"])
        assert claims["auth_time"] >= payload(weak["id_token"])["auth_time"] + 31
        assert claims["sid"] == payload(weak["id_token"])["sid"]
    (stepped,) = asserts.events_of(shop.app, "sign_in.stepped_up")
    assert (stepped.subject, stepped.data["acr"]) == (shop.ben.id, "aal2")
    assert stepped.data["amr"] == ["pwd", "otp", "mfa"]
    assert [row.data for row in asserts.events_of(shop.app, "code.issued")] == [
        {"acr": "aal1"},
        {"acr": "aal2", "least": "aal2"},
    ]
    assert [row.data["acr"] for row in asserts.events_of(shop.app, "token.issued")] == ["aal1", "aal2"]


def test_somebody_without_a_second_factor_sets_one_up_on_the_way(shop: Shop) -> None:
    """A demand, unlike a wish, gives no code before; the page says who asks."""
    rp = shop.app_with(minimum_acr="aal2")
    shop.sign_in()
    intro = shop.browser.follow(rp.authorize(**ORDINARY))
    asserts.is_page(intro, "account-second-factor")
    assert "This app needs a stronger sign-in" in intro.text
    form = shop.browser.follow(shop.browser.submit(intro, f"{SECURITY}/app", decision="begin"))
    flow = Page(form.text).inputs["next"]
    assert step_of(shop.browser.get(flow)) == "enrol"
    phone = Authenticator(authenticator.key_on(form))
    codes = shop.browser.submit(form, f"{SECURITY}/app", decision="confirm", code=phone.code())
    answer = shop.browser.follow(shop.browser.submit(codes, SECURITY, decision="saved", saved="1"))
    assert payload(rp.exchange(answer_of(answer)["code"]).json["id_token"])["acr"] == "aal2"


def test_where_nothing_stronger_can_be_had_the_app_is_told(make_app: Callable[..., Flask]) -> None:
    """MFA=off and a demand: `unmet_authentication_requirements`; a wish is no dead end."""
    shop = open_shop(make_app(mfa="off"))
    rp = shop.app_with()
    shop.sign_in()
    for prompt in (None, "none"):
        refused = rp.authorize(scope="openid orders:refund", prompt=prompt)
        asserts.is_redirect_error(refused, "unmet_authentication_requirements")
    assert len(asserts.events_of(shop.app, "authorization.refused")) == 2
    assert step_of(rp.authorize(scope="openid orders:read", acr_values="aal2")) == "code"


def test_a_scope_that_may_be_unticked_demands_nothing_before_it_is_ticked(shop: Shop) -> None:
    """The consent page comes first; then only what was allowed counts."""
    rp = shop.app_with(first_party=False, optional_scopes="orders:refund")
    shop.sign_in()
    page = shop.browser.follow(rp.authorize(scope="openid orders:read orders:refund"))
    asserts.is_page(page, "consent")
    unticked = shop.browser.submit(page, page.request.full_path, decision="allow")
    answer = shop.browser.follow(unticked)
    assert rp.exchange(answer_of(answer)["code"]).json["scope"] == "openid orders:read"
    again = shop.browser.follow(rp.authorize(scope="openid orders:read orders:refund", prompt="consent"))
    ticked = shop.browser.submit(again, again.request.full_path, decision="allow", scope="orders:refund")
    assert step_of(shop.browser.get(ticked.headers["Location"])) == "enrol"


@pytest.mark.parametrize("changed", [{"prompt": "login"}, {"max_age": "60"}], ids=str)
def test_a_step_up_is_no_new_sign_in(shop: Shop, in_a_while: Travel, changed: dict[str, str]) -> None:
    """What was shown long ago stays old, in whichever tab a code is typed meanwhile (RFC 9470 §4)."""
    begin(shop, "a password in a trusted browser", in_a_while)
    assert shop.phone
    rp = shop.app_with()
    first = rp.authorize(**ORDINARY, acr_values="aal2", **changed)
    assert step_of(first) == "sign in"
    flow = Page(shop.browser.get(first.headers["Location"]).text).inputs["next"]
    in_a_while(timedelta(seconds=2))
    authenticator.answer(shop.browser, shop.browser.get(f"/login/step-up?next={flow}"), shop.phone.code())
    assert step_of(rp.authorize(**ORDINARY, acr_values="aal2")) == "code"
    assert step_of(shop.browser.get(flow)) == "sign in"
    in_a_while(A_CODE_LATER)
    login = shop.browser.get(first.headers["Location"])
    typed = shop.browser.submit(login, "/login", email=EMAIL, password=PASSWORD)
    answer = shop.browser.follow(authenticator.answer(shop.browser, typed, shop.phone.code()))
    assert payload(rp.exchange(answer_of(answer)["code"]).json["id_token"])["acr"] == "aal2"


def test_a_step_up_does_not_open_what_needs_a_fresh_sign_in(shop: Shop, in_a_while: Travel) -> None:
    """The password is as old as before: what changes the sign-in asks for both (ASVS 7.5.1)."""
    begin(shop, "a password, and a code just now", in_a_while)
    in_a_while(timedelta(minutes=1))
    assert shop.browser.get(f"{SECURITY}/codes").headers["Location"].startswith("/login?fresh=1")
    assert shop.phone
    login = shop.browser.get(f"/login?fresh=1&next={SECURITY}/codes")
    typed = shop.browser.submit(login, "/login", email=EMAIL, password=PASSWORD)
    asserts.is_page(
        shop.browser.follow(authenticator.answer(shop.browser, typed, shop.phone.code())), "account-confirm"
    )


def test_a_waiting_step_up_ends_with_its_session(shop: Shop, in_a_while: Travel) -> None:
    """After the sign-out its code lets nobody in, whoever is signed in then; in its own session it is taken."""
    begin(shop, "a password in a trusted browser", in_a_while)
    assert shop.phone
    place = shop.browser.get("/login/step-up?next=/account").headers["Location"]
    page = shop.browser.get(place)
    shop.browser.sign_out()
    asserts.is_error_page(shop.browser.submit(page, "/login/mfa", code=shop.phone.code()), "flow_expired")
    assert shop.browser.get("/account").headers["Location"].startswith("/login?")
    shop.sign_in()
    in_a_while(A_CODE_LATER)
    asserts.is_error_page(shop.browser.submit(page, "/login/mfa", code=shop.phone.code()), "flow_expired")
    in_a_while(A_CODE_LATER)
    own = authenticator.answer(shop.browser, shop.browser.get("/login/step-up?next=/account"), shop.phone.code())
    assert own.headers["Location"] == "/account"


def test_the_step_up_page_alone_does_nothing(shop: Shop, in_a_while: Travel) -> None:
    """Nobody: the login page. Nothing missing: on to `next`. Nothing to ask for: enrolment. Never another site."""
    place = "/login/step-up?next=/account/apps"
    assert shop.browser.get(place).headers["Location"].startswith("/login?next=%2Flogin%2Fstep-up")
    shop.sign_in()
    assert shop.browser.get(place).headers["Location"] == f"{guards.ENROLMENT_PATH}?next=%2Faccount%2Fapps"
    authenticator.set_up(shop.browser)
    assert shop.browser.get(place).headers["Location"] == "/account/apps"
    assert shop.browser.get("/login/step-up?next=https://evil.example/").headers["Location"] == "/account"
