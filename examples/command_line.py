"""A sample program for the command line: it shows a code, and the person signs in with a browser, on any device."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.httpx_client import OAuth2Client

DEVICE_CODE = "urn:ietf:params:oauth:grant-type:device_code"


def sign_in(issuer: str, client_id: str, show: Callable[[str], object] = print) -> dict[str, Any]:
    """Return tokens for whoever types the code; raise `OAuthError` when they say no, or take too long."""
    metadata = httpx2.get(issuer + "/.well-known/oauth-authorization-server", trust_env=False).json()
    asked = {"client_id": client_id, "scope": "openid profile offline_access"}
    codes = httpx2.post(metadata["device_authorization_endpoint"], data=asked, trust_env=False).json()
    show(f"Open {codes['verification_uri']} and type {codes['user_code']}")
    seconds = codes["interval"]
    with OAuth2Client(client_id, token_endpoint_auth_method="none", trust_env=False) as client:
        while True:
            time.sleep(seconds)
            try:
                tokens: dict[str, Any] = client.fetch_token(
                    metadata["token_endpoint"], grant_type=DEVICE_CODE, device_code=codes["device_code"]
                )
            except OAuthError as refusal:
                if refusal.error not in ("authorization_pending", "slow_down"):
                    raise
                seconds += 5 if refusal.error == "slow_down" else 0
            else:
                return tokens


if __name__ == "__main__":
    tokens = sign_in(os.environ["ISSUER"], os.environ["CLIENT_ID"])
    print("Signed in; allowed:", tokens["scope"])
