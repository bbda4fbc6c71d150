"""What is easy to guess although it is long: common passwords, and words about the person, with a little around them.

People lengthen what they have: `Password123456!` is as long as the rules ask and among the first that are tried. So a
password is also looked at without the digits and signs at its ends, and cut in two.
"""

from __future__ import annotations

import gzip
import re
import string
import unicodedata
from collections.abc import Iterable
from functools import cache
from itertools import pairwise
from pathlib import Path

_FILE = Path(__file__).resolve().parent.parent / "data" / "common-passwords.txt.gz"
_PADDING = string.digits + string.punctuation + string.whitespace
_LONGEST_COMMON = 64
_SHORTEST_WORD = 3
_ENOUGH_BESIDE_A_WORD = 8
_BETWEEN_WORDS = re.compile(r"[\W_]+")


def is_common(password: str) -> bool:
    """Tell whether it is a common password, two of them or one several times, or that with digits and signs around."""
    text = _folded(password)
    if len(text) > _LONGEST_COMMON:
        return False
    if _is_common(text) or _is_common(_unit(text)) or _is_count(text):
        return True
    return any(_is_common(text[:cut]) and _is_common(text[cut:]) for cut in range(1, len(text)))


def is_mostly(password: str, context: Iterable[str]) -> bool:
    """Tell whether little is left of it without the words of the context: an address, a name, a host."""
    text = rest = _folded(password)
    for word in sorted(_words(context), key=len, reverse=True):
        rest = rest.replace(word, "")
    return rest != text and (len(rest) < _ENOUGH_BESIDE_A_WORD or not rest.strip(_PADDING))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _is_common(text: str) -> bool:
    return text in _common() or text.strip(_PADDING) in _common()


def _unit(text: str) -> str:
    """Return what the text repeats: `monkey` for `monkey monkey 1`, otherwise its letters and digits."""
    core = "".join(filter(str.isalnum, text.strip(_PADDING)))
    return core[: (core + core).find(core, 1)] if core else ""


def _is_count(text: str) -> bool:
    """Tell whether each sign is as far from the one before as any other is: digits up or down, the alphabet."""
    return len({(ord(after) - ord(before)) % 10 for before, after in pairwise(text)}) == 1


def _words(context: Iterable[str]) -> set[str]:
    """Return the parts of the context that count, and each entry as a whole."""
    entries = [_folded(entry).strip() for entry in context]
    parts = {part for entry in entries for part in _BETWEEN_WORDS.split(entry)}
    return {word for word in {*entries, *parts} if len(word) >= _SHORTEST_WORD}


@cache
def _common() -> frozenset[str]:
    """Read the list when it is first asked for; what it is and where it comes from stands at its top."""
    with gzip.open(_FILE, "rt", encoding="ascii") as file:
        _about, _blank, entries = file.read().partition("\n\n")
    return frozenset(entries.splitlines())
