"""The JWT bearer grant: identity assertions (ID-JAG) of a company that the operator trusts, and all that are none."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.access import identities, roles
from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.tokens import ending
from tests.support import assertion, asserts, factories, web_server
from tests.support.assertion import Signer
from tests.support.browser import Browser
from tests.support.dpop import DpopKey
from tests.support.factories import ORDERS
from tests.support.issuing import BY, CI, IDP, JWT_BEARER, SUBJECT, Company, Issuer, Workload
from tests.support.rp import RelyingParty, basic, payload
from tests.support.signing import ISSUER, KEYS, Service
from tests.support.site import at_once

Travel = Callable[[timedelta], None]
FILES = "https://files.example.org"
NOBODY = "the assertion's subject is nobody for whom this client may act"


@pytest.fixture
def ada(app: Flask) -> users.User:
    factories.api(app)
    return factories.person(app)


def agent(app: Flask, **metadata: Any) -> tuple[Any, str]:
    """Make a client that may come with assertions."""
    known = {
        "grant_types": [JWT_BEARER],
        "scope": "openid offline_access orders:read orders:write",
        "redirect_uris": [],
    }
    return factories.client(app, **{**known, **metadata})


def link(app: Flask, user: users.User, subject: str = SUBJECT) -> None:
    factories.within(app, lambda: identities.link(IDP, subject, user.id))


@pytest.fixture
def company(app: Flask, ada: users.User) -> Company:
    """Return a company that means Ada by its subject."""
    made = Company(app, *agent(app))
    link(app, ada)
    return made


def is_refused(answer: TestResponse, sentence: str, code: str = "invalid_grant") -> None:
    asserts.is_oauth_error(answer, code)
    assert sentence in answer.json["error_description"], answer.text


@pytest.mark.parametrize("alg", KEYS)
def test_an_app_acts_for_a_person_of_the_company(app: Flask, ada: users.User, alg: str) -> None:
    """An access token for the API, for this person and client; no refresh token, no ID token, no session."""
    company = Company(app, *agent(app), jwks={"keys": [KEYS[alg].jwk()]})
    company.issuer.by = KEYS[alg]
    link(app, ada)
    answer = company.ask(auth_time=-60)
    assert answer.status_code == 200, answer.text
    assert set(answer.json) == {"access_token", "token_type", "expires_in", "scope"}
    found = payload(answer.json["access_token"])
    assert (found["sub"], found["client_id"], found["aud"]) == (ada.id, company.client.client_id, ORDERS)
    assert (found["scope"], found["acr"], found["amr"]) == ("orders:read", "aal1", [])
    assert "sid" not in found
    assert {"fam", "status"} <= set(found)
    (event,) = asserts.events_of(app, "assertion.accepted")
    assert (event.subject, event.client_id) == (ada.id, company.client.client_id)
    assert event.data == {"issuer": IDP}
    (issued,) = asserts.events_of(app, "token.issued")
    assert (issued.subject, issued.data["grant_type"]) == (ada.id, JWT_BEARER)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        *(({"alg": alg}, "algorithm") for alg in ("none", "None", "", 1, ["RS256"], {}, "HS256", "RS512")),
        ({"alg": "ES256"}, "no key for it"),
        ({"jwk": KEYS["ES256"].jwk()}, "brings a key along"),
        ({"jku": "https://evil.example/jwks"}, "brings a key along"),
        ({"x5u": "https://evil.example/pem"}, "brings a key along"),
        ({"x5c": ["AAAA"]}, "brings a key along"),
        ({"crit": ["x"], "x": 1}, "malformed"),
        ({"kid": 1}, "kid"),
        ({"kid": "another"}, "no key for it"),
        *(({"typ": typ}, "typ") for typ in (None, "JWT", "at+jwt", "client-authentication+jwt", "oauth-id-jag", 1)),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_a_header_that_is_refused(company: Company, header: dict[str, Any], sentence: str) -> None:
    """Algorithm confusion, keys that come along, and every other kind of token; the client is told what it was."""
    is_refused(company.ask(header), sentence)
    assert company.ask({"typ": "application/oauth-id-jag+jwt"}).status_code == 200


CLAIMS: list[tuple[dict[str, Any], str]] = [
    *(({"iss": iss}, "issuer is not trusted") for iss in (None, 1, "https://evil.example", ISSUER, IDP + "/", CI)),
    *(({"aud": aud}, "aud") for aud in (None, "https://other.example", [ISSUER, "https://x.example"], ISSUER + "/")),
    ({"aud": ISSUER + "/oauth/token"}, "aud"),
    *(({"client_id": other}, "client_id") for other in (None, "", "another", 1)),
    *(({"sub": sub}, "sub") for sub in (None, "", 1, ["x"], "x" * 256, "a\x00b", "\ud800")),
    *(({"jti": jti}, "jti") for jti in (None, "", 1, "x" * 256, "\ud800")),
    *(({"scope": scope}, "grants no scope") for scope in (None, "", " ", ["orders:read"], 1)),
    ({"exp": None}, "needs an exp"),
    ({"exp": -61}, "has expired"),
    ({"exp": 3700}, "too far ahead"),
    ({"exp": 3600, "iat": -400}, "has expired"),
    ({"iat": None}, "needs an iat"),
    ({"iat": 120}, "from the future"),
    ({"nbf": 120}, "from the future"),
    ({"exp": True}, "exp of the assertion must be a number"),
    *(({"auth_time": at}, "auth_time of the assertion must be a number") for at in ("x", True, 1e300)),
    *(({"resource": value}, "resource") for value in (1, [], [1], {"x": 1})),
    *(({"cnf": cnf}, "bound to a key") for cnf in ({"jkt": "x"}, {"jkt": None}, {}, "x", {"x5t#S256": "x"})),
    ({"authorization_details": []}, "authorization_details"),
    ({"tenant": "acme"}, "tenant"),
]


@pytest.mark.parametrize(("claims", "sentence"), CLAIMS, ids=lambda value: repr(value)[:32])
def test_a_claim_that_is_refused(company: Company, claims: dict[str, Any], sentence: str) -> None:
    """Each with one sentence for the client's developer; nothing is given and the right one is taken."""
    Issuer(company.app)  # a CI system is trusted, though not with people
    is_refused(company.ask(**claims), sentence)
    assert company.ask().status_code == 200
    assert len(asserts.events_of(company.app, "token.issued")) == 1


