"""What ends an exchanged token: all that ends what it came from, whoever was in between, whenever it happens."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from auth_server.access import apis, exchanges
from auth_server.accounts import users
from auth_server.clients import client as clients
from auth_server.tokens import checking, ending, families, status_index
from auth_server.tokens import exchanges as passed_on
from tests.support import asserts, exchange, factories
from tests.support.browser import Browser
from tests.support.exchange import FILES, STORE, Service, token
from tests.support.factories import ORDERS
from tests.support.rp import RelyingParty, payload
from tests.support.site import at_once

ONLINE = "openid roles orders:read files:read store:read"
INACTIVE = {"active": False}


class Scene:
    """An app, the orders' backend and, behind it, the files' backend."""

    def __init__(self, app: Flask, browser: Browser) -> None:
        self.app, self.shop = app, exchange.shop(app, browser)
        self.backend = exchange.service(app)
        exchange.rule(app, scopes=("files:read", "roles"))
        self.files = exchange.service(app, "files-backend", client_name="Files backend")
        exchange.rule(
            app, "files-on", client_id="files-backend", from_audience=FILES, to_audience=FILES, scopes=("files:read",)
        )

    def chain(self, scope: str = ONLINE) -> tuple[str, str, str]:
        """Return the app's token, what the orders' backend makes of it, and what the files' backend makes of that."""
        first = token(self.shop, scope)
        second = self.backend.exchanged(first)
        return first, second, self.files.exchanged(second)

    def live(self, chain: tuple[str, str, str]) -> list[bool]:
        holders = (self.shop.introspect, self.backend.introspect, self.files.introspect)
        return [ask(held) != INACTIVE for ask, held in zip(holders, chain, strict=True)]

    def place(self, held: str) -> int:
        found = status_index.position_in(payload(held))
        assert found is not None
        return found

    def is_recalled(self, held: str) -> bool:
        places = factories.within(self.app, lambda: status_index.recalled(0))
        return self.place(held) in (places or ())

    def client(self, service: Service) -> clients.Client:
        found = clients.find_now(service.client.client_id)
        assert found is not None
        return found


@pytest.fixture
def scene(app: Flask, browser: Browser) -> Scene:
    return Scene(app, browser)


ENDS: dict[str, Callable[[Scene, users.User], object]] = {
    "sign-out": lambda scene, _ada: scene.shop.browser.submit(scene.shop.browser.get("/logout"), "/logout"),
    "everywhere": lambda _scene, ada: ending.sign_out_everywhere(ada.id, "test"),
    "disabled": lambda _scene, ada: ending.disable_user(factories.again(ada)),
    "deleted": lambda _scene, ada: ending.delete_user(factories.again(ada)),
    "disconnected": lambda _scene, ada: ending.disconnect(ada.id, "shop"),
    "app disabled": lambda scene, _ada: ending.disable_client(scene.shop.client),
    "app deleted": lambda scene, _ada: ending.delete_client(scene.shop.client),
    "app's tokens": lambda _scene, _ada: ending.end_client_tokens("shop", "test"),
    "all tokens": lambda _scene, _ada: ending.end_all_tokens(),
}


@pytest.mark.parametrize("end", ENDS)
def test_whatever_ends_the_family_ends_what_was_exchanged(scene: Scene, ada: users.User, end: str) -> None:
    """At once at our endpoints, in the status list too; and nothing comes of any of them any more."""
    factories.person(scene.app, "another@example.org", roles=["administrator"])
    chain = scene.chain()
    assert scene.live(chain) == [True] * 3
    assert len({scene.place(held) for held in chain}) == 1
    assert not scene.is_recalled(chain[2])
    if end == "sign-out":
        ENDS[end](scene, ada)
    else:
        factories.within(scene.app, lambda: ENDS[end](scene, ada))
    asserts.is_oauth_error(scene.backend.exchange(chain[0]), "invalid_request")
    asserts.is_oauth_error(scene.files.exchange(chain[1]), "invalid_request")
    assert scene.backend.introspect(chain[1]) == scene.files.introspect(chain[2]) == INACTIVE
    assert scene.is_recalled(chain[2])


