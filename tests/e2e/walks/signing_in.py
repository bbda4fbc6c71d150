"""Signing in and the pages of whoever is signed in: the flow of an app, the account, second factors, passkeys."""

from __future__ import annotations

from playwright.sync_api import Page

from tests.e2e.conftest import Site
from tests.e2e.device import Device, without_autofill
from tests.e2e.television import Television
from tests.e2e.test_stories import authorization_url
from tests.e2e.walks.steps import Look, arrive, ask_for_passkey, press, sign_in, without_our_script, without_password
from tests.support.authenticator import Authenticator


def the_flow(site: Site, page: Page, email: str, look: Look) -> None:
    """Login, its mistakes, consent for little and for much, the account that goes on, errors."""
    page.goto(authorization_url(site, prompt="consent", scope="openid"))
    look(page, "login")
    sign_in(page, email, "wrong")
    look(page, "login", wrong=True)
    sign_in(page, email, "wrong")
    look(page, "login", wrong=True)
    sign_in(page, email)
    look(page, "consent")
    page.goto(authorization_url(site, prompt="consent", response_mode="form_post"))
    look(page, "consent")
    without_our_script(page, lambda: page.locator("main button[value=allow]").click())
    look(page, "form-post")
    page.goto(authorization_url(site, prompt="select_account"))
    look(page, "login")
    page.goto(authorization_url(site, client_id="unknown"))
    look(page, "error")
    page.goto(authorization_url(site, redirect_uri="https://elsewhere.example/"))
    page.locator("main details summary").click()
    look(page, "error")
    page.goto(site.issuer + "/oauth/authorize?flow=gone")
    look(page, "error")
    page.goto(site.issuer + "/nowhere")
    look(page, "error")


def a_device(site: Site, page: Page, email: str, look: Look) -> None:
    """The code of a device: typed wrong, filled in by a link, asked about, allowed."""
    codes = Television(site).ask()
    page.goto(site.issuer + "/account")
    sign_in(page, email)
    page.goto(site.issuer + "/device")
    page.locator("input[name=user_code]").fill("bcdf ghjk")
    press(page)
    look(page, "device", wrong=True)
    page.goto(codes["verification_uri_complete"])
    look(page, "device")
    press(page)
    look(page, "consent")
    page.locator("main button[value=allow]").click()
    look(page, "done")


def the_account(site: Site, page: Page, email: str, look: Look) -> None:
    """The account's pages without and with an app, the menu, what happened, signing out here and everywhere."""
    page.goto(site.issuer + "/account/apps")
    sign_in(page, email)
    look(page, "account-apps")
    page.goto(authorization_url(site, prompt="consent"))
    page.locator("main button[value=allow]").click()
    page.wait_for_url(site.app.address + "/callback?**")
    for path, expected in (("", "account"), ("/sessions", "account-sessions"), ("/apps", "account-apps")):
        page.goto(site.issuer + "/account" + path)
        look(page, expected)
    page.locator("header summary").click()
    look(page, "account-apps")
    page.goto(site.issuer + "/account/security/password")
    look(page, "account-password")
    press(page)
    look(page, "account-password", wrong=True)
    page.goto(site.issuer + "/logout")
    look(page, "logout")
    page.locator("main button[value=logout]").click()
    look(page, "signed-out")
    page.goto(site.issuer + "/account/security/events")
    sign_in(page, email)
    look(page, "account-events")
    press(page)
    look(page, "account-confirm")
    press(page)
    look(page, "done")
    page.locator("main .btn-primary").click()
    look(page, "login")


def the_second_factor(site: Site, page: Page, email: str, look: Look) -> None:
    """The authenticator app, its codes, the step of the sign-in, the trust, the end."""
    security = site.issuer + "/account/security"
    page.goto(security)
    sign_in(page, email)
    look(page, "account-security")
    page.goto(security + "/app")
    look(page, "account-app")
    press(page)
    look(page, "account-app")
    for _try in range(2):
        page.locator("main [name=code]").fill("000000")
        press(page)
    look(page, "account-app", wrong=True)
    phone = Authenticator(page.locator("#key").inner_text())
    page.locator("main [name=code]").fill(phone.code())
    press(page)
    look(page, "account-codes")
    page.evaluate("document.querySelector('main form').noValidate = true")
    press(page)
    look(page, "account-codes", wrong=True)
    page.goto(site.issuer + "/login?fresh=1&next=/account/security")
    look(page, "login")
    sign_in(page, email)
    look(page, "mfa")
    for _try in range(2):
        page.locator("main [name=code]").fill("000000")
        press(page)
    look(page, "mfa", wrong=True)
    page.locator("main .links a").first.click()
    look(page, "mfa")
    page.locator("main .links a").first.click()
    page.locator("main [name=code]").fill(phone.code(1))
    page.locator("main [name=trust_device]").check()
    press(page)
    look(page, "account-security")
    page.goto(security + "/app/remove")
    look(page, "account-confirm")
    page.goto(security + "/codes")
    look(page, "account-confirm")


def the_passkeys(site: Site, page: Page, email: str, look: Look) -> None:
    """Cancelled, made, there already, renamed, asked for, refused; the one that goes and the one that stays."""
    security = site.issuer + "/account/security"
    without_autofill(page).goto(security + "/second-factor")
    sign_in(page, email)
    look(page, "account-second-factor")
    page.locator("main a[href*='passkeys/add']").click()
    look(page, "account-passkey")
    device = Device(page)
    device.know_its_person(False)
    ask_for_passkey(page)
    look(page, "account-passkey")
    device.know_its_person(True)
    page.locator("#passkey").click()
    arrive(page, "account-codes")
    look(page, "account-codes")
    page.goto(security)
    look(page, "account-security")
    page.goto(security + "/passkeys/add")
    ask_for_passkey(page)
    look(page, "account-passkey")
    page.goto(security)
    page.locator("main a[href*='passkeys/rename']").click()
    look(page, "account-passkey-name")
    page.locator("main [name=name]").fill("")
    press(page)
    look(page, "account-passkey-name", wrong=True)
    page.goto(security)
    page.locator("main a[href*='passkeys/remove']").click()
    look(page, "account-confirm")
    page.goto(site.issuer + "/login?fresh=1&next=/account/security")
    sign_in(page, email)
    look(page, "mfa")
    device.know_its_person(False)
    ask_for_passkey(page)
    look(page, "mfa")
    device.know_its_person(True)
    page.locator("#passkey").click()
    arrive(page, "account-security")
    without_password(site, email)
    page.reload()
    look(page, "account-security")
    page.locator("main a[href*='passkeys/remove']").click()
    look(page, "account-passkey-stays")
    page.goto(site.issuer + "/login?fresh=1")
    device.know_its_person(False)
    ask_for_passkey(page)
    look(page, "login")
