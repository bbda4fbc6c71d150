"""A sample service: gets a token for itself and calls the API."""

from __future__ import annotations

import json
import os
import sys

import httpx2
from authlib.integrations.httpx_client import OAuth2Client


def run(issuer: str, client_id: str, client_secret: str, api: str) -> int:
    """Print what the API answers; return 0 when it let the service in."""
    metadata = httpx2.get(issuer + "/.well-known/oauth-authorization-server", trust_env=False).json()
    client = OAuth2Client(client_id, client_secret, scope="orders:read", trust_env=False)
    client.fetch_token(metadata["token_endpoint"], grant_type="client_credentials")
    answer = client.get(api + "/orders")
    print(answer.status_code, json.dumps(answer.json()))
    return 0 if answer.status_code == 200 else 1


if __name__ == "__main__":
    sys.exit(run(*(os.environ[name] for name in ("ISSUER", "CLIENT_ID", "CLIENT_SECRET", "API"))))
