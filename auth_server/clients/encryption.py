"""What a client wants to get encrypted, to a key that it has registered or publishes for that (`use` is `enc`)."""

from __future__ import annotations

from auth_server.clients import keys
from auth_server.clients.answers import ID_TOKEN as ID_TOKEN
from auth_server.clients.answers import USERINFO as USERINFO
from auth_server.clients.client import Client
from auth_server.errors import NoEncryptionKey
from auth_server.keys import jwe
from auth_server.keys.jose import BadToken


def is_wanted(client: Client, kind: str) -> bool:
    """Tell whether the client has registered for encrypted ones."""
    return f"{kind}_encrypted_response_alg" in client.details


def for_client(client: Client, kind: str, content: str, *, is_jwt: bool = True) -> str:
    """Return the content, encrypted where the client wants that; raise `NoEncryptionKey`: it never goes in the clear.

    May ask the client's `jwks_uri`, and commits what the request has done so far; see `keys.find`.
    """
    if not is_wanted(client, kind):
        return content
    alg = client.details[f"{kind}_encrypted_response_alg"]
    enc = client.details.get(f"{kind}_encrypted_response_enc", jwe.CONTENT_ALGORITHMS[0])
    found = keys.find(client, alg, None)
    for key in found.keys:
        try:
            return jwe.encrypt(content, key, enc, is_jwt=is_jwt)
        except BadToken:
            continue
    raise NoEncryptionKey(
        "no key of this client is there to encrypt to: one with use enc, and with the registered alg or none",
        detail=found.problem or "no fitting key",
    )
