"""What the tests of the protocol begin with."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.support.shop import Shop, open_shop


@pytest.fixture
def shop(app: Flask) -> Shop:
    return open_shop(app)
