"""Client certificates (RFC 8705): who a client is, and what its tokens are bound to, as a proxy in front tells it."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.clients import keys, mtls
from auth_server.errors import InvalidClientMetadata
from tests.support import asserts, factories, web_server
from tests.support import certificate as certs
from tests.support.browser import Browser
from tests.support.certificate import DN, HEADER, Holder, certificate
from tests.support.dpop import DpopKey
from tests.support.rp import RelyingParty, basic, bearer, payload
from tests.support.web_server import WebServer

MakeApp = Callable[..., Flask]
STRANGER = "203.0.113.7"
ISSUER = "http://localhost:8421"
ISSUED = {"token_endpoint_auth_method": "tls_client_auth"}
OWN = {"token_endpoint_auth_method": "self_signed_tls_client_auth"}
CN, ORG, LAND = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME, NameOID.COUNTRY_NAME
BOUND = "tls_client_certificate_bound_access_tokens"
ENDPOINTS = ("/oauth/token", "/oauth/introspect", "/oauth/revoke")


@pytest.fixture(scope="module")
def ca() -> Holder:
    return certs.authority()


@pytest.fixture
def app(make_app: MakeApp, tmp_path: Path, ca: Holder) -> Iterator[Flask]:
    """An application that can see certificates."""
    mtls._authorities.cache_clear()
    yield make_app(**certs.SETTINGS, mtls_ca_file=certs.ca_file(tmp_path, ca), outbound_allow_hosts=("127.0.0.1",))
    mtls._authorities.cache_clear()
    keys.forget()


def ask(
    app: Flask,
    client_id: str,
    headers: dict[str, str],
    path: str = "/oauth/token",
    address: str = certs.PROXY,
    **fields: str,
) -> TestResponse:
    form = {"grant_type": "client_credentials", "token": "x", "client_id": client_id, **fields}
    machine = app.test_client(use_cookies=False)
    return machine.post(path, data=form, headers=headers, base_url=ISSUER, environ_base={"REMOTE_ADDR": address})


def is_stranger(answer: TestResponse) -> None:
    """The one answer that says nothing."""
    asserts.is_oauth_error(answer, "invalid_client", 401)
    assert answer.json["error_description"] == "client authentication failed"


def reasons(app: Flask) -> list[str]:
    return [event.reason for event in asserts.events_of(app, "client.authentication_failed")]


def issued(app: Flask, **registered: Any) -> str:
    """Register a service whose certificate is issued by the authority; return its id."""
    named = registered or {"tls_client_auth_subject_dn": DN}
    return factories.service(app, **ISSUED, **named)[0].client_id


def own(app: Flask, *jwks: dict[str, Any], **more: Any) -> str:
    return factories.service(app, **OWN, jwks={"keys": list(jwks)}, **more)[0].client_id


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_client_proves_itself_by_an_issued_certificate(app: Flask, ca: Holder, path: str) -> None:
    """RFC 8705 §2.1: at every endpoint alike; there is no secret."""
    client, secret = factories.service(app, **ISSUED, tls_client_auth_subject_dn=DN)
    assert secret == ""
    assert ask(app, client.client_id, certificate(ca).headers, path).status_code == 200


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_client_proves_itself_by_its_own_certificate(app: Flask, path: str) -> None:
    """RFC 8705 §2.2: the registered one, which nobody has issued."""
    mine = certificate()
    assert ask(app, own(app, mine.jwk()), mine.headers, path).status_code == 200


NAMES = {
    "tls_client_auth_san_dns": certs.HOST,
    "tls_client_auth_san_uri": certs.URI,
    "tls_client_auth_san_ip": "2001:0DB8:0:0::7",
    "tls_client_auth_san_email": certs.EMAIL,
}


@pytest.mark.parametrize("field", NAMES)
def test_an_alternative_name_counts_whole(app: Flask, ca: Holder, field: str) -> None:
    """RFC 8705 §2.1.2: each kind; one of another kind, a longer or a shorter name, or a wildcard is another name."""
    client_id = issued(app, **{field: NAMES[field]})
    assert ask(app, client_id, certificate(ca, alternatives=certs.ALTERNATIVES).headers).status_code == 200
    wrong: list[tuple[x509.GeneralName, ...]] = [
        (),
        (x509.DNSName("*.example.org"), x509.DNSName("report.example.org.evil.test"), x509.DNSName("example.org")),
        (x509.UniformResourceIdentifier(certs.URI + "s"), x509.RFC822Name("x" + certs.EMAIL)),
        (x509.DNSName(certs.URI), x509.DNSName(certs.EMAIL), x509.DNSName(certs.IP), x509.RFC822Name(certs.HOST)),
    ]
    for alternatives in wrong:
        is_stranger(ask(app, client_id, certificate(ca, alternatives=alternatives).headers))
    by_subject = certs.name((CN, NAMES[field]))
    is_stranger(ask(app, client_id, certificate(ca, subject=by_subject).headers))
    assert set(reasons(app)) == {"the certificate bears another name"}


@pytest.mark.parametrize(
    "subject",
    [
        certs.name((CN, "report")),
        certs.name((CN, "report"), (ORG, "Example"), (LAND, "DE")),
        certs.name((LAND, "DE"), (ORG, "Example"), (CN, "Report")),
        certs.name((LAND, "DE"), (CN, "report"), (ORG, "Example")),
        certs.name((CN, "report,O=Example,C=DE")),
        certs.name((CN, DN)),
        x509.Name([]),
        x509.Name([*certs.SUBJECT, x509.NameAttribute(CN, "x")]),
    ],
    ids=lambda subject: subject.rfc4514_string() or "empty",
)  # fmt: skip
def test_a_certificate_of_another_subject_is_refused(app: Flask, ca: Holder, subject: x509.Name) -> None:
    """Part of the name, another order or case, more of it, or all of it inside one part."""
    client_id = issued(app)
    is_stranger(ask(app, client_id, certificate(ca, subject=subject).headers))
    assert reasons(app) == ["the certificate bears another name"]
    assert ask(app, client_id, certificate(ca).headers).status_code == 200


def test_the_right_name_from_the_wrong_hand_is_refused(app: Flask, ca: Holder) -> None:
    """Signed by itself, by an authority of the same name, or by somebody whom the authority has certified."""
    client_id = issued(app)
    neighbour = certificate(ca, subject=certs.name((CN, "neighbour")))
    for forged in (certificate(), certificate(certs.authority()), certificate(neighbour)):
        is_stranger(ask(app, client_id, forged.headers))
    assert reasons(app) == ["the certificate was issued by no authority of MTLS_CA_FILE"] * 3
    for usage in (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CODE_SIGNING):
        is_stranger(ask(app, client_id, certificate(ca, usage=usage).headers))
    assert len([reason for reason in reasons(app) if "extended key usage" in reason]) == 2
    assert ask(app, client_id, certificate(ca, usage=None).headers).status_code == 200


def test_another_certificate_with_the_same_name_or_key_is_not_the_registered_one(app: Flask) -> None:
    """TE-18: `x5c` means just that certificate; a key without one means every certificate of that key."""
    mine = certificate()
    renewed = certificate(key=mine.key)
    by_certificate, by_key = own(app, mine.jwk()), own(app, mine.jwk(x5c=None))
    assert ask(app, by_certificate, mine.headers).status_code == 200
    assert ask(app, by_key, mine.headers).status_code == ask(app, by_key, renewed.headers).status_code == 200
    is_stranger(ask(app, by_certificate, renewed.headers))
    for client_id in (by_certificate, by_key):
        is_stranger(ask(app, client_id, certificate().headers))
    assert reasons(app) == ["the certificate is none of the client's"] * 3


def test_the_standard_header_is_believed_of_proxies_that_are_named(make_app: MakeApp) -> None:
    """RFC 9440, without any other setting; of nobody else."""
    app = make_app(trusted_proxies=certs.SETTINGS["trusted_proxies"])
    mine = certificate()
    client_id = own(app, mine.jwk())
    shown = {"Client-Cert": f":{mine.bare}:"}
    assert ask(app, client_id, shown).status_code == 200
    is_stranger(ask(app, client_id, shown, address=STRANGER))
    is_stranger(ask(app, client_id, {"Client-Cert": f":{certificate().bare}:"}))


@pytest.fixture
def publisher() -> Iterator[WebServer]:
    keys.forget()
    with web_server.running(web_server.as_json({"keys": []})) as server:
        yield server


def test_published_certificates_are_looked_up(app: Flask, publisher: WebServer) -> None:
    """`jwks_uri`: fetched when needed, and no more than once a minute, whatever strangers show."""
    mine = certificate()
    publisher.behave = web_server.as_json({"keys": [mine.jwk()]})
    client_id = factories.service(app, **OWN, jwks_uri=publisher.url("/jwks"))[0].client_id
    assert ask(app, client_id, mine.headers).status_code == 200
    is_stranger(ask(app, client_id, certificate().headers))
    assert len(publisher.requests) == 1


def test_a_certificate_that_is_not_its_keys_opens_nothing(app: Flask, publisher: WebServer) -> None:
    """Unreadable, or another's: refused where it is registered, left out where it is published, and its key too."""
    mine, other = certificate(), certificate()
    for broken in (["AAAA"], ["é"], [], "x", [7], [mine.bare[:-8]], [other.bare], [other.bare, mine.bare], [mine.pem]):
        with pytest.raises(InvalidClientMetadata) as refused:
            own(app, mine.jwk(x5c=broken))
        assert refused.value.description == "jwks: an x5c is not its key's certificate, or cannot be read"
        publisher.behave = web_server.as_json({"keys": [mine.jwk(x5c=broken)]})
        keys.forget()
        client_id = factories.service(app, **OWN, jwks_uri=publisher.url("/jwks"))[0].client_id
        for shown in (mine, other):
            is_stranger(ask(app, client_id, shown.headers))
    chain = [mine.bare, other.bare]
    assert ask(app, own(app, mine.jwk(x5c=chain)), mine.headers).status_code == 200


