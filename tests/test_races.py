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

from auth_server import config
from auth_server.access import identities
from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.clients.metadata import DEVICE_CODE
from auth_server.database import db
from auth_server.infra import events
from auth_server.keys import jose, keyring
from auth_server.tokens import ending, models
from tests.conftest import process_settings
from tests.support import assertion, asserts, factories, issuing
from tests.support.browser import Browser, same_browser
from tests.support.device import Device, allow, enter
from tests.support.device import client_of as device_client
from tests.support.dpop import DpopKey
from tests.support.live import Server, command
from tests.support.rp import RelyingParty, answer_of, basic
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
    asserts.events_come(site.app, "code.replayed", count - 1)
    assert site.lives(untouched)


def test_of_concurrent_uses_of_a_proof_one_succeeds(make_site: Callable[..., Site]) -> None:
    """One DPoP proof, ten times at once with one token: one answer, nine refusals (RFC 9449 §11.1)."""
    site, key = make_site(), DpopKey()
    headers = basic(site.rp.client.client_id, site.rp.secret) | {"DPoP": key.proof()}
    fields = {"grant_type": "authorization_code", "code": site.rp.code(email="ben@example.org")}
    token = site.post(0, "/oauth/token", fields | {"code_verifier": site.rp.verifier}, headers).body["access_token"]
    proof = key.proof("/oauth/userinfo", access_token=token)
    shown = {"Authorization": f"DPoP {token}", "DPoP": proof}
    answers = at_once(*(lambda way=way: site.post(way, "/oauth/userinfo", {}, shown) for way in range(10)))
    assert sorted(answer.verdict for answer in answers) == [(200, "")] + [(401, "invalid_dpop_proof")] * 9


@pytest.mark.parametrize("count", [2, 10])
def test_of_browsers_that_bring_a_reference_at_once_one_goes_on(app: Flask, rp: RelyingParty, count: int) -> None:
    """One is led to the sign-in and to a code, the others get a page; round after round (RFC 9126 §7.3, RA-01)."""
    for _round in range(3):
        reference = rp.reference()
        browsers = [Browser(app) for _ in range(count)]
        answers = at_once(
            *(lambda browser=browser, pushed=reference: rp.bring(pushed, browser) for browser in browsers)
        )
        assert sorted(answer.status_code for answer in answers) == [303] + [400] * (count - 1)
        for browser, answer in zip(browsers, answers, strict=True):
            if answer.status_code == 303:
                mine = RelyingParty(app, browser, rp.client, rp.secret)
                mine.verifier = rp.verifier
                assert mine.exchange(answer_of(mine.walk_on(answer))["code"]).status_code == 200
            else:
                asserts.is_error_page(answer, "invalid_request_uri")


@pytest.mark.parametrize("count", [2, 10])
def test_a_reference_that_one_browser_brings_often_gives_one_code(app: Flask, rp: RelyingParty, count: int) -> None:
    """Signed in, allowed before, reloaded in a hurry: one code, and pages for the rest."""
    rp.walk()
    for _round in range(3):
        reference = rp.reference()
        tabs = [same_browser(rp.browser) for _ in range(count)]
        before = len(asserts.events_of(app, "code.issued"))
        answers = at_once(*(lambda tab=tab, pushed=reference: rp.bring(pushed, tab) for tab in tabs))
        assert sorted(answer.status_code for answer in answers) == [303] + [400] * (count - 1)
        assert len(asserts.events_of(app, "code.issued")) == before + 1
        (winner,) = [answer for answer in answers if answer.status_code == 303]
        assert rp.exchange(answer_of(winner)["code"]).status_code == 200


@pytest.mark.parametrize("path", ["/oauth/token", "/oauth/introspect", "/oauth/revoke"])
def test_of_concurrent_uses_of_an_assertion_one_succeeds(make_site: Callable[..., Site], path: str) -> None:
    """One 200, the others invalid_client, whatever process they come to (TE-07)."""
    site = make_site()
    by = assertion.signer("ES256")
    keys = {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [by.jwk()]}}
    client, _none = factories.service(site.app, **keys)
    other = by.token(assertion.claims(client.client_id, config.current().issuer))
    token = by.token(assertion.claims(client.client_id, config.current().issuer))
    fields = {"grant_type": "client_credentials", "token": "x"}
    answers = at_once(
        *(lambda way=way: site.post(way, path, assertion.fields(token, **fields), {}) for way in range(10))
    )
    assert sorted(answer.verdict for answer in answers) == [(200, "")] + [(401, "invalid_client")] * 9
    assert {site.post(way, path, assertion.fields(token, **fields), {}).status for way in (0, 1)} == {401}
    assert site.post(1, path, assertion.fields(other, **fields), {}).status == 200


def test_of_concurrent_uses_of_an_identity_assertion_one_succeeds(make_site: Callable[..., Site]) -> None:
    """One 200, the others invalid_grant, whatever process they come to (TX-02)."""
    site = make_site()
    factories.api(site.app)
    metadata = {"grant_types": [issuing.JWT_BEARER], "scope": "orders:read", "redirect_uris": []}
    company = issuing.Company(site.app, *factories.client(site.app, **metadata))
    factories.within(site.app, lambda: identities.link(issuing.IDP, issuing.SUBJECT, site.person.id))
    headers = basic(company.client.client_id, company.secret)

    def show(presented: str, way: int) -> tuple[int, str]:
        fields = {"grant_type": issuing.JWT_BEARER, "assertion": presented}
        return site.post(way, "/oauth/token", fields, headers).verdict

    token, other = company.assertion(), company.assertion()
    answers = at_once(*(lambda way=way: show(token, way) for way in range(10)))
    assert sorted(answers) == [(200, "")] + [(400, "invalid_grant")] * 9
    assert {show(token, way) for way in (0, 1)} == {(400, "invalid_grant")}
    assert show(other, 1) == (200, "")
    asserts.events_come(site.app, "assertion.accepted", 2)


