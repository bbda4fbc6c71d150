"""What `examples.conformance` writes sets up the clients and the person that the official plans need."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from joserfc.jwk import ECKey

from auth_server.clients import client as clients
from examples import conformance
from examples.conformance import PERSON, SCOPE
from tests.cli.conftest import Run
from tests.support import assertion, factories
from tests.support.assertion import Signer
from tests.support.browser import Browser
from tests.support.dpop import DpopKey
from tests.support.rp import RelyingParty, answer_of, bearer, payload

ISSUER, SUITE = "http://localhost:8421", "https://suite.example.org:8443"


@pytest.fixture
def folder(app: Flask, tmp_path: Path, run: Run) -> Path:
    """The three files, and a server that they were applied to; somebody else has set it up."""
    factories.person(app, "grace@example.org", roles=["administrator"])
    folder = tmp_path / "conformance"
    conformance.write(ISSUER, SUITE, folder)
    run("apply", str(folder / "auth-server.toml"))
    return folder


def of(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found


def password_in(settings: dict[str, Any]) -> str:
    commands = settings["browser"][0]["tasks"][0]["commands"]
    return str(next(command[3] for command in commands if command[2] == "password"))


def party(app: Flask, about: dict[str, Any]) -> RelyingParty:
    with app.app_context():
        client = clients.find(about["client_id"])
    assert client
    return RelyingParty(app, Browser(app), client, about.get("client_secret", ""))


def test_the_files_are_new_each_time_and_for_their_owner_alone(tmp_path: Path) -> None:
    """Whoever has them can sign in to the server under test."""
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        command = [sys.executable, "-m", "examples.conformance", "--op", ISSUER, "--suite", SUITE, str(folder)]
        subprocess.run(command, check=True, timeout=60, cwd=Path(__file__).parents[2])
        assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    for name in ("auth-server.toml", "op-static.json", "op-fapi.json"):
        one, two = (folder.joinpath(name).read_text() for folder in folders)
        assert one != two


def test_applying_the_profile_again_changes_nothing(folder: Path, run: Run) -> None:
    """As with every such file."""
    assert run("apply", str(folder / "auth-server.toml"), "--dry-run").code == 0


@pytest.mark.parametrize("which", ["client", "client2", "client_secret_post"])
def test_the_basic_plans_clients(app: Flask, folder: Path, which: str) -> None:
    """oidcc-server, oidcc-scope-all, oidcc-refresh-token: a flow without PKCE, every claim, nobody asked for more."""
    settings = of(folder, "op-static.json")
    wiki = party(app, settings[which])
    asked = {"scope": SCOPE, "code_challenge": None, "code_challenge_method": None}
    code = answer_of(wiki.walk(PERSON, password_in(settings), **asked))["code"]
    fields: dict[str, Any] = {"grant_type": "authorization_code", "code": code}
    if which == "client_secret_post":
        fields |= {"headers": {}, "client_id": wiki.client.client_id, "client_secret": wiki.secret}
    answer = wiki.token(**fields, redirect_uri=wiki.client.redirect_uris[0])
    assert answer.status_code == 200, answer.text
    told = wiki.machine.get("/oauth/userinfo", headers=bearer(answer.json["access_token"])).json
    metadata = wiki.machine.get("/.well-known/openid-configuration").json
    assert {*told} >= {*metadata["claims_supported"]} - {"groups", "roles"}
    assert "refresh_token" in answer.json
    assert {"sid", "auth_time"} <= {*payload(answer.json["id_token"])}


@pytest.mark.parametrize("which", ["client", "client2"])
def test_the_fapi_plans_clients(app: Flask, folder: Path, which: str) -> None:
    """fapi2-security-profile-final-happy-flow, with the keys that the suite is given; its answer keeps the query."""
    settings = of(folder, "op-fapi.json")
    about = settings[which]
    (key,) = about["jwks"]["keys"]
    signer = Signer("ES256", ECKey.import_key(key).get_op_key("sign"), key["kid"])
    rp, proofs = party(app, about), DpopKey()

    def post(path: str, fields: dict[str, Any]) -> Any:
        proof = assertion.fields(signer.token(assertion.claims(about["client_id"], ISSUER)))
        headers = {"DPoP": proofs.proof(path)}
        return rp.machine.post(path, data={**fields, **proof}, headers=headers, base_url=ISSUER)

    pushed = post("/oauth/par", rp.request(scope=SCOPE))
    assert pushed.status_code == 201, pushed.text
    arrived = rp.walk_on(rp.bring(pushed.json["request_uri"]), PERSON, password_in(settings))
    answer = answer_of(arrived)
    assert answer["iss"] == ISSUER
    assert answer.get("dummy2") == ("ipsum" if which == "client2" else None)
    fields = {"grant_type": "authorization_code", "code": answer["code"], "code_verifier": rp.verifier}
    redeemed = post("/oauth/token", {**fields, "redirect_uri": rp.client.redirect_uris[0]})
    assert redeemed.status_code == 200, redeemed.text
    assert redeemed.json["token_type"] == "DPoP"
    assert payload(redeemed.json["access_token"])["cnf"] == {"jkt": proofs.jkt}
