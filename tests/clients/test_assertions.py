"""Clients that prove themselves by a signature (RFC 7523): what counts, and everything that does not."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask

from auth_server import config
from auth_server.clients import assertions
from auth_server.clients import client as clients
from auth_server.errors import InvalidClient
from auth_server.infra import crypto
from auth_server.tokens import ending
from tests.support import assertion, asserts, factories
from tests.support.assertion import Signer, b64, signer
from tests.support.rp import basic
from tests.support.signing import BY, ISSUER, KEYS, Service, is_refused

ENDPOINTS = ("/oauth/token", "/oauth/introspect", "/oauth/revoke")


Travel = Callable[[timedelta], None]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("alg", KEYS)
def test_a_client_proves_itself_by_a_signature(app: Flask, alg: str, path: str) -> None:
    """With each algorithm, at every endpoint alike; a key of somebody else's does not."""
    service = Service(app, KEYS[alg])
    assert service.secret == ""
    assert service.ask(path=path).status_code == 200
    is_refused(service.post(signer(alg).token(assertion.claims(service.id, ISSUER)), path))
    assert service.reasons() == ["signed by none of the client's keys"]


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_client_may_sign_with_its_secret(sharing: Service, path: str) -> None:
    """HS256 alone; another secret does not do."""
    assert sharing.ask(path=path, header={"kid": None}).status_code == 200
    is_refused(sharing.post(Signer("HS256", b"x" * 48).token(assertion.claims(sharing.id, ISSUER)), path))


def test_the_key_is_chosen_by_its_id_and_may_do_without(app: Flask) -> None:
    """Among several keys; an id that none of them has is refused, though the signature is of one."""
    one, two = signer("ES256", "one"), signer("ES256", "two")
    service = Service(app, one, jwks={"keys": [one.jwk(), two.jwk()]})
    service.by = two
    assert service.ask().status_code == 200
    assert service.ask({"kid": None}).status_code == 200
    is_refused(service.ask({"kid": "one"}))
    is_refused(service.ask({"kid": "three"}))
    assert service.reasons() == ["signed by none of the client's keys", "the client has no key for it"]


BEFORE_THE_SIGNATURE: list[tuple[dict[str, Any], str]] = [
    *(({"alg": alg}, "algorithm") for alg in ("none", "None", "NONE", "nOnE", "", 1, ["ES256"], {}, "es256")),
    *(({"alg": alg}, "algorithm") for alg in ("HS256", "ES384", "RS512", "ES256K")),
    *(({"alg": alg}, "no key for it") for alg in ("RS256", "PS256", "EdDSA")),
    ({"alg": None}, "malformed assertion"),
    ({"jwk": BY.jwk()}, "brings a key along"),
    ({"jku": "https://evil.example/jwks"}, "brings a key along"),
    ({"x5u": "https://evil.example/pem"}, "brings a key along"),
    ({"x5c": ["AAAA"]}, "brings a key along"),
    ({"b64": True}, "brings a key along"),
    ({"crit": ["x"], "x": 1}, "malformed assertion"),
    ({"crit": []}, "malformed assertion"),
    ({"b64": False, "crit": ["b64"]}, "malformed assertion"),
    *(({"typ": typ}, "another kind") for typ in ("at+jwt", "dpop+jwt", "logout+jwt", "", 1, "oauth-authz-req+jwt")),
    ({"kid": 1}, "kid"),
    ({"kid": ["k1"]}, "kid"),
    ({"x": "y" * 600}, "malformed assertion"),
]


@pytest.mark.parametrize(("header", "reason"), BEFORE_THE_SIGNATURE, ids=lambda value: repr(value)[:24])
def test_a_header_that_is_refused_says_nothing(service: Service, header: dict[str, Any], reason: str) -> None:
    """Whatever the signature: strangers get one sentence, the cause is in the audit, and nothing is fetched (TE-08)."""
    is_refused(service.ask(header))
    (found,) = service.reasons()
    assert reason in found
    assert service.ask().status_code == 200


@pytest.mark.parametrize("typ", [None, "JWT", "jwt", "client-authentication+jwt", "application/jwt"])
def test_a_type_that_is_taken(service: Service, typ: str | None) -> None:
    """None, the general one, or the one of its own."""
    assert service.ask({"typ": typ}).status_code == 200


