"""What must happen once to an account happens once: factors, addresses, administrators, sign-ups."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from auth_server.access import invitations, roles
from auth_server.accounts import addresses, passkeys, passwords, second_factor, users
from auth_server.database import db
from auth_server.errors import RefusedInput
from auth_server.infra import events, once
from auth_server.tokens import ending
from tests.conftest import process_settings
from tests.support import asserts, authenticator, factories, mailbox, passkey
from tests.support.browser import Browser, same_browser
from tests.support.live import command
from tests.support.site import at_once


@pytest.mark.parametrize("method", ["app", "recovery"])
def test_of_concurrent_uses_of_a_second_factor_one_succeeds(
    app: Flask, ada: users.User, in_a_while: Callable[[timedelta], None], method: str
) -> None:
    """One code, ten browsers at once that know the password: one is in, nine are not."""
    owner = Browser(app)
    owner.sign_in()
    phone, codes = authenticator.set_up(owner)
    in_a_while(timedelta(seconds=31))
    browsers = [Browser(app) for _ in range(10)]
    places = [browser.sign_in().headers["Location"].replace("method=app", f"method={method}") for browser in browsers]
    pages = [browser.get(place) for browser, place in zip(browsers, places, strict=True)]
    code = phone.code() if method == "app" else codes[0]
    answers = at_once(
        *(
            lambda browser=browser, page=page: browser.submit(page, "/login/mfa", code=code).status_code
            for browser, page in zip(browsers, pages, strict=True)
        )
    )
    assert answers.count(303) == 1
    assert set(answers) <= {303, 401, 429}
    assert sum(browser.get("/account").status_code == 200 for browser in browsers) == 1


@pytest.mark.parametrize("step", ["sign-in", "second-factor", "registration"])
def test_of_concurrent_uses_of_a_passkeys_challenge_one_succeeds(app: Flask, ada: users.User, step: str) -> None:
    """One answer, posted ten times at once from one browser: one is taken, the others change nothing (WK-01)."""
    owner = Browser(app)
    owner.sign_in()
    key, _shown = passkey.add(owner, passkey.Passkey(synced=True))  # its counter cannot be what refuses the others
    path, new = "/login", passkey.Passkey()
    if step == "registration":
        path = passkey.ADD
        page = owner.get(path)
        sent = new.create(passkey.options_on(page))
    else:
        owner.sign_out()
        page = owner.get(path)
        if step == "second-factor":
            path, page = "/login/mfa", owner.follow(owner.sign_in())
        sent = key.get(passkey.options_on(page))
    before = {name: len(rows) for name, rows in asserts.rows(app).items()}
    posts = [same_browser(owner) for _ in range(10)]
    answers = at_once(*(lambda one=one: one.submit(page, path, credential=sent) for one in posts))
    led_on = [answer for answer in answers if answer.headers.get("Location", "").startswith("/account")]
    assert len(led_on) == 1
    assert {answer.status_code for answer in answers} <= {303, 400, 401, 422, 429}
    after = {name: len(rows) for name, rows in asserts.rows(app).items()}
    assert after["spent_challenge"] == before["spent_challenge"] + 1
    assert after["passkey"] == before["passkey"] + (step == "registration")
    assert after["session"] == 1


def test_of_two_last_passkeys_one_stays(app: Flask, ada: users.User) -> None:
    """Somebody without a password removes both at the same moment: one is refused (WK-09)."""
    owner = Browser(app)
    owner.sign_in()
    for _one in range(2):
        passkey.add(owner)
    table = passwords.TABLE
    factories.within(app, lambda: db.session.execute(table.delete().where(table.c.user_id == ada.id)))

    def remove(number: int) -> str:
        try:
            second_factor.remove_passkey(listed[number])
            time.sleep(0.3)  # the other one decides while this is not committed
        except RefusedInput:
            return "refused"
        return "done"

    listed = factories.within(app, lambda: passkeys.listing(ada.id))
    assert len(listed) == 2
    acts = [lambda number=number: factories.within(app, lambda: remove(number)) for number in range(2)]
    assert sorted(at_once(*acts)) == ["done", "refused"]
    assert len(asserts.rows(app)["passkey"]) == 1


@pytest.mark.parametrize("demote", ["role", "disable", "delete"])
def test_two_administrators_who_demote_each_other_leave_one(app: Flask, demote: str) -> None:
    """The last administrator cannot go, also when the last but one goes at the same moment."""
    people = [factories.person(app, f"{name}@example.org", name, roles=["administrator"]) for name in ("ada", "eve")]
    acts = {
        "role": lambda user: roles.put(user.id, []),
        "disable": lambda user: ending.disable_user(factories.again(user)),
        "delete": lambda user: ending.delete_user(factories.again(user)),
    }

    def slowly(user: users.User) -> str:
        try:
            acts[demote](user)
        except RefusedInput as refusal:
            return refusal.message
        time.sleep(0.3)  # the other one decides while this is not committed
        return "done"

    acting = [lambda user=user: factories.within(app, lambda: slowly(user)) for user in people]
    answers = at_once(*acting)
    assert sorted(answers) == ["done", "this is the last administrator; make another one first"]
    assert factories.within(app, roles.has_administrator)


def test_two_commands_that_demote_each_other_leave_one(app: Flask, database_url: str, tmp_path: Path) -> None:
    """The same with two processes."""
    for name in ("ada", "eve"):
        factories.person(app, f"{name}@example.org", name, roles=["administrator"])
    settings = process_settings(database_url=database_url, instance_path=tmp_path)
    demote = [["users", "set", f"{name}@example.org", "--role", ""] for name in ("ada", "eve")]
    ended = at_once(*(lambda arguments=arguments: command(arguments, settings) for arguments in demote))
    assert sorted(found.returncode for found in ended) == [0, 1], [found.stderr for found in ended]
    assert factories.within(app, roles.has_administrator)


def test_of_parallel_creations_of_an_address_one_succeeds(app: Flask, database_url: str, tmp_path: Path) -> None:
    """Twenty threads, then two commands, want one address: one account, the others are told that it is taken."""

    def create() -> str:
        try:
            return factories.within(app, lambda: users.create("ada@example.org", "Ada", verified=True)).id
        except RefusedInput as refusal:
            return refusal.message

    answers = Counter(at_once(*[create] * 20))
    assert answers["This address has an account already."] == 19
    settings = process_settings(database_url=database_url, instance_path=tmp_path)
    ended = at_once(*[lambda: command(["users", "create", "EVE@example.org"], settings)] * 2)
    assert sorted(found.returncode for found in ended) == [0, 1], [found.stderr for found in ended]
    emails = factories.within(app, lambda: [user.email for user in users.listing()])
    assert sorted(email.casefold() for email in emails) == ["ada@example.org", "eve@example.org"]


@pytest.mark.parametrize("means", ["link", "code", "invitation"])
def test_of_concurrent_ends_of_a_sign_up_one_succeeds(make_app: Callable[..., Flask], means: str) -> None:
    """Ten browsers with one link, one code or one invitation: one account, one session."""
    app = make_app(signup="open")
    factories.person(app, roles=["administrator"])
    first = Browser(app)
    browsers = [Browser(app) for _ in range(10)]
    fields = {"name": "Grace", "password": factories.PASSWORD}
    if means == "invitation":
        invited = {"group_names": [], "role_names": []}
        path = factories.within(app, lambda: invitations.invite("grace@example.org", "", **invited))[1]
    else:
        asked = first.submit(first.get("/signup"), "/signup", email="grace@example.org", name="Grace")
        letter = mailbox.last_to(app, "grace@example.org")
        path = mailbox.link_in(letter)
    if means == "code":
        path = asked.headers["Location"]
        fields = {"decision": "code", "code": mailbox.code_in(letter)}
    pages = [browser.get(path) for browser in browsers]
    target = {"link": "/signup/finish", "code": "/signup/sent", "invitation": "/signup/invitation"}[means]

    def send(browser: Browser, page: TestResponse) -> int:
        status = 503
        while status == 503:  # the line for hashes was full
            status = browser.submit(page, target, **fields).status_code
        return status

    acts = [lambda pair=pair: send(*pair) for pair in zip(browsers, pages, strict=True)]
    answers = Counter(at_once(*acts))
    assert answers[303] == 1
    assert set(answers) <= {303, 400, 401, 409, 429}
    if means != "code":
        assert factories.within(app, users.count) == 2
        assert sum(browser.get("/account").status_code == 200 for browser in browsers) == 1


def test_of_different_ways_to_one_address_one_gets_it(make_app: Callable[..., Flask]) -> None:
    """A sign-up, an invitation and a change of somebody's address, proved at one moment: the unique index decides."""
    app = make_app(signup="open")
    factories.person(app, roles=["administrator"])
    ways: list[tuple[Browser, str, str, dict[str, str]]] = []
    secret = {"name": "Grace", "password": factories.PASSWORD}
    stranger = Browser(app)
    stranger.submit(stranger.get("/signup"), "/signup", email="grace@example.org", name="Grace")
    ways.append((stranger, mailbox.link_in(mailbox.last_to(app, "grace@example.org")), "/signup/finish", secret))
    url = factories.within(app, lambda: invitations.invite("grace@example.org", "", group_names=[], role_names=[]))[1]
    ways.append((Browser(app), url, "/signup/invitation", secret))
    for name in ("eve", "ben"):
        factories.person(app, f"{name}@example.org", name)
        browser = Browser(app)
        browser.sign_in(f"{name}@example.org")
        with app.app_context():
            events.begin(events.Context(actor_kind="job", request_id="test"))
            user = users.find_by_email(f"{name}@example.org")
            data = {"email": "grace@example.org", "instead_of": f"{name}@example.org", "opens": True}
            raw_secret = once.make(addresses.PROOF, user.id if user else "", timedelta(hours=1), data)
            db.session.commit()
        ways.append((browser, f"{addresses.PROOF_PATH}?token={raw_secret}", addresses.PROOF_PATH, {}))
    pages = [browser.get(path) for browser, path, _target, _fields in ways]

    def send(way: tuple[Browser, str, str, dict[str, str]], page: TestResponse) -> int:
        status = 503
        while status == 503:
            status = way[0].submit(page, way[2], **way[3]).status_code
        return status

    answers = at_once(*[lambda pair=pair: send(*pair) for pair in zip(ways, pages, strict=True)])
    assert Counter(answers) == {303: 1, 409: 3}
    emails = factories.within(app, lambda: [user.email for user in users.listing()])
    assert emails.count("grace@example.org") == 1


