"""The answer of the authorization endpoint: one function makes every redirect, always with `state` and `iss`.

In the modes that end in `jwt` the answer is one signed value (JARM), errors too. For `code` the mode `jwt` stands for
`query.jwt`; there is no `fragment.jwt`, because nothing here answers in a fragment.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode, urlsplit

from flask import Response, redirect, render_template

from auth_server import config
from auth_server.clients.client import Client
from auth_server.errors import ProtocolError
from auth_server.infra import clock
from auth_server.keys import jose, keyring

MODES = ("query", "form_post", "jwt", "query.jwt", "form_post.jwt")
_SIGNED_LIFE = timedelta(minutes=5)
"""JARM §2.1 advises at most ten minutes."""


def respond(redirect_uri: str, mode: str, state: str | None, parameters: Mapping[str, str], client: Client) -> Response:
    """Send the browser back to the app: by query (RFC 6749 §4.1.2) or by form (OAuth 2.0 Form Post Response Mode)."""
    answer = dict(parameters)
    if state is not None:
        answer["state"] = state
    answer["iss"] = config.current().issuer  # RFC 9207 §2
    if mode.endswith("jwt"):
        answer = {"response": _signed(answer, client)}
    if mode.startswith("form_post"):
        page = render_template(
            "oauth/form_post.html", action=redirect_uri, fields=list(answer.items()), app_name=client.name
        )
        return Response(page, content_type="text/html; charset=utf-8")
    return redirect(with_query(redirect_uri, answer), 303)  # type: ignore[return-value]


def error_parameters(error: ProtocolError) -> dict[str, str]:
    """Return `error` and `error_description` (RFC 6749 §4.1.2.1)."""
    found = {"error": error.code}
    if error.description:
        found["error_description"] = error.description
    return found


def _signed(answer: Mapping[str, str], client: Client) -> str:
    """Return the answer as a JWT (JARM §2.1); its `iss` is what RFC 9207 wants, so that nothing stands beside it."""
    expires_at = int((clock.now() + _SIGNED_LIFE).timestamp())
    claims: dict[str, Any] = {**answer, "aud": client.client_id, "exp": expires_at}
    return jose.sign(claims, keyring.signer(client.authorization_alg))


def with_query(uri: str, parameters: Mapping[str, str]) -> str:
    """Append to a registered address, whose own query stays as it is."""
    joiner = "&" if urlsplit(uri).query else ("" if uri.endswith("?") else "?")
    return uri + joiner + urlencode(parameters)
