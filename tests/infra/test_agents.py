"""What is read out of a User-Agent header."""

from __future__ import annotations

import pytest

from auth_server.infra import agents

WINDOWS = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari/537.36"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (WINDOWS, "Chrome on Windows"),
        (WINDOWS + " Edg/140.0", "Edge on Windows"),
        (WINDOWS + " OPR/120.0", "Opera on Windows"),
        ("Mozilla/5.0 (Macintosh; Intel Mac OS X 14_0) AppleWebKit/605.1 Version/18.0 Safari/605.1", "Safari on macOS"),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile Safari/604.1", "Safari on iPhone"),
        ("Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.0", ""),
        ("", ""),
        ('"><script>', ""),
    ],
)
def test_a_browser_is_described_in_words(agent: str, words: str) -> None:
    """Coarse, for people, never the header itself."""
    assert agents.describe(agent) == words


@pytest.mark.parametrize(
    ("agent", "kind"),
    [
        (WINDOWS, "Chrome on Windows"),
        (WINDOWS.replace("140", "141"), "Chrome on Windows"),
        ("okhttp/4.12.0", "okhttp"),
        ("Our App/3.1 (iPhone; iOS 18.0)", "Our App"),
        ("python-requests/2.31", "python-requests"),
        ("x" * 300, "x" * agents.LONGEST),
        ('"><script>', ""),
        ("", ""),
    ],
)
def test_a_program_has_a_kind(agent: str, kind: str) -> None:
    """Without its version, which changes by itself; short, and of harmless characters."""
    assert agents.kind_of(agent) == kind
