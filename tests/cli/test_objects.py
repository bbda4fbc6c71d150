"""The commands for clients, APIs, keys, sessions and tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from auth_server.clients import client as clients
from auth_server.infra import batch, clock, crypto
from tests.cli.conftest import Run
from tests.support import assertion, factories
from tests.support.rp import basic

PASSWORD = "correct horse battery"


def create_ada(run: Run, *more: str) -> dict[str, Any]:
    words = ("--name", "Ada", "--password-stdin", "--json", *more)
    answer: dict[str, Any] = run("users", "create", "ada@example.org", *words, given=PASSWORD + "\n").json
    return answer


def test_clients_take_and_return_registration_metadata(run: Run, tmp_path: Path) -> None:
    """RFC 7591 §3.2.1: all metadata back, the secret this once, then never again."""
    file = tmp_path / "client.json"
    metadata = {"client_name": "Wiki", "redirect_uris": ["https://wiki.example.org/cb"], "scope": "openid email"}
    file.write_text(json.dumps(metadata))
    made = run("clients", "create", "--metadata", str(file), "--json").json
    assert made["client_secret_expires_at"] == 0
    assert len(made["client_secret"]) >= 43
    assert made["client_secret"].isalnum()
    assert {name: made[name] for name in metadata} == metadata
    assert made["token_endpoint_auth_method"] == "client_secret_basic"
    shown = run("clients", "show", made["client_id"], "--json")
    assert made["client_secret"] not in shown.out
    assert "client_secret" not in shown.json
    piped = run("clients", "create", "--metadata", "-", "--json", given=json.dumps(metadata)).json
    assert piped["client_id"] != made["client_id"]


def test_a_profile_is_an_option(run: Run) -> None:
    """`--profile fapi2` at creation and afterwards; a secret's client cannot have it, and nothing is made."""
    about = {"redirect_uris": ["https://wiki.example.org/cb"], "jwks_uri": "https://wiki.example.org/jwks"}
    words = ("clients", "create", "--metadata", "-", "--json", "--profile", "fapi2")
    assert "token_endpoint_auth_method" in run(*words, given=json.dumps(about), code=1).err
    made = run(*words, "--auth-method", "private_key_jwt", given=json.dumps(about)).json
    assert (made["profile"], made["refresh_token_rotation"], "client_secret" in made) == ("fapi2", False, False)
    assert "profile" in run("clients", "set", made["client_id"], "--profile", "fapi3", code=1).err
    left = run("clients", "set", made["client_id"], "--profile", "oauth21", "--json").json
    assert "require_pushed_authorization_requests" not in left
    assert run("clients", "set", made["client_id"], "--profile", "fapi2", "--json").json["profile"] == "fapi2"
    assert len(run("clients", "list", "--json").json) == 1


@pytest.mark.parametrize(
    ("metadata", "word"),
    [
        ({"redirect_uris": ["http://wiki.example.org/cb"]}, "redirect_uris"),
        ({"redirect_uris": ["https://wiki.example.org/cb"], "require_pkce": False,
          "token_endpoint_auth_method": "none"}, "require_pkce"),
        ({"redirect_uris": ["https://wiki.example.org/cb"], "grant_types": ["password"]}, "grant_types"),
        ({"redirect_uris": ["https://wiki.example.org/cb"], "wrong_name": 1}, "wrong_name"),
        ({"redirect_uris": ["https://wiki.example.org/cb"], "client_secret": "short"}, "32 characters"),
        ([], "JSON object"),
    ],
)  # fmt: skip
def test_bad_metadata_is_refused_by_name(run: Run, metadata: Any, word: str) -> None:
    """Exit 1 with the field and what to change; nothing is created."""
    assert word in run("clients", "create", "--metadata", "-", given=json.dumps(metadata), code=1).err
    assert run("clients", "list", "--json").json == []


def test_a_chosen_secret_is_taken_and_not_shown(run: Run) -> None:
    """Whoever chose it knows it."""
    metadata = {"redirect_uris": ["https://a.example.org/cb"], "client_id": "wiki", "client_secret": "x" * 32}
    made = run("clients", "create", "--metadata", "-", "--json", given=json.dumps(metadata)).json
    assert made["client_id"] == "wiki"
    assert "client_secret" not in made


