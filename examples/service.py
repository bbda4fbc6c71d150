"""A sample service: nobody is signed in; it gets a token for itself and calls the API."""

from __future__ import annotations

import os
import sys

import httpx2
from authlib.integrations.httpx_client import OAuth2Client


def call(issuer: str, client_id: str, client_secret: str, api: str) -> httpx2.Response:
    """Return what the API answers. A service keeps its client, which gets a new token when one expires."""
    metadata = httpx2.get(issuer + "/.well-known/oauth-authorization-server", trust_env=False).json()
    with OAuth2Client(
        client_id,
        client_secret,
        scope="orders:read",
        grant_type="client_credentials",
        token_endpoint=metadata["token_endpoint"],
        trust_env=False,
    ) as client:
        client.fetch_token()
        answer: httpx2.Response = client.get(api + "/orders")
        return answer


if __name__ == "__main__":
    answer = call(*(os.environ[name] for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "API")))
    print(answer.status_code, answer.text.strip())
    sys.exit(0 if answer.status_code == 200 else 1)