def test_a_public_key_is_no_secret(company: Company) -> None:
    """HS256 with what everybody may know (CVE-2026-11800)."""
    about = {"iss": IDP, "sub": SUBJECT, "client_id": company.client.client_id, "scope": "orders:read"}
    for secret in (BY.jwk()["n"].encode(), b""):
        for alg in ("HS256", "RS256"):
            forged = Signer(alg, secret).token(assertion.claims("", ISSUER, **about), typ="oauth-id-jag+jwt")
            asserts.is_oauth_error(company.show(forged), "invalid_grant")
    assert company.ask().status_code == 200


@pytest.mark.parametrize("bad", ["x", "..", "a.b.c", "é.é.é", "e30.e30.e30", "A" * 8000])
def test_what_is_no_assertion(company: Company, bad: str) -> None:
    """A refusal, never a crash; without one, or with two, the request is malformed."""
    is_refused(company.show(bad), "malformed")
    asserts.is_oauth_error(company.show("A" * 9000), "invalid_request")
    asserts.is_oauth_error(company.show(""), "invalid_request")
    asserts.is_oauth_error(company.show(company.assertion(), scope=["a", "b"]), "invalid_request")


def test_each_counts_once(company: Company) -> None:
    """Of ten at once one succeeds, and none later; another client's turn comes no sooner."""
    token = company.assertion()
    assert sorted(at_once(*[lambda: company.show(token).status_code] * 10)) == [200] + [400] * 9
    is_refused(company.show(token), "used before")
    assert company.ask().status_code == 200


