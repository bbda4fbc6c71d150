"""Links of letters under attack: of every other kind, raced, stopped, too late, and what they leave behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from flask import Flask

from auth_server import config
from auth_server.accounts import notices, users
from auth_server.infra import once
from auth_server.pages import recover, setup
from auth_server.tokens import recovery
from tests.support import asserts, authenticator, factories, mailbox
from tests.support.browser import Browser
from tests.support.factories import PASSWORD
from tests.support.rp import RelyingParty
from tests.support.site import at_once
from tests.support.ways_back import BEN, NEW, NOT_ME, RECOVERY, RESET, STOP, ask, path_of, set_password, start, works


def every_link(app: Flask, ben: users.User) -> dict[str, str]:
    """Make one link of every purpose."""
    return {
        RESET: factories.within(app, lambda: recover.make_link(users.find(ben.id) or ben)).partition("token=")[2],
        NOT_ME: factories.within(app, lambda: notices.not_me_url(ben)).partition("token=")[2],
        RECOVERY: start(app, ben).url.partition("token=")[2],
        STOP: mailbox.link_in(mailbox.letters(app)[-1]).partition("token=")[2],
        "/setup": factories.within(app, lambda: once.make(setup.PURPOSE, "x", timedelta(days=1))),
    }


def test_a_link_of_one_kind_is_unknown_at_every_other_page(make_app: Callable[..., Flask]) -> None:
    """CVE-2026-4325: no page takes or burns another's link; each still works where it belongs."""
    app = make_app(recovery_wait=timedelta(0))
    factories.person(app, roles=["administrator"])
    ben = factories.person(app, BEN, "Ben")
    links = every_link(app, ben)
    assert links.get(STOP)
    browser = Browser(app)
    csrf = asserts.is_page(browser.get("/login"), "login").inputs["csrf_token"]
    for page in (RESET, NOT_ME, RECOVERY, STOP):
        for owner, token in links.items():
            if owner != page:
                asserts.is_error_page(browser.get(f"{page}?token={token}"), "flow_expired")
                sent = {"token": token, "password": NEW, "csrf_token": csrf}
                asserts.is_error_page(browser.post(page, sent), "flow_expired")
    markers = {RESET: "reset", NOT_ME: "not-me", RECOVERY: "reset", STOP: "recovery-stop"}
    for page, marker in markers.items():
        for _scan in range(3):
            asserts.is_page(Browser(app).get(f"{page}?token={links[page]}"), marker)
            assert (
                Browser(app).client.head(f"{page}?token={links[page]}", base_url=config.current().issuer).status_code
                == 200
            )
    assert works(app, PASSWORD)
    asserts.is_page(set_password(browser, f"{RECOVERY}?token={links[RECOVERY]}"), "done")
    over = browser.get(f"{RECOVERY}?token={links[RECOVERY]}")
    assert "It was used on " in asserts.is_error_page(over, "flow_expired").text


def test_not_me_ends_everything_and_leads_to_a_new_password(rp: RelyingParty, app: Flask, ada: users.User) -> None:
    """GET shows, POST acts once; sessions, families, links and a recovery end; the way leads to a new password."""
    tokens = rp.tokens()
    reset_path = path_of(factories.within(app, lambda: recover.make_link(users.find(ada.id) or ada)))
    recovery_path = path_of(start(app, ada).url)
    path = path_of(factories.within(app, lambda: notices.not_me_url(ada)))
    owner = Browser(app)
    page = owner.get(path)
    asserts.is_page(page, "not-me")
    assert rp.browser.get("/account").status_code == 200
    answer = owner.submit(page, NOT_ME)
    assert answer.status_code == 303
    assert rp.browser.get("/account").status_code == 303
    assert rp.refresh(tokens["refresh_token"]).status_code == 400
    assert rp.userinfo(tokens["access_token"]).status_code == 401
    for link in (reset_path, recovery_path, path):
        asserts.is_error_page(owner.get(link), "flow_expired")
    assert asserts.events_of(app, "account.not_me")[0].subject == ada.id
    asserts.is_error_page(owner.submit(page, NOT_ME), "flow_expired")
    asserts.is_page(set_password(owner, answer.headers["Location"]), "done")
    assert works(app, NEW, "ada@example.org")


