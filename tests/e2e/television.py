"""A device without a browser: asks for codes over the wire, and polls (RFC 8628)."""

from __future__ import annotations

import json
from typing import Any

import httpx2

from tests.e2e.conftest import Site

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
TV = {"client_name": "Acme TV", "grant_types": [GRANT, "refresh_token"], "token_endpoint_auth_method": "none"}


class Television:
    def __init__(self, site: Site) -> None:
        words = ("clients", "create", "--metadata", "-", "--json")
        self.client_id = json.loads(site.command(*words, given=json.dumps(TV)))["client_id"]
        self._issuer = site.issuer

    def ask(self) -> dict[str, Any]:
        return dict(self._post("/oauth/device_authorization", scope="openid profile offline_access").json())

    def poll(self, device_code: str) -> httpx2.Response:
        return self._post("/oauth/token", grant_type=GRANT, device_code=device_code)

    def _post(self, path: str, **fields: str) -> httpx2.Response:
        about = {"client_id": self.client_id, **fields}
        return httpx2.post(self._issuer + path, data=about, headers={"User-Agent": "AcmeTV/2"}, trust_env=False)