def test_another_client_cannot_use_it(app: Flask, company: Company) -> None:
    """Though it may come with its own; and it does not use it up."""
    token = company.assertion()
    other, secret = agent(app, client_name="Other")
    is_refused(company.show(token, basic(other.client_id, secret)), "client_id")
    asserts.is_oauth_error(company.show(token, basic(company.client.client_id, "wrong")), "invalid_client", 401)
    assert company.show(token).status_code == 200


def test_an_hours_assertion_counts_five_minutes(company: Company, in_a_while: Travel) -> None:
    """Some issuers cannot be told otherwise."""
    token, other = company.assertion(exp=3600), company.assertion(exp=3600)
    in_a_while(timedelta(minutes=5))
    assert company.show(token).status_code == 200
    in_a_while(timedelta(minutes=2))
    is_refused(company.show(other), "has expired")


def test_only_clients_that_an_operator_gave_it(app: Flask, company: Company) -> None:
    """Neither others nor public ones; and where no issuer is trusted with people, it does not exist."""
    without, secret = factories.client(app, grant_types=["client_credentials"], scope="orders:read")
    refused = company.show(company.assertion(client_id=without.client_id), basic(without.client_id, secret))
    asserts.is_oauth_error(refused, "unauthorized_client")
    assert company.ask().status_code == 200
    factories.within(app, lambda: ending.distrust_issuer(IDP))
    asserts.is_oauth_error(company.ask(), "unsupported_grant_type")


def test_who_is_meant_is_said_by_a_link_alone(app: Flask, company: Company, ada: users.User) -> None:
    """Nobody else, no address, nobody who is disabled; and nobody is made."""
    before = asserts.rows(app)["user_account"]
    is_refused(company.ask(sub="another"), NOBODY)
    is_refused(company.ask(sub="another", email=ada.email, email_verified=True), NOBODY)
    is_refused(company.ask(sub=ada.id), NOBODY)
    is_refused(company.ask(sub=ada.email), NOBODY)
    assert company.ask().status_code == 200
    assert asserts.rows(app)["user_account"] == before
    factories.within(app, lambda: ending.disable_user(factories.again(ada)))
    is_refused(company.ask(), NOBODY)
    reasons = [event.reason for event in asserts.events_of(app, "token.refused")]
    assert reasons[-1] == "the person is disabled"
    assert len(set(reasons)) == 2


def test_a_verified_address_counts_where_the_operator_says_so(app: Flask, ada: users.User) -> None:
    """Of the issuer's own domains, verified there and here; a link outweighs it."""
    about = {"people": "verified-email", "email_domains": ["example.org"]}
    company = Company(app, *agent(app), **about)
    good = {"email": "Ada@Example.org", "email_verified": True}
    assert payload(company.ask(**good).json["access_token"])["sub"] == ada.id
    factories.person(app, "grace@example.com")
    factories.person(app, "unproved@example.org", verified=False)
    for changed in (
        *({"email_verified": value} for value in (None, False, "true", 1)),
        *({"email": value} for value in (None, 1, "", "ada", "ada@example.org\x00", "ada@example.org@evil.example")),
        *({"email": value} for value in ("grace@example.com", "unproved@example.org", "nobody@example.org")),
    ):
        is_refused(company.ask(**{**good, **changed}), NOBODY)
    ben = factories.person(app, "ben@example.org")
    link(app, ben)
    assert payload(company.ask(**good).json["access_token"])["sub"] == ben.id
    factories.within(app, lambda: ending.disable_user(factories.again(ben)))
    is_refused(company.ask(**good), NOBODY)