def test_every_way_in_which_a_proxy_tells_of_a_certificate(app: Flask) -> None:
    """nginx escapes PEM, Apache puts spaces for its lines, HAProxy sends base64, RFC 9440 puts that between colons."""
    mine = certificate()
    client_id = own(app, mine.jwk())
    ways = (
        *(mine.escaped, quote(mine.pem), mine.pem.replace("\n", " "), mine.pem.strip().replace("\n", " ")),
        *(mine.pem.replace("\n", "\t"), mine.bare, quote(mine.bare, safe=""), f":{mine.bare}:"),
    )
    for way in ways:
        assert ask(app, client_id, {HEADER: way}).status_code == 200, way[:60]


def test_malformed_and_several_certificates_are_refused(app: Flask) -> None:
    """Cut, joined, twice, of another kind, with something behind it: none counts, not even the right one of two."""
    mine, other = certificate(), certificate()
    client_id = own(app, mine.jwk())
    body = mine.pem.splitlines()
    bad = (
        *("x", ":", "::", ":AAAA:", ":x", "AAAA", "%", "%00", "-----BEGIN CERTIFICATE-----", "\xc3\xa9"),
        *(mine.bare[:-4], mine.bare[4:], mine.bare + mine.bare, f":{mine.bare}", f"{mine.bare}:", f"::{mine.bare}::"),
        *(f"{mine.bare},{other.bare}", f"{mine.bare}, {mine.bare}", f":{mine.bare}:, :{other.bare}:"),
        *(f"{mine.escaped},{mine.escaped}", f"{mine.escaped}{other.escaped}", quote(mine.pem + other.pem)),
        *(quote(mine.pem.replace("CERTIFICATE", "PUBLIC KEY")), quote("".join(body[:-1])), quote("".join(body[1:]))),
        *(quote(mine.pem + "x"), quote("x" + mine.pem), mine.escaped[:-9], quote(mine.escaped), "A" * 20_000),
        quote(mine.pem.replace(body[1], body[1][:-1])),
    )  # fmt: skip
    for text in bad:
        is_stranger(ask(app, client_id, {HEADER: text}))
    assert set(reasons(app)) == {"the certificate is malformed, or more than one came"}
    twice = [(HEADER, mine.escaped), (HEADER, mine.escaped)]
    is_stranger(ask(app, client_id, twice))  # type: ignore[arg-type]
    is_stranger(ask(app, client_id, {}))
    is_stranger(ask(app, client_id, {HEADER: ""}))
    assert reasons(app)[-1] == "no certificate came along"
    assert ask(app, client_id, mine.headers).status_code == 200