def test_a_refresh_token_that_is_used_twice_ends_it(scene: Scene) -> None:
    """Theft of the app's refresh token reaches all that came of its access tokens."""
    tokens = scene.shop.tokens(scope=ONLINE)
    made = scene.backend.exchanged(tokens["access_token"])
    assert scene.shop.refresh(tokens["refresh_token"]).status_code == 200
    assert scene.backend.introspect(made)["active"]
    asserts.is_oauth_error(scene.shop.refresh(tokens["refresh_token"]), "invalid_grant")
    assert scene.backend.introspect(made) == INACTIVE


@pytest.mark.parametrize("revoked", [0, 1, 2])
def test_a_revoked_token_takes_along_what_came_of_it_and_nothing_else(scene: Scene, revoked: int) -> None:
    """RFC 7009: downwards, never upwards."""
    chain = scene.chain()
    holder = (scene.shop, scene.backend, scene.files)[revoked]
    holder.post("/oauth/revoke", {"token": chain[revoked]})
    assert scene.live(chain) == [number < revoked for number in range(3)]
    assert scene.is_recalled(chain[2]) == (revoked == 0)  # what a service gives back is not the app's loss
    if revoked == 0:
        asserts.is_oauth_error(scene.backend.exchange(chain[0]), "invalid_request")
        asserts.is_oauth_error(scene.files.exchange(chain[1]), "invalid_request")


def test_a_service_cannot_revoke_the_apps_token(scene: Scene) -> None:
    """It was issued to the app; the service only received it."""
    chain = scene.chain()
    assert scene.backend.post("/oauth/revoke", {"token": chain[0]}).status_code == 200
    assert scene.live(chain) == [True] * 3


@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("act", [ending.disable_client, ending.delete_client])
def test_a_service_that_is_switched_off(scene: Scene, number: int, act: Callable[[clients.Client], None]) -> None:
    """What it got ends, and what others got for that; the app's own token lives on, and so does the app."""
    chain = scene.chain("openid offline_access orders:read files:read")
    service = (scene.backend, scene.files)[number - 1]
    factories.within(scene.app, lambda: act(scene.client(service)))
    with scene.app.app_context():
        alive = [checking.live(held) is not None for held in chain]
    assert alive == [position < number for position in range(3)]
    assert scene.is_recalled(chain[2])
    fresh = token(scene.shop, ONLINE)
    assert not scene.is_recalled(fresh)


def test_the_tokens_of_a_service_are_ended_by_an_operator(scene: Scene) -> None:
    """`tokens revoke --client`: what it holds now, not what it gets from now on."""
    chain = scene.chain()
    factories.within(scene.app, lambda: ending.end_client_tokens("orders-backend", "test"))
    assert scene.live(chain) == [True, False, False]
    assert scene.is_recalled(chain[1])


@pytest.mark.parametrize("token_format", ["jwt", "opaque"])
def test_a_revoked_opaque_token_takes_along_a_jwt(app: Flask, browser: Browser, token_format: str) -> None:
    """It has no place in the lists, but what came of it has."""
    factories.api(app, scopes={"orders:read": "See"}, token_format=token_format)
    factories.api(app, FILES, scopes={"files:read": "See"}, token_format=token_format)
    shop = RelyingParty(app, browser, *factories.client(app, scope="orders:read files:read"))
    backend = exchange.service(app)
    exchange.rule(app, scopes=("files:read",))
    subject = token(shop, "orders:read files:read")

    def as_jwt() -> None:
        api = apis.register().by_identifier[FILES]
        apis.change(
            api, name="Files", scopes=api.scopes, token_format="jwt", alg="ES256", token_ttl_seconds=None,
            minimum_acr=None, scope_acr={},
        )  # fmt: skip

    factories.within(app, as_jwt)
    made = backend.exchanged(subject)
    place = status_index.position_in(payload(made))
    shop.revoke(subject)
    assert backend.introspect(made) == INACTIVE
    assert place in (factories.within(app, lambda: status_index.recalled(0)) or ())
    assert backend.exchange(subject).status_code == 400


