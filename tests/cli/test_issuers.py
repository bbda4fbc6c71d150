"""`issuers` on the command line, and `[issuer]` in the file of `apply`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from flask import Flask

from tests.cli.conftest import Run
from tests.support import asserts, factories
from tests.support.issuing import BY, CI, IDP, JOB, SUBJECT

FILE = """
[issuer."https://ci.example.org"]
uses       = ["workload"]
algorithms = ["RS256"]
claims     = { repository_owner_id = "4711" }

[issuer."https://id.example.org"]
uses          = ["id-jag"]
jwks_uri      = "https://id.example.org/keys"
people        = "verified-email"
email_domains = ["example.org"]
acr           = "aal2"

[client.deploy]
grant_types = ["client_credentials"]
token_endpoint_auth_method = "workload_identity"

[[client.deploy.workload]]
issuer  = "https://ci.example.org"
subject = "repo:acme/*:environment:production"
claims  = { "kubernetes.io" = { namespace = "shop" } }
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "auth-server.toml"
    found.write_text(FILE)
    return found


def test_an_issuer_is_trusted_changed_and_deleted(app: Flask, run: Run, tmp_path: Path) -> None:
    """JSON as documented; saying it again replaces what was said before; the act is in the audit."""
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [BY.jwk()]}))
    words = ("--use", "workload", "--jwks", str(keys), "--alg", "RS256", "--claim", "owner=4711")
    made = run("issuers", "trust", CI, *words, "--json").json
    assert made["uses"] == ["workload"]
    assert (made["issuer"], made["algorithms"], made["claims"]) == (CI, ["RS256"], {"owner": "4711"})
    assert run("issuers", "trust", CI, "--use", "workload", "--json").json == {"issuer": CI, "uses": ["workload"]}
    assert run("issuers", "list", "--json").json == [{"issuer": CI, "uses": ["workload"]}]
    assert "--yes" in run("issuers", "delete", CI, code=1).err
    run("issuers", "delete", CI, "--yes")
    assert run("issuers", "list", "--json").json == []
    assert "no such" in run("issuers", "delete", CI, "--yes", code=1).err
    assert [len(asserts.events_of(app, f"issuer.{act}")) for act in ("trusted", "changed", "removed")] == [1, 1, 1]


def test_what_cannot_be_trusted_is_told(run: Run, tmp_path: Path) -> None:
    """Each refusal names its field, and leaves nothing."""
    bad = tmp_path / "bad.json"
    bad.write_text("{")
    for words, says in (
        (("x", "--use", "workload"), "issuer: "),
        ((CI,), "uses: "),
        ((CI, "--use", "workload", "--jwks", str(bad)), "jwks: cannot read the keys"),
        ((CI, "--use", "workload", "--jwks", str(tmp_path / "none")), "jwks: cannot read the keys"),
        ((CI, "--use", "id-jag", "--people", "verified-email"), "email_domains: "),
    ):
        assert says in run("issuers", "trust", *words, code=1).err
    run("issuers", "trust", CI, "--use", "workload", "--claim", "x", code=2)
    assert run("issuers", "list", "--json").json == []


def test_subjects_are_linked_and_unlinked(app: Flask, run: Run) -> None:
    """To people that exist, once each; the person's copy of their data has it."""
    ada = factories.person(app)
    assert "no such person" in run("issuers", "link", IDP, SUBJECT, "nobody@example.org", code=1).err
    assert "no such trusted issuer" in run("issuers", "link", IDP, SUBJECT, "ada@example.org", code=1).err
    run("issuers", "trust", IDP, "--use", "id-jag")
    for subject in ("", "x" * 256, "a\nb"):
        assert "subject" in run("issuers", "link", IDP, subject, "ada@example.org", code=1).err
    run("issuers", "link", IDP, SUBJECT, "ada@example.org")
    assert "means somebody already" in run("issuers", "link", IDP, SUBJECT, "ada@example.org", code=1).err
    (row,) = run("issuers", "links", "--json").json
    assert row == {"issuer": IDP, "subject": SUBJECT, "email": "ada@example.org", "id": ada.id}
    assert "--yes" in run("issuers", "unlink", IDP, SUBJECT, code=1).err
    run("issuers", "unlink", IDP, SUBJECT, "--yes")
    assert "no such link" in run("issuers", "unlink", IDP, SUBJECT, "--yes", code=1).err
    assert run("issuers", "links", "--json").json == []
    assert [len(asserts.events_of(app, f"identity.{act}")) for act in ("linked", "unlinked")] == [1, 1]