def test_another_issuers_subject_is_another_one(app: Flask, company: Company, ada: users.User) -> None:
    """Subjects are unique within an issuer, and within a tenant only where the operator names it."""
    other = Company(app, company.client, company.secret, iss="https://other.example", claims={"tenant": "acme"})
    is_refused(other.ask(tenant="acme"), NOBODY)
    factories.within(app, lambda: identities.link("https://other.example", SUBJECT, ada.id))
    assert other.ask(tenant="acme").status_code == 200
    is_refused(other.ask(tenant="evil"), "claim that is demanded")
    is_refused(other.ask(), "claim that is demanded")


def test_scopes_are_what_both_allow(app: Flask, company: Company) -> None:
    """The assertion's, the client's, APIs' alone, and no more than is asked for."""
    everything = "openid profile offline_access orders:read orders:write files:read made:up"
    assert company.ask(scope=everything).json["scope"] == "orders:read orders:write"
    asked = company.show(company.assertion(scope="orders:read orders:write"), scope="orders:write")
    assert asked.json["scope"] == "orders:write"
    is_refused(company.show(company.assertion(), scope="orders:write"), "exceeds", "invalid_scope")
    is_refused(company.ask(scope="openid"), "nothing of the scope", "invalid_scope")
    spent = company.assertion()
    is_refused(company.show(spent, scope="orders:write"), "exceeds", "invalid_scope")
    assert company.show(spent).status_code == 200, "a refused request leaves the assertion"


def test_resources_are_the_assertions(app: Flask, ada: users.User) -> None:
    """`resource` picks among them, and none outside; a token for one API carries no power at another."""
    factories.api(app, FILES, scopes={"files:read": "Read your files"})
    company = Company(app, *agent(app, scope="orders:read files:read"))
    link(app, ada)
    both = "orders:read files:read"
    one = payload(company.ask(scope=both, resource=ORDERS).json["access_token"])
    assert (one["aud"], one["scope"]) == (ORDERS, "orders:read")
    two = company.show(company.assertion(scope=both, resource=[ORDERS, FILES]), resource=FILES)
    assert payload(two.json["access_token"])["aud"] == FILES
    is_refused(
        company.show(company.assertion(scope=both, resource=ORDERS), resource=FILES), "not part", "invalid_target"
    )
    is_refused(company.ask(resource="https://unknown.example"), "may not use", "invalid_target")
    free = company.show(company.assertion(scope=both), resource=FILES)
    assert payload(free.json["access_token"])["scope"] == "files:read"


def test_roles_count(app: Flask, company: Company, ada: users.User) -> None:
    """A scope that a role names is for people who have it."""
    factories.role(app, "clerk", ["orders:write"])
    both = "orders:read orders:write"
    assert company.ask(scope=both).json["scope"] == "orders:read"
    factories.within(app, lambda: roles.put(ada.id, ["clerk"]))
    assert company.ask(scope=both).json["scope"] == both


def test_strength_counts(app: Flask, ada: users.User) -> None:
    """A sign-in at the issuer counts as the operator says, one factor unless said otherwise, whatever it claims."""
    factories.api(app, FILES, scopes={"files:read": "Read your files"}, minimum_acr="aal2")
    weak = Company(app, *agent(app, scope="orders:read files:read"))
    link(app, ada)
    claims = {"scope": "orders:read files:read", "acr": "aal2", "amr": ["mfa"]}
    assert weak.ask(**claims).json["scope"] == "orders:read"
    is_refused(weak.ask(**claims, resource=FILES), "stronger sign-in", "invalid_target")
    factories.within(app, lambda: clients.change(weak.client, {"minimum_acr": "aal2"}))
    is_refused(weak.ask(**claims), "stronger sign-in")
    strong = Company(app, weak.client, weak.secret, acr="aal2")
    answer = strong.ask(**claims)
    assert answer.json["scope"] == "orders:read files:read"
    assert payload(answer.json["access_token"])["acr"] == "aal2"


def test_who_must_have_two_factors_is_not_meant_by_one(make_app: Callable[..., Flask]) -> None:
    """Where the server demands them of everybody, an issuer that counts as one opens no way around."""
    app = make_app(mfa="required")
    factories.api(app)
    company = Company(app, *agent(app))
    link(app, factories.person(app))
    is_refused(company.ask(), NOBODY)
    assert Company(app, company.client, company.secret, acr="aal2").ask().status_code == 200