def test_of_concurrent_confirmations_of_an_address_one_counts(app: Flask, ada: users.User) -> None:
    """Ten browsers of one person with one link: one change, one letter with the way back; and the same for that."""
    browsers = [Browser(app) for _ in range(10)]
    for browser in browsers:
        browser.sign_in()
    page = browsers[0].get("/account/email/change")
    browsers[0].submit(page, "/account/email/change", email="lovelace@example.org")
    path = mailbox.link_in(mailbox.last_to(app, "lovelace@example.org"))
    for address, target in (("lovelace@example.org", addresses.PROOF_PATH), ("ada@example.org", addresses.UNDO_PATH)):
        pages = [browser.get(path) for browser in browsers]
        pairs = zip(browsers, pages, strict=True)
        acts = [lambda pair=pair, target=target: pair[0].submit(pair[1], target).status_code for pair in pairs]
        answers = Counter(at_once(*acts))
        assert answers == {303: 1, 400: 9}
        assert factories.within(app, lambda: [user.email for user in users.listing()]) == [address]
        path = mailbox.link_in(mailbox.last_to(app, "ada@example.org"), addresses.UNDO_PATH)
    changed = [letter for letter in mailbox.letters(app) if addresses.UNDO_PATH in mailbox.text_of(letter)]
    assert len(changed) == 1
