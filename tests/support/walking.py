"""Going through the pages of a request, for tests that look at what they say."""

from __future__ import annotations

import re

from werkzeug.test import TestResponse

from tests.support.browser import Page
from tests.support.rp import RelyingParty


def titles_of(page: TestResponse) -> list[str]:
    """Return the titles of the lines of a consent page, in their order."""
    return re.findall(r'<span class="scope-title">([^<]+)</span>', page.text)


def go_on_signed_in(rp: RelyingParty, answer: TestResponse) -> TestResponse:
    """Follow, and allow where that is asked; return the answer to the app."""
    response = rp.browser.follow(answer)
    if response.status_code == 200 and Page(response.text).marker == "consent":
        answer = rp.browser.submit(response, response.request.full_path, decision="allow")
        response = rp.browser.follow(answer)
    return response
