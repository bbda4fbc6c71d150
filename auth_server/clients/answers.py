"""How a client registers to get ID tokens and userinfo (OpenID Connect Registration §2): rules between fields."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from auth_server.errors import InvalidClientMetadata
from auth_server.keys import foreign

ID_TOKEN, USERINFO = "id_token", "userinfo"


def check_together(values: Mapping[str, Any]) -> None:
    """Refuse encryption without a way, or without a key to encrypt to; raise `InvalidClientMetadata`."""
    for kind in (ID_TOKEN, USERINFO):
        _check_encryption(values, kind)


def _check_encryption(values: Mapping[str, Any], kind: str) -> None:
    name = f"{kind}_encrypted_response_alg"
    if name not in values:
        if f"{kind}_encrypted_response_enc" in values:
            raise InvalidClientMetadata(f"{kind}_encrypted_response_enc: needs {name}")
        return
    if "jwks_uri" not in values and "jwks" not in values:
        raise InvalidClientMetadata(f"{name}: needs jwks or jwks_uri")
    if "jwks" in values and not any(key.alg == values[name] for key in foreign.of_set(values["jwks"])):
        raise InvalidClientMetadata(f"jwks: no key with use enc is for {name}")