def test_a_secret_is_printed_once(run: Run) -> None:
    """Neither `show`, `list` nor `secrets` has it, for clients and APIs alike."""
    client = run("clients", "create", "--name", "A", "--redirect-uri", "https://a.example.org/cb", "--json").json
    api = run("apis", "create", "https://orders.example.org", "--json").json
    added = run("clients", "secrets", client["client_id"], "--add", "--json").json
    raw = [client["client_secret"], api["client_secret"], added["client_secret"]]
    assert len(set(raw)) == 3
    for words in (
        ("clients", "list"),
        ("clients", "show", client["client_id"]),
        ("clients", "show", api["client_id"]),
        ("clients", "secrets", client["client_id"]),
        ("clients", "set", client["client_id"], "--name", "B"),
        ("apis", "list"),
    ):
        for shown in (run(*words), run(*words, "--json")):
            assert not [secret for secret in raw if secret in shown.out + shown.err]


def test_both_secrets_open_the_door_until_one_is_removed(app: Flask, run: Run) -> None:
    """A rotation without a gap, as the token endpoint sees it (RFC 6749 §2.3.1)."""
    metadata = {"grant_types": ["client_credentials"], "scope": ""}
    run("apis", "create", "https://orders.example.org", "--scope", "orders:read=Read your orders")
    made = run("clients", "create", "--metadata", "-", "--scope", "orders:read", "--json", given=json.dumps(metadata))
    client_id, old = made.json["client_id"], made.json["client_secret"]
    added = run("clients", "secrets", client_id, "--add", "--json").json

    def status(secret: str) -> int:
        fields = {"grant_type": "client_credentials"}
        return app.test_client().post("/oauth/token", data=fields, headers=basic(client_id, secret)).status_code

    assert (status(old), status(added["client_secret"])) == (200, 200)
    batch.flush_all()
    used = run("clients", "secrets", client_id, "--json").json["secrets"]
    assert all(row["last_used"] for row in used)
    run("clients", "secrets", client_id, "--remove", added["secrets"][0]["id"], "--yes")
    assert (status(old), status(added["client_secret"])) == (401, 200)


def test_a_public_client_has_no_secret(run: Run) -> None:
    """None at creation (RFC 7591 §3.2.1), and none can be added."""
    words = ("--name", "A", "--redirect-uri", "https://a.example.org/cb", "--auth-method", "none", "--json")
    made = run("clients", "create", *words).json
    assert not {"client_secret", "client_secret_expires_at"} & made.keys()
    assert made["token_endpoint_auth_method"] == "none"
    assert "no secret" in run("clients", "secrets", made["client_id"], "--add", code=1).err


def test_metadata_that_cannot_be_read_is_refused(run: Run, tmp_path: Path) -> None:
    """A missing file, no JSON, deep nesting; without anything it is wrong usage."""
    assert "cannot read" in run("clients", "create", "--metadata", str(tmp_path / "none"), code=1).err
    assert "cannot read" in run("clients", "create", "--metadata", "-", given="{", code=1).err
    assert "cannot read" in run("clients", "create", "--metadata", "-", given="[" * 100_000, code=1).err
    run("clients", "create", code=2)
    assert run("clients", "list", "--json").json == []


def test_secrets_rotate_with_overlap(run: Run) -> None:
    """Two are valid at once; the old one is removed by id."""
    made = run("clients", "create", "--name", "A", "--redirect-uri", "https://a.example.org/cb", "--json").json
    added = run("clients", "secrets", made["client_id"], "--add", "--json").json
    assert added["client_secret"] != made["client_secret"]
    assert [row["prefix"] for row in added["secrets"]] == [made["client_secret"][:6], added["client_secret"][:6]]
    assert set(added["secrets"][0]) == {"id", "prefix", "created", "last_used"}
    run("clients", "secrets", made["client_id"], "--remove", added["secrets"][0]["id"], code=1)
    run("clients", "secrets", made["client_id"], "--remove", added["secrets"][0]["id"], "--yes")
    assert len(run("clients", "secrets", made["client_id"], "--json").json["secrets"]) == 1
    run("clients", "secrets", made["client_id"], "--remove", "unknown", "--yes", code=1)


