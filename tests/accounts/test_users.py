"""Users: an immutable `sub`, addresses compared case-folded, free claims that cannot touch the protocol's."""

from __future__ import annotations

import threading
import uuid

import pytest
from flask import Flask

from auth_server.accounts import users
from auth_server.database import db
from auth_server.errors import RefusedInput
from auth_server.infra import events
from auth_server.tokens import ending
from tests.support import factories


@pytest.mark.usefixtures("domain")
def test_a_sub_is_random_and_survives_every_change() -> None:
    """A UUID that says nothing about the person."""
    user = users.create("ada@example.org", "Ada", verified=True)
    sub = user.id
    assert uuid.UUID(sub).version == 4
    users.change(user, email="countess@example.org", name="Countess", verified=True, claims={"nickname": "A"})
    db.session.commit()
    found = users.find_by_email("countess@example.org")
    assert found is not None
    assert found.id == sub


@pytest.mark.usefixtures("domain")
def test_a_sub_never_comes_back() -> None:
    """A new account with a deleted one's address is somebody else."""
    user = users.create("ada@example.org", "Ada", verified=True)
    first = user.id
    ending.delete_user(user)
    assert users.create("ada@example.org", "Ada", verified=True).id != first


@pytest.mark.parametrize(
    "variant", ["ADA@EXAMPLE.ORG", " ada@example.org ", "Ada@Example.org", "ａda@example.org", "ada@ｅxample.org"]
)
@pytest.mark.usefixtures("domain")
def test_variants_of_an_address_are_one_account(variant: str) -> None:
    """Case, blanks and compatibility forms do not make a second account, nor hide the first."""
    user = users.create("ada@example.org", "Ada", verified=True)
    found = users.find_by_email(variant)
    assert found is not None
    assert found.id == user.id
    with pytest.raises(RefusedInput):
        users.create(variant, "Another", verified=True)
    assert users.create("ada2@example.org", "Another", verified=True).id != user.id


@pytest.mark.parametrize(
    "address",
    ["", "ada", "ada@", "@example.org", "ada@@example.org", "a b@example.org", "ada@exa mple.org",
     "ada\x00@example.org", "ada@example..org", "x" * 400 + "@example.org", "ada@" + "a" * 300 + ".org"],
)  # fmt: skip
@pytest.mark.usefixtures("domain")
def test_what_is_no_address_is_refused(address: str) -> None:
    """An address that mail could not reach is refused, with the field's name."""
    with pytest.raises(RefusedInput) as refused:
        users.create(address, "Ada", verified=True)
    assert refused.value.field == "email"
    assert users.count() == 0


@pytest.mark.usefixtures("domain")
def test_an_address_with_nul_is_nobodys() -> None:
    """A look-up takes whatever was typed; PostgreSQL cannot even be asked for NUL."""
    users.create("ada@example.org", "Ada", verified=True)
    assert users.find_by_email("ada\x00@example.org") is None
    assert users.find_by_email("ada@example.org") is not None


@pytest.mark.parametrize("name", ["x" * 201, "line\nbreak", "nul\x00", "escape\x1b[0m"])
@pytest.mark.usefixtures("domain")
def test_a_name_is_one_short_line(name: str) -> None:
    """Control characters and very long names are refused; any script is fine."""
    with pytest.raises(RefusedInput) as refused:
        users.create("ada@example.org", name, verified=True)
    assert refused.value.field == "name"
    assert users.create("ada@example.org", "Ада ‎آدا 💥 " + "x" * 150, verified=True).id


@pytest.mark.parametrize("claim", sorted(users.RESERVED_CLAIMS))
@pytest.mark.usefixtures("domain")
def test_free_claims_cannot_set_the_protocols(claim: str) -> None:
    """Nobody becomes an administrator, or somebody else, by a free claim."""
    with pytest.raises(RefusedInput, match=claim):
        users.create("ada@example.org", "Ada", verified=True, claims={claim: "x"})
    assert users.create("ada@example.org", "Ada", verified=True, claims={"nickname": "x"}).claims == {"nickname": "x"}


@pytest.mark.usefixtures("domain")
def test_a_new_address_is_unverified_unless_said_otherwise() -> None:
    """A changed address has not been proved; the same one in another case stays proved."""
    user = users.create("ada@example.org", "Ada", verified=True)
    users.change(user, email="ADA@example.org")
    assert user.email_verified
    users.change(user, email="countess@example.org")
    assert not user.email_verified
    users.change(user, email="lovelace@example.org", verified=True)
    assert user.email_verified


@pytest.mark.usefixtures("domain")
def test_an_address_cannot_be_taken_over_by_a_change() -> None:
    """Somebody else's address is refused, in any case; an own one may be written anew."""
    users.create("ada@example.org", "Ada", verified=True)
    ben = users.create("ben@example.org", "Ben", verified=True)
    db.session.commit()
    with pytest.raises(RefusedInput):
        users.change(ben, email="ADA@example.org")
    ben = users.find(ben.id) or ben
    users.change(ben, email="BEN@example.org")
    assert users.email_key(ben.email) == "ben@example.org"
    assert ben.email_verified


@pytest.mark.usefixtures("domain")
def test_a_claim_is_taken_away_by_none() -> None:
    """A change merges; None removes."""
    user = users.create("ada@example.org", "Ada", verified=True, claims={"nickname": "A", "locale": "en"})
    users.change(user, claims={"nickname": None, "website": "https://ada.example.org"})
    assert user.claims == {"locale": "en", "website": "https://ada.example.org"}


@pytest.mark.usefixtures("domain")
def test_people_are_found_by_address_or_sub() -> None:
    """Operators may name either."""
    user = users.create("ada@example.org", "Ada", verified=True)
    for name in ("ada@example.org", "ADA@example.org", user.id):
        found = users.find_any(name)
        assert found is not None
        assert found.id == user.id
    assert users.find_any("nobody") is None


def test_of_many_who_want_an_address_one_gets_it(app: Flask) -> None:
    """The unique index decides, and the others are told."""
    made: list[str] = []
    refused: list[str] = []

    def create(address: str) -> None:
        with app.app_context():
            events.begin(events.Context(actor_kind="job"))
            try:
                made.append(users.create(address, "Ada", verified=True).id)
            except RefusedInput as refusal:
                refused.append(refusal.field)
            db.session.commit()

    variants = ["ada@example.org", "ADA@example.org"] * 6
    threads = [threading.Thread(target=create, args=(address,)) for address in variants]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
    assert refused == ["email"] * 11
    assert factories.within(app, users.count) == 1