def test_a_file_declares_issuers_before_clients(run: Run, file: Path) -> None:
    """Applied twice it changes nothing; what it changes is told; what it has no more goes with --prune."""
    assert run("apply", str(file)).out.splitlines() == [
        "create issuer https://ci.example.org",
        "create issuer https://id.example.org",
        "create client deploy",
    ]
    assert run("apply", str(file)).out.strip() == "nothing to change"
    shown = run("clients", "show", "deploy", "--json").json
    assert shown["workload"][0]["claims"] == {"kubernetes.io": {"namespace": "shop"}}
    file.write_text(FILE.replace('acr           = "aal2"\n', ""))
    assert run("apply", str(file)).out.splitlines() == ["change issuer https://id.example.org (acr)"]
    file.write_text(FILE.partition('[issuer."https://id')[0])
    assert run("apply", str(file), "--prune", "--yes").out.splitlines() == [
        "delete client deploy",
        "delete issuer https://id.example.org",
    ]
    assert [row["issuer"] for row in run("issuers", "list", "--json").json] == [CI]


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ('uses       = ["workload"]', 'uses       = ["everything"]', 3, "uses: expected"),
        ('uses       = ["workload"]', "", 2, "trusted for"),
        ('algorithms = ["RS256"]', 'algorithms = ["none"]', 4, "algorithms: expected"),
        ('algorithms = ["RS256"]', "algorithm = 1", 4, "did you mean algorithms"),
        ('email_domains = ["example.org"]', 'email_domains = ["*"]', 11, "domains in lower case"),
        ('jwks_uri      = "https://id', 'jwks_uri      = "http://id', 9, "plain http"),
        ('[issuer."https://ci.example.org"]', '[issuer."http://ci.example.org"]', 2, "plain http"),
        ('subject = "repo:acme/*', 'subject = "repo:acme*', 18, "whole piece"),
        ('issuer  = "https://ci.example.org"', 'issuer  = "https://cl.example.org"', 18, "no issuer that is trusted"),
        ('issuer  = "https://ci.example.org"', 'issuer  = "https://id.example.org"', 18, "no issuer that is trusted"),
    ],
)
def test_mistakes_are_told_with_their_lines(run: Run, file: Path, old: str, new: str, line: int, says: str) -> None:
    """And nothing is changed."""
    assert old in FILE
    file.write_text(FILE.replace(old, new))
    told = run("apply", str(file), code=1).err
    assert f":{line}: " in told, told
    assert says in told
    assert run("issuers", "list", "--json").json == []
    file.write_text(FILE)
    run("apply", str(file))


def test_rules_name_issuers_that_are_trusted(run: Run, tmp_path: Path) -> None:
    """A misspelt one is told when the client is made or changed, not when its job fails at night."""
    raw = {"grant_types": ["client_credentials"], "token_endpoint_auth_method": "workload_identity"}
    file = tmp_path / "client.json"
    file.write_text(json.dumps({**raw, "workload": [{"issuer": CI, "subject": JOB}]}))
    assert "no issuer that is trusted" in run("clients", "create", "--metadata", str(file), code=1).err
    assert run("clients", "list", "--json").json == []
    run("issuers", "trust", CI, "--use", "workload")
    made = run("clients", "create", "--metadata", str(file), "--json").json
    assert "client_secret" not in made
    file.write_text(json.dumps({"workload": [{"issuer": IDP, "subject": JOB}]}))
    assert "no issuer" in run("clients", "set", made["client_id"], "--metadata", str(file), code=1).err
    run("issuers", "delete", CI, "--yes")
    run("clients", "set", made["client_id"], "--name", "Deploy")