def test_what_ends_at_the_last_moment_gives_nothing(scene: Scene, ada: users.User) -> None:
    """The last look and the first write are one statement."""
    family_id = payload(token(scene.shop, ONLINE))["fam"]

    def note() -> bool:
        family = families.find(family_id)
        assert family is not None
        return passed_on.note(family, "orders-backend", FILES)

    assert [factories.within(scene.app, note) for _ in range(2)] == [True, True]
    factories.within(scene.app, lambda: ending.end_family(family_id, "test"))
    before = asserts.rows(scene.app)["exchange"]
    assert factories.within(scene.app, note) is False
    assert asserts.rows(scene.app)["exchange"] == before


@pytest.mark.parametrize("what", ["family", "token", "person", "service"])
def test_nothing_survives_an_end_in_parallel(scene: Scene, ada: users.User, what: str) -> None:
    """Ten exchanges while it ends: whatever was still given is dead afterwards (TX-01, RA-01)."""
    factories.person(scene.app, "another@example.org", roles=["administrator"])
    subject = token(scene.shop, ONLINE)

    def end() -> object:
        if what == "token":
            return scene.shop.revoke(subject)
        acts: dict[str, Callable[[], object]] = {
            "family": lambda: ending.end_family(payload(subject)["fam"], "test"),
            "person": lambda: ending.disable_user(factories.again(ada)),
            "service": lambda: ending.disable_client(scene.client(scene.backend)),
        }
        return factories.within(scene.app, acts[what])

    answers: list[object] = at_once(*(lambda: scene.backend.exchange(subject) for _ in range(10)), end)
    given = [answer.json for answer in answers[:10]]  # type: ignore[attr-defined]
    refusals = {body["error"] for body in given if "error" in body}
    assert refusals <= ({"invalid_client", "unsupported_grant_type"} if what == "service" else {"invalid_request"})
    made = [body["access_token"] for body in given if "access_token" in body]
    with scene.app.app_context():
        assert [held for held in made if checking.live(held)] == []
    assert scene.backend.exchange(subject).status_code in (400, 401)


def test_ten_exchanges_at_once_are_ten_tokens(scene: Scene) -> None:
    """A subject token is no one-time thing; one row tells of them all."""
    subject = token(scene.shop, ONLINE)
    answers = at_once(*(lambda: scene.backend.exchange(subject) for _ in range(10)))
    assert [answer.status_code for answer in answers] == [200] * 10
    assert len({answer.json["access_token"] for answer in answers}) == 10
    assert len(asserts.rows(scene.app)["exchange"]) == 1


def test_a_rule_goes_with_what_it_names(scene: Scene) -> None:
    """The API or the client; then the exchange is off, and other rules stay."""
    subject = token(scene.shop, ONLINE)

    def rules() -> list[str]:
        return [rule.name for rule in factories.within(scene.app, exchanges.listing)]

    exchange.rule(scene.app, "orders-to-store", from_audience=ORDERS, to_audience=STORE, scopes=("store:read",))
    assert rules() == ["files-on", "orders-to-files", "orders-to-store"]
    factories.within(scene.app, lambda: ending.delete_api(FILES))
    assert rules() == ["orders-to-store"]
    asserts.is_oauth_error(scene.backend.exchange(subject), "invalid_target")
    assert scene.backend.exchange(subject, resource=STORE).status_code == 200
    factories.within(scene.app, lambda: ending.delete_client(scene.client(scene.backend)))
    assert rules() == []


def test_an_api_that_is_deleted_ends_what_its_credentials_exchanged(app: Flask, scene: Scene) -> None:
    """An API may exchange with the credentials that it introspects with; they end with it."""
    api = factories.within(app, lambda: apis.register().by_identifier[ORDERS])
    credentials = factories.within(app, lambda: clients.find(api.client_id))
    assert credentials is not None
    grant = {"grant_types": ["urn:ietf:params:oauth:grant-type:token-exchange"]}
    factories.within(app, lambda: clients.change(credentials, grant))
    secret = factories.within(app, lambda: clients.add_secret(credentials))
    exchange.rule(app, "by-the-api", client_id=api.client_id)
    made = Service(app, credentials, secret or "").exchanged(token(scene.shop, ONLINE))
    assert not scene.is_recalled(made)
    assert factories.within(app, lambda: ending.delete_api(ORDERS)) is True
    assert scene.is_recalled(made)
    assert factories.within(app, lambda: ending.delete_api(ORDERS)) is False
