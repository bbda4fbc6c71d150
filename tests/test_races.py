"""What must happen once happens once: with threads in one process, and with two server processes on one database."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from flask import Flask
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from auth_server.access import invitations, roles
from auth_server.accounts import addresses, passkeys, passwords, second_factor, users
from auth_server.clients import client as clients
from auth_server.database import db
from auth_server.errors import RefusedInput
from auth_server.infra import events, once
from auth_server.keys import jose, keyring
from auth_server.tokens import ending, models
from tests.conftest import process_settings
from tests.support import asserts, authenticator, factories, mailbox, passkey
from tests.support.browser import Browser
from tests.support.live import Server, command
from tests.support.rp import answer_of
from tests.support.site import Site, at_once, open_site

ROUNDS = 20
WITHIN_SECONDS = 1.0
"""How long a process may go on with what it knew before another one changed it."""


@pytest.fixture(params=["threads", "processes"])
def make_site(
    request: pytest.FixtureRequest, make_app: Callable[..., Flask], start_server: Callable[..., Server]
) -> Callable[..., Site]:
    """Return a maker of sites: the machine endpoints are in this process, or in two server processes by turns."""

    def make(grace_seconds: int = 0) -> Site:
        app = make_app(refresh_token_grace=timedelta(seconds=grace_seconds))
        count = 2 if request.param == "processes" else 0
        return open_site(app, [start_server(refresh_token_grace=grace_seconds) for _ in range(count)])

    return make


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
    posts = [_same_browser(owner) for _ in range(10)]
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


def _same_browser(browser: Browser) -> Browser:
    """Return another connection of the same browser: threads do not share a test client."""
    other = Browser(browser.app, browser.address)
    for name in ("auth_server", "auth_server_browser"):
        if browser.cookie(name):
            other.client.set_cookie(name, browser.cookie(name) or "", domain="localhost")
    return other


@pytest.mark.parametrize("count", [2, 10])
def test_of_concurrent_redemptions_of_a_code_one_succeeds(make_site: Callable[..., Site], count: int) -> None:
    """One 200, the others invalid_grant; what the winner got ends, as for any replay (OAuth 2.1 §4.1.3)."""
    site = make_site()
    untouched = site.exchange(site.rp.code(email="ben@example.org")).body
    code = site.rp.code(email="ben@example.org")
    answers = at_once(*(lambda way=way: site.exchange(code, way) for way in range(count)))
    assert sorted(answer.verdict for answer in answers) == [(200, "")] + [(400, "invalid_grant")] * (count - 1)
    winner = next(answer.body for answer in answers if answer.status == 200)
    assert not site.lives(winner)
    assert len(asserts.events_of(site.app, "code.replayed")) == count - 1
    assert site.lives(untouched)


@pytest.mark.parametrize("count", [2, 10])
def test_of_concurrent_refreshes_one_succeeds(make_site: Callable[..., Site], count: int) -> None:
    """One 200, the others invalid_grant; the family ends, as for any reuse (RFC 9700 §4.14.2)."""
    site = make_site()
    untouched = site.exchange(site.rp.code(email="ben@example.org")).body
    tokens = site.exchange(site.rp.code(email="ben@example.org")).body
    answers = at_once(*(lambda way=way: site.refresh(tokens["refresh_token"], way) for way in range(count)))
    verdicts = sorted(answer.verdict for answer in answers)
    assert verdicts == [(200, "")] + [(400, "invalid_grant")] * (count - 1)
    winner = next(answer.body for answer in answers if answer.status == 200)
    assert not site.lives(winner)
    assert asserts.events_of(site.app, "refresh.reused")
    assert site.lives(untouched)


@pytest.mark.parametrize("count", [2, 10])
def test_within_the_grace_all_get_the_same_successor(make_site: Callable[..., Site], count: int) -> None:
    """With REFRESH_TOKEN_GRACE nobody loses, and the chain never forks: one live refresh token, round after round."""
    site = make_site(grace_seconds=10)
    tokens = site.exchange(site.rp.code(email="ben@example.org")).body
    presented = tokens["refresh_token"]
    for _round in range(5):
        answers = at_once(*(lambda way=way, token=presented: site.refresh(token, way) for way in range(count)))
        assert [answer.status for answer in answers] == [200] * count
        successors = {answer.body["refresh_token"] for answer in answers}
        assert len(successors) == 1
        assert _live_refresh_tokens(site.app) == 1
        former, presented = presented, successors.pop()
    assert site.refresh(presented).status == 200
    assert site.refresh(former).verdict == (400, "invalid_grant")


def test_when_the_successor_is_used_in_parallel_the_chain_does_not_fork(make_site: Callable[..., Site]) -> None:
    """A retry of the old token races the use of the new one: whoever wins, at most one refresh token lives."""
    site = make_site(grace_seconds=10)
    for way in range(ROUNDS // 2):
        old = site.exchange(site.rp.code(email="ben@example.org")).body["refresh_token"]
        new = site.refresh(old).body["refresh_token"]
        retry, use = at_once(
            lambda old=old, way=way: site.refresh(old, way), lambda new=new, way=way: site.refresh(new, way + 1)
        )
        assert retry.verdict in ((200, ""), (400, "invalid_grant"))
        assert retry.status != 200 or retry.body["refresh_token"] == new
        assert use.status == 200
        assert _live_refresh_tokens(site.app) <= 1
        factories.within(site.app, lambda: ending.end_families_of_user(site.person.id, "round over"))


@pytest.mark.parametrize("end", [ending.sign_out_everywhere, ending.disable_user], ids=lambda end: end.__name__)
def test_nothing_survives_an_end_in_parallel(make_site: Callable[..., Site], end: Callable[..., object]) -> None:
    """Refreshes and redemptions race the end of everything: whatever they were answered is dead."""
    site = make_site()
    for way in range(ROUNDS):
        code = site.rp.code(email="ben@example.org")
        tokens = site.exchange(site.rp.code(email="ben@example.org")).body
        redeemed, refreshed, _ended = at_once(
            lambda code=code, way=way: site.exchange(code, way),
            lambda token=tokens["refresh_token"], way=way: site.refresh(token, way + 1),
            lambda: factories.within(site.app, lambda: _end(end, site.person)),
        )
        assert {redeemed.verdict, refreshed.verdict} <= {(200, ""), (400, "invalid_grant")}
        factories.within(site.app, lambda: users.enable(_again(site.person)))
        survivors = [tokens, *(answer.body for answer in (redeemed, refreshed) if answer.status == 200)]
        assert not any(site.lives(body) for body in survivors)


def test_a_code_asked_for_during_a_sign_out_is_worth_nothing(make_site: Callable[..., Site]) -> None:
    """A code of a session that is just being ended gives no tokens that live on, however long the ending takes."""
    site = make_site()
    site.rp.walk(email="ben@example.org")
    begun = threading.Event()

    def sign_out_slowly() -> None:
        with site.app.app_context():
            events.begin(events.Context(actor_kind="job", request_id="test"))
            ending.sign_out_everywhere(site.person.id, "test")
            begun.set()
            time.sleep(0.5)
            db.session.commit()

    def walk_on() -> list[dict[str, str]]:
        begun.wait()
        response = site.rp.authorize()
        assert response.status_code in (303, 503), response.text
        if "code=" not in response.headers.get("Location", ""):
            return []
        answer = site.exchange(answer_of(response)["code"])
        assert answer.verdict in ((200, ""), (400, "invalid_grant"))
        return [answer.body] if answer.status == 200 else []

    _done, survivors = at_once(sign_out_slowly, walk_on)
    assert not any(site.lives(body) for body in survivors or [])
    assert site.lives(site.exchange(site.rp.code(email="ben@example.org")).body)


@pytest.mark.parametrize("demote", ["role", "disable", "delete"])
def test_two_administrators_who_demote_each_other_leave_one(app: Flask, demote: str) -> None:
    """The last administrator cannot go, also when the last but one goes at the same moment."""
    people = [factories.person(app, f"{name}@example.org", name, roles=["administrator"]) for name in ("ada", "eve")]
    acts = {
        "role": lambda user: roles.put(user.id, []),
        "disable": lambda user: ending.disable_user(_again(user)),
        "delete": lambda user: ending.delete_user(_again(user)),
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


def test_rotations_at_once_leave_one_current_and_one_next(app: Flask, database_url: str, tmp_path: Path) -> None:
    """Threads and processes rotate together: one current and one next key per algorithm, nothing half done."""
    settings = process_settings(database_url=database_url, instance_path=tmp_path)
    rotations = [lambda: command(["keys", "rotate", "--json"], settings).returncode] * 2
    assert at_once(*rotations, *[lambda: factories.within(app, keyring.rotate)] * 2) == [0, 0, None, None]
    listed = command(["keys", "list", "--json"], settings)
    states = Counter((key["alg"], key["state"]) for key in json.loads(listed.stdout))
    assert {key: states[key] for key in states if key[1] in ("current", "next")} == {
        (alg, state): 1 for alg in jose.ALGORITHMS for state in ("current", "next")
    }


@pytest.fixture
def elsewhere(app: Flask, start_server: Callable[..., Server]) -> Site:
    """Return a site whose endpoints are in another process than the operator who changes things in this one."""
    return open_site(app, [start_server()])


def test_another_process_notices_a_disabled_client(elsewhere: Site) -> None:
    """Refused a second later, and taken again a second after it was enabled."""
    client, app = elsewhere.rp.client, elsewhere.app
    assert elsewhere.revoke("nothing").status == 200
    factories.within(app, lambda: ending.disable_client(client))
    time.sleep(WITHIN_SECONDS)
    assert elsewhere.revoke("nothing").verdict == (401, "invalid_client")
    factories.within(app, lambda: clients.switch(client, enabled=True))
    time.sleep(WITHIN_SECONDS)
    assert elsewhere.revoke("nothing").status == 200


def test_another_process_notices_a_removed_secret(elsewhere: Site) -> None:
    """A new secret is taken and the old one refused a second after the change, with both in between."""
    client, app, rp = elsewhere.rp.client, elsewhere.app, elsewhere.rp
    assert elsewhere.revoke("nothing").status == 200
    old, new = rp.secret, factories.within(app, lambda: clients.add_secret(client))
    time.sleep(WITHIN_SECONDS)
    assert elsewhere.revoke("nothing").status == 200
    rp.secret = new
    assert elsewhere.revoke("nothing").status == 200
    factories.within(app, lambda: clients.remove_secret(client, client.secrets[0].id))
    time.sleep(WITHIN_SECONDS)
    assert elsewhere.revoke("nothing").status == 200
    rp.secret = old
    assert elsewhere.revoke("nothing").verdict == (401, "invalid_client")


def test_another_process_notices_rotated_and_revoked_keys(elsewhere: Site) -> None:
    """A second later it signs with the new key; what a rotated key signed is good, what a revoked one signed is not."""
    tokens = elsewhere.exchange(elsewhere.rp.code(email="ben@example.org")).body
    first = _kid(tokens)
    factories.within(elsewhere.app, keyring.rotate)
    time.sleep(WITHIN_SECONDS)
    rotated = elsewhere.refresh(tokens["refresh_token"]).body
    assert _kid(rotated) != first
    assert elsewhere.userinfo(tokens["access_token"]).status == 200
    published = {key["kid"] for key in elsewhere.servers[0].get("/.well-known/jwks.json").body["keys"]}
    assert {first, _kid(rotated)} <= published
    assert factories.within(elsewhere.app, lambda: keyring.revoke(_kid(rotated)))
    time.sleep(WITHIN_SECONDS)
    assert elsewhere.userinfo(rotated["access_token"]).status == 401
    assert elsewhere.userinfo(tokens["access_token"]).status == 200
    replaced = elsewhere.refresh(rotated["refresh_token"]).body
    assert _kid(replaced) not in (first, _kid(rotated))
    assert elsewhere.userinfo(replaced["access_token"]).status == 200


def _kid(tokens: dict[str, str]) -> str:
    return str(jose.header(tokens["access_token"])["kid"])


def _end(end: Callable[..., object], person: users.User) -> None:
    if end is ending.disable_user:
        end(_again(person))
    else:
        end(person.id, "test")


def _again(person: users.User) -> users.User:
    """Return the row in the present session."""
    found = users.find(person.id)
    assert found is not None
    return found


def _live_refresh_tokens(app: Flask) -> int:
    token, family = models.RefreshToken, models.Family
    living = select(func.count()).select_from(token).join(family, family.id == token.family_id)
    return factories.within(
        app, lambda: db.session.scalar(living.where(token.rotated_at.is_(None), family.ended_at.is_(None))) or 0
    )


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