def test_a_strangers_header_is_worthless(app: Flask, ca: Holder) -> None:
    """From any address but a trusted proxy's own, whatever the request says of whom it comes from (TE-18)."""
    mine = certificate(ca)
    for client_id in (issued(app), own(app, mine.jwk())):
        is_stranger(ask(app, client_id, mine.headers, address=STRANGER))
        through = {"X-Forwarded-For": certs.PROXY, "Forwarded": f"for={certs.PROXY}", "X-Real-IP": certs.PROXY}
        is_stranger(ask(app, client_id, {**mine.headers, **through}, address=STRANGER))
        for address in ("", "x", "::ffff:127.0.0.1%lo", "127.0.0.2"):
            is_stranger(ask(app, client_id, mine.headers, address=address))
        for name in ("Client-Cert", "X-SSL-Client-Cert", "SSL_CLIENT_CERT", "Client_Cert", "X-Forwarded-Client-Cert"):
            is_stranger(ask(app, client_id, {name: mine.escaped}))
        spoken_for = {**mine.headers, "X-Forwarded-For": STRANGER}
        assert ask(app, client_id, spoken_for).status_code == 200
    assert set(reasons(app)) == {"no certificate came along"}


EVERYBODY = (ipaddress.ip_network("0.0.0.0/0"),)


