"""Workloads: a trusted issuer's token about the place where a client runs, and everything that is none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from flask import Flask

from auth_server.clients import client as clients
from auth_server.clients import issuers
from auth_server.errors import RefusedInput
from auth_server.tokens import ending
from tests.support import assertion, asserts, factories, web_server
from tests.support.assertion import Signer, signer
from tests.support.issuing import BY, CI, IDP, JOB, Issuer, Workload
from tests.support.rp import basic, challenge_of
from tests.support.signing import ISSUER, KEYS, STRANGER, Service, is_refused
from tests.support.site import at_once

_IS_CLIENT = "iss and sub of the assertion must be the client id"
CLUSTER = "https://kubernetes.default.svc.cluster.local"
Travel = Callable[[timedelta], None]


@pytest.fixture
def job(app: Flask) -> Workload:
    return Workload(app, Issuer(app))


def reasons(app: Flask) -> list[str]:
    return [event.reason for event in asserts.events_of(app, "client.authentication_failed")]


@pytest.mark.parametrize("alg", KEYS)
def test_a_job_proves_itself_by_what_its_ci_system_says(app: Flask, alg: str) -> None:
    """With each algorithm; there is no secret, the audit says which job it was, and another job is nobody."""
    job = Workload(app, Issuer(app, by=KEYS[alg]))
    assert job.secret == ""
    answer = job.ask()
    assert answer.status_code == 200, answer.text
    assert "refresh_token" not in answer.json
    (event,) = asserts.events_of(app, "client.workload_accepted")
    assert (event.client_id, event.data) == (job.id, {"issuer": CI, "workload": JOB})
    is_refused(job.ask(sub="repo:acme/other:environment:production"))
    is_refused(job.post(signer(alg).token(assertion.claims("", ISSUER, iss=CI, sub=JOB))))
    assert reasons(app) == [
        "no rule of the client has the token's issuer, subject and claims",
        "signed by none of the issuer's keys",
    ]


@pytest.mark.parametrize("path", ["/oauth/introspect", "/oauth/revoke"])
def test_it_does_so_at_every_endpoint(job: Workload, path: str) -> None:
    """As any other method."""
    assert job.post(job.issuer.token(), path).status_code == 200
    is_refused(job.post(job.issuer.token(sub="x"), path))


def test_an_app_may_push_its_request_so(app: Flask) -> None:
    """RFC 9126 §2: the same gate."""
    redirects = {"grant_types": ["authorization_code"], "redirect_uris": [factories.REDIRECT_URI], "scope": "openid"}
    job = Workload(app, Issuer(app), **redirects)
    about = {"redirect_uri": factories.REDIRECT_URI, "response_type": "code", "code_challenge": challenge_of("v" * 43)}
    about |= {"code_challenge_method": "S256", "grant_type": "", "token": ""}
    assert job.post(job.issuer.token(), "/oauth/par", **about).status_code == 201
    is_refused(job.post(job.issuer.token(sub="x"), "/oauth/par", **about))


def test_a_pod_proves_itself_by_its_service_account(app: Flask) -> None:
    """A cluster's token has no `typ`, its audience in a list, and its own claims in a table."""
    subject = "system:serviceaccount:shop:report"
    rule = {"subject": subject, "claims": {"kubernetes.io": {"namespace": "shop"}}}
    pod = Workload(app, Issuer(app, CLUSTER), rule)
    held = {"sub": subject, "aud": [ISSUER], "kubernetes.io": {"namespace": "shop", "pod": {"name": "report-1"}}}
    assert pod.ask({"typ": None}, **held).status_code == 200
    is_refused(pod.ask({"typ": None}, **{**held, "kubernetes.io": {"namespace": "other"}}))
    is_refused(pod.ask({"typ": None}, **{**held, "kubernetes.io": None}))