def bad_forms(token: str) -> list[str]:
    head, body, signature = token.split(".")
    return [
        *("x", "..", "a.b", "a.b.c", "a.b.c.d.e", "é.é.é", "." + token, token + ".", f"{head}.{body}.", f"{head}..x"),
        *(token[:-4], token + "=", token.replace(".", ". "), f" {token}", f"{token}\n", f"{token}AAAA"),
        *(f"{head}.{body}.{'A' * 86}", f"{head}.{b64(b'{}')}.{signature}", "e30.e30.e30", f"{'A' * 9000}.{body}.x"),
        *(f"{b64(b'[]')}.{body}.{signature}", f"{b64(b'{')}.{body}.{signature}", f"{b64(b'1')}.{body}.{signature}"),
        f"{b64(b'[' * 3000)}.{body}.{signature}",
    ]


def test_what_is_no_signed_token_says_nothing(service: Service) -> None:
    """Truncated, padded, nested, endless: 401 each, or 400 for what is too long for any parameter."""
    token = service.token()
    for bad in bad_forms(token):
        answer = service.post(bad, client_id=service.id)
        if len(bad) > 8192:
            asserts.is_oauth_error(answer, "invalid_request")
        else:
            is_refused(answer)
    assert service.post(token).status_code == 200


def test_a_public_key_is_no_secret(app: Flask, sharing: Service) -> None:
    """HS256 with what everybody may know: PEM, DER or JWK of the client's key (CVE-2024-37568)."""
    for alg, by in KEYS.items():
        service = Service(app, by)
        assert not isinstance(by.native, bytes)
        public = by.native.public_key()
        jwk = by.jwk()
        known = [
            public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            json.dumps(jwk).encode(),
            base64.urlsafe_b64decode(jwk.get("n", jwk.get("x", "")) + "=="),
            b"",
        ]
        for secret in known:
            token = Signer("HS256", secret).token(assertion.claims(service.id, ISSUER))
            is_refused(service.post(token))
            swapped = Signer(alg, secret).token(assertion.claims(service.id, ISSUER))
            is_refused(service.post(swapped))
        assert service.ask().status_code == 200
    digest = crypto.digest(sharing.secret).encode()
    is_refused(sharing.post(Signer("HS256", digest).token(assertion.claims(sharing.id, ISSUER))))
    assert sharing.ask().status_code == 200


@pytest.mark.parametrize("alg", KEYS)
def test_the_registered_algorithm_is_the_only_one(app: Flask, alg: str) -> None:
    """Though the key itself would do for another."""
    rsa = KEYS["RS256"]
    by = KEYS[alg]
    service = Service(app, by, jwks={"keys": [by.jwk(alg=None)]}, token_endpoint_auth_signing_alg=alg)
    assert service.ask().status_code == 200
    for other in set(KEYS) - {alg}:
        service.by = Signer(other, rsa.native if other[1:] == "S256" and other != "ES256" else KEYS[other].native)
        is_refused(service.ask())
    service.by = Signer("PS256" if alg == "RS256" else "RS256", by.native) if alg in ("RS256", "PS256") else rsa
    is_refused(service.ask())


def test_a_key_of_both_rsa_algorithms_verifies_both(app: Flask) -> None:
    """Where the client has registered neither."""
    rsa = KEYS["RS256"]
    service = Service(app, rsa, jwks={"keys": [rsa.jwk(alg=None)]})
    for alg in ("RS256", "PS256"):
        service.by = Signer(alg, rsa.native)
        assert service.ask().status_code == 200


def test_each_method_is_for_its_own_clients(app: Flask, service: Service, sharing: Service) -> None:
    """A client that signs has no other way in, and one with a secret cannot sign (TE-03)."""
    machine = app.test_client(use_cookies=False)
    plain, secret = factories.service(app)
    grant = {"grant_type": "client_credentials"}
    for client_id in (service.id, sharing.id):
        is_refused(machine.post("/oauth/token", data={**grant, "client_id": client_id}))
        is_refused(machine.post("/oauth/token", data=grant, headers=basic(client_id, sharing.secret)))
        is_refused(
            machine.post("/oauth/token", data={**grant, "client_id": client_id, "client_secret": sharing.secret})
        )
    for by in (Signer("HS256", secret.encode()), BY):
        is_refused(service.post(by.token(assertion.claims(plain.client_id, ISSUER))))
    public = factories.public_client(app)
    is_refused(service.post(BY.token(assertion.claims(public.client_id, ISSUER)), "/oauth/revoke"))
    assert machine.post("/oauth/token", data=grant, headers=basic(plain.client_id, secret)).status_code == 200