@pytest.mark.parametrize("method", [ISSUED, OWN])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"trusted_proxies": EVERYBODY},
        {**certs.SETTINGS, "mtls_cert_header": ""},
    ],
    ids=["no proxy", "everybody", "no header"],
)
def test_nothing_of_it_is_there_unless_it_is_on(
    make_app: MakeApp, tmp_path: Path, ca: Holder, method: dict[str, Any], settings: dict[str, Any]
) -> None:
    """Not in the metadata, not to be registered; and a client from before gets nothing, whatever comes along."""
    mine = certificate(ca)
    about = (
        {**method, "tls_client_auth_subject_dn": DN} if method is ISSUED else {**method, "jwks": {"keys": [mine.jwk()]}}
    )
    file = certs.ca_file(tmp_path, ca)
    client_id = factories.service(make_app(**certs.SETTINGS, mtls_ca_file=file), **about)[0].client_id
    off = make_app(**settings)
    for name in (HEADER, "Client-Cert"):
        is_stranger(ask(off, client_id, {name: mine.escaped}))
    found = off.test_client().get("/.well-known/openid-configuration").json
    assert not {name for name in found if "mtls" in name or "tls_" in name}
    assert "tls_client_auth" not in str(found)
    with pytest.raises(InvalidClientMetadata) as refused:
        factories.service(off, **about)
    assert "TRUSTED_PROXIES" in refused.value.description
    with pytest.raises(InvalidClientMetadata):
        factories.service(off, **{BOUND: True})
    half = make_app(**certs.SETTINGS)
    assert ask(half, client_id, mine.headers).status_code == (401 if method is ISSUED else 200)
    offered = half.test_client().get("/.well-known/openid-configuration").json["token_endpoint_auth_methods_supported"]
    assert ("tls_client_auth" in offered, "self_signed_tls_client_auth" in offered) == (False, True)


@pytest.mark.parametrize(
    ("begins", "life", "says"),
    [(-10, 9, "has expired"), (1, 9, "is not valid yet"), (-10, 11, None)],
    ids=["expired", "not yet", "now"],
)
def test_a_certificate_counts_while_it_is_valid(
    app: Flask, ca: Holder, begins: int, life: int, says: str | None
) -> None:
    """Issued or one's own, and for the binding of tokens as well."""
    times = {"begins": timedelta(days=begins), "life": timedelta(days=life)}
    mine = certificate(ca, **times)
    service = factories.service(app, **{BOUND: True})
    for client_id in (issued(app), own(app, mine.jwk())):
        answer = ask(app, client_id, mine.headers)
        assert answer.status_code == (401 if says else 200), answer.text
    bound = ask(app, service[0].client_id, {**mine.headers, **basic(service[0].client_id, service[1])})
    assert bound.status_code == (400 if says else 200)
    assert reasons(app) == ([f"the certificate {says}"] * 2 if says else [])


