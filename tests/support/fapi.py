"""A FAPI 2.0 client: signs its assertions or shows a certificate, pushes its requests, binds its tokens."""

from __future__ import annotations

from typing import Any

from flask import Flask
from werkzeug.test import TestResponse

from auth_server import config
from auth_server.clients import fapi
from tests.support import assertion, factories
from tests.support import certificate as certs
from tests.support.assertion import Signer, signer
from tests.support.browser import Browser
from tests.support.certificate import HEADER, Holder, certificate
from tests.support.dpop import DpopKey
from tests.support.rp import RelyingParty, answer_of

PAR, USERINFO = "/oauth/par", "/oauth/userinfo"
KEYS = (signer("PS256", "one"), signer("ES256", "two"))
CALLBACK = "https://wiki.example.org/callback"
OTHER_CALLBACK = "https://wiki.example.org/callback?dummy1=lorem&dummy2=ipsum"


def key_metadata(by: Signer) -> dict[str, Any]:
    return {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [by.jwk()]}}


class Fapi(RelyingParty):
    """`by` is its key (None: it shows its certificate), `key` its DPoP key (None: its certificate binds its tokens)."""

    def __init__(
        self,
        app: Flask,
        browser: Browser,
        *,
        by: Signer | None = KEYS[0],
        key: DpopKey | None = None,
        holder: Holder | None = None,
        **about: Any,
    ) -> None:
        self.by, self.key, self.holder = by, key, holder
        self.headers: dict[str, str] = {}
        raw: dict[str, Any] = {"profile": fapi.NAME, "redirect_uris": [CALLBACK]}
        raw |= key_metadata(by) if by else {"token_endpoint_auth_method": "self_signed_tls_client_auth"}
        if not by and holder:
            raw["jwks"] = {"keys": [holder.jwk()]}
        if key is None:
            raw[fapi.BY_CERTIFICATE] = True
        super().__init__(app, browser, factories.client(app, **{**raw, **about})[0])

    def assertion(self, header: dict[str, Any] | None = None, *, by: Signer | None = None, **changed: Any) -> str:
        """Return an assertion; what it is given changes a right one."""
        signed_by = by or self.by
        assert signed_by
        client_id = self.client.client_id
        claims = assertion.claims(client_id, changed.pop("aud", config.current().issuer), **changed)
        return signed_by.token(claims, **(header or {}))

    def proof(self, path: str = "/oauth/token", method: str = "POST", **changed: Any) -> dict[str, str]:
        return {"DPoP": self.key.proof(path, method, **changed)} if self.key else {}

    def shown(self) -> dict[str, str]:
        return {HEADER: self.holder.escaped} if self.holder else {}

    def post(self, path: str, fields: dict[str, Any], headers: dict[str, str] | None = None) -> TestResponse:
        """POST with everything that a good request of this client has; what is given replaces it."""
        form = {"client_id": self.client.client_id}
        if self.by and "client_assertion" not in fields:
            form |= assertion.fields(self.assertion())
        sent = {name: value for name, value in {**form, **fields}.items() if value is not None}
        if headers is None:
            headers = {**self.shown(), **(self.proof() if path == "/oauth/token" else {})}
        return self.machine.post(path, data=sent, headers=headers, base_url=config.current().issuer)

    def walk(self, *_: Any, **changed: Any) -> TestResponse:
        """Push, bring the reference, sign in and allow."""
        return self.walk_on(self.bring(self.reference(**changed)))

    def code(self, **changed: Any) -> str:
        return answer_of(self.walk(**changed))["code"]

    def userinfo(self, access_token: str, **changed: Any) -> TestResponse:
        scheme = "DPoP" if self.key else "Bearer"
        proved = self.proof(USERINFO, "GET", access_token=access_token, **changed)
        headers = {"Authorization": f"{scheme} {access_token}", **self.shown(), **proved}
        return self.machine.get(USERINFO, headers=headers, base_url=config.current().issuer)


COMBINATIONS = {
    f"{authentication}-{constraint}": {"by_key": authentication == "private_key_jwt", "by_dpop": constraint == "dpop"}
    for authentication in ("private_key_jwt", "mtls")
    for constraint in ("dpop", "mtls")
}


def party(app: Flask, browser: Browser, *, by_key: bool = True, by_dpop: bool = True, **about: Any) -> Fapi:
    """Return a client of one of the plan's variants."""
    holder = None if by_key and by_dpop else certificate()
    key = DpopKey() if by_dpop else None
    return Fapi(app, browser, by=about.pop("by", KEYS[0]) if by_key else None, key=key, holder=holder, **about)


SETTINGS = certs.SETTINGS
