"""A made-up language: every letter has an accent and every text is longer, so that a page shows what is not translated
and what does not fit. Esperanto lends its tag, which the library of dates knows and nobody's catalogue has."""

from __future__ import annotations

import re
import runpy
import shutil
from pathlib import Path
from typing import Any

from tests.support.live import ROOT

TAG = "eo"
_PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ACCENTED = "áƀçđéƒĝĥîĵķĺɱñöþǫŕšţûṽŵẋýžÁƁÇĐÉƑĜĤÎĴĶĹṀÑÖÞǪŔŠŢÛṼŴẊÝŽ"
_LETTERS = str.maketrans(_PLAIN, _ACCENTED)
_KEPT = re.compile(r"(%\(\w+\)[sd]|<[^>]+>|&\w+;)")
_LONGER_BY = 0.4


def pseudo(text: str) -> str:
    """Return the text in the made-up language: "[!! Ŝîĝñ îñ öñé !!]"; placeholders and markup stay."""
    parts = [part if _KEPT.fullmatch(part) else part.translate(_LETTERS) for part in _KEPT.split(text)]
    more = "ŵö " * -(-int(len(text) * _LONGER_BY) // 3)
    return f"[!! {''.join(parts)} {more}!!]"


def program(folder: Path) -> Path:
    """Copy the program into a folder and give it the made-up language; return where it stands."""
    for name in ("auth_server", "templates", "migrations"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "app.py", folder)
    tool: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "translations"), run_name="translations")
    texts = tool["updated"](TAG, tool["extract"]())
    for message in texts:
        if message.id:
            message.string = pseudo(message.id) if isinstance(message.id, str) else tuple(map(pseudo, message.id))
    compiled = folder / "auth_server" / "locale" / TAG / "LC_MESSAGES" / "messages.mo"
    compiled.parent.mkdir(parents=True)
    compiled.write_bytes(tool["compiled"](texts))
    return folder