@pytest.mark.parametrize("path", ENDPOINTS)
def test_one_method_a_request_and_one_client(service: Service, path: str) -> None:
    """An assertion with a secret beside it, or another client's name, is refused though the assertion is good."""
    token = service.token()
    machine = service.app.test_client(use_cookies=False)
    form = assertion.fields(token, grant_type="client_credentials", token="x")
    asserts.is_oauth_error(machine.post(path, data=form, headers=basic(service.id, "x")), "invalid_request")
    asserts.is_oauth_error(machine.post(path, data={**form, "client_secret": "x"}), "invalid_request")
    asserts.is_oauth_error(machine.post(path, data={**form, "client_assertion": [token, token]}), "invalid_request")
    is_refused(service.post(token, path, client_id="another"))
    is_refused(service.post(token, path, client_id=Service(service.app, BY).id), BAD_ISS)
    assert service.post(token, path, client_id=service.id).status_code == 200


@pytest.mark.parametrize("kind", [None, "", "x", assertion.TYPE.upper(), assertion.TYPE + " ", "urn:x:saml2-bearer"])
def test_the_kind_of_assertion_is_exact(service: Service, kind: str | None) -> None:
    """RFC 7523 §2.2; a type without an assertion proves nothing either."""
    form = assertion.fields(service.token(), grant_type="client_credentials", client_id=service.id)
    if kind is None:
        del form["client_assertion_type"]
    else:
        form["client_assertion_type"] = kind
    machine = service.app.test_client(use_cookies=False)
    is_refused(machine.post("/oauth/token", data=form))
    del form["client_assertion"]
    is_refused(machine.post("/oauth/token", data={**form, "client_assertion_type": assertion.TYPE}))


BAD_ISS = "iss and sub of the assertion must be the client id"


BAD_AUD = "aud of the assertion must be the issuer"


BAD_JTI = "the assertion needs a jti, a text of at most 255 characters"


FUTURE = "the assertion is from the future: iat or nbf has not come yet"


TOO_FAR = "exp of the assertion is too far ahead: use at most 5 minutes"


EXPIRED = "the assertion has expired"


NO_NUMBER = "of the assertion must be a number of seconds"


AFTER_THE_SIGNATURE: list[tuple[dict[str, Any], str]] = [
    *(({"iss": value}, BAD_ISS) for value in (None, "another", "", 1, ["x"])),
    *(({"aud": value}, BAD_AUD) for value in ("", "https://evil.example", [], {}, 1, True, [ISSUER, 1])),
    *(({"aud": value}, BAD_AUD) for value in (ISSUER + "/", ISSUER.upper(), ISSUER + "/oauth/par", ISSUER[:-1])),
    *(({"aud": value}, BAD_AUD) for value in ([ISSUER, "https://evil.example"], [[ISSUER]], ISSUER + "/oauth/tokens")),
    ({"exp": None}, "the assertion needs an exp"),
    *(({"exp": value}, f"exp {NO_NUMBER}") for value in ("60", True, [], 1e400, -1e400, float("nan"), 1e300)),
    *(({"iat": value}, f"iat {NO_NUMBER}") for value in ("0", False, {}, 1e400, float("nan"))),
    *(({"nbf": value}, f"nbf {NO_NUMBER}") for value in ("0", False, {}, 1e400)),
    *(({"exp": value}, EXPIRED) for value in (-61, -300, 0.0, -1.5)),
    *(({"exp": value, "iat": None}, TOO_FAR) for value in (361, 3600, 10 * 365 * 86400)),
    *(({"exp": value}, TOO_FAR) for value in (3661 + 60, 10 * 365 * 86400)),
    ({"exp": 3600, "iat": -361}, EXPIRED),
    *(({"iat": value}, FUTURE) for value in (61, 3600)),
    *(({"nbf": value}, FUTURE) for value in (61, 3600)),
    *(({"jti": value}, BAD_JTI) for value in (None, "", 1, ["x"], "j" * 256)),
]


