"""What the server has written to somebody: read in the outbox folder of a running server, in any language."""

from __future__ import annotations

import re
import time
from email import message_from_bytes, policy
from pathlib import Path

from tests.e2e.conftest import Site

_PATIENCE_SECONDS = 30
_LINK = re.compile(r"https?://\S+")
_CODE = re.compile(r"(?<![\w-])\d{6}(?![\w-])")


def letter_to(site: Site, address: str, words: str = "") -> str:
    """Wait for the newest letter to an address that has these words, or a link with them; return its text."""
    folder = Path(site.settings["instance_path"]) / "outbox"
    until = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < until:
        for path in sorted(folder.glob("*.eml"), reverse=True):
            letter = message_from_bytes(path.read_bytes(), policy=policy.default)
            body = letter.get_body(("plain",))
            if letter["To"] == address and body and words in f"{letter['Subject']}\n{body.get_content()}":
                return str(body.get_content())
        time.sleep(0.05)
    raise AssertionError(f"no letter to {address}")


def link_to(site: Site, address: str, path: str) -> str:
    """Return the link in the newest letter to an address that leads to this path."""
    return next(url for url in _LINK.findall(letter_to(site, address, path)) if path in url)


def code_in(text: str) -> str:
    """Return the six digits of a letter."""
    (found,) = _CODE.findall(_LINK.sub("", text))
    return str(found)