@pytest.mark.parametrize(
    ("about", "is_good"),
    [({"says_signs": None}, True), ({}, True), ({"says_signs": False}, False), ({"is_authority": False}, False)],
    ids=["says nothing", "may sign", "may not sign", "is none"],
)
def test_an_authority_is_one(make_app: MakeApp, tmp_path: Path, about: dict[str, Any], is_good: bool) -> None:
    """RFC 5280 §6.1.4: what stands in the file by mistake issues nothing; what OpenSSL makes by default does."""
    issuer = certs.authority(**about)
    app = make_app(**certs.SETTINGS, mtls_ca_file=certs.ca_file(tmp_path, certs.authority("Other CA"), issuer))
    assert ask(app, issued(app), certificate(issuer).headers).status_code == (200 if is_good else 401)


def test_a_short_key_proves_nothing(app: Flask, ca: Holder) -> None:
    """Whoever has issued it; one of 2048 bits does."""
    client_id = issued(app)
    for bits, status in ((1024, 401), (2048, 200)):
        key = rsa.generate_private_key(public_exponent=65537, key_size=bits)
        assert ask(app, client_id, certificate(ca, key=key).headers).status_code == status
    assert reasons(app) == ["the certificate's RSA key has fewer than 2048 bits"]


def test_an_expired_authority_issues_nothing_any_more(
    app: Flask, ca: Holder, in_a_while: Callable[[timedelta], None]
) -> None:
    """Its certificates outlive it on paper alone."""
    client_id, mine = issued(app), certificate(ca, life=timedelta(days=2000))
    assert ask(app, client_id, mine.headers).status_code == 200
    in_a_while(timedelta(days=500))
    is_stranger(ask(app, client_id, mine.headers))


def test_one_method_and_just_the_registered_one(app: Flask, ca: Holder) -> None:
    """A secret beside it, a secret's client with a certificate, another client's id: each is refused (TE-03)."""
    mine = certificate(ca)
    client_id, (other, secret) = issued(app), factories.service(app)
    is_stranger(ask(app, client_id, mine.headers, client_secret="x" * 43))
    asserts.is_oauth_error(ask(app, client_id, {**mine.headers, **basic(other.client_id, secret)}), "invalid_request")
    is_stranger(ask(app, other.client_id, mine.headers))
    is_stranger(ask(app, own(app, certificate().jwk()), mine.headers))
    is_stranger(ask(app, "nobody", mine.headers))
    assert ask(app, other.client_id, {**mine.headers, **basic(other.client_id, secret)}).status_code == 200


def test_a_disabled_client_is_refused_at_once(app: Flask, ca: Holder) -> None:
    """TE-19, with the right certificate, too."""
    client_id = issued(app)
    factories.within(app, lambda: clients.switch(clients.find(client_id), enabled=False))  # type: ignore[arg-type]
    is_stranger(ask(app, client_id, certificate(ca).headers))


class Party(RelyingParty):
    """An app whose machine requests come through the proxy, with its certificate."""

    def __init__(self, app: Flask, holder: Holder, browser: Browser, **about: Any) -> None:
        super().__init__(app, browser, *factories.client(app, **{BOUND: True, **about}))
        self.hold(holder)

    def hold(self, holder: Holder | None) -> None:
        shown = {f"HTTP_{HEADER.upper()}": holder.escaped} if holder else {}
        self.machine.environ_base = {"REMOTE_ADDR": certs.PROXY, **shown}


@pytest.fixture
def person(app: Flask) -> users.User:
    return factories.person(app, roles=["administrator"])


@pytest.fixture
def party(app: Flask, person: users.User) -> Party:
    return Party(app, certificate(), Browser(app))


@pytest.fixture
def spa(app: Flask, person: users.User) -> Party:
    return Party(app, certificate(), Browser(app), token_endpoint_auth_method="none")