@pytest.mark.usefixtures("still_clock")
@pytest.mark.parametrize(("claims", "sentence"), AFTER_THE_SIGNATURE, ids=lambda value: repr(value)[:40])
def test_a_claim_that_is_wrong_is_told_to_whom_the_signature_shows(
    service: Service, claims: dict[str, Any], sentence: str
) -> None:
    """The developer learns the one cause, in a fixed sentence; a stranger learns nothing (TE-05, TE-06)."""
    token = service.token(**claims)
    is_refused(service.post(token), sentence)
    assert service.reasons() == [sentence]
    stranger = signer("ES256")
    is_refused(service.post(stranger.token(assertion.claims(service.id, claims.pop("aud", ISSUER), **claims))))
    assert service.ask().status_code == 200


@pytest.mark.usefixtures("still_clock")
@pytest.mark.parametrize(
    "claims",
    [
        *({"aud": value} for value in (ISSUER, [ISSUER], ISSUER + "/oauth/token", [ISSUER, ISSUER + "/oauth/token"])),
        *({"exp": value} for value in (-50, 1, 359)),
        {"exp": 300, "iat": None},
        {"exp": 3600},
        {"exp": 3600, "iat": -300},
        *({"iat": value} for value in (8, 50, -100_000)),
        *({"nbf": value} for value in (8, 50, -100_000)),
        *({"jti": value} for value in ("x", "j" * 255, "é\x00")),
        {"more": {"deep": [1, 2]}},
    ],
    ids=repr,
)
def test_a_claim_that_is_right(service: Service, claims: dict[str, Any]) -> None:
    """The twins of what is refused: clocks may differ by a minute, and the audience has several names."""
    assert service.ask(**claims).status_code == 200


@pytest.mark.parametrize("path", ENDPOINTS)
def test_the_endpoint_in_use_is_an_audience(service: Service, path: str) -> None:
    """And another endpoint is not, but for the token endpoint."""
    assert service.ask(path=path, aud=ISSUER + path).status_code == 200
    assert service.ask(path=path, aud=ISSUER + "/oauth/token").status_code == 200
    is_refused(service.ask(path=path, aud=ISSUER + "/oauth/authorize"), BAD_AUD)
    others = set(ENDPOINTS) - {path, "/oauth/token"}
    for other in others:
        is_refused(service.ask(path=path, aud=ISSUER + other), BAD_AUD)


def test_the_subject_must_be_the_client(app: Flask, service: Service) -> None:
    """Nobody signs for another, and the name beside the assertion does not help."""
    other = Service(app, signer("ES256"))
    for sub in (other.id, "x", None, 1):
        token = service.token(sub=sub)
        is_refused(service.post(token, client_id=service.id), BAD_ISS)
        is_refused(service.post(token))
        is_refused(service.post(token, client_id=other.id))


@pytest.mark.parametrize("claims", [b"[]", b"1", b"", b"{", b"\xff", b'"x"', b"null", b"[" * 5000])
def test_claims_that_are_no_object_say_nothing(service: Service, claims: bytes) -> None:
    """Though signed by the right key."""
    is_refused(service.post(service.by.token(claims), client_id=service.id))
    is_refused(service.post(service.by.token(claims)))


@pytest.mark.parametrize("path", ENDPOINTS)
def test_an_assertion_counts_once_at_every_endpoint(service: Service, path: str) -> None:
    """Also where it was for another endpoint or its request was refused (TE-07)."""
    token = service.token()
    assert service.post(token, path).status_code == 200
    for again in ENDPOINTS:
        is_refused(service.post(token, again), USED)
    refused = service.token()
    asserts.is_oauth_error(service.post(refused, scope="unknown"), "invalid_scope")
    is_refused(service.post(refused, path), USED)


USED = "the assertion was used before: make a new one, with a jti of its own, for each request"


def test_a_jti_is_the_clients_own_and_exact(app: Flask, service: Service) -> None:
    """Other letters make another (CVE-2020-15222); another client may have chosen the same."""
    assert service.ask(jti="Abc").status_code == 200
    is_refused(service.ask(jti="Abc"), USED)
    assert service.ask(jti="abc").status_code == 200
    assert Service(app, BY).ask(jti="Abc").status_code == 200