BEFORE_THE_SIGNATURE: list[tuple[dict[str, Any], str]] = [
    *(({"alg": alg}, "algorithm") for alg in ("none", "None", "nOnE", "", 1, ["RS256"], {}, "rs256", "HS256", "RS512")),
    *(({"alg": alg}, "no key for it") for alg in ("PS256", "ES256", "EdDSA")),
    ({"jwk": KEYS["ES256"].jwk()}, "brings a key along"),
    ({"jku": "https://evil.example/jwks"}, "brings a key along"),
    ({"x5u": "https://evil.example/pem"}, "brings a key along"),
    ({"x5c": ["AAAA"]}, "brings a key along"),
    ({"b64": True}, "brings a key along"),
    ({"crit": ["x"], "x": 1}, "malformed assertion"),
    *(({"typ": typ}, "another kind") for typ in ("at+jwt", "dpop+jwt", "logout+jwt", "oauth-id-jag+jwt", "", 1)),
    ({"typ": "client-authentication+jwt"}, "another kind"),
    ({"kid": ["k1"]}, "kid"),
    ({"kid": "another"}, "no key for it"),
    ({"x": "y" * 600}, "malformed assertion"),
]


@pytest.mark.parametrize(("header", "reason"), BEFORE_THE_SIGNATURE, ids=lambda value: repr(value)[:24])
def test_a_header_that_is_refused_says_nothing(job: Workload, header: dict[str, Any], reason: str) -> None:
    """One sentence for strangers, the cause in the audit; the right one is taken."""
    is_refused(job.ask(header))
    (found,) = reasons(job.app)
    assert reason in found
    assert job.ask().status_code == 200


def test_a_public_key_is_no_secret(job: Workload) -> None:
    """HS256 with what everybody may know of the issuer (CVE-2026-11800)."""
    for secret in (BY.jwk()["n"].encode(), b"", CI.encode()):
        forged = Signer("HS256", secret).token(assertion.claims("", ISSUER, iss=CI, sub=JOB))
        is_refused(job.post(forged))
        is_refused(job.post(Signer("RS256", secret).token(assertion.claims("", ISSUER, iss=CI, sub=JOB))))
    assert job.ask().status_code == 200


@pytest.mark.parametrize(
    "claims",
    [
        *({"iss": iss} for iss in (None, "", 1, [CI], CI + "/", CI.upper(), "https://evil.example", ISSUER, IDP)),
        *({"sub": sub} for sub in (None, "", 1, [JOB], JOB + " ", JOB.upper(), CI, JOB + ":x", "*")),
    ],
    ids=repr,
)
def test_who_is_meant_by_no_rule_learns_nothing(job: Workload, claims: dict[str, Any]) -> None:
    """Everybody can have a token of a big CI system: a signature alone opens no mouth."""
    Issuer(job.app, IDP, uses=["id-jag"])
    is_refused(job.ask(**claims))
    is_refused(job.ask(**claims, aud="https://other.example", exp=-3600))
    assert job.ask().status_code == 200


PRECISE: list[tuple[dict[str, Any], str]] = [
    *(({"aud": aud}, "aud") for aud in (None, "", [], "https://other.example", ISSUER + "/", 1, {"x": ISSUER})),
    *(({"aud": [ISSUER, other]}, "aud") for other in ("https://other.example", ISSUER)),
    ({"aud": ISSUER + "/oauth/token"}, "aud"),
    ({"exp": None}, "needs an exp"),
    ({"exp": "soon"}, "exp of the assertion must be a number"),
    ({"exp": True}, "exp of the assertion must be a number"),
    ({"exp": -61}, "has expired"),
    ({"iat": None}, "needs an iat"),
    ({"iat": 120, "exp": 600}, "from the future"),
    ({"nbf": 120}, "from the future"),
    ({"exp": 86401}, "at most 24 hours"),
    ({"exp": 90000, "iat": -1}, "at most 24 hours"),
]


@pytest.mark.parametrize(("claims", "sentence"), PRECISE, ids=lambda value: repr(value)[:40])
def test_who_is_meant_learns_what_to_change(job: Workload, claims: dict[str, Any], sentence: str) -> None:
    """The audience is ours alone; the token lives, and not for ever."""
    answer = job.ask(**claims)
    asserts.is_oauth_error(answer, "invalid_client", 401)
    assert sentence in answer.json["error_description"] != STRANGER
    assert job.ask().status_code == 200


def test_claims_of_all_tokens_of_an_issuer(app: Flask) -> None:
    """What the operator demands of the issuer as a whole comes before any rule."""
    job = Workload(app, Issuer(app, claims={"repository_owner_id": "4711"}))
    assert job.ask(repository_owner_id="4711").status_code == 200
    is_refused(job.ask(repository_owner_id=4711))
    is_refused(job.ask())


