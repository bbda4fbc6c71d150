"""`apply`: secrets, keys and passwords come from outside the file, and open the door afterwards."""

from __future__ import annotations

import hashlib
from pathlib import Path

import bcrypt
import pytest
from flask import Flask

from tests.cli.conftest import Run
from tests.support import assertion, asserts, factories
from tests.support.assertion import Signer
from tests.support.browser import Browser
from tests.support.declared import SECRET
from tests.support.rp import basic

ROBOT = """
[client.robot]
grant_types   = ["client_credentials"]
scope         = "orders:read"
client_secret = SECRET

[api."https://orders.example.org"]
scopes = { "orders:read" = "Read your orders" }
secret = SECRET
"""
SOURCES = ['{ env = "ROBOT_SECRET" }', '{ file = "FOLDER/secret" }', '{ hash = "sha256:DIGEST" }']


def test_a_declared_secret_rotates_with_overlap(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old secret stays valid until it is removed by hand."""
    run("apply", str(file))
    monkeypatch.setenv("GRAFANA_SECRET", SECRET + "-new")
    assert run("apply", str(file)).out.strip() == "change client grafana (secret)"
    assert len(run("clients", "secrets", "grafana", "--json").json["secrets"]) == 2


@pytest.mark.parametrize("source", SOURCES, ids=["env", "file", "hash"])
def test_a_declared_secret_opens_the_door(
    app: Flask, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """From each source, for a client and for an API's credentials; another secret does not."""
    monkeypatch.setenv("ROBOT_SECRET", SECRET)
    (tmp_path / "secret").write_text(SECRET + "\n")
    source = source.replace("FOLDER", str(tmp_path)).replace("DIGEST", hashlib.sha256(SECRET.encode()).hexdigest())
    file = tmp_path / "robot.toml"
    file.write_text(ROBOT.replace("SECRET", source))
    done = run("apply", str(file))
    assert SECRET not in done.out + done.err
    assert done.err == ""

    fields = {"grant_type": "client_credentials"}
    granted = app.test_client().post("/oauth/token", data=fields, headers=basic("robot", SECRET))
    assert granted.status_code == 200, granted.text
    refused = app.test_client().post("/oauth/token", data=fields, headers=basic("robot", SECRET[::-1]))
    asserts.is_oauth_error(refused, "invalid_client", 401)

    api = run("apis", "list", "--json").json[0]
    asked = {"token": granted.json["access_token"]}
    answer = app.test_client().post("/oauth/introspect", data=asked, headers=basic(api["client_id"], SECRET))
    assert answer.json["active"] is True
    refused = app.test_client().post("/oauth/introspect", data=asked, headers=basic(api["client_id"], SECRET[::-1]))
    asserts.is_oauth_error(refused, "invalid_client", 401)


def test_a_declared_client_signs(app: Flask, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its key, or with its secret, which must be at hand for that; declared twice it changes nothing."""
    monkeypatch.setenv("ROBOT_SECRET", SECRET)
    key = assertion.signer("EdDSA")
    file = tmp_path / "signing.toml"
    x, kid = key.jwk()["x"], key.kid
    file.write_text(f"""
[client.robot]
grant_types = ["client_credentials"]
token_endpoint_auth_method = "private_key_jwt"
jwks = {{ keys = [{{ kty = "OKP", crv = "Ed25519", x = "{x}", kid = "{kid}" }}] }}

[client.old-robot]
grant_types = ["client_credentials"]
token_endpoint_auth_method = "client_secret_jwt"
client_secret = {{ env = "ROBOT_SECRET" }}
""")
    assert run("apply", str(file)).out.splitlines() == ["create client robot", "create client old-robot"]
    assert "nothing to change" in run("apply", str(file)).out
    for client_id, by in (("robot", key), ("old-robot", Signer("HS256", SECRET.encode()))):
        form = {"grant_type": "client_credentials"}
        for signer, status in ((by, 200), (Signer("HS256", SECRET[::-1].encode()), 401)):
            token = signer.token(assertion.claims(client_id, "http://localhost:8421"))
            answer = app.test_client().post("/oauth/token", data={**form, **assertion.fields(token)})
            assert answer.status_code == status
    digest = hashlib.sha256(SECRET.encode()).hexdigest()
    file.write_text(file.read_text().replace('env = "ROBOT_SECRET"', f'hash = "sha256:{digest}"'))
    assert "needs the secret itself, from env or file" in run("apply", str(file), code=1).err
    file.write_text(file.read_text().replace("client_secret_jwt", "client_secret_post"))
    assert run("apply", str(file)).out.splitlines() == ["change client old-robot (token_endpoint_auth_method)"]
    file.write_text(
        file.read_text()
        .replace("client_secret_post", "client_secret_jwt")
        .replace(f'hash = "sha256:{digest}"', 'env = "ROBOT_SECRET"')
    )
    assert run("apply", str(file)).out.splitlines() == ["change client old-robot (token_endpoint_auth_method, secret)"]


def test_a_declared_password_signs_in(app: Flask, run: Run, file: Path) -> None:
    """In the clear from outside, or as a bcrypt string of another server."""
    factories.person(app, "root@example.org", roles=["administrator"])  # without one every page leads to set-up
    hashed = bcrypt.hashpw(b"moved from another server", bcrypt.gensalt(4)).decode()
    hash_only = f'[user."eve@example.org"]\npassword = {{ hash = "{hashed}" }}\n[user."ben@example.org"]\n'
    file.write_text(file.read_text() + hash_only)
    run("apply", str(file))
    for email, password in (
        ("ada@example.org", "correct horse battery staple"),
        ("eve@example.org", "moved from another server"),
    ):
        assert Browser(app).sign_in(email, password).status_code == 303
        assert Browser(app).sign_in(email, password + "x").status_code == 401
    assert Browser(app).sign_in("ben@example.org", hashed).status_code == 401


def test_a_password_that_the_person_changed_stays(app: Flask, run: Run, file: Path) -> None:
    """The file sets the first one only."""
    factories.person(app, "root@example.org", roles=["administrator"])
    run("apply", str(file))
    run("users", "set", "ada@example.org", "--password-stdin", given="another horse, another staple\n")
    assert run("apply", str(file)).out.strip() == "nothing to change"
    assert Browser(app).sign_in("ada@example.org", "another horse, another staple").status_code == 303
    assert Browser(app).sign_in("ada@example.org", "correct horse battery staple").status_code == 401
