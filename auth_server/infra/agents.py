"""What a User-Agent header says, coarsely: enough to recognise a browser, and to notice that another one is used.

The header is a claim that anybody can make. Versions are left out: a browser changes them by itself.
"""

from __future__ import annotations

import re
from functools import lru_cache

LONGEST = 80
_NAMES = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"), ("Safari/", "Safari"))
_SYSTEMS = (
    ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS"),
    ("CrOS", "ChromeOS"), ("Linux", "Linux"),
)  # fmt: skip
_PRODUCT = re.compile(r"[A-Za-z0-9._ -]+")


def parts(user_agent: str) -> tuple[str, str]:
    """Return the browser's name and the system's; "" for what is not known."""
    return _first(_NAMES, user_agent), _first(_SYSTEMS, user_agent)


def describe(user_agent: str) -> str:
    """Return "Firefox on Linux" for a browser, or what there is of it; "" for anything else."""
    return " on ".join(part for part in parts(user_agent) if part)


@lru_cache(maxsize=1024)
def kind_of(user_agent: str) -> str:
    """Return the kind of program: "Firefox on Linux" for a browser, the product's name ("okhttp") for others."""
    if _first(_NAMES, user_agent):
        return describe(user_agent)
    found = _PRODUCT.match(user_agent)
    return found[0].strip()[:LONGEST] if found else ""


def _first(marks: tuple[tuple[str, str], ...], user_agent: str) -> str:
    return next((label for mark, label in marks if mark in user_agent), "")