def test_another_audience_by_rule_or_issuer(app: Flask) -> None:
    """A rule's outweighs the issuer's, and that ours."""
    named = {"audience": "api://rule"}
    issuer = Issuer(app, audience="api://issuer")
    usual, special = Workload(app, issuer), Workload(app, issuer, {"subject": JOB, **named})
    assert usual.ask(aud="api://issuer").status_code == 200
    assert special.ask(aud="api://rule").status_code == 200
    for refused in (usual.ask(), special.ask(), usual.ask(aud="api://rule"), special.ask(aud="api://issuer")):
        asserts.is_oauth_error(refused, "invalid_client", 401)


def test_one_clients_token_is_not_anothers(app: Flask) -> None:
    """Though the issuer is the same: each client names its own subjects."""
    issuer = Issuer(app)
    one, two = Workload(app, issuer), Workload(app, issuer, {"subject": "repo:acme/blog:environment:production"})
    is_refused(two.post(issuer.token()))
    assert one.post(issuer.token()).status_code == 200
    assert two.ask(sub="repo:acme/blog:environment:production").status_code == 200


def test_a_token_is_shown_until_it_expires(job: Workload, in_a_while: Travel) -> None:
    """A cluster writes one token into a file, for an hour."""
    token = job.issuer.token()
    assert [job.post(token).status_code for _time in range(3)] == [200] * 3
    in_a_while(timedelta(minutes=59))
    assert job.post(token).status_code == 200
    in_a_while(timedelta(minutes=3))
    asserts.is_oauth_error(job.post(token), "invalid_client", 401)


def test_a_rule_may_want_each_token_once(app: Flask) -> None:
    """Of ten at once one is taken, and none later; another one is."""
    job = Workload(app, Issuer(app), {"subject": JOB, "once": True})
    token = job.issuer.token()
    assert sorted(at_once(*[lambda: job.post(token).status_code] * 10)) == [200] + [401] * 9
    assert "used before" in job.post(token).json["error_description"]
    assert job.ask().status_code == 200
    for jti in (None, "", 1, "x" * 256):
        asserts.is_oauth_error(job.ask(jti=jti), "invalid_client", 401)


def test_it_is_never_a_clients_own_assertion(app: Flask, job: Workload) -> None:
    """Neither passes for the other, whoever holds whichever key."""
    own = Service(app, BY)  # a client whose key is, by mistake, the issuer's
    is_refused(job.post(BY.token(assertion.claims(job.id, ISSUER))))
    is_refused(own.post(job.issuer.token(), client_id=own.id), _IS_CLIENT)
    is_refused(own.post(BY.token(assertion.claims(own.id, ISSUER, iss=CI)), client_id=own.id), _IS_CLIENT)
    assert own.ask().status_code == 200
    same = Workload(app, job.issuer, {"subject": CI}, client_id="https://named.example")
    is_refused(same.ask(sub=CI))
    assert job.ask().status_code == 200


def test_the_client_must_be_named_beside_the_token(app: Flask) -> None:
    """A subject is no client id, even where one is spelt like the other."""
    issuer = Issuer(app)
    job = Workload(app, issuer, {"subject": "shop-report"}, client_id="shop-report")
    is_refused(job.post(issuer.token(sub="shop-report"), client_id=""))
    assert job.ask(sub="shop-report").status_code == 200
    other, _secret = factories.service(app)
    is_refused(job.post(issuer.token(sub="shop-report"), client_id=other.client_id))


def test_no_other_method_is_taken_beside_or_instead(job: Workload) -> None:
    """One method, the registered one; two at once are none."""
    asserts.is_oauth_error(job.post(job.issuer.token(), client_secret="x"), "invalid_request")
    machine = job.app.test_client(use_cookies=False)
    for form, headers in (
        ({"client_id": job.id}, {}),
        ({"client_id": job.id, "client_secret": ""}, {}),
        ({"client_id": job.id, "client_secret": "x"}, {}),
        ({}, basic(job.id, "")),
        ({}, basic(job.id, "x")),
        (assertion.fields(job.issuer.token(), client_id=job.id, client_assertion_type="x"), {}),
    ):
        is_refused(machine.post("/oauth/token", data={"grant_type": "client_credentials", **form}, headers=headers))
    with pytest.raises(RefusedInput):
        factories.within(job.app, lambda: clients.add_secret(job.client))


