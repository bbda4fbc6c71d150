"""What a stranger can tell apart of two answers: everything but what differs between any two requests."""

from __future__ import annotations

import re

from werkzeug.test import TestResponse

Seen = tuple[int, str, list[tuple[str, str]]]
_CHANGES = ("X-Request-Id", "Content-Length", "Date")


def normalised(response: TestResponse, *own_words: str) -> Seen:
    """Return status, body and headers; `own_words` are what the stranger typed, such as the address."""
    body = response.text.replace(response.headers["X-Request-Id"], "REQUEST")
    for word in own_words:
        body = body.replace(word, "TYPED")
    body = re.sub(r'name="csrf_token" value="[^"]+"', "CSRF", body)
    body = re.sub(r"&#34;challenge&#34;: &#34;[\w-]+&#34;", "CHALLENGE", body)
    body = re.sub(r"<time datetime=.*?</time>", "TIME", body)
    headers = [(name, value) for name, value in response.headers if name not in _CHANGES]
    return response.status_code, body, [(name, re.sub(r"=[\w-]{43};", "=COOKIE;", value)) for name, value in headers]
