"""An app signs a person out: the page that tells the others through frames, and the way back."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx2
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import Site, sign_in
from tests.e2e.looking import examine
from tests.e2e.test_stories import VERIFIER, authorization_url, last_answer
from tests.support.rp import payload

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]


def signed_in(site: Site, page: Page, **metadata: object) -> tuple[str, str]:
    """Register an app and sign in to it; return its ID token and client id."""
    about = {"redirect_uris": [site.app.address + "/callback"], "token_endpoint_auth_method": "none", **metadata}
    words = ("clients", "create", "--metadata", "-", "--json")
    given = {"client_name": "Acme Notes", "first_party": True, "post_logout_redirect_uris": [site.app.address + "/bye"]}
    client_id = json.loads(site.command(*words, given=json.dumps({**given, **about})))["client_id"]
    page.goto(authorization_url(site, client_id=client_id))
    sign_in(page)
    page.wait_for_url(site.app.address + "/callback?**")
    fields = {"grant_type": "authorization_code", "code": last_answer(site.app)["code"], "code_verifier": VERIFIER}
    answer = httpx2.post(site.issuer + "/oauth/token", data={**fields, "client_id": client_id}, trust_env=False)
    return str(answer.json()["id_token"]), client_id


@pytest.mark.parametrize("with_script", [True, False], ids=["script", "no-script"])
def test_apps_in_frames_are_told_on_the_way_back(
    site: Site, open_browser: Callable[..., BrowserContext], with_script: bool
) -> None:
    """Front-Channel Logout §3: the frame is loaded, and the browser goes on by itself, or by a button (X-7)."""
    page = open_browser(java_script_enabled=with_script).new_page()
    hint, _client = signed_in(site, page, frontchannel_logout_uri=site.app.address + "/callback")
    back = f"&post_logout_redirect_uri={site.app.address}/bye&state=done"
    page.goto(f"{site.issuer}/oauth/logout?id_token_hint={hint}{back}", wait_until="commit")
    if not with_script:
        page.get_by_role("link", name="Continue").click()
    page.wait_for_url(site.app.address + "/bye?state=done")
    assert last_answer(site.app) == {"iss": site.issuer, "sid": payload(hint)["sid"]}


def test_the_pages_of_a_sign_out(site: Site, page: Page) -> None:
    """The question that names the app, the page with frames, and the one where nobody is signed in, in every look."""
    hint, client_id = signed_in(site, page, frontchannel_logout_uri=site.app.address + "/callback")
    named = f"{site.issuer}/oauth/logout?client_id={client_id}&post_logout_redirect_uri={site.app.address}/bye"
    page.goto(named)
    expect(page.locator("main")).to_contain_text("Acme Notes")
    examine(page, "logout")
    page.goto(f"{site.issuer}/oauth/logout?id_token_hint={hint}")
    examine(page, "signed-out")
    page.goto(named)
    examine(page, "signed-out")
    page.get_by_role("link", name="Back to Acme Notes").click()
    page.wait_for_url(site.app.address + "/bye")