def test_a_disabled_client_and_an_issuer_of_the_past(app: Flask, job: Workload) -> None:
    """Refused, and what they have got ends."""
    api, secret = factories.api(app)
    factories.within(app, lambda: clients.change(job.client, {"scope": "orders:read"}))
    token = job.ask().json["access_token"]

    def is_active() -> bool:
        asking = app.test_client(use_cookies=False)
        answer = asking.post("/oauth/introspect", data={"token": token}, headers=basic(api.client_id, secret))
        return bool(answer.json["active"])

    assert is_active()
    factories.within(app, lambda: ending.distrust_issuer(CI))
    is_refused(job.ask())
    assert not is_active()
    again = Issuer(app)
    assert job.post(again.token()).status_code == 200
    factories.within(app, lambda: ending.disable_client(job.client))
    is_refused(job.post(again.token()))


@pytest.mark.parametrize("bad", ["x", "..", "a.b.c", "é.é.é", "e30.e30.e30", "A" * 8000])
def test_what_is_no_token_says_nothing(job: Workload, bad: str) -> None:
    """Whatever it is; an endless one is refused before anybody reads it."""
    is_refused(job.post(bad))
    asserts.is_oauth_error(job.post("A" * 9000), "invalid_request")


@pytest.mark.parametrize(
    ("issuer", "about"),
    [
        *((iss, {}) for iss in ("", "x", "http://ci.example.org", "ftp://ci.example.org", CI + "?a", CI + "#a")),
        *((iss, {}) for iss in (ISSUER, ISSUER + "/", "https://u@ci.example.org", "https://CI.example.org", CI + " ")),
        *((CI, {"uses": uses}) for uses in ([], None, "workload", ["x"], ["workload", "x"], [["workload"]])),
        *((CI, {"algorithms": algs}) for algs in ([], ["none"], ["HS256"], "RS256", ["ES384"])),
        (CI, {"jwks_uri": "https://ci.example.org/keys"}),
        *((CI, {"jwks": None, "jwks_uri": uri}) for uri in ("x", "http://ci.example.org/keys", 1)),
        *((CI, {"jwks": keys}) for keys in ({}, [], {"keys": []}, {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]})),
        (CI, {"jwks": {"keys": [BY.jwk(use="enc")]}}),
        *((CI, {"people": people}) for people in ("everybody", "verified-email")),
        (CI, {"email_domains": ["example.org"]}),
        *(
            (CI, {"people": "verified-email", "email_domains": names})
            for names in ([], ["*"], ["Example.org"], ["org"])
        ),
        *((CI, {"acr": acr}) for acr in ("aal3", 1)),
        (CI, {"claims": {"aud": "x"}}),
        (CI, {"audience": ""}),
        (CI, {"x": 1}),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_an_issuer_that_cannot_be_trusted(app: Flask, issuer: str, about: dict[str, Any]) -> None:
    """Ourselves, plain http, keys of two sorts or none, and everything malformed."""
    good = {"uses": ["workload"], "jwks": {"keys": [BY.jwk()]}}
    raw = {name: value for name, value in {**good, **about}.items() if value is not None or name in ("uses",)}
    with pytest.raises(RefusedInput):
        factories.within(app, lambda: issuers.save(issuer, raw))
    factories.within(app, lambda: issuers.save(CI, good))


def test_only_what_the_issuer_may_sign_with_counts(app: Flask) -> None:
    """Though its key would do for more."""
    rsa = dataclasses.replace(BY, kid="")
    issuer = Issuer(app, by=rsa, jwks={"keys": [rsa.jwk(alg=None)]}, algorithms=["PS256"])
    job = Workload(app, issuer)
    is_refused(job.ask())
    issuer.by = dataclasses.replace(rsa, alg="PS256")
    assert job.ask().status_code == 200


def test_nothing_is_fetched_that_a_token_names(make_app: Callable[..., Flask]) -> None:
    """Neither `jku` nor `x5u` nor an unknown issuer's metadata (TE-08)."""
    app = make_app(outbound_allow_hosts=("127.0.0.1",))
    with web_server.running(web_server.as_json({"keys": [BY.jwk()]})) as server:
        job = Workload(app, Issuer(app))
        is_refused(job.ask({"jku": server.url("/jwks")}))
        is_refused(job.ask({"x5u": server.url("/pem")}))
        is_refused(job.ask(iss=server.url("")))
        is_refused(job.ask(iss=server.url("").rstrip("/")))
        assert server.connections == 0
        assert job.ask().status_code == 200