def test_of_concurrent_uses_of_a_workloads_token_one_succeeds_where_a_rule_says_so(
    make_site: Callable[..., Site],
) -> None:
    """With `once` one 200, the others invalid_client; without it, ten."""
    site = make_site()
    issuer = issuing.Issuer(site.app)
    once = issuing.Workload(site.app, issuer, {"subject": issuing.JOB, "once": True})
    often = issuing.Workload(site.app, issuer)

    def show(job: issuing.Workload, presented: str, way: int) -> tuple[int, str]:
        fields = assertion.fields(presented, grant_type="client_credentials", client_id=job.id)
        return site.post(way, "/oauth/token", fields, {}).verdict

    token = issuer.token()
    answers = at_once(*(lambda way=way: show(once, token, way) for way in range(10)))
    assert sorted(answers) == [(200, "")] + [(401, "invalid_client")] * 9
    assert at_once(*(lambda way=way: show(often, token, way) for way in range(10))) == [(200, "")] * 10


@pytest.mark.parametrize("count", [2, 10])
def test_of_concurrent_redemptions_of_a_device_code_one_succeeds(make_site: Callable[..., Site], count: int) -> None:
    """One 200, the others invalid_grant; what the winner got ends, as for a code (DV-03, RA-01)."""
    site = make_site()
    device = Device(site.app, *device_client(site.app)).started(scope="openid offline_access")
    site.rp.browser.sign_in("ben@example.org")
    allow(site.rp.browser, device.user_code)
    poll = {"client_id": device.client.client_id, "grant_type": DEVICE_CODE, "device_code": device.codes["device_code"]}
    answers = at_once(*(lambda way=way: site.post(way, "/oauth/token", poll, {}) for way in range(count)))
    assert sorted(answer.verdict for answer in answers) == [(200, "")] + [(400, "invalid_grant")] * (count - 1)
    winner = next(answer.body for answer in answers if answer.status == 200)
    assert site.userinfo(winner["access_token"]).status == 401
    assert len(asserts.rows(site.app)["refresh_token"]) == 1
    asserts.events_come(site.app, "code.replayed", count - 1)


def test_of_concurrent_decisions_about_a_device_one_counts(app: Flask, ada: users.User) -> None:
    """Allow and deny, five times each at once from one browser: one decision, at most one family, one page for all."""
    device = Device(app, *device_client(app)).started()
    owner = Browser(app)
    page = enter(owner, device.user_code)
    path, posts = page.request.full_path, [same_browser(owner) for _ in range(10)]
    answers = at_once(
        *(
            lambda one=one, decision=decision: one.submit(page, path, decision=decision).status_code
            for one, decision in zip(posts, ("allow", "deny") * 5, strict=True)
        )
    )
    assert answers == [303] * 10
    answer = device.poll()
    assert answer.status_code == 200 or answer.json["error"] == "access_denied"
    was_allowed = answer.status_code == 200
    assert len(asserts.rows(app)["family"]) == len(asserts.events_of(app, "device.allowed")) == was_allowed
    assert len(asserts.events_of(app, "consent.denied")) == (not was_allowed)


def test_of_browsers_that_type_a_code_at_once_one_gets_it(app: Flask, ada: users.User) -> None:
    """Five people, five browsers, one right code: one is asked, the others are told that it is no good (DV-04)."""
    device = Device(app, *device_client(app)).started()
    browsers = [Browser(app, f"203.0.113.{number}") for number in range(5)]
    for number, browser in enumerate(browsers):
        factories.person(app, f"person-{number}@example.org")
        browser.sign_in(f"person-{number}@example.org")
    pages = [browser.get("/device") for browser in browsers]
    answers = at_once(
        *(
            lambda browser=browser, page=page: browser.submit(page, "/device", user_code=device.user_code).status_code
            for browser, page in zip(browsers, pages, strict=True)
        )
    )
    assert sorted(answers) == [303, 400, 400, 400, 400]


def test_guesses_at_once_do_not_pass_the_limit(app: Flask, ada: users.User) -> None:
    """Twenty wrong codes at the same moment from one browser: five are looked at (DV-01)."""
    owner = Browser(app)
    owner.sign_in()
    page, posts = owner.get("/device"), [same_browser(owner) for _ in range(20)]
    answers = at_once(
        *(lambda one=one: one.submit(page, "/device", user_code="BCDF-GHJK").status_code for one in posts)
    )
    assert sorted(answers) == [400] * 5 + [429] * 15


def test_of_concurrent_polls_one_is_told_to_wait(make_site: Callable[..., Site]) -> None:
    """Ten at once: one is in time, the others were too early and slow it down."""
    site = make_site()
    device = Device(site.app, *device_client(site.app)).started()
    poll = {"client_id": device.client.client_id, "grant_type": DEVICE_CODE, "device_code": device.codes["device_code"]}
    answers = at_once(*(lambda way=way: site.post(way, "/oauth/token", poll, {}) for way in range(10)))
    assert sorted(answer.verdict for answer in answers) == [(400, "authorization_pending")] + [(400, "slow_down")] * 9


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
        factories.within(site.app, lambda: users.enable(factories.again(site.person)))
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
        end(factories.again(person))
    else:
        end(person.id, "test")


def _live_refresh_tokens(app: Flask) -> int:
    token, family = models.RefreshToken, models.Family
    living = select(func.count()).select_from(token).join(family, family.id == token.family_id)
    return factories.within(
        app, lambda: db.session.scalar(living.where(token.rotated_at.is_(None), family.ended_at.is_(None))) or 0
    )
