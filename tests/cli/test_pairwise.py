"""Pairwise clients on the command line and in the file that `apply` reads: one validation, one look at the document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask

from auth_server.clients import client as clients
from tests.cli.conftest import Run
from tests.support import factories, web_server
from tests.support.browser import Browser
from tests.support.rp import RelyingParty, payload
from tests.support.web_server import WebServer, as_json

URIS = ["https://wiki.example.org/callback", "https://notes.example.net/callback"]


@pytest.fixture
def sector(monkeypatch: pytest.MonkeyPatch, run: Run) -> Iterator[WebServer]:
    """Return the host of the document, which the command line may reach."""
    with web_server.running(as_json(URIS)) as server:
        monkeypatch.setenv("AUTH_SERVER_OUTBOUND_ALLOW_HOSTS", f"127.0.0.1:{server.port}")
        yield server


def test_a_pairwise_client_is_made_shown_and_changed(run: Run, sector: WebServer) -> None:
    """The sector is shown; a document that does not list an address refuses it, by name."""
    metadata = {"client_name": "Wiki", "redirect_uris": URIS, "subject_type": "pairwise"}
    refused = run("clients", "create", "--metadata", "-", given=json.dumps(metadata), code=1)
    assert "subject_type" in refused.err
    metadata["sector_identifier_uri"] = sector.url("/sector.json")
    made = run("clients", "create", "--metadata", "-", "--json", given=json.dumps(metadata)).json
    shown = run("clients", "show", made["client_id"], "--json").json
    assert (shown["subject_type"], shown["sector"]) == ("pairwise", "127.0.0.1")
    more = json.dumps({"redirect_uris": [*URIS, "https://third.example.org/callback"]})
    refused = run("clients", "set", made["client_id"], "--metadata", "-", given=more, code=1)
    assert "sector_identifier_uri" in refused.err
    plain = json.dumps({"subject_type": None, "sector_identifier_uri": None})
    run("clients", "set", made["client_id"], "--metadata", "-", given=plain)
    assert "sector" not in run("clients", "show", made["client_id"], "--json").json
    assert len(sector.requests) == 2


def test_families_show_what_the_app_calls_the_person(run: Run, app: Flask, browser: Browser) -> None:
    """So that an operator finds in the app's log who is meant; a public client needs no other name."""
    about = {"redirect_uris": URIS[:1], "subject_type": "pairwise"}
    rp = RelyingParty(app, browser, *factories.client(app, **about))
    subject = payload(rp.tokens()["id_token"])["sub"]
    (row,) = run("tokens", "list", "--user", "ada@example.org", "--json").json
    assert row["sub"] == subject


FILE = """
[client.wiki]
client_name = "Wiki"
redirect_uris = {uris}
subject_type = "pairwise"
sector_identifier_uri = "{uri}"

[group.staff]
name = "Staff"
"""


def test_apply_asks_the_document_before_it_changes_anything(
    run: Run, app: Flask, sector: WebServer, tmp_path: Path
) -> None:
    """A bad one changes nothing, a dry run tells, and an unchanged file asks nobody."""
    file = tmp_path / "auth.toml"
    file.write_text(FILE.format(uris=json.dumps(URIS), uri=sector.url("/sector.json")))
    sector.behave = as_json([URIS[0]])
    refused = run("apply", str(file), code=1)
    assert "sector_identifier_uri" in refused.err
    assert run("groups", "list", "--json").json == []
    sector.behave = as_json(URIS)
    assert "create client wiki" in run("apply", str(file), "--dry-run", code=10).out
    assert factories.within(app, lambda: clients.find_now("wiki")) is None
    assert "create client wiki" in run("apply", str(file)).out
    asked = len(sector.requests)
    sector.behave = web_server.answer(b"", "500 Internal Server Error")
    assert "nothing to change" in run("apply", str(file)).out
    assert len(sector.requests) == asked == 3