def test_what_was_refused_is_not_used_up(service: Service, in_a_while: Travel) -> None:
    """A wrong signature or time must not spoil somebody else's jti."""
    is_refused(service.post(signer("ES256").token(assertion.claims(service.id, ISSUER, jti="j"))))
    is_refused(service.ask(jti="j", exp=-61), EXPIRED)
    assert service.ask(jti="j").status_code == 200


def test_a_long_assertion_counts_for_five_minutes(service: Service, in_a_while: Travel) -> None:
    """Some libraries say an hour; the memory of what was used need not be longer than that."""
    token, other = service.token(exp=3600), service.token(exp=3600)
    in_a_while(timedelta(minutes=5, seconds=50))
    assert service.post(token).status_code == 200
    is_refused(service.post(token), USED)
    in_a_while(timedelta(seconds=20))
    is_refused(service.post(other), EXPIRED)


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_disabled_client_is_refused_at_once(service: Service, path: str) -> None:
    """And a deleted one (TE-19)."""
    factories.within(service.app, lambda: ending.disable_client(service.client))
    is_refused(service.ask(path=path))
    factories.within(service.app, lambda: clients.switch(service.client, enabled=True))
    assert service.ask(path=path).status_code == 200
    factories.within(service.app, lambda: ending.delete_client(service.client))
    is_refused(service.ask(path=path))


def test_keys_are_exchanged_with_overlap(app: Flask, service: Service) -> None:
    """New key beside the old one, then the old one goes; both hold within a second."""
    new = signer("ES256", "k2")
    factories.within(app, lambda: clients.change(service.client, {"jwks": {"keys": [BY.jwk(), new.jwk()]}}))
    assert service.ask().status_code == 200
    other = Signer(new.alg, new.native, "k2")
    factories.within(app, lambda: clients.change(service.client, {"jwks": {"keys": [new.jwk()]}}))
    is_refused(service.ask())
    service.by = other
    assert service.ask().status_code == 200


def test_the_failure_is_recorded_without_the_assertion(service: Service) -> None:
    """The event names the client that the assertion names, if it is one of ours (LS-01)."""
    token = signer("ES256").token(assertion.claims(service.id, ISSUER))
    service.post(token)
    service.post(signer("ES256").token(assertion.claims("<script>", ISSUER)))
    events = asserts.events_of(service.app, "client.authentication_failed")
    assert [event.client_id for event in events] == [service.id, ""]
    assert "<script>" not in repr([vars(event) for event in events])
    good = service.token()
    service.post(good)
    stored = repr(asserts.rows(service.app))
    assert not any(part in stored for part in (token, good, good.rpartition(".")[2]))


@pytest.mark.usefixtures("domain")
@pytest.mark.usefixtures("still_clock")
def test_a_fapi_client_signs_strictly(service: Service) -> None:
    """The issuer as one text, five minutes at most, not RS256 (FAPI 2.0 §5.3.2.1)."""
    names = (ISSUER, ISSUER + "/oauth/token")

    def refusal(by: Signer, **claims: Any) -> str:
        details = {**service.client.details, "profile": "fapi2", "jwks": {"keys": [KEYS[a].jwk() for a in KEYS]}}
        client = dataclasses.replace(service.client, details=details)
        token = by.token(assertion.claims(client.client_id, claims.pop("aud", ISSUER), **claims))
        try:
            assertions.check(client, assertions.read(token), names)
        except InvalidClient as refused:
            return refused.detail
        return ""

    for alg in ("PS256", "ES256", "EdDSA"):
        assert refusal(KEYS[alg]) == ""
    assert "algorithm" in refusal(KEYS["RS256"])
    for audience in ([ISSUER], ISSUER + "/oauth/token", ISSUER + "/oauth/par", [ISSUER, names[1]]):
        assert refusal(BY, aud=audience) == BAD_AUD + ", as a text"
    assert refusal(BY, exp=3600) == TOO_FAR
    assert refusal(BY, exp=-300) == EXPIRED
    assert refusal(BY, nbf=8) == ""
    assert refusal(BY, nbf=61) == FUTURE


def test_the_issuer_of_the_settings_is_meant(make_app: Callable[..., Flask]) -> None:
    """Not the host that a request names."""
    app = make_app(issuer="https://id.example.org")
    service = Service(app, BY)
    assert config.current().issuer == "https://id.example.org"
    is_refused(service.ask(), BAD_AUD)
    assert service.ask(aud="https://id.example.org").status_code == 200
