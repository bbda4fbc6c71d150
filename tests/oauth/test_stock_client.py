"""Stock clients, requests-oauthlib and Authlib, do whole flows over real HTTP, and trust the issuer alone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

import pytest
import requests
from authlib.common.errors import AuthlibBaseError as AuthlibError
from authlib.integrations.base_client.errors import OAuthError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from authlib.oauth2.rfc7523 import ClientSecretJWT, PrivateKeyJWT
from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey
from oauthlib.oauth2 import (
    BackendApplicationClient,
    DeviceClient,
    InvalidClientError,
    InvalidGrantError,
    InvalidScopeError,
    OAuth2Error,
)
from requests.auth import HTTPBasicAuth
from requests_oauthlib import OAuth2Session
from werkzeug.serving import make_server

from auth_server import config
from auth_server.clients.client import Client
from examples import command_line
from tests.support import assertion, factories
from tests.support.browser import Page
from tests.support.device import client_of as client_of_devices
from tests.support.live import free_port

REDIRECT_URI = "http://localhost:1/callback"


@pytest.fixture
def server(make_app: Callable[..., Flask], monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """Return an application that listens at its issuer's address."""
    port = free_port()
    app = make_app(issuer=f"http://localhost:{port}")
    factories.person(app, roles=["administrator"])
    factories.api(app)
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")
    listening = make_server("localhost", port, app, threaded=True)
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield app
    listening.shutdown()
    thread.join()
    listening.server_close()


def metadata_of(app: Flask) -> dict[str, Any]:
    """Return what the issuer says of itself: all that a client is given."""
    issuer = config.current().issuer
    found: dict[str, Any] = requests.get(issuer + "/.well-known/openid-configuration", timeout=10).json()
    assert found["issuer"] == issuer
    return found


def walk(url: str) -> str:
    """Sign in and allow, as a browser would; return the address it is sent back to."""
    with requests.Session() as browser:
        answer = browser.get(url, timeout=10)
        for _step in range(6):
            if answer.is_redirect and answer.headers["Location"].startswith(REDIRECT_URI):
                return answer.headers["Location"]
            if answer.is_redirect:
                answer = browser.get(urljoin(url, answer.headers["Location"]), timeout=10, allow_redirects=False)
                continue
            page = Page(answer.text)
            filled = {"email": "ada@example.org", "password": factories.PASSWORD}
            fields = {**page.inputs, **(filled if page.marker == "login" else {"decision": "allow"})}
            answer = browser.post(answer.url, data=fields, timeout=10, allow_redirects=False)
    raise AssertionError(page.text)


