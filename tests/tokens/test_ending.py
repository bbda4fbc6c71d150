"""What ends what: the table of docs/trust.md, each cell a test.

Ada is signed in at two browsers. At each of them she has connected three apps: one without and one with
`offline_access`, and the one that the cause is about. Ben has a browser and an app of his own. A cause does one thing;
what must have ended is written in the table, and everything else must live on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import time_machine
from flask import Flask

from auth_server.accounts import sessions, users
from auth_server.clients import client as clients
from auth_server.infra import clock
from auth_server.pages import recover
from auth_server.tokens import ending, status_index
from tests.conftest import copy_of, maker_of_apps
from tests.support import asserts, factories
from tests.support.browser import Browser, Page
from tests.support.rp import RelyingParty, basic, payload

ADA, BEN = "ada@example.org", "ben@example.org"
ONLINE, OFFLINE = "openid profile", "openid profile offline_access"
Travel = Callable[[timedelta], None]


@dataclass
class Family:
    """One app's tokens from one browser."""

    rp: RelyingParty
    access_token: str
    refresh_token: str
    code: str

    def is_alive(self) -> bool:
        """Ask every endpoint that must know; they must agree. The refresh token is used up by it."""
        answers = {
            "userinfo": self.rp.userinfo(self.access_token).status_code == 200,
            "introspection": self.rp.introspect(self.access_token)["active"],
            "introspection of the refresh token": self.rp.introspect(self.refresh_token)["active"],
        }
        refreshed = self.rp.refresh(self.refresh_token)
        answers["refresh"] = refreshed.status_code == 200
        if not answers["refresh"]:
            asserts.is_oauth_error(refreshed, "invalid_grant")
        assert len(set(answers.values())) == 1, answers
        return answers["refresh"]

    def renew(self) -> None:
        """Take a fresh access token."""
        refreshed = self.rp.refresh(self.refresh_token)
        assert refreshed.status_code == 200, refreshed.text
        self.access_token, self.refresh_token = refreshed.json["access_token"], refreshed.json["refresh_token"]


@dataclass
class Scene:
    """Everybody and everything, before and after a cause."""

    app: Flask
    ada: users.User
    ben: users.User
    here: Browser
    there: Browser
    bens: Browser
    families: dict[str, Family]
    in_a_while: Travel = field(default=lambda _by: None)

    def at(self, app: Flask, in_a_while: Travel) -> Scene:
        """Return the same people, browsers and apps in front of a copy of the application."""
        places = {HERE: self.here.at(app), THERE: self.there.at(app), BENS: self.bens.at(app)}
        families = {
            name: replace(family, rp=family.rp.at(app, places[name.split()[0]]))
            for name, family in self.families.items()
        }
        return Scene(app, self.ada, self.ben, *places.values(), families, in_a_while)

    def session_of(self, browser: Browser) -> str:
        """Return the id of a browser's session, as its tokens name it."""
        name = {id(self.here): "here online", id(self.there): "there online", id(self.bens): "ben online"}[id(browser)]
        return str(payload(self.families[name].access_token)["sid"])

    def post(self, browser: Browser, path: str, **fields: str) -> None:
        token = Page(browser.get("/logout").text).inputs["csrf_token"]
        assert browser.post(path, {"csrf_token": token, **fields}).status_code in (200, 303)

    def do(self, act: Callable[[], object]) -> None:
        factories.within(self.app, act)

    def person(self) -> users.User:
        return users.find(self.ada.id) or self.ada


Stage = tuple[str, Scene, datetime]


