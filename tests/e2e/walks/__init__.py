"""Walks through all pages in all their states, in whatever language they speak: each `look` is one state of one page.

A new page is added to one of the walks. Who goes is somebody whom the server knows, with the password of all tests.
"""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

from tests.e2e.conftest import Site
from tests.e2e.walks.coming import the_address, the_beginning, the_invitation, the_sign_up
from tests.e2e.walks.losing import the_forgotten_password, the_lost_factor, the_own_data
from tests.e2e.walks.signing_in import a_device, the_account, the_flow, the_passkeys, the_second_factor
from tests.e2e.walks.steps import Look

Walk = Callable[[Site, Page, str, Look], None]
WALKS: list[Walk] = [
    *(the_flow, the_account, the_second_factor, the_passkeys, the_sign_up, the_invitation),
    *(the_address, the_forgotten_password, the_lost_factor, the_own_data, a_device),
]
"""Where everybody may sign up and somebody runs the server already."""

__all__ = ["WALKS", "Look", "Walk", "the_beginning"]
