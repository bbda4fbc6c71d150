"""What has arrived: delivers the outbox and reads the messages that were written to the outbox folder."""

from __future__ import annotations

import re
from email import message_from_bytes, policy
from email.message import EmailMessage
from urllib.parse import urlsplit

from flask import Flask

from auth_server import config, jobs
from tests.support import factories


def letters(app: Flask) -> list[EmailMessage]:
    """Deliver what is due, and return every message so far, the oldest first."""
    factories.within(app, jobs.deliver_due)
    folder = config.current().instance_path / "outbox"
    return [message_from_bytes(path.read_bytes(), policy=policy.default) for path in sorted(folder.glob("*.eml"))]


def last_to(app: Flask, address: str) -> EmailMessage:
    """Return the newest message to an address."""
    return [letter for letter in letters(app) if letter["To"] == address][-1]


def text_of(letter: EmailMessage) -> str:
    """Return the plain text of a message."""
    body = letter.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def link_in(letter: EmailMessage, marker: str = "token=") -> str:
    """Return the path of the first link of ours in a message that has this in it."""
    found = next(url for url in re.findall(r"https?://\S+", text_of(letter)) if marker in url)
    assert found.startswith(config.current().issuer + "/"), found
    parts = urlsplit(found)
    return f"{parts.path}?{parts.query}"


def code_in(letter: EmailMessage) -> str:
    """Return the code of six digits in a message."""
    (found,) = re.findall(r": (\d{6})$", text_of(letter), re.MULTILINE)
    return str(found)
