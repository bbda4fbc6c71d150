"""What people do, from the set-up link to signing out, in a real browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from authlib.integrations.httpx_client import OAuth2Client
from playwright.sync_api import BrowserContext, Page, expect

from tests.e2e.conftest import EMAIL, PASSWORD, App, Site, is_at, sign_in
from tests.support.rp import challenge_of, payload

pytestmark = [pytest.mark.e2e, pytest.mark.sqlite_only]
VERIFIER = "a-verifier-of-at-least-forty-three-characters-0123"
SCOPE = "openid profile email offline_access"


def authorization_url(site: Site, **changed: str) -> str:
    parameters = {
        "client_id": site.client["client_id"],
        "redirect_uri": site.app.address + "/callback",
        "response_type": "code",
        "scope": SCOPE,
        "state": "the-state",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
        **changed,
    }
    return f"{site.issuer}/oauth/authorize?{urlencode(parameters)}"


def last_answer(app: App) -> dict[str, str]:
    return app.answers[-1]


def test_the_set_up_link_makes_the_first_administrator(new_site: Site, page: Page) -> None:
    """Every page leads to the set-up; the link's form ends signed in; afterwards there is no set-up (OP-1)."""
    page.goto(new_site.issuer + "/")
    is_at(page, "setup")
    expect(page.get_by_label("Password")).to_have_count(0)
    link = json.loads(new_site.command("setup-link", "--json"))["url"]
    page.goto(link)
    page.get_by_label("E-mail").fill(EMAIL)
    page.get_by_label("Name").fill("Ada")
    page.get_by_label("Password", exact=True).fill("short")
    page.get_by_role("button", name=re.compile("Create|Set up")).click()
    assert page.title().startswith("Error: ")
    expect(page.get_by_label("E-mail")).to_have_value(EMAIL)
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name=re.compile("Create|Set up")).click()
    is_at(page, "account")
    page.goto(link)
    is_at(page, "error")


def test_a_stock_client_signs_a_person_in(site: Site, page: Page) -> None:
    """Login, consent, and the redirect to another origin arrives; then tokens, refresh and revocation."""
    metadata = httpx2.get(site.issuer + "/.well-known/openid-configuration").json()
    client = OAuth2Client(
        site.client["client_id"],
        site.client["client_secret"],
        scope=SCOPE,
        redirect_uri=site.app.address + "/callback",
        code_challenge_method="S256",
    )
    url, state = client.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=VERIFIER, nonce="n", prompt="consent"
    )
    page.goto(url)
    expect(page.locator("main")).to_contain_text("Acme Notes", use_inner_text=True)
    sign_in(page)
    is_at(page, "consent")
    text = page.locator("main").inner_text()
    assert EMAIL in text
    assert f"localhost:{site.app.server_port}" in text
    page.get_by_role("button", name="Allow", exact=True).click()
    page.wait_for_url(site.app.address + "/callback?**")
    answer = last_answer(site.app)
    assert (answer["state"], answer["iss"]) == (state, site.issuer)
    token: dict[str, Any] = client.fetch_token(metadata["token_endpoint"], code=answer["code"], code_verifier=VERIFIER)
    assert payload(token["id_token"])["nonce"] == "n"
    assert client.get(metadata["userinfo_endpoint"]).json()["email"] == EMAIL
    fresh = client.refresh_token(metadata["token_endpoint"], token["refresh_token"])
    assert fresh["refresh_token"] != token["refresh_token"]
    client.revoke_token(metadata["revocation_endpoint"], fresh["refresh_token"], "refresh_token")
    assert client.get(metadata["userinfo_endpoint"]).status_code == 401
    page.goto(authorization_url(site))
    assert "code" in last_answer(site.app)  # remembered: no page the second time
    client.close()


@pytest.mark.parametrize("with_script", [True, False], ids=["script", "no-script"])
def test_everything_works_without_javascript(
    site: Site, open_browser: Callable[..., BrowserContext], with_script: bool
) -> None:
    """Login, consent, form_post and sign-out, with and without script (X-7)."""
    page = open_browser(java_script_enabled=with_script).new_page()
    page.goto(authorization_url(site, prompt="consent", response_mode="form_post", state="posted"))
    sign_in(page)
    is_at(page, "consent")
    page.get_by_role("button", name="Allow", exact=True).click()
    if not with_script:
        page.get_by_role("button", name="Continue").click()
    page.wait_for_url(site.app.address + "/callback")
    assert last_answer(site.app)["state"] == "posted"
    page.goto(site.issuer + "/logout")
    page.get_by_role("button", name="Sign out").click()
    is_at(page, "signed-out")
    page.goto(site.issuer + "/account")
    is_at(page, "login")