def client_of(app: Flask, **metadata: Any) -> tuple[Client, str]:
    scope = "openid profile email offline_access orders:read"
    return factories.client(app, redirect_uris=[REDIRECT_URI], scope=scope, **metadata)


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_the_whole_flow(server: Flask, method: str) -> None:
    """Discovery, PKCE, code, tokens, userinfo, refresh, revocation, with each way to authenticate."""
    client, secret = client_of(server, token_endpoint_auth_method=method)
    about = metadata_of(server)
    scope = ["openid", "profile", "email", "offline_access", "orders:read"]
    with OAuth2Session(client.client_id, redirect_uri=REDIRECT_URI, scope=scope, pkce="S256") as session:
        url, state = session.authorization_url(about["authorization_endpoint"], nonce="n")
        back = walk(url)
        assert f"state={state}" in back
        auth = {
            "client_secret_basic": {"auth": HTTPBasicAuth(client.client_id, secret)},
            "client_secret_post": {"client_secret": secret, "include_client_id": True},
            "none": {"include_client_id": True},
        }[method]
        tokens = session.fetch_token(about["token_endpoint"], authorization_response=back, **auth)
        assert tokens["token_type"] == "Bearer"
        assert set(tokens["scope"]) == set(scope)
        person = session.get(about["userinfo_endpoint"], timeout=10).json()
        keys = KeySet.import_key_set(requests.get(about["jwks_uri"], timeout=10).json())
        claims = jwt.decode(tokens["id_token"], keys).claims
        assert (claims["sub"], claims["aud"], claims["nonce"]) == (person["sub"], client.client_id, "n")
        assert claims["iss"] == about["issuer"]
        assert jwt.decode(tokens["access_token"], keys).claims["aud"] == [factories.ORDERS, about["userinfo_endpoint"]]
        renewal = {name: value for name, value in auth.items() if name != "include_client_id"}
        if method != "client_secret_basic":
            renewal["client_id"] = client.client_id
        renewed = session.refresh_token(about["token_endpoint"], **renewal)
        assert renewed["refresh_token"] != tokens["refresh_token"]
        assert session.get(about["userinfo_endpoint"], timeout=10).status_code == 200
        given_back = {"token": renewed["refresh_token"], "client_id": client.client_id}
        if method == "client_secret_post":
            given_back["client_secret"] = secret
        basic = HTTPBasicAuth(client.client_id, secret) if method == "client_secret_basic" else None
        revoked = requests.post(about["revocation_endpoint"], data=given_back, auth=basic, timeout=10)
        assert (revoked.status_code, revoked.content) == (200, b"")
        assert session.get(about["userinfo_endpoint"], timeout=10).status_code == 401


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post", "none"])
def test_a_stock_client_pushes_its_request(server: Flask, method: str) -> None:
    """Authlib's client, as an app uses it that must push (RFC 9126): its own URL is pushed and its code redeemed."""
    required = {"token_endpoint_auth_method": method, "require_pushed_authorization_requests": True}
    client, secret = client_of(server, **required)
    about = metadata_of(server)
    stock = {"scope": "openid email", "redirect_uri": REDIRECT_URI, "code_challenge_method": "S256"}
    with AuthlibSession(client.client_id, secret or None, token_endpoint_auth_method=method, **stock) as session:
        url, state = session.create_authorization_url(about["authorization_endpoint"], code_verifier="v" * 43)
        unpushed = requests.get(url, timeout=10, allow_redirects=False)
        assert "error=invalid_request" in unpushed.headers["Location"]
        proof = session.client_auth(session.token_endpoint_auth_method)
        endpoint = about["pushed_authorization_request_endpoint"]
        fields = dict(parse_qsl(urlsplit(url).query))
        if method != "client_secret_basic":
            del fields["client_id"]  # the proof brings it
        pushed = requests.post(endpoint, fields, auth=proof, timeout=10)
        assert pushed.status_code == 201
        named = {"client_id": client.client_id, "request_uri": pushed.json()["request_uri"]}
        back = walk(about["authorization_endpoint"] + "?" + urlencode(named))
        tokens = session.fetch_token(
            about["token_endpoint"], authorization_response=back, state=state, code_verifier="v" * 43
        )
        assert tokens["id_token"]
        assert session.get(about["userinfo_endpoint"], timeout=10).json()["email"] == "ada@example.org"
        with pytest.raises(AuthlibError, match="the code was used before"):
            session.fetch_token(about["token_endpoint"], authorization_response=back, code_verifier="v" * 43)


def test_a_stock_client_understands_our_refusals(server: Flask) -> None:
    """Errors have the form that libraries turn into their own (RFC 6749 §5.2)."""
    client, secret = client_of(server, client_id="stock")
    about = metadata_of(server)
    auth = HTTPBasicAuth(client.client_id, secret)
    with OAuth2Session(client.client_id, redirect_uri=REDIRECT_URI, scope=["openid"], pkce="S256") as session:
        url, _state = session.authorization_url(about["authorization_endpoint"])
        back = walk(url)
        with pytest.raises(InvalidClientError, match="client authentication failed"):
            session.fetch_token(about["token_endpoint"], authorization_response=back, auth=HTTPBasicAuth("stock", "x"))
        assert session.fetch_token(about["token_endpoint"], authorization_response=back, auth=auth)["access_token"]
        with pytest.raises(InvalidGrantError, match="the code was used before"):
            session.fetch_token(about["token_endpoint"], authorization_response=back, auth=auth)


def test_a_stock_service_gets_its_token(server: Flask) -> None:
    """The client credentials grant by oauthlib's own client."""
    client, secret = factories.service(server, "orders:read")
    about = metadata_of(server)
    auth = HTTPBasicAuth(client.client_id, secret)
    with OAuth2Session(client=BackendApplicationClient(client.client_id, scope=["orders:read"])) as session:
        tokens = session.fetch_token(about["token_endpoint"], auth=auth)
        found = requests.post(about["introspection_endpoint"], {"token": tokens["access_token"]}, auth=auth, timeout=10)
        assert found.json()["scope"] == "orders:read"
    stranger = OAuth2Session(client=BackendApplicationClient(client.client_id, scope=["unknown"]))
    with stranger as session, pytest.raises(InvalidScopeError):
        session.fetch_token(about["token_endpoint"], auth=auth)


RSA, P256 = assertion.signer("RS256"), assertion.signer("ES256")
STOCK = [
    (PrivateKeyJWT, "RS256", RSAKey.import_key(RSA.private_pem())),
    (PrivateKeyJWT, "PS256", RSAKey.import_key(RSA.private_pem())),
    (PrivateKeyJWT, "ES256", ECKey.import_key(P256.private_pem())),
    (ClientSecretJWT, "HS256", None),
]


