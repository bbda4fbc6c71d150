"""An issuer for the APIs under test, and time that passes for their caches."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from auth_server.keys import jose
from tests.support.issuer import Issuer


@pytest.fixture(scope="session")
def natives() -> dict[str, jose.NativeKey]:
    """Return a private key for each algorithm; making one for RS256 is slow."""
    return {alg: jose.generate(alg) for alg in jose.ALGORITHMS}


@pytest.fixture
def issuer(natives: dict[str, jose.NativeKey]) -> Iterator[Issuer]:
    issuer = Issuer(natives)
    yield issuer
    issuer.stop()
