"""Texts in a person's language: gettext catalogues in `locale/`; English is in the source.

Which language is spoken is said by whoever knows the person: a letter says it with `speaking`, the web floor by a
function that asks the request.
"""

from __future__ import annotations

import gettext as gettext_module
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

DEFAULT = "en"
_FOLDER = Path(__file__).resolve().parent.parent / "locale"
_NAMES = {"en": "English", "ar": "العربية", "de": "Deutsch", "es": "Español", "fr": "Français"}
"""Each language by its own name, as its speakers look for it."""
_RIGHT_TO_LEFT = frozenset({"ar", "fa", "he", "ur"})
_spoken: ContextVar[str | None] = ContextVar("auth_server_language", default=None)


def _nobody() -> str:
    return DEFAULT


_ask: Callable[[], str] = _nobody


def ask_with(who: Callable[[], str]) -> None:
    """Let this function say which language is spoken where `speaking` did not."""
    global _ask
    _ask = who


def current() -> str:
    """Return the language that is spoken here."""
    return _spoken.get() or _ask()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    """Speak this language within the block; one without a catalogue is English."""
    token = _spoken.set(language if language in available() else DEFAULT)
    try:
        yield
    finally:
        _spoken.reset(token)


def gettext(message: str) -> str:
    """Translate one text."""
    return _catalogue(current()).gettext(message)


def ngettext(singular: str, plural: str, number: int) -> str:
    """Translate a text that depends on a number."""
    return _catalogue(current()).ngettext(singular, plural, number)


def mark(message: str) -> str:
    """Mark a text that is translated where it is shown."""
    return message


def translated(marked: str) -> str:
    """Translate a text that was marked where it stands."""
    return _catalogue(current()).gettext(marked)


def direction(language: str) -> str:
    """Return `rtl` or `ltr`."""
    return "rtl" if language in _RIGHT_TO_LEFT else "ltr"


def name_of(language: str) -> str:
    """Return a language's own name; one that nobody has named here is shown by its tag."""
    return _NAMES.get(language, language)


def best_of(wanted: Iterable[str]) -> str | None:
    """Return the first of these language tags (BCP 47) that there is a catalogue for, without its region."""
    plain = (tag.replace("_", "-").split("-")[0].lower() for tag in wanted)
    return next((tag for tag in plain if tag in available()), None)


@lru_cache(maxsize=1)
def available() -> tuple[str, ...]:
    """Return the languages with a catalogue."""
    found = [path.parent.parent.name for path in _FOLDER.glob("*/LC_MESSAGES/messages.mo")] if _FOLDER.is_dir() else []
    return (DEFAULT, *sorted(found))


@lru_cache(maxsize=32)
def _catalogue(language: str) -> gettext_module.NullTranslations:
    return gettext_module.translation("messages", str(_FOLDER), [language], fallback=True)
