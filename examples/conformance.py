"""What the OpenID Foundation's conformance suite needs, made anew each time: a file for `auth-server apply` with the
clients and the person of its plans, and the suite's own configurations with the secrets and private keys to them.

    python -m examples.conformance --op https://op.example.org --suite https://suite.example.org:8443 conformance

`docs/conformance.md` says what to do with them. For a test instance alone: whoever has the files can sign in.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import secrets
from pathlib import Path
from typing import Any

import bcrypt
from joserfc.jwk import ECKey

ALIAS = "main"
PERSON = "suite@example.org"
SCOPE = "openid profile email address phone offline_access"
PLANS = {
    "basic": "oidcc-basic-certification-test-plan[server_metadata=discovery][client_registration=static_client]",
    "formpost": "oidcc-formpost-basic-certification-test-plan[server_metadata=discovery]"
    "[client_registration=static_client]",
    "config": "oidcc-config-certification-test-plan",
    "rp-logout": "oidcc-rp-initiated-logout-certification-test-plan[response_type=code]"
    "[client_registration=static_client]",
    "backchannel": "oidcc-backchannel-rp-initiated-logout-certification-test-plan[response_type=code]"
    "[client_registration=static_client]",
    "frontchannel": "oidcc-frontchannel-rp-initiated-logout-certification-test-plan[response_type=code]"
    "[client_registration=static_client]",
    "fapi": "fapi2-security-profile-final-test-plan[openid=openid_connect][client_auth_type=private_key_jwt]"
    "[sender_constrain=dpop][fapi_profile=plain_fapi]",
}
CLAIMS = """
given_name = "Ada"
middle_name = "King"
family_name = "Lovelace"
nickname = "Ada"
preferred_username = "ada"
profile = "https://example.org/ada"
picture = "https://example.org/ada.png"
website = "https://example.org/"
gender = "female"
birthdate = "1815-12-10"
zoneinfo = "Europe/London"
locale = "en-GB"
phone_number = "+442079460000"
phone_number_verified = true
address = { street_address = "12 St James's Square", locality = "London", postal_code = "SW1Y 4JH", country = "GB" }
"""
ERROR_PAGES = (
    *("oidcc-response-type-missing", "oidcc-ensure-registered-redirect-uri"),
    *("oidcc-ensure-redirect-uri-in-authorization-request", "oidcc-redirect-uri-query-added"),
    "oidcc-redirect-uri-query-mismatch",
)
"""Modules that end at an error page of ours, which the suite keeps a picture of."""
LOGOUT_PAGES = tuple(
    f"oidcc-rp-initiated-logout-{what}"
    for what in (
        *("bad-post-logout-redirect-uri", "query-added-to-post-logout-redirect-uri", "modified-id-token-hint"),
        *("bad-id-token-hint", "no-id-token-hint", "no-params", "no-post-logout-redirect-uri", "only-state"),
    )
)
SHOWN_AGAIN = ("oidcc-prompt-login", "oidcc-max-age-1")


def main() -> None:
    parser = argparse.ArgumentParser(prog="examples.conformance", description=__doc__)
    parser.add_argument("--op", required=True, help="issuer of the server under test")
    parser.add_argument("--suite", required=True, help="address of the suite, with its port")
    parser.add_argument("folder", type=Path)
    options = parser.parse_args()
    write(options.op.rstrip("/"), options.suite.rstrip("/"), options.folder)


def write(op: str, suite: str, folder: Path) -> None:
    """Write the three files, readable for their owner alone."""
    here = f"{suite}/test/a/{ALIAS}"
    password = secrets.token_urlsafe(18)
    raw = {name: secrets.token_urlsafe(32) for name in ("conf-basic-1", "conf-basic-2", "conf-post-1")}
    keys = {name: _key() for name in ("conf-fapi-1", "conf-fapi-2")}
    folder.mkdir(parents=True, exist_ok=True)
    _keep(folder / "auth-server.toml", _declared(here, password, raw, keys))
    _keep(folder / "op-static.json", json.dumps(_static(op, password, raw), indent=2))
    _keep(folder / "op-fapi.json", json.dumps(_fapi(op, password, keys), indent=2))


def _keep(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")


def _key() -> dict[str, Any]:
    key = ECKey.generate_key("P-256", {"alg": "ES256", "use": "sig", "kid": secrets.token_hex(8)})
    return dict(key.as_dict(private=True))


def _public(key: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in key.items() if name != "d"}


def _declared(here: str, password: str, raw: dict[str, str], keys: dict[str, dict[str, Any]]) -> str:
    """Return the file for `apply`. JSON's texts, lists of texts and numbers are TOML's, too."""
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(12)).decode()
    parts = [
        f'[user."{PERSON}"]\nname = "Ada Lovelace"\nverified = true\npassword = {{ hash = "{hashed}" }}\n',
        f'[user."{PERSON}".claims]{CLAIMS}',
        *(_with_secret(name, secret, here) for name, secret in raw.items()),
        *(_with_key(name, key, here) for name, key in keys.items()),
    ]
    return "\n".join(parts)


def _with_secret(name: str, secret: str, here: str) -> str:
    method = "client_secret_post" if name.startswith("conf-post") else "client_secret_basic"
    fields = {
        "client_name": name,
        "profile": "oidc",
        "redirect_uris": [f"{here}/callback"],
        "post_logout_redirect_uris": [f"{here}/post_logout_redirect"],
        "backchannel_logout_uri": f"{here}/backchannel_logout",
        "backchannel_logout_session_required": True,
        "frontchannel_logout_uri": f"{here}/frontchannel_logout",
        "frontchannel_logout_session_required": True,
        "grant_types": ["authorization_code", "refresh_token"],
        "scope": SCOPE,
        "token_endpoint_auth_method": method,
    }
    digest = hashlib.sha256(secret.encode()).hexdigest()
    return _table(name, fields) + f'client_secret = {{ hash = "sha256:{digest}" }}\n'


def _with_key(name: str, key: dict[str, Any], here: str) -> str:
    query = "?dummy1=lorem&dummy2=ipsum" if name.endswith("2") else ""
    fields = {
        "client_name": name,
        "profile": "fapi2",
        "redirect_uris": [f"{here}/callback{query}"],
        "scope": SCOPE,
        "token_endpoint_auth_method": "private_key_jwt",
    }
    members = ", ".join(f"{member} = {json.dumps(value)}" for member, value in _public(key).items())
    return _table(name, fields) + f"jwks = {{ keys = [{{ {members} }}] }}\n"


def _table(name: str, fields: dict[str, Any]) -> str:
    return f"[client.{name}]\n" + "".join(f"{field} = {json.dumps(value)}\n" for field, value in fields.items())


def _static(op: str, password: str, raw: dict[str, str]) -> dict[str, Any]:
    one, two, post = ({"client_id": name, "client_secret": secret, "scope": SCOPE} for name, secret in raw.items())
    photographed = {name: {"browser": [_error_page(op)]} for name in ERROR_PAGES}
    photographed |= {name: {"browser": [_sign_in(op, password), _stay(op)]} for name in LOGOUT_PAGES}
    photographed |= {name: {"browser": [_sign_in(op, password, photographed=True)]} for name in SHOWN_AGAIN}
    about = {"client": one, "client2": two, "client_secret_post": post, "override": photographed}
    return {**_common(op, "Auth Server, registered clients"), **about, "browser": [_sign_in(op, password), _leave(op)]}


def _fapi(op: str, password: str, keys: dict[str, dict[str, Any]]) -> dict[str, Any]:
    one, two = (
        {"client_id": name, "scope": SCOPE, "dpop_signing_alg": "ES256", "jwks": {"keys": [key]}}
        for name, key in keys.items()
    )
    refused = {"browser": [_sign_in(op, password, decision="deny")]}
    return {
        **_common(op, "Auth Server, FAPI 2.0"),
        "client": one,
        "client2": two,
        "resource": {"resourceUrl": f"{op}/oauth/userinfo"},
        "browser": [_sign_in(op, password)],
        "override": {"fapi2-security-profile-final-user-rejects-authentication": refused},
    }


def _common(op: str, description: str) -> dict[str, Any]:
    return {
        "alias": ALIAS,
        "description": description,
        "server": {"discoveryUrl": f"{op}/.well-known/openid-configuration", "login_hint": PERSON},
        "options": {"browsercontrol_css_enable": False},
    }


def _sign_in(op: str, password: str, *, decision: str = "allow", photographed: bool = False) -> dict[str, Any]:
    """Sign in where it is asked, answer the consent page where it comes, and arrive at the suite."""
    commands: list[list[Any]] = [
        ["text", "name", "email", PERSON, "optional"],
        ["text", "name", "password", password],
        ["click", "css", "form[novalidate] button[type=submit]"],
    ]
    if photographed:
        commands.insert(0, ["wait", "xpath", "//*", 10, "Sign in", "update-image-placeholder-optional"])
    agree = [["click", "css", f"button[name=decision][value={decision}]"]]
    arrive = [["wait", "id", "submission_complete", 10]]
    return {
        "match": f"{op}/oauth/authorize*",
        "tasks": [
            {"task": "sign in", "match": f"{op}/login*", "optional": True, "commands": commands},
            {"task": "answer", "match": f"{op}/oauth/authorize*", "optional": True, "commands": agree},
            {"task": "back at the suite", "match": "*/test/*/callback*", "commands": arrive},
        ],
    }


def _error_page(op: str) -> dict[str, Any]:
    seen = [["wait", "xpath", "//*", 10, ".+", "update-image-placeholder"]]
    return {"match": f"{op}/oauth/authorize*", "tasks": [{"task": "error page", "match": f"{op}/*", "commands": seen}]}


def _leave(op: str) -> dict[str, Any]:
    """Sign out, and arrive at the suite."""
    arrive = [["wait", "contains", "post_logout_redirect", 10]]
    return {
        "match": f"{op}/oauth/logout*",
        "tasks": [
            _confirm(op),
            {"task": "back at the suite", "match": "*/test/*/post_logout_redirect*", "commands": arrive},
        ],
    }


def _stay(op: str) -> dict[str, Any]:
    """Sign out, and stay at our page."""
    seen = [["wait", "xpath", "//*", 10, ".+", "update-image-placeholder"]]
    page = {"task": "our page", "match": f"{op}/*", "commands": seen}
    return {"match": f"{op}/oauth/logout*", "tasks": [_confirm(op), page]}


def _confirm(op: str) -> dict[str, Any]:
    commands = [["click", "css", "button[name=decision][value=logout]"]]
    return {"task": "confirm", "match": f"{op}/oauth/logout*", "optional": True, "commands": commands}


if __name__ == "__main__":
    main()