def test_an_assertion_may_be_bound_to_a_key(company: Company) -> None:
    """Then the proof of that key comes along, and the token is bound to it too (RFC 9449)."""
    key, other = DpopKey(), DpopKey()
    about = {"cnf": {"jkt": key.jkt}}
    is_refused(company.show(company.assertion(**about), {"DPoP": other.proof()}), "bound to a key")
    answer = company.show(company.assertion(**about), {"DPoP": key.proof()})
    assert answer.json["token_type"] == "DPoP"
    assert payload(answer.json["access_token"])["cnf"] == {"jkt": key.jkt}
    free = company.show(company.assertion(), {"DPoP": key.proof()})
    assert free.json["token_type"] == "DPoP"


def test_what_ends_the_persons_access_ends_it(app: Flask, company: Company, ada: users.User) -> None:
    """Everything of the person, the app, the link and the issuer; others go on."""
    rp = RelyingParty(app, None, company.client, company.secret)  # type: ignore[arg-type]

    def made() -> str:
        answer = company.ask()
        assert answer.status_code == 200, answer.text
        return str(answer.json["access_token"])

    def lives(token: str) -> bool:
        return bool(rp.introspect(token)["active"])

    acts: tuple[Callable[[], object], ...] = (
        lambda: ending.sign_out_everywhere(ada.id, "test"),
        lambda: ending.disconnect(ada.id, company.client.client_id),
        lambda: ending.password_changed(ada.id, "another-session"),
    )
    for act in acts:
        token = made()
        assert lives(token)
        factories.within(app, act)
        assert not lives(token)
    other = factories.person(app, "ben@example.org")
    link(app, other, "ben")
    token, others = made(), company.ask(sub="ben").json["access_token"]
    factories.within(app, lambda: ending.unlink_identity(IDP, SUBJECT))
    assert not lives(token)
    assert lives(others)
    is_refused(company.ask(), NOBODY)
    factories.within(app, lambda: ending.distrust_issuer(IDP))
    assert not lives(others)
    Company(app, company.client, company.secret)
    is_refused(company.ask(), NOBODY)  # links went with the issuer
    link(app, ada)
    last = made()
    factories.within(app, lambda: ending.end_client_tokens(company.client.client_id, "test"))
    assert not lives(last)


def test_the_person_sees_the_app_and_may_disconnect_it(app: Flask, ada: users.User, browser: Browser) -> None:
    """While a token lives, and in the history who may vouch; the company decides about the next one."""
    company = Company(app, *agent(app, client_name="Acme Agent"))
    link(app, ada)
    factories.person(app, "root@example.org", roles=["administrator"])  # the server is set up
    browser.sign_in()
    before = browser.get("/account/apps")
    assert before.status_code == 200
    assert "Acme Agent" not in before.text
    token = company.ask().json["access_token"]
    page = browser.get("/account/apps")
    assert "Acme Agent" in page.text
    assert "Read your orders" in page.text
    assert "Apps of your organization may act for you" in browser.get("/account/security/events").text
    browser.submit(page, "/account/apps", decision="disconnect", app=company.client.client_id)
    rp = RelyingParty(app, browser, company.client, company.secret)
    assert not rp.introspect(token)["active"]
    assert company.ask().status_code == 200


def test_a_revoked_token_is_one_of_its_own(app: Flask, company: Company) -> None:
    """Each assertion begins a family, so that the next token does not go with it (RFC 7009)."""
    rp = RelyingParty(app, None, company.client, company.secret)  # type: ignore[arg-type]
    one, two = (company.ask().json["access_token"] for _time in range(2))
    assert rp.revoke(one).status_code == 200
    assert not rp.introspect(one)["active"]
    assert rp.introspect(two)["active"]