@pytest.fixture(scope="module")
def stage(template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Set the scene once: return its database, who is on it, and when that was."""
    folder = tmp_path_factory.mktemp("stage")
    with copy_of(template, folder) as url:
        with maker_of_apps(url, folder) as make:
            found = scene_of(make())
            began = clock.now()
        yield url, found, began


@pytest.fixture
def database_url(stage: Stage, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a fresh copy of the stage's database, at the moment when it was set."""
    with copy_of(stage[0], tmp_path) as url, time_machine.travel(stage[2], tick=True):
        yield url


@pytest.fixture
def scene(app: Flask, stage: Stage, in_a_while: Travel) -> Scene:
    return stage[1].at(app, in_a_while)


def scene_of(app: Flask) -> Scene:
    """Sign everybody in and connect every app."""
    factories.person(app, "root@example.org", roles=["administrator"])
    ada, ben = factories.person(app, ADA), factories.person(app, BEN)
    apps = {name: factories.client(app, client_name=name) for name in ("online", "offline", "third")}
    browsers = {"here": (Browser(app), ADA), "there": (Browser(app), ADA), "ben": (Browser(app), BEN)}
    families = {}
    for place, (browser, email) in browsers.items():
        for name, scope in (("online", ONLINE), ("offline", OFFLINE), ("third", OFFLINE)):
            rp = RelyingParty(app, browser, *apps[name])
            code = rp.code(email=email, scope=scope)
            tokens = rp.exchange(code).json
            families[f"{place} {name}"] = Family(rp, tokens["access_token"], tokens["refresh_token"], code)
    here, there, bens = (browser for browser, _email in browsers.values())
    return Scene(app, ada, ben, here, there, bens, families)


def idle(scene: Scene) -> None:
    """Only `there` is used meanwhile; Ben, too."""
    for _ in range(2):
        scene.in_a_while(timedelta(minutes=40))
        scene.there.get("/account")
        scene.bens.get("/account")


def absolute(scene: Scene) -> None:
    """Twelve hours pass, `there` and Ben sign in again before they end, and their sessions go on."""
    scene.in_a_while(timedelta(minutes=50))
    scene.there.sign_in()
    scene.bens.sign_in(email=BEN)
    for _ in range(16):
        assert scene.here.get("/account").status_code == 200
        scene.in_a_while(timedelta(minutes=42))
        for browser in (scene.there, scene.bens):
            assert browser.get("/account").status_code == 200


def sign_out(scene: Scene) -> None:
    scene.here.sign_out()


def ended_by_the_person(scene: Scene) -> None:
    scene.post(scene.there, "/account/sessions", decision="end", session=scene.session_of(scene.here))


def all_others_ended_by_the_person(scene: Scene) -> None:
    scene.post(scene.there, "/account/sessions", decision="end_others")


def ended_by_an_operator(scene: Scene) -> None:
    chosen = scene.session_of(scene.here)
    scene.do(lambda: ending.end_session(chosen, "ended_by_operator"))


def replaced_by_somebody_else(scene: Scene) -> None:
    """Another person signs in at the same browser."""
    factories.person(scene.app, "guest@example.org")
    scene.here.sign_in(email="guest@example.org")


def sign_out_everywhere(scene: Scene) -> None:
    scene.do(lambda: ending.sign_out_everywhere(scene.ada.id, "asked"))


def password_reset(scene: Scene) -> None:
    url = factories.within(scene.app, lambda: recover.make_link(scene.person()))
    path = url.removeprefix("http://localhost:8421")
    browser = Browser(scene.app)
    asserts.is_page(browser.submit(browser.get(path), path, password="a brand new long password"), "done")


def disabled(scene: Scene) -> None:
    scene.do(lambda: ending.disable_user(scene.person()))


def deleted(scene: Scene) -> None:
    scene.do(lambda: ending.delete_user(scene.person()))


def password_changed(scene: Scene) -> None:
    kept = scene.session_of(scene.there)
    scene.do(lambda: ending.password_changed(scene.ada.id, kept))


def app_disconnected(scene: Scene) -> None:
    third = scene.families["here third"].rp.client.client_id
    scene.post(scene.there, "/account/apps", decision="disconnect", app=third)


def refresh_reused(scene: Scene) -> None:
    family = scene.families["here third"]
    assert family.rp.refresh(family.refresh_token).status_code == 200
    asserts.is_oauth_error(family.rp.refresh(family.refresh_token), "invalid_grant")


def code_replayed(scene: Scene) -> None:
    family = scene.families["here third"]
    asserts.is_oauth_error(family.rp.exchange(family.code), "invalid_grant")


def revoked_by_its_app(scene: Scene) -> None:
    family = scene.families["here third"]
    assert family.rp.revoke(family.refresh_token).status_code == 200


def tokens_of_the_person_revoked(scene: Scene) -> None:
    scene.do(lambda: ending.end_families_of_user(scene.ada.id, "revoked_by_operator"))


def everybody_signed_out(scene: Scene) -> None:
    scene.do(ending.end_all_sessions)


def everything_revoked(scene: Scene) -> None:
    scene.do(ending.end_all_tokens)


HERE, THERE, BENS = "here", "there", "ben"
ALL_OF_ADA = {f"{place} {name}" for place in (HERE, THERE) for name in ("online", "offline", "third")}
ALL = ALL_OF_ADA | {f"{BENS} {name}" for name in ("online", "offline", "third")}
BORN_HERE = {"here online", "here offline", "here third"}

TABLE = [
    # cause                              sessions that end       families that end
    (idle,                               {HERE},                 set()),
    (absolute,                           {HERE},                 set()),
    (sign_out,                           {HERE},                 {"here online"}),
    (ended_by_the_person,                {HERE},                 {"here online"}),
    (all_others_ended_by_the_person,     {HERE},                 {"here online"}),
    (ended_by_an_operator,               {HERE},                 {"here online"}),
    (replaced_by_somebody_else,          {HERE},                 {"here online"}),
    (sign_out_everywhere,                {HERE, THERE},          ALL_OF_ADA),
    (password_reset,                     {HERE, THERE},          ALL_OF_ADA),
    (disabled,                           {HERE, THERE},          ALL_OF_ADA),
    (deleted,                            {HERE, THERE},          ALL_OF_ADA),
    (password_changed,                   {HERE},                 BORN_HERE),
    (app_disconnected,                   set(),                  {"here third", "there third"}),
    (refresh_reused,                     set(),                  {"here third"}),
    (code_replayed,                      set(),                  {"here third"}),
    (revoked_by_its_app,                 set(),                  {"here third"}),
    (tokens_of_the_person_revoked,       set(),                  ALL_OF_ADA),
    (everybody_signed_out,               {HERE, THERE, BENS},    ALL),
    (everything_revoked,                 set(),                  ALL),
]  # fmt: skip
CAUSES = pytest.mark.parametrize(
    ("cause", "sessions_end", "families_end"), TABLE, ids=[str(row[0].__name__) for row in TABLE]
)


def living_sessions(scene: Scene) -> set[str]:
    """Return the browsers whose person is still who was signed in at the start."""
    found = set()
    for place, browser, email in ((HERE, scene.here, ADA), (THERE, scene.there, ADA), (BENS, scene.bens, BEN)):
        response = browser.get("/account")
        if response.status_code == 200 and email in response.text:
            found.add(place)
    return found


@CAUSES
def test_sessions(scene: Scene, cause: Callable[[Scene], None], sessions_end: set[str], families_end: set[str]) -> None:
    """Column `session`: those that the row names end, at the next request; the others live on."""
    assert living_sessions(scene) == {HERE, THERE, BENS}
    cause(scene)
    assert living_sessions(scene) == {HERE, THERE, BENS} - sessions_end
    listed = factories.within(scene.app, lambda: {row.user_id for row in sessions.listing()})
    assert (scene.ben.id in listed) is (BENS not in sessions_end)


@CAUSES
@pytest.mark.parametrize("kind", ["online", "offline", "third"])
def test_families(
    scene: Scene, cause: Callable[[Scene], None], sessions_end: set[str], families_end: set[str], kind: str
) -> None:
    """Columns `families` and `live JWTs`: ended ones are refused at every endpoint at once, the others live on."""
    cause(scene)
    for place in (HERE, THERE, BENS):
        name = f"{place} {kind}"
        if cause in (idle, absolute):  # the access token of before has expired by itself
            scene.families[name].renew()
        assert scene.families[name].is_alive() is (name not in families_end), name


def recalled(scene: Scene, tokens: dict[str, str]) -> set[str]:
    """Return the names of the JWTs whose bit is set."""
    found = factories.within(scene.app, lambda: status_index.recalled(0)) or ()
    return {name for name, token in tokens.items() if payload(token)["status"]["status_list"]["idx"] in found}


@CAUSES
def test_what_ends_is_recalled(
    scene: Scene, cause: Callable[[Scene], None], sessions_end: set[str], families_end: set[str]
) -> None:
    """Column `live JWTs`, as APIs see it that look at the status list: those of the ended families, no others."""
    tokens = {name: family.access_token for name, family in scene.families.items()}
    assert recalled(scene, tokens) == set()
    cause(scene)
    assert recalled(scene, tokens) == families_end


@pytest.mark.parametrize("act", [ending.disable_client, ending.delete_client], ids=["disabled", "deleted"])
def test_what_a_disabled_or_deleted_client_holds_is_recalled(scene: Scene, act: Callable[..., None]) -> None:
    """Its families, and its tokens as a service; another app's and another service's are left alone."""
    third = scene.families["here third"].rp
    robots = [factories.service(scene.app), factories.service(scene.app)]
    tokens = {name: family.access_token for name, family in scene.families.items()}
    for name, (client, secret) in zip(("robot", "other robot"), robots, strict=True):
        party = RelyingParty(scene.app, scene.here, client, secret)
        tokens[name] = party.token(grant_type="client_credentials").json["access_token"]
    scene.do(lambda: act(clients.find(third.client.client_id)))
    scene.do(lambda: act(clients.find(robots[0][0].client_id)))
    assert recalled(scene, tokens) == {"here third", "there third", "ben third", "robot"}


@pytest.mark.parametrize("act", [ending.disable_client, ending.delete_client], ids=["disabled", "deleted"])
def test_a_disabled_or_deleted_client(scene: Scene, act: Callable[[clients.Client], None]) -> None:
    """No session ends; that client's families end, of everybody, and it is a client no more; other apps live on."""
    third = scene.families["here third"].rp
    scene.do(lambda: act(clients.find(third.client.client_id) or third.client))
    assert living_sessions(scene) == {HERE, THERE, BENS}
    for place in (HERE, THERE, BENS):
        ended = scene.families[f"{place} third"]
        assert third.userinfo(ended.access_token).status_code == 401
        asserts.is_oauth_error(ended.rp.refresh(ended.refresh_token), "invalid_client", 401)
        assert scene.families[f"{place} online"].is_alive()
        assert scene.families[f"{place} offline"].is_alive()


@pytest.mark.parametrize("act", [ending.disable_client, ending.delete_client], ids=["disabled", "deleted"])
def test_a_services_own_tokens_end_with_it(app: Flask, act: Callable[[clients.Client], None]) -> None:
    """Client-credentials tokens too: the API that asks is told at once; another service's live on."""
    api, api_secret = factories.api(app)
    credentials = basic(api.client_id, api_secret)
    robots = [factories.service(app, "orders:read") for _ in range(2)]
    parties = [RelyingParty(app, Browser(app), client, secret) for client, secret in robots]
    tokens = [party.token(grant_type="client_credentials").json["access_token"] for party in parties]

    def active() -> list[bool]:
        return [parties[0].introspect(token, headers=credentials)["active"] for token in tokens]

    assert active() == [True, True]
    factories.within(app, lambda: act(clients.find(robots[0][0].client_id) or robots[0][0]))
    assert active() == [False, True]


def test_an_enabled_client_starts_anew(scene: Scene) -> None:
    """Switched on again, its old tokens stay ended, and a new sign-in works."""
    third = scene.families["here third"].rp
    scene.do(lambda: ending.disable_client(clients.find(third.client.client_id) or third.client))
    scene.in_a_while(timedelta(seconds=2))  # a JWT knows its second only: those of the very second are refused too
    scene.do(lambda: clients.switch(clients.find(third.client.client_id) or third.client, enabled=True))
    assert not scene.families["here third"].is_alive()
    assert third.userinfo(third.tokens()["access_token"]).status_code == 200


def test_an_enabled_person_starts_anew(scene: Scene) -> None:
    """Switched on again, nothing of before comes back."""
    disabled(scene)
    scene.do(lambda: users.enable(scene.person()))
    assert living_sessions(scene) == {BENS}
    assert not scene.families["here offline"].is_alive()
    assert scene.families["here offline"].rp.tokens(scope=OFFLINE)["refresh_token"]


@pytest.mark.parametrize("cause", [refresh_reused, code_replayed])
def test_reuse_may_end_everything_of_the_person(
    make_app: Callable[..., Flask], stage: Stage, in_a_while: Travel, cause: Callable[[Scene], None]
) -> None:
    """REFRESH_REUSE_REVOKES=user: every family of the person, nobody else's."""
    scene = stage[1].at(make_app(refresh_reuse_revokes="user"), in_a_while)
    cause(scene)
    alive = {name for name, family in scene.families.items() if family.is_alive()}
    assert alive == ALL - ALL_OF_ADA
    assert living_sessions(scene) == {HERE, THERE, BENS}


@CAUSES
def test_an_open_code_of_an_ended_session_is_worth_nothing(
    scene: Scene, cause: Callable[[Scene], None], sessions_end: set[str], families_end: set[str]
) -> None:
    """A code that was issued before the end is refused after it, where its session or family ended (RFC 9700 §4.14)."""
    rp = scene.families["here third"].rp
    code = rp.code(scope=OFFLINE)
    cause(scene)
    one_family = cause in (refresh_reused, code_replayed, revoked_by_its_app)  # the code begins another one
    too_old = cause in (idle, absolute)  # a code lives 60 seconds
    ends = HERE in sessions_end or ("here third" in families_end and not one_family) or too_old
    assert (rp.exchange(code).status_code == 200) is not ends


def test_a_jwt_names_what_could_end_it(scene: Scene) -> None:
    """The session in `sid`, the family in `fam`: one look-up answers."""
    claims = payload(scene.families["here online"].access_token)
    assert claims["sid"] != payload(scene.families["there online"].access_token)["sid"]
    assert claims["fam"] != payload(scene.families["here offline"].access_token)["fam"]
    assert claims["sub"] == scene.ada.id


def test_each_ended_family_is_recorded_with_its_cause(scene: Scene) -> None:
    """The audit says which, whose and why."""
    sign_out(scene)
    (row,) = asserts.events_of(scene.app, "family.ended")
    assert row.family == payload(scene.families["here online"].access_token)["fam"]
    assert (row.subject, row.data) == (scene.ada.id, {"cause": "sign_out"})
