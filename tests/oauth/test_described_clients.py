"""Clients whose id is the address of a document about them (Client ID Metadata Document), from beginning to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from tests.support import asserts, described
from tests.support.browser import Browser, Page
from tests.support.described import Publisher
from tests.support.rp import RelyingParty, answer_of, payload
from tests.support.web_server import answer

Travel = Callable[[timedelta], None]


@pytest.fixture
def wiki(make_app: Callable[..., Flask], tmp_path: Path) -> Iterator[Publisher]:
    with described.published(make_app, tmp_path) as found:
        yield found


def test_an_app_that_nobody_registered_signs_somebody_in(wiki: Publisher) -> None:
    """Code flow with PKCE, userinfo, refresh; the id is the address everywhere, and the document is read once."""
    rp = wiki.party()
    tokens = rp.tokens()
    assert payload(tokens["access_token"])["client_id"] == wiki.client_id
    assert payload(tokens["id_token"])["aud"] == wiki.client_id
    assert rp.userinfo(tokens["access_token"]).json["email"] == "ada@example.org"
    assert rp.refresh(tokens["refresh_token"]).status_code == 200
    assert wiki.asked == 1
