"""What was forgotten or lost, and what shall go: recovery, the person's own data, the end of the account."""

from __future__ import annotations

import json
from datetime import timedelta

from playwright.sync_api import Page, expect

from auth_server.accounts.sessions import SessionRow
from tests.e2e.conftest import Site
from tests.e2e.letters import code_in, letter_to, link_to
from tests.e2e.walks.steps import NEW_PASSWORD, Look, id_of, later, press, save, set_up_app, sign_in


def the_forgotten_password(site: Site, page: Page, email: str, look: Look) -> None:
    """Asked, sent, a wrong code, the right one, set, the second factor kept; "this wasn't me"; links that are over."""
    page.goto(site.issuer + "/account/security")
    sign_in(page, email)
    phone = set_up_app(site, page)
    page.context.clear_cookies()
    page.goto(site.issuer + "/recover")
    look(page, "recover")
    press(page)
    look(page, "recover", wrong=True)
    page.locator("main [name=email]").fill(email)
    press(page)
    look(page, "recover")
    page.locator("main [name=code]").fill("x")
    page.locator("main form[action='/recover/code'] button").click()
    look(page, "recover", wrong=True)
    letter, link = letter_to(site, email, "/recover/reset"), link_to(site, email, "/recover/reset")
    page.locator("main [name=code]").fill(code_in(letter))
    page.locator("main form[action='/recover/code'] button").click()
    look(page, "reset")
    page.locator("main [name=password]").fill("short")
    press(page)
    look(page, "reset", wrong=True)
    page.locator("main [name=password]").fill(NEW_PASSWORD)
    press(page)
    look(page, "done")
    page.locator("main .btn-primary").click()
    sign_in(page, email, NEW_PASSWORD)
    look(page, "mfa")
    page.locator("main [name=code]").fill(phone.code(1))
    press(page)
    look(page, "account")
    page.goto(site.issuer + "/account/security/events")
    look(page, "account-events")
    page.goto(link)
    look(page, "error")
    page.goto(site.issuer + "/recover/reset?token=x")
    look(page, "error")
    page.goto(later(site, site.command("users", "reset-link", email).strip(), timedelta(hours=1)))
    look(page, "error")
    not_me = link_to(site, email, "/recover/not-me")
    page.goto(not_me)
    look(page, "not-me")
    press(page)
    look(page, "reset")
    page.goto(not_me)
    look(page, "error")


def the_lost_factor(site: Site, page: Page, email: str, look: Look) -> None:
    """A recovery without password and second factor: it waits, is seen and stopped; another one's day comes."""
    page.goto(site.issuer + "/account/security")
    sign_in(page, email)
    set_up_app(site, page)
    words = ("users", "recovery-link", email, "--checked", "in person", "--json")
    stopped = json.loads(site.command(*words))["url"]
    page.goto(stopped)
    look(page, "recovery-waiting")
    page.goto(site.issuer + "/account")
    look(page, "account")
    stop = link_to(site, email, "/recover/stop")
    page.goto(stop)
    look(page, "recovery-stop")
    press(page)
    look(page, "done")
    for link in (stop, stopped):
        page.goto(link)
        look(page, "error")
    link = later(site, json.loads(site.command(*words))["url"], timedelta(days=2))
    page.context.clear_cookies()
    page.goto(link)
    look(page, "reset")
    page.locator("main [name=password]").fill("short")
    press(page)
    look(page, "reset", wrong=True)
    page.locator("main [name=password]").fill(NEW_PASSWORD)
    press(page)
    look(page, "done")
    page.goto(link)
    look(page, "error")
    page.goto(site.issuer + "/login?next=/account/security/second-factor")
    sign_in(page, email, NEW_PASSWORD)
    look(page, "account-second-factor")
    page.goto(site.issuer + "/account/security/events")
    look(page, "account-events")


def the_own_data(site: Site, page: Page, email: str, look: Look) -> None:
    """The profile as it is, mistaken, saved, in another look; the copy; the deletion, with a sign-in in between."""
    page.goto(site.issuer + "/account/profile")
    sign_in(page, email)
    look(page, "account-profile")
    page.locator("main [name=birthdate]").fill("soon")
    page.locator("main [name=phone_number]").fill("123")
    save(page)
    expect(page.get_by_role("alert")).to_be_focused()
    look(page, "account-profile", wrong=True)
    page.locator("main [name=birthdate]").fill("1985-07-31")
    page.locator("main [name=phone_number]").fill("+44 20 7946 0000")
    page.locator("main [name=zoneinfo]").select_option("Europe/Berlin")
    save(page)
    expect(page.get_by_role("status")).to_have_count(1)
    look(page, "account-profile")
    page.locator("main button[value=dark]").click()
    look(page, "account-profile")
    page.locator("main button[value=system]").click()
    page.locator("main a[href='/account/export']").click()
    look(page, "account-export")
    page.goto(site.issuer + "/account/delete")
    look(page, "account-delete")
    page.locator("main [name=email]").fill("somebody@example.org")
    press(page)
    look(page, "account-delete", wrong=True)
    page.locator("main [name=email]").fill(email)
    site.let_time_pass(SessionRow, timedelta(hours=1), user_id=id_of(site, email))
    press(page)
    look(page, "login")
    sign_in(page, email)
    expect(page.locator("main [name=email]")).to_have_value(email)
    look(page, "account-delete")
    press(page)
    look(page, "done")