@pytest.mark.parametrize(("kind", "alg", "key"), STOCK, ids=lambda value: str(getattr(value, "name", value))[:20])
def test_a_stock_client_signs_its_requests(server: Flask, kind: type[ClientSecretJWT], alg: str, key: Any) -> None:
    """Authlib's own client and methods, with nothing but the metadata; what they sign is good once."""
    about = metadata_of(server)
    assert kind.name in about["token_endpoint_auth_methods_supported"]
    assert alg in about["token_endpoint_auth_signing_alg_values_supported"]
    known: dict[str, Any] = {"token_endpoint_auth_method": kind.name}
    if key is not None:
        known["jwks"] = {"keys": [RSA.jwk(kid=None, alg=None), P256.jwk(kid=None)]}
    client, secret = factories.service(server, "orders:read", **known)
    method = kind(about["token_endpoint"], alg=alg)
    ways = {f"{endpoint}_endpoint_auth_method": method for endpoint in ("token", "revocation")}
    options = {**ways, "trust_env": False}
    with OAuth2Client(client.client_id, key or secret, **options) as session:
        session.register_client_auth_method(method)
        for _time in range(2):
            token = session.fetch_token(about["token_endpoint"], grant_type="client_credentials", scope="orders:read")
            assert token["scope"] == "orders:read"
        found = session.introspect_token(about["introspection_endpoint"], token=token["access_token"]).json()
        assert found["client_id"] == client.client_id
        assert session.revoke_token(about["revocation_endpoint"], token=token["access_token"]).status_code == 200
        found = session.introspect_token(about["introspection_endpoint"], token=token["access_token"]).json()
        assert found == {"active": False}
    foreign = OctKey.generate_key(256) if key is None else type(key).generate_key()
    with OAuth2Client(client.client_id, foreign, **options) as stranger:
        stranger.register_client_auth_method(method)
        with pytest.raises(OAuthError, match="invalid_client"):
            stranger.fetch_token(about["token_endpoint"], grant_type="client_credentials")


def allow_device(message: str, user_code: str, decision: str) -> None:
    """Open the page that the program names, type the code, sign in and decide, as a browser would."""
    page_address = message.split()[1]
    with requests.Session() as browser:
        answer = browser.get(page_address, timeout=10)
        for _step in range(6):
            page = Page(answer.text)
            filled = {
                "device": {"user_code": user_code},
                "login": {"email": "ada@example.org", "password": factories.PASSWORD},
                "consent": {"decision": decision},
            }.get(page.marker)
            if filled is None:
                assert page.marker == "done", answer.text
                return
            answer = browser.post(answer.url, data={**page.inputs, **filled}, timeout=10)
    raise AssertionError(answer.text)


@pytest.mark.parametrize("decision", ["allow", "deny"])
def test_a_program_on_the_command_line(server: Flask, decision: str) -> None:
    """The sample program, on Authlib's client: it shows a code, waits, and has tokens, or hears no (RFC 8628)."""
    client, _none = client_of_devices(server)

    def show(message: str) -> None:
        person = threading.Timer(0.5, allow_device, (message, message.split()[-1], decision))
        person.start()
        people.append(person)

    people: list[threading.Timer] = []
    if decision == "deny":
        with pytest.raises(OAuthError, match="access_denied"):
            command_line.sign_in(config.current().issuer, client.client_id, show)
    else:
        tokens = command_line.sign_in(config.current().issuer, client.client_id, show)
        assert tokens["scope"] == "openid profile offline_access"
        claims = jwt.decode(tokens["id_token"], _keys_of(metadata_of(server))).claims
        assert claims["aud"] == client.client_id
    people[0].join()


def test_a_stock_device_reads_our_answers(server: Flask) -> None:
    """oauthlib's own device client turns what it is told while it waits into its errors."""
    client, _none = client_of_devices(server)
    about = metadata_of(server)
    asked = {"client_id": client.client_id, "scope": "openid"}
    codes = requests.post(about["device_authorization_endpoint"], data=asked, timeout=10).json()
    stock = DeviceClient(client.client_id)
    body = stock.prepare_request_body(codes["device_code"], include_client_id=True)
    form = {"Content-Type": "application/x-www-form-urlencoded"}

    def poll() -> dict[str, Any]:
        answer = requests.post(about["token_endpoint"], data=body, headers=form, timeout=10)
        return dict(stock.parse_request_body_response(answer.text))

    for error in ("authorization_pending", "slow_down"):
        with pytest.raises(OAuth2Error, match=error):
            poll()
    allow_device(f"Open {codes['verification_uri']}", codes["user_code"], "allow")
    assert poll()["scope"] == ["openid"]


def _keys_of(about: dict[str, Any]) -> KeySet:
    return KeySet.import_key_set(requests.get(about["jwks_uri"], timeout=10).json())