def test_a_client_is_changed_disabled_and_deleted(run: Run) -> None:
    """`set` changes what is given and nothing else."""
    made = run("clients", "create", "--name", "A", "--redirect-uri", "https://a.example.org/cb", "--json").json
    changed = run("clients", "set", made["client_id"], "--scope", "openid", "--first-party", "--json").json
    assert (changed["scope"], changed["first_party"], changed["client_name"]) == ("openid", True, "A")
    run("clients", "set", made["client_id"], code=2)
    run("clients", "disable", made["client_id"], "--yes")
    assert run("clients", "show", made["client_id"], "--json").json["disabled"] is True
    run("clients", "enable", made["client_id"])
    run("clients", "delete", made["client_id"], "--yes")
    run("clients", "show", made["client_id"], code=1)


def test_an_api_has_credentials_of_its_own(run: Run) -> None:
    """`apis create` answers with id and secret for introspection; the credentials go with the API."""
    made = run("apis", "create", "https://orders.example.org", "--scope", "orders:read=Read your orders", "--json").json
    assert made["client_secret"]
    assert made["scopes"] == {"orders:read": "Read your orders"}
    run("clients", "delete", made["client_id"], "--yes", code=1)
    run("apis", "create", "https://orders.example.org", code=1)
    run("apis", "create", "orders", code=1)
    run("apis", "create", "https://b.example.org", "--scope", "orders:read=Same scope", code=1)
    run("apis", "delete", "https://orders.example.org", "--yes")
    run("clients", "show", made["client_id"], code=1)


def test_an_api_demands_a_strength(run: Run) -> None:
    """For all of it, or for a scope of its own; nothing but our strengths, and no scope that it does not have."""
    words = ("apis", "create", "https://orders.example.org", "--scope", "orders:read=Read", "--scope", "refund=Refund")
    made = run(*words, "--minimum-acr", "aal1", "--scope-acr", "refund=aal2", "--json").json
    assert (made["minimum_acr"], made["scope_acr"]) == ("aal1", {"refund": "aal2"})
    assert run("apis", "list", "--json").json[0]["scope_acr"] == {"refund": "aal2"}
    other = ("apis", "create", "https://b.example.org", "--scope", "b=B")
    assert "no scope 'refund'" in run(*other, "--scope-acr", "refund=aal2", code=1).err
    assert "aal1, aal2" in run(*other, "--scope-acr", "b=gold", code=1).err
    run(*other, "--scope-acr", "b", code=2)
    run(*other, "--minimum-acr", "gold", code=2)
    plain = run(*other, "--json").json
    assert (plain["minimum_acr"], plain["scope_acr"]) == (None, {})


def test_a_client_demands_and_wishes_for_a_strength(run: Run) -> None:
    """By metadata; null takes it back."""
    metadata = {"redirect_uris": ["https://a.example.org/cb"], "minimum_acr": "aal2", "default_acr_values": ["aal2"]}
    made = run("clients", "create", "--metadata", "-", "--json", given=json.dumps(metadata)).json
    assert (made["minimum_acr"], made["default_acr_values"]) == ("aal2", ["aal2"])
    given = json.dumps({"minimum_acr": None})
    changed = run("clients", "set", made["client_id"], "--metadata", "-", "--json", given=given).json
    assert "minimum_acr" not in changed
    for wrong in ({"minimum_acr": "gold"}, {"minimum_acr": ["aal2"]}, {"default_acr_values": "aal2"}):
        refused = run("clients", "set", made["client_id"], "--metadata", "-", given=json.dumps(wrong), code=1)
        assert next(iter(wrong)) in refused.err


def test_keys_rotate_and_are_revoked(run: Run) -> None:
    """`rotate` promotes next at once; `revoke` replaces a key and it never comes back."""

    def states() -> dict[str, str]:
        return {row["kid"]: row["state"] for row in run("keys", "list", "--json").json if row["alg"] == "RS256"}

    before = states()
    upcoming = next(kid for kid, state in before.items() if state == "next")
    old = next(kid for kid, state in before.items() if state == "current")
    run("keys", "rotate")
    after = states()
    assert (after[upcoming], after[old]) == ("current", "retiring")
    assert sorted(after.values()) == ["current", "next", "retiring"]
    run("keys", "revoke", "--yes", "--", upcoming)  # a thumbprint may begin with a dash
    assert states()[upcoming] == "revoked"
    assert sorted(states().values()) == ["current", "next", "retiring", "revoked"]
    run("keys", "revoke", "--yes", "--", upcoming, code=1)
    assert "no such live key: -wh_Aj" in run("keys", "revoke", "--yes", "--", "-wh_Aj", code=1).err