def test_a_bound_token_works_with_its_certificate_alone(party: Party) -> None:
    """`cnf` `x5t#S256` (RFC 8705 §3.1): elsewhere, without it or with another one it is 401 (AT-10)."""
    mine, other = certificate(), certificate()
    party.hold(mine)
    tokens = party.tokens()
    token = tokens["access_token"]
    assert payload(token)["cnf"] == {"x5t#S256": mine.thumbprint}
    assert tokens["token_type"] == "Bearer"
    assert party.userinfo(token).status_code == 200
    for wrong in (None, other, certificate(key=mine.key)):
        party.hold(wrong)
        asserts.is_oauth_error(party.userinfo(token), "invalid_token", 401)
    party.hold(mine)
    for address in (STRANGER, "127.0.0.2"):
        party.machine.environ_base |= {"REMOTE_ADDR": address}
        asserts.is_oauth_error(party.userinfo(token), "invalid_token", 401)


def test_a_bound_token_is_not_sent_by_another_scheme(party: Party) -> None:
    """Neither as DPoP with a proof of one's own key, nor does a certificate make a DPoP token a bearer's."""
    token, key = party.tokens()["access_token"], DpopKey()
    proof = key.proof("/oauth/userinfo", "GET", access_token=token)
    for headers in ({"Authorization": f"DPoP {token}", "DPoP": proof}, {"Authorization": f"DPoP {token}"}):
        assert party.machine.get("/oauth/userinfo", headers=headers, base_url=ISSUER).status_code == 401
    unbound = RelyingParty(party.app, party.browser, *factories.client(party.app))
    mine = key.proof()
    fields = {"grant_type": "authorization_code", "code": unbound.code(), "code_verifier": unbound.verifier}
    by_dpop = unbound.post("/oauth/token", fields, {**basic(unbound.client.client_id, unbound.secret), "DPoP": mine})
    asserts.is_oauth_error(party.userinfo(by_dpop.json["access_token"]), "invalid_token", 401)


@pytest.mark.parametrize("grant_type", ["authorization_code", "refresh_token", "client_credentials"])
def test_a_client_whose_tokens_are_bound_gets_none_without_a_certificate(
    app: Flask, person: users.User, grant_type: str
) -> None:
    """On every grant; a DPoP proof in its place is no certificate. Nothing is spent by trying."""
    factories.api(app)
    grants = ["authorization_code", "refresh_token", "client_credentials"]
    mine = certificate()
    party = Party(app, mine, Browser(app), grant_types=grants, scope="openid offline_access orders:read")
    proofs: dict[str, Callable[[], dict[str, Any]]] = {
        "authorization_code": lambda: {"code": party.code(), "code_verifier": party.verifier},
        "refresh_token": lambda: {"refresh_token": party.tokens()["refresh_token"]},
        "client_credentials": dict,
    }
    fields = {"grant_type": grant_type, **proofs[grant_type]()}
    party.hold(None)
    asserts.is_oauth_error(party.token(**fields), "invalid_request")
    headers = basic(party.client.client_id, party.secret)
    asserts.is_oauth_error(party.token(headers={**headers, "DPoP": DpopKey().proof()}, **fields), "invalid_dpop_proof")
    party.hold(mine)
    asserts.is_oauth_error(party.token(headers={**headers, "DPoP": DpopKey().proof()}, **fields), "invalid_dpop_proof")
    answer = party.token(**fields)
    assert answer.status_code == 200, answer.text
    assert payload(answer.json["access_token"])["cnf"] == {"x5t#S256": mine.thumbprint}


def test_a_public_apps_refresh_token_is_for_its_certificate(spa: Party) -> None:
    """RFC 8705 §4: with another one, or none, it is refused, and nothing ends by a stranger's try; nor later."""
    mine = certificate()
    spa.hold(mine)
    first = spa.tokens()["refresh_token"]
    for wrong in (None, certificate(), certificate(key=mine.key)):
        spa.hold(wrong)
        asserts.is_oauth_error(spa.refresh(first), "invalid_request" if wrong is None else "invalid_grant")
    spa.hold(mine)
    second = spa.refresh(first)
    assert second.status_code == 200, second.text
    spa.hold(certificate())
    asserts.is_oauth_error(spa.refresh(second.json["refresh_token"]), "invalid_grant")
    found = factories.within(spa.app, lambda: clients.change(clients.find(spa.client.client_id), {BOUND: None}))  # type: ignore[arg-type]
    assert not found.certificate_bound
    for holder in (None, mine):
        spa.hold(holder)
        asserts.is_oauth_error(spa.refresh(second.json["refresh_token"]), "invalid_grant")


