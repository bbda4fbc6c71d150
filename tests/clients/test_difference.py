"""How a redirect URI differs: the kind in words, never the registered value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth_server.clients import difference
from tests.support.examples import STEADY

REGISTERED = "https://app.example.org/cb"


@pytest.mark.parametrize(
    ("presented", "expected"),
    [
        (REGISTERED + "/", "only a trailing slash"),
        ("https://app.example.org/CB", "only upper and lower case"),
        ("https%3A%2F%2Fapp.example.org%2Fcb", "encoded twice"),
        ("https%253A%252F%252Fapp.example.org%252Fcb", "encoded twice"),
        (REGISTERED + "?x=1", "a query was added"),
        ("http://app.example.org/cb", "scheme"),
        ("https://evil.test/cb", "host"),
        ("https://app.example.org:8443/cb", "port"),
        ("https://app.example.org/other", "path"),
        ("http://evil.test/other", "scheme, host, path"),
        (REGISTERED + "#x", "not an exact match"),
        ("https://[", "scheme, host, path"),
    ],
)
def test_the_difference_is_told_in_words(presented: str, expected: str) -> None:
    """What the app's developer needs in order to repair it."""
    assert difference.kind(presented, [REGISTERED]) == expected


def test_the_nearest_registered_address_is_compared() -> None:
    """Otherwise the words would lead astray."""
    several = ["https://other.example.org/a/b", REGISTERED]
    assert difference.kind("https://app.example.org/cb/", several) == "only a trailing slash"
    assert difference.kind("https://other.example.org/a/c", several) == "path"


def test_without_addresses_it_says_so() -> None:
    """A service has none."""
    assert difference.kind(REGISTERED, []) == "no redirect URI is registered for this app"


@STEADY
@given(st.text(max_size=80))
def test_anything_can_be_compared_and_nothing_registered_is_told(presented: str) -> None:
    """The words are fixed; they never carry the registered value."""
    words = difference.kind(presented, ["https://secret-host.example.org/hidden"])
    assert "secret-host" not in words
    assert "hidden" not in words