def test_deny_goes_back_cleanly_and_enter_never_grants(site: Site, page: Page) -> None:
    """`access_denied` with `state` and `iss` (USR-16); the first button in the form is the one that denies (USR-12)."""
    page.goto(authorization_url(site, prompt="consent"))
    sign_in(page)
    form = page.locator("form", has=page.get_by_role("button", name="Allow", exact=True))
    assert form.locator("button[type=submit]").first.get_attribute("value") == "deny"
    page.get_by_role("button", name="Don't allow").click()
    page.wait_for_url(site.app.address + "/callback?**")
    answer = last_answer(site.app)
    assert (answer["error"], answer["state"], answer["iss"]) == ("access_denied", "the-state", site.issuer)


def test_another_account_can_be_chosen(site: Site, page: Page) -> None:
    """`prompt=select_account` offers to continue or to sign in as somebody else (OpenID Connect Core §3.1.2.1)."""
    page.goto(authorization_url(site, prompt="consent"))
    sign_in(page)
    page.get_by_role("button", name="Allow", exact=True).click()
    page.wait_for_url(site.app.address + "/callback?**")
    page.goto(authorization_url(site, prompt="select_account"))
    is_at(page, "login")
    page.get_by_role("button", name=re.compile("Continue as")).click()
    page.wait_for_url(site.app.address + "/callback?**")
    assert "code" in last_answer(site.app)


def test_sessions_and_apps_are_seen_and_ended(site: Site, open_browser: Callable[..., BrowserContext]) -> None:
    """Two browsers: one signs the other out; the connected app is disconnected (USR-19, USR-20)."""
    email = site.person("two-browsers@example.org")
    one, other = open_browser().new_page(), open_browser().new_page()
    for page in (one, other):
        page.goto(site.issuer + "/account")
        sign_in(page, email)
        is_at(page, "account")
    one.goto(authorization_url(site, prompt="consent"))
    one.get_by_role("button", name="Allow", exact=True).click()
    one.wait_for_url(site.app.address + "/callback?**")
    one.goto(site.issuer + "/account/sessions")
    one.get_by_role("button", name="Sign out all others").click()
    expect(one.locator("tbody tr")).to_have_count(1)
    other.goto(site.issuer + "/account")
    is_at(other, "login")
    one.goto(site.issuer + "/account/apps")
    expect(one.locator("main")).to_contain_text("Acme Notes", use_inner_text=True)
    one.get_by_role("button", name=re.compile("^Disconnect")).first.click()
    expect(one.locator("main")).not_to_contain_text("Acme Notes", use_inner_text=True)


def test_a_wrong_link_is_a_page_and_never_a_redirect(site: Site, page: Page) -> None:
    """The developer learns what differs; markup stays text (DEV-4)."""
    page.goto(authorization_url(site, redirect_uri=site.app.address + "/callback/"))
    assert page.locator("main").get_attribute("data-error") == "redirect_uri_mismatch"
    page.get_by_text("Details for the app's developer").click()
    expect(page.locator("details")).to_contain_text("only a trailing slash", use_inner_text=True)
    page.goto(authorization_url(site, redirect_uri='"><script>document.title="hacked"</script>'))
    assert page.locator("main").get_attribute("data-error") == "redirect_uri_mismatch"
    assert "hacked" not in page.title()


def test_pages_are_light(site: Site, page: Page, tmp_path: Path) -> None:
    """Login and consent: at most 4 requests and 30 kB, nothing from elsewhere (X-10)."""
    sizes: list[int] = []
    hosts: set[str] = set()

    def count(response: Any) -> None:
        sizes.append(len(response.body()))
        hosts.add(response.url.split("/")[2])

    page.goto(authorization_url(site, prompt="consent"))
    page.on("response", count)
    page.reload()
    page.wait_for_load_state("networkidle")
    page.remove_listener("response", count)
    is_at(page, "login")
    assert len(sizes) <= 4
    assert sum(sizes) <= 30_000
    sizes.clear()
    sign_in(page)
    page.wait_for_selector("main[data-page=consent]")
    page.on("response", count)
    page.reload()
    page.wait_for_load_state("networkidle")
    is_at(page, "consent")
    assert len(sizes) <= 4
    assert sum(sizes) <= 30_000
    assert hosts == {f"localhost:{site.server.port}"}
