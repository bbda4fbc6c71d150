"""Secrets, digests and sealing."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask

from auth_server import config
from auth_server.infra import crypto
from auth_server.infra.crypto import CannotUnseal
from tests.conftest import SECRET_KEY

OTHER_KEY = "another-0123456789-abcdefghijklmnopqrstuvwxyz"


def test_secrets_are_random_and_long(app: Flask) -> None:
    """256 random bits, URL-safe; a client's secret is 43 or more letters and digits."""
    made = {crypto.new_secret() for _ in range(200)}
    assert len(made) == 200
    assert all(len(secret) == 43 for secret in made)
    plain = {crypto.new_alphanumeric_secret() for _ in range(200)}
    assert len(plain) == 200
    assert all(len(secret) >= 43 and secret.isalnum() and secret.isascii() for secret in plain)


def test_what_was_sealed_is_read_again(app: Flask) -> None:
    """Sealing hides the text, differs each time and is undone for the same purpose and row."""
    first, second = (crypto.seal("purpose", b"private", "row-1") for _ in range(2))
    assert first != second
    assert "private" not in first
    assert crypto.unseal("purpose", first, "row-1") == crypto.unseal("purpose", second, "row-1") == b"private"


@pytest.mark.parametrize(("purpose", "row"), [("purpose", "row-2"), ("another", "row-1")])
def test_a_sealed_value_cannot_change_its_place(app: Flask, purpose: str, row: str) -> None:
    """Swapped between rows or purposes it is refused."""
    sealed = crypto.seal("purpose", b"private", "row-1")
    with pytest.raises(CannotUnseal):
        crypto.unseal(purpose, sealed, row)


@pytest.mark.parametrize("broken", ["", "v1.", "v1.!!!!", "v1.AAAA", "v2.", "nonsense"])
def test_an_altered_value_is_refused(app: Flask, broken: str) -> None:
    """Neither a cut nor an invented value is read, nor one with a changed byte."""
    sealed = crypto.seal("purpose", b"private", "row-1")
    middle = len(sealed) // 2
    flipped = sealed[:middle] + ("A" if sealed[middle] != "A" else "B") + sealed[middle + 1 :]
    for altered in (broken, flipped, sealed[:-8]):
        with pytest.raises(CannotUnseal):
            crypto.unseal("purpose", altered, "row-1")


def test_the_previous_master_secret_still_opens(make_app: Callable[..., Flask]) -> None:
    """After a change of SECRET_KEY the previous one opens what it had sealed; without it nothing does."""
    make_app()
    sealed = crypto.seal("purpose", b"private", "row-1")
    make_app(secret_key=OTHER_KEY)
    with pytest.raises(CannotUnseal):
        crypto.unseal("purpose", sealed, "row-1")
    make_app(secret_key=OTHER_KEY, secret_key_previous=SECRET_KEY)
    assert crypto.unseal("purpose", sealed, "row-1") == b"private"
    again = crypto.seal("purpose", b"private", "row-1")
    make_app(secret_key=OTHER_KEY)
    assert crypto.unseal("purpose", again, "row-1") == b"private"


def test_only_the_holder_of_a_secret_opens_what_it_sealed(app: Flask) -> None:
    """A successor sealed under a presented token opens with that token alone."""
    raw_secret = crypto.new_secret()
    sealed = crypto.seal_with_secret(raw_secret, b"successor", "purpose")
    assert crypto.unseal_with_secret(raw_secret, sealed, "purpose") == b"successor"
    for secret, purpose in ((crypto.new_secret(), "purpose"), (raw_secret, "another")):
        with pytest.raises(CannotUnseal):
            crypto.unseal_with_secret(secret, sealed, purpose)


def test_tags_depend_on_the_master_secret(make_app: Callable[..., Flask]) -> None:
    """A tag is stable for one label and text, and nobody without the master secret can compute it."""
    make_app()
    tag = crypto.tag("label", "text")
    assert tag == crypto.tag("label", "text")
    assert tag not in (crypto.tag("label", "other"), crypto.tag("other", "text"))
    make_app(secret_key=OTHER_KEY)
    assert crypto.tag("label", "text") != tag


def test_digest_and_comparison_take_any_text() -> None:
    """Presented values are not always clean Unicode; that is no crash."""
    for text in ("", "plain", "ünïcode", "\x00", "\ud800"):
        assert len(crypto.digest(text)) == 64
        assert crypto.same(text, text)
        assert not crypto.same(text, text + "x")


def test_without_a_master_secret_nothing_is_sealed(app: Flask) -> None:
    """An empty master secret seals nothing: it would be everybody's."""
    import dataclasses

    config.use(dataclasses.replace(config.current(), secret_key=""))
    with pytest.raises(CannotUnseal, match="auth-server init"):
        crypto.seal("purpose", b"private", "row-1")