def test_an_opaque_token_may_come_of_it(app: Flask) -> None:
    """As the API wants it."""
    factories.api(app, token_format="opaque")
    company = Company(app, *agent(app))
    link(app, factories.person(app))
    token = company.ask().json["access_token"]
    assert "." not in token
    rp = RelyingParty(app, None, company.client, company.secret)  # type: ignore[arg-type]
    found = rp.introspect(token)
    assert found["active"]
    assert "sid" not in found


def test_it_proves_no_client_and_a_clients_proof_no_person(app: Flask, company: Company) -> None:
    """The three uses of one form stay apart: an ID-JAG, a workload's token, a client's own assertion."""
    job = Workload(app, Issuer(app, IDP, uses=["id-jag", "workload"]), {"subject": SUBJECT})
    asserts.is_oauth_error(job.post(company.assertion()), "invalid_client", 401)
    is_refused(company.show(job.issuer.token(sub=SUBJECT)), "typ")
    signing = Service(app, BY, grant_types=["client_credentials", JWT_BEARER], scope="orders:read")
    is_refused(company.show(signing.token(), basic(company.client.client_id, company.secret)), "not trusted")
    asserts.is_oauth_error(signing.post(company.assertion(client_id=signing.id)), "invalid_client", 401)
    assert job.ask(sub=SUBJECT).status_code == 200


def test_a_workload_may_bring_an_assertion(app: Flask, ada: users.User) -> None:
    """An app without a secret acts for a person: each statement has a parameter and a check of its own."""
    job = Workload(app, Issuer(app), grant_types=[JWT_BEARER], scope="orders:read")
    company = Company(app, job.client, "")
    link(app, ada)
    answer = job.post(job.issuer.token(), grant_type=JWT_BEARER, assertion=company.assertion())
    assert answer.status_code == 200, answer.text
    assert payload(answer.json["access_token"])["sub"] == ada.id


def test_nothing_is_fetched_that_an_assertion_names(make_app: Callable[..., Flask]) -> None:
    """Neither a key nor an unknown issuer's metadata (TE-08)."""
    app = make_app(outbound_allow_hosts=("127.0.0.1",))
    factories.api(app)
    company = Company(app, *agent(app))
    link(app, factories.person(app))
    with web_server.running(web_server.as_json({"keys": [BY.jwk()]})) as server:
        asserts.is_oauth_error(company.ask({"jku": server.url("/jwks")}), "invalid_grant")
        asserts.is_oauth_error(company.ask({"x5u": server.url("/pem")}), "invalid_grant")
        asserts.is_oauth_error(company.ask(iss=server.url("").rstrip("/")), "invalid_grant")
        assert server.connections == 0
    assert company.ask().status_code == 200


def test_the_metadata_tell_what_is_on(app: Flask) -> None:
    """Only while an issuer is trusted for it; the document follows within a second."""

    def document() -> dict[str, Any]:
        found: dict[str, Any] = app.test_client(use_cookies=False).get("/.well-known/openid-configuration").json
        return found

    endpoints = ("token", "revocation", "introspection")
    methods = [f"{endpoint}_endpoint_auth_methods_supported" for endpoint in endpoints]
    before = document()
    assert JWT_BEARER not in before["grant_types_supported"]
    assert "authorization_grant_profiles_supported" not in before
    assert not any("workload_identity" in before[name] for name in methods)
    Issuer(app)
    with_jobs = document()
    assert all("workload_identity" in with_jobs[name] for name in methods)
    assert JWT_BEARER not in with_jobs["grant_types_supported"]
    Issuer(app, IDP, uses=["id-jag"])
    with_both = document()
    assert JWT_BEARER in with_both["grant_types_supported"]
    assert with_both["authorization_grant_profiles_supported"] == ["urn:ietf:params:oauth:grant-profile:id-jag"]
    for issuer in (CI, IDP):
        factories.within(app, lambda issuer=issuer: ending.distrust_issuer(issuer))
    assert document() == before