def test_sessions_and_tokens_of_nobody(run: Run) -> None:
    """Empty lists are empty arrays; what does not exist is refused."""
    create_ada(run)
    assert run("sessions", "list", "--json").json == []
    assert run("tokens", "list", "--user", "ada@example.org", "--json").json == []
    run("sessions", "revoke", "unknown", "--yes", code=1)
    run("tokens", "revoke", "--family", "unknown", "--yes", code=1)
    assert run("sessions", "revoke", "--all", "--yes", "--json").json == {"sessions": 0}
    assert run("tokens", "revoke", "--all", "--yes", "--json").json == {"families": 0}


def test_a_secret_is_never_an_option() -> None:
    """What stands on a command line can be read by everybody on the machine."""
    import click

    from auth_server.cli import lazy

    def options(command: click.Command) -> list[str]:
        own = [name for param in command.params for name in param.opts]
        inner = command.commands.values() if isinstance(command, click.Group) else ()
        return own + [name for sub in inner for name in options(sub)]

    named = [name for command in lazy.NAMES for name in options(lazy.load(command))]
    assert "--password-stdin" in named
    assert not [name for name in named if name in ("--password", "--secret", "--client-secret", "--token")]
    assert crypto.new_secret() not in named


def test_a_client_with_keys_is_created_without_a_secret(run: Run, tmp_path: Path) -> None:
    """By metadata, and by an option beside it; its metadata come back as they were, and it takes no secret."""
    jwks = {"keys": [assertion.signer("ES256").jwk()]}
    metadata = {"client_name": "Signer", "grant_types": ["client_credentials"], "jwks": jwks}
    file = tmp_path / "client.json"
    file.write_text(json.dumps(metadata))
    done = run("clients", "create", "--auth-method", "private_key_jwt", "--metadata", str(file), "--json")
    assert done.json["jwks"] == jwks
    assert done.json["token_endpoint_auth_method"] == "private_key_jwt"
    assert "client_secret" not in done.json
    assert "shown this once" not in done.err
    assert "has no secret" in run("clients", "secrets", done.json["client_id"], "--add", code=1).err
    file.write_text(json.dumps({**metadata, "client_secret": "chosen-" * 8}))
    words = ("clients", "create", "--auth-method", "private_key_jwt", "--metadata", str(file))
    assert "has no secret" in run(*words, code=1).err
    del metadata["jwks"]
    file.write_text(json.dumps(metadata))
    assert "needs jwks or jwks_uri" in run(*words, code=1).err
    file.write_text(json.dumps({**metadata, "client_secret": "chosen-" * 8}))
    made = run("clients", "create", "--auth-method", "client_secret_jwt", "--metadata", str(file), "--json")
    assert "client_secret" not in made.json


def test_an_app_that_a_document_describes_is_blocked_by_its_address(app: Flask, run: Run, tmp_path: Path) -> None:
    """Its row is a client like others; a file takes it over once it is deleted, since its document would undo that."""
    client_id = "https://app.example.org/client.json"
    plain = {
        "client_name": "App",
        "redirect_uris": ["https://app.example.org/cb"],
        "token_endpoint_auth_method": "none",
    }
    details = factories.within(app, lambda: clients.checked(plain))
    factories.within(app, lambda: clients.add(details, client_id=client_id, document_until=clock.now()))
    shown = run("clients", "show", client_id, "--json").json
    assert (shown["client_id"], shown["self_registered"], shown["disabled"]) == (client_id, True, False)
    run("clients", "disable", client_id, "--yes")
    assert run("clients", "show", client_id, "--json").json["disabled"]
    file = tmp_path / "app.toml"
    file.write_text(f'[client."{client_id}"]\nredirect_uris = ["https://app.example.org/cb"]\nclient_name = "Ours"\n')
    assert "its own document describes" in run("apply", str(file), code=1).err
    run("clients", "delete", client_id, "--yes")
    run("apply", str(file))
    assert not run("clients", "show", client_id, "--json").json["self_registered"]
