"""A software authenticator: makes passkeys and signs with them, rightly or wrongly in any one respect."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from html import unescape
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from werkzeug.test import TestResponse

from auth_server import config
from tests.support import asserts
from tests.support.browser import Browser

SECURITY = "/account/security"
ADD = f"{SECURITY}/passkeys/add"
UP, UV, BE, BS, AT = 0x01, 0x04, 0x08, 0x10, 0x40
NO_MAKER = b"\x00" * 16


def encoded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "===")


def options_on(response: TestResponse) -> dict[str, Any]:
    """Return what a page asks the browser for."""
    text = response.text.partition('data-passkey="')[2].partition('"')[0]
    assert text, response.text
    found: dict[str, Any] = json.loads(unescape(text))
    return found


@dataclass
class Passkey:
    """One passkey on one device. `synced` ones may be copied (BE) and are (BS); they do not count."""

    synced: bool = False
    aaguid: bytes = NO_MAKER
    alg: int = -7
    counter: int = 0
    id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    user_handle: str = ""
    key: Any = None

    def __post_init__(self) -> None:
        makers = {
            -7: lambda: ec.generate_private_key(ec.SECP256R1()),
            -8: ed25519.Ed25519PrivateKey.generate,
            -257: lambda: rsa.generate_private_key(65537, 2048),
        }
        self.key = makers.get(self.alg, makers[-7])()

    def create(self, options: dict[str, Any], **wrong: Any) -> str:
        """Return what a browser answers to a registration; `wrong` changes single things."""
        self.user_handle = options["user"]["id"]
        client_data = self._client_data("webauthn.create", options, wrong)
        credential_id = wrong.get("credential_id", self.id)
        key = wrong.get("public_key", cbor2.dumps(self._public_key()))
        attested = self.aaguid + len(credential_id).to_bytes(2, "big") + credential_id + key
        auth_data = self._auth_data(AT, options["rp"]["id"], wrong) + attested
        statement = {"fmt": wrong.get("fmt", "none"), "attStmt": wrong.get("att_stmt", {}), "authData": auth_data}
        response = {
            "clientDataJSON": encoded(client_data),
            "attestationObject": encoded(cbor2.dumps(statement)),
            "transports": ["internal"],
        }
        return self._answer(response, wrong)

    def get(self, options: dict[str, Any], **wrong: Any) -> str:
        """Return what a browser answers to a sign-in; `wrong` changes single things."""
        if not self.synced:
            self.counter += 1
        client_data = self._client_data("webauthn.get", options, wrong)
        auth_data = self._auth_data(0, options["rpId"], wrong)
        signature = self._sign(auth_data + hashlib.sha256(client_data).digest())
        response = {
            "clientDataJSON": encoded(client_data),
            "authenticatorData": encoded(auth_data),
            "signature": encoded(wrong.get("signature", signature)),
            "userHandle": wrong.get("user_handle", self.user_handle),
        }
        return self._answer(response, wrong)

    def _client_data(self, kind: str, options: dict[str, Any], wrong: dict[str, Any]) -> bytes:
        data = {
            "type": wrong.get("type", kind),
            "challenge": wrong.get("challenge", options["challenge"]),
            "origin": wrong.get("origin", config.current().issuer),
            "crossOrigin": wrong.get("cross_origin", False),
            **wrong.get("client_data", {}),
        }
        return json.dumps(data).encode()

    def _auth_data(self, flags: int, rp_id: str, wrong: dict[str, Any]) -> bytes:
        flags |= UP | UV | (BE | BS if self.synced else 0)
        flags = (flags | wrong.get("flags_on", 0)) & ~wrong.get("flags_off", 0)
        counter = wrong.get("counter", self.counter)
        rp_hash = hashlib.sha256(wrong.get("rp_id", rp_id).encode()).digest()
        return rp_hash + bytes([flags]) + int(counter).to_bytes(4, "big")

    def _answer(self, response: dict[str, Any], wrong: dict[str, Any]) -> str:
        name = encoded(wrong.get("credential_id", self.id))
        return json.dumps({"id": wrong.get("id", name), "rawId": name, "type": "public-key", "response": response})

    def _public_key(self) -> dict[int, Any]:
        numbers = self.key.public_key()
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return {1: 1, 3: self.alg, -1: 6, -2: numbers.public_bytes_raw()}
        found = numbers.public_numbers()
        if isinstance(self.key, rsa.RSAPrivateKey):
            return {1: 3, 3: self.alg, -1: found.n.to_bytes(256, "big"), -2: found.e.to_bytes(3, "big")}
        return {1: 2, 3: self.alg, -1: 1, -2: found.x.to_bytes(32, "big"), -3: found.y.to_bytes(32, "big")}

    def _sign(self, data: bytes) -> bytes:
        if isinstance(self.key, ed25519.Ed25519PrivateKey):
            return self.key.sign(data)
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(data, padding.PKCS1v15(), SHA256())
        return bytes(self.key.sign(data, ec.ECDSA(SHA256())))


def add(browser: Browser, passkey: Passkey | None = None, **wrong: Any) -> tuple[Passkey, TestResponse]:
    """Add a passkey for whoever is signed in; return it with the answer to the form."""
    made = passkey or Passkey()
    page = browser.get(ADD)
    asserts.is_page(page, "account-passkey")
    return made, browser.submit(page, ADD, credential=made.create(options_on(page), **wrong))


def sign_in(browser: Browser, passkey: Passkey, path: str = "/login", **wrong: Any) -> TestResponse:
    """Sign in with a passkey at the login page, as the button does."""
    page = browser.get(path)
    return browser.submit(page, "/login", credential=passkey.get(options_on(page), **wrong))


def answer(browser: Browser, response: TestResponse, passkey: Passkey, **wrong: Any) -> TestResponse:
    """Follow a sign-in to its second step and answer with a passkey."""
    page = browser.follow(response)
    asserts.is_page(page, "mfa")
    page = browser.get(page.request.full_path.replace("method=app", "method=passkey"))
    return browser.submit(page, "/login/mfa", credential=passkey.get(options_on(page), **wrong))
