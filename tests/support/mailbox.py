"""What has arrived: delivers what waits, and reads the outbox folder as a person reads their mail."""

from __future__ import annotations

import re
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default

from flask import Flask

from auth_server import config, jobs
from tests.support import factories


def letters(app: Flask, to: str | None = None) -> list[EmailMessage]:
    """Deliver what is due, and return every message so far, the oldest first; or those to one address."""
    factories.within(app, jobs.deliver_due)
    folder = config.current().instance_path / "outbox"
    paths = sorted(folder.glob("*.eml")) if folder.is_dir() else []
    found = [message_from_bytes(path.read_bytes(), policy=default) for path in paths]
    return [letter for letter in found if to is None or letter["To"] == to]  # type: ignore[misc]


def text_of(letter: EmailMessage) -> str:
    part = letter.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def link_in(letter: EmailMessage, path: str = "/") -> str:
    """Return the first link to this path of ours."""
    found = re.search(rf"{re.escape(config.current().issuer + path)}\S*", text_of(letter))
    assert found, text_of(letter)
    return found[0]


def code_in(letter: EmailMessage) -> str:
    found = re.search(r"\b\d{6}\b", text_of(letter))
    assert found, text_of(letter)
    return found[0]