def test_a_confidential_app_may_renew_its_certificate(party: Party) -> None:
    """Its refresh tokens are its own by its authentication; each access token is for the certificate of its request."""
    first, renewed = party.tokens(), certificate()
    party.hold(renewed)
    second = party.refresh(first["refresh_token"]).json
    assert payload(second["access_token"])["cnf"] == {"x5t#S256": renewed.thumbprint}
    assert party.userinfo(second["access_token"]).status_code == 200
    assert party.userinfo(first["access_token"]).status_code == 401


def test_without_rotation_a_bound_confidential_app_keeps_its_token(app: Flask, person: users.User) -> None:
    """`refresh_token_rotation: false` is for tokens that are bound in either way."""
    party = Party(app, certificate(), Browser(app), refresh_token_rotation=False)
    token = party.tokens()["refresh_token"]
    for _ in range(2):
        answer = party.refresh(token)
        assert (answer.status_code, "refresh_token" in answer.json) == (200, False)


def test_introspection_tells_of_the_certificate(app: Flask, person: users.User) -> None:
    """RFC 8705 §3.2, also of opaque tokens, which are bound alike."""
    factories.api(app, token_format="opaque")
    mine = certificate()
    party = Party(app, mine, Browser(app), scope="orders:read")
    token = party.tokens(scope="orders:read", resource=factories.ORDERS)["access_token"]
    answer = party.introspect(token)
    assert (answer["active"], answer["token_type"]) == (True, "Bearer")
    assert answer["cnf"] == {"x5t#S256": mine.thumbprint}


def test_an_unbound_token_needs_no_certificate(app: Flask, person: users.User) -> None:
    """A client that is not registered so gets plain tokens, also over a connection with a certificate."""
    party = Party(app, certificate(), Browser(app), **{BOUND: False})
    token = party.tokens()["access_token"]
    assert "cnf" not in payload(token)
    party.hold(None)
    assert party.userinfo(token).status_code == 200


def test_aliases_are_told_and_answer(make_app: MakeApp, person: users.User) -> None:
    """RFC 8705 §5: the machine endpoints at the host where certificates are asked for, under which proofs count too."""
    alias = "https://mtls.id.example.org"
    app = make_app(**certs.SETTINGS, mtls_alias=alias)
    document = app.test_client().get("/.well-known/openid-configuration").json
    assert document["tls_client_certificate_bound_access_tokens"] is True
    aliases = document["mtls_endpoint_aliases"]
    assert set(aliases) == {
        *("token_endpoint", "introspection_endpoint", "revocation_endpoint", "userinfo_endpoint"),
        *("pushed_authorization_request_endpoint", "device_authorization_endpoint"),
    }
    assert {url.removeprefix(alias) for url in aliases.values()} <= set(app.extensions["machines"].routes)
    service, secret = factories.service(app)
    for host, status in (("http://localhost:8421", 200), (alias, 200), ("https://other.example.org", 400)):
        headers = {**basic(service.client_id, secret), "DPoP": DpopKey().proof(site=host)}
        fields = {"grant_type": "client_credentials"}
        answer = app.test_client().post("/oauth/token", data=fields, headers=headers, base_url=alias)
        assert answer.status_code == status, answer.text


def test_a_refused_bearer_is_told_what_is_missing(party: Party) -> None:
    """RFC 6750 §3: the challenge is the scheme's own; the sentence says that a certificate must come along."""
    token = party.tokens()["access_token"]
    party.hold(None)
    refused = party.machine.get("/oauth/userinfo", headers=bearer(token), base_url=ISSUER)
    challenge = refused.headers["WWW-Authenticate"]
    assert challenge.startswith('Bearer realm="oauth", error="invalid_token"')
    assert "certificate" in challenge