def test_an_old_not_me_link_writes_a_new_letter(
    app: Flask, browser: Browser, ben: users.User, in_a_while: Callable[[timedelta], None]
) -> None:
    """It ends everything for a week, but sets a password itself for an hour only (RC-01)."""
    path = path_of(factories.within(app, lambda: notices.not_me_url(ben)))
    in_a_while(timedelta(hours=2))
    page = asserts.is_page(browser.follow(browser.submit(browser.get(path), NOT_ME)), "recover")
    assert page.inputs["email"] == BEN
    assert mailbox.link_in(mailbox.letters(app)[-1]).startswith(RESET)


def test_a_recovery_waits_and_everybody_is_told(
    app: Flask, browser: Browser, ben: users.User, in_a_while: Callable[[timedelta], None]
) -> None:
    """Before its time it does nothing; then it sets the password, removes the factor, once, and signs nobody in."""
    owner = Browser(app)
    owner.sign_in(email=BEN)
    authenticator.set_up(owner)
    path = path_of(start(app, ben).url)
    assert mailbox.link_in(mailbox.letters(app)[-1]).startswith(STOP)
    csrf = asserts.is_page(browser.get("/login"), "login").inputs["csrf_token"]
    fields = {"token": path.partition("token=")[2], "password": NEW, "csrf_token": csrf}
    asserts.is_page(browser.get(path), "recovery-waiting")
    asserts.is_page(browser.post(RECOVERY, fields), "recovery-waiting")
    assert "Stop the recovery" in owner.get("/account").text
    in_a_while(timedelta(hours=24, seconds=1))
    asserts.is_page(set_password(browser, path), "done")
    asserts.is_error_page(browser.post(RECOVERY, fields), "flow_expired")
    assert "was recovered" in mailbox.letters(app)[-1]["Subject"]
    assert owner.get("/account").status_code == browser.get("/account").status_code == 303
    assert browser.sign_in(email=BEN, password=NEW).headers["Location"] == "/account"
    assert [row.data["checked"] for row in asserts.events_of(app, "recovery.started")] == ["passport"]
    assert len(asserts.events_of(app, "recovery.used")) == 1


@pytest.mark.parametrize("by", ["letter", "account"])
def test_a_recovery_can_be_stopped(app: Flask, browser: Browser, ben: users.User, by: str) -> None:
    path = path_of(start(app, ben).url)
    if by == "letter":
        stop = mailbox.link_in(mailbox.letters(app)[-1])
        asserts.is_page(browser.submit(browser.get(stop), STOP), "done")
    else:
        browser.sign_in(email=BEN)
        assert browser.submit(browser.get("/account"), "/account/security/recovery").status_code == 303
        assert "Stop the recovery" not in browser.get("/account").text
    asserts.is_error_page(browser.get(path), "flow_expired")
    assert asserts.events_of(app, "recovery.cancelled")[0].subject == ben.id


def test_a_helpdesk_recovers_no_administrator(app: Flask, ada: users.User, ben: users.User) -> None:
    """Nor does anybody without the role; nothing is started without saying what was checked."""
    with app.app_context():
        assert not recovery.may_start(ada.id, ["helpdesk"])
        assert recovery.may_start(ben.id, ["helpdesk"])
        assert recovery.may_start(ada.id, ["administrator"])
        assert not recovery.may_start(ben.id, ["auditor"])
    for person, checked, who in ((ada, "passport", ["helpdesk"]), (ben, "  ", ["administrator"])):
        with pytest.raises(recovery.RefusedInput):
            factories.within(app, lambda p=person, c=checked, w=who: recovery.start(p, c, actor_roles=w))
    assert start(app, ben, actor_roles=["helpdesk"]).url


@pytest.mark.parametrize("way", ["link", "code", "recovery"])
def test_of_ten_at_once_one_succeeds(make_app: Callable[..., Flask], way: str) -> None:
    app = make_app(recovery_wait=timedelta(0))
    factories.person(app, roles=["administrator"])
    ben = factories.person(app, BEN, "Ben")
    browser = Browser(app)
    page = ask(browser)
    letter = mailbox.letters(app)[-1]
    path, fields = "/recover/code", {"code": mailbox.code_in(letter)}
    if way != "code":
        path = mailbox.link_in(letter) if way == "link" else path_of(start(app, ben).url)
        page, fields = browser.get(path), {"password": NEW}

    def act() -> int:
        own = Browser(app)
        own.client = app.test_client()
        for name in ("auth_server_browser",):
            own.client.set_cookie(name, browser.cookie(name) or "", domain="localhost")
        status = 503
        while status == 503:
            status = own.submit(page, path, **fields).status_code
        return status

    answers = at_once(*[act] * 10)
    assert answers.count(303 if way == "code" else 200) == 1, answers
    assert set(answers) <= {200, 303, 400, 401, 429}
