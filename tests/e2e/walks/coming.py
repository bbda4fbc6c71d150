"""Coming to a server: its set-up, an account of one's own, an invitation, the proof of an address and its change."""

from __future__ import annotations

from datetime import timedelta

from playwright.sync_api import Page, expect

from tests.e2e.conftest import PASSWORD, Site
from tests.e2e.device import Device, without_autofill
from tests.e2e.letters import code_in, letter_to, link_to
from tests.e2e.walks.steps import Look, arrive, ask_for_account, ask_for_passkey, later, press, sign_in


def the_beginning(site: Site, page: Page, email: str, look: Look) -> None:
    """On a server of its own: set-up without its link, with it, mistaken; no sign-up; the last administrator; tries."""
    page.goto(site.issuer + "/")
    look(page, "setup")
    page.goto(site.command("setup-link").strip())
    look(page, "setup")
    press(page)
    look(page, "setup", wrong=True)
    site.person(email, "--name", "Ada Lovelace", "--role", "administrator")
    page.goto(site.issuer + "/signup")
    look(page, "signup")
    page.goto(site.issuer + "/account/delete")
    sign_in(page, email)
    expect(page.locator("main [name=email]")).to_have_count(0)
    look(page, "account-delete")
    page.context.clear_cookies()
    page.goto(site.issuer + "/login")
    for _try in range(6):
        sign_in(page, email, "wrong")
    look(page, "login", wrong=True)


def the_sign_up(site: Site, page: Page, email: str, look: Look) -> None:
    """Asked, mistaken, sent, a wrong code, too soon again, the right code, the account; links that are over."""
    new, late, taken = (f"{word}-{email}" for word in ("new", "late", "taken"))
    page.goto(site.issuer + "/signup")
    look(page, "signup")
    ask_for_account(page, "nonsense", "")
    look(page, "signup", wrong=True)
    ask_for_account(page, new)
    arrive(page, "signup-sent")
    sent = page.url
    page.locator("main button[value=again]").click()
    look(page, "signup-sent", wrong=True)
    page.goto(sent)
    look(page, "signup-sent")
    page.locator("main [name=code]").fill("1")
    page.locator("main button[value=code]").click()
    look(page, "signup-sent", wrong=True)
    letter, url = letter_to(site, new), link_to(site, new, "/signup/finish")
    page.locator("main [name=code]").fill(code_in(letter))
    page.locator("main button[value=code]").click()
    look(page, "signup-finish")
    press(page)
    look(page, "signup-finish", wrong=True)
    page.locator("main [name=password]").fill(PASSWORD)
    press(page)
    look(page, "account")
    page.goto(url)
    look(page, "error")
    page.goto(f"{site.issuer}/signup/sent?handle=gone")
    look(page, "error")
    for address in (late, taken):
        page.goto(site.issuer + "/signup")
        ask_for_account(page, address)
        arrive(page, "signup-sent")
    page.goto(later(site, link_to(site, late, "/signup/finish"), timedelta(hours=2)))
    look(page, "error")
    url = link_to(site, taken, "/signup/finish")
    site.person(taken)
    page.goto(url)
    look(page, "done")


def the_invitation(site: Site, page: Page, email: str, look: Look) -> None:
    """Opened where somebody else is signed in, its passkey cancelled and made; the link again, and an unknown one."""
    invited = f"invited-{email}"
    without_autofill(page).goto(site.issuer + "/account")
    sign_in(page, email)
    url = site.command("invitations", "create", invited, "--name", "Ada Lovelace").strip()
    page.goto(url)
    look(page, "signup-finish")
    device = Device(page)
    device.know_its_person(False)
    ask_for_passkey(page)
    look(page, "signup-finish")
    page.locator("main [name=name]").fill("x" * 300)
    device.know_its_person(True)
    page.locator("#passkey").click()
    page.wait_for_selector("main .alert-error")
    look(page, "signup-finish", wrong=True)
    page.locator("main [name=name]").fill("Ada Lovelace")
    page.locator("#passkey").click()
    arrive(page, "account-codes")
    look(page, "account-codes")
    page.locator("main [name=saved]").check()
    press(page)
    look(page, "account")
    page.goto(site.issuer + "/account/security")
    look(page, "account-security")
    page.goto(url)
    look(page, "error")
    page.goto(site.issuer + "/signup/invitation?token=x")
    look(page, "error")


def the_address(site: Site, page: Page, email: str, look: Look) -> None:
    """Unproved, waiting, a wrong code, proved by the right one; changed by the link, and taken back."""
    unproved, new = (f"{word}-{email}" for word in ("unproved", "new"))
    site.person(unproved, "--unverified", "--name", "Ada Lovelace")
    page.goto(site.issuer + "/account/email")
    sign_in(page, unproved)
    look(page, "account-email")
    page.locator("main button[value=send]").click()
    page.locator("main [name=code]").wait_for()
    waiting = page.url
    page.locator("main button[value=send]").click()
    look(page, "account-email", wrong=True)
    page.goto(waiting)
    look(page, "account-email")
    page.locator("main [name=code]").fill("000000")
    page.locator("main button[value=code]").click()
    look(page, "account-email", wrong=True)
    letter, link = letter_to(site, unproved), link_to(site, unproved, "/account/email/confirm")
    page.goto(link)
    look(page, "account-confirm")
    page.goto(waiting)
    page.locator("main [name=code]").fill(code_in(letter))
    page.locator("main button[value=code]").click()
    look(page, "account-email")
    page.goto(link)
    look(page, "error")
    page.context.clear_cookies()
    page.goto(site.issuer + "/account/email")
    sign_in(page, email)
    page.locator("main a[href$='/email/change']").click()
    look(page, "account-email")
    page.locator("main [name=email]").fill("nonsense")
    press(page)
    look(page, "account-email", wrong=True)
    page.locator("main [name=email]").fill(new)
    press(page)
    look(page, "account-email")
    page.goto(site.issuer + "/account/email")  # as in another browser, which cannot take the code
    look(page, "account-email")
    link = link_to(site, new, "/account/email/confirm")
    page.goto(link)
    look(page, "account-confirm")
    press(page)
    look(page, "account-email")
    undo = link_to(site, email, "/recover/email")
    page.goto(undo)
    look(page, "recover-email")
    press(page)
    look(page, "reset")
    page.goto(undo)
    look(page, "error")
    page.goto(site.issuer + "/account/email")
    sign_in(page, unproved)
    page.goto(link)
    look(page, "error")
