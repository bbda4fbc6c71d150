"""The reference is what the code says."""

from __future__ import annotations

import runpy
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_the_reference_is_made_from_the_code() -> None:
    """`scripts/reference` would write just what is there (DEV-16)."""
    made = runpy.run_path(str(ROOT / "scripts" / "reference"), run_name="reference")["pages"]()
    for name, text in made.items():
        assert (ROOT / "docs" / "reference" / name).read_text(encoding="utf-8") == text, (
            f"run scripts/reference: {name}"
        )
