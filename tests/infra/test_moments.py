"""Moments in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import time_machine

from auth_server.infra import language, moments

NOW = datetime(2026, 7, 15, 22, 30, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _now() -> object:
    with time_machine.travel(NOW, tick=False):
        yield


@pytest.mark.parametrize(
    ("seconds", "english", "german"),
    [
        (0, "just now", "gerade eben"),
        (-59, "just now", "gerade eben"),
        (30, "in a moment", "gleich"),
        (-60, "1 minute ago", "vor 1 Minute"),
        (-3599, "59 minutes ago", "vor 59 Minuten"),
        (-3600, "1 hour ago", "vor 1 Stunde"),
        (-5400, "1 hour ago", "vor 1 Stunde"),
        (-86399, "23 hours ago", "vor 23 Stunden"),
        (-86400, "1 day ago", "vor 1 Tag"),
        (-29 * 86400, "29 days ago", "vor 29 Tagen"),
        (-30 * 86400, "Jun 15, 2026", "15.06.2026"),
        (600, "in 10 minutes", "in 10 Minuten"),
        (3 * 86400, "in 3 days", "in 3 Tagen"),
        (40 * 86400, "Aug 24, 2026", "24.08.2026"),
    ],
)
def test_a_moment_in_words(seconds: int, english: str, german: str) -> None:
    """Past and to come, never more than has passed, and the day beyond a month (X-13)."""
    at = NOW + timedelta(seconds=seconds)
    assert moments.relative(at) == english
    with language.speaking("de"):
        assert moments.relative(at) == german


def test_days_and_times_are_those_of_the_zone_and_the_language() -> None:
    """In Berlin it is tomorrow already; in UTC the text says so."""
    berlin = moments.zone_of("Europe/Berlin")
    assert moments.day(NOW) == "Jul 15, 2026"
    assert moments.day(NOW, berlin) == "Jul 16, 2026"
    assert moments.exact(NOW).replace("\u202f", " ") == "Jul 15, 2026, 10:30:05 PM UTC"
    with language.speaking("de"):
        assert moments.exact(NOW, berlin) == "16.07.2026, 00:30:05"
        assert moments.in_utc(NOW.astimezone(berlin)) == "2026-07-15 22:30:05 UTC"


@pytest.mark.parametrize(
    "name", ["", "Nowhere/City", "../../etc/passwd", "/etc/passwd", "Europe", "x" * 65, "a\x00b", None, 5, ["UTC"]]
)
def test_a_bad_zone_is_utc(name: object) -> None:
    """Whatever stands in a claim."""
    assert moments.zone_of(name) is UTC
    assert str(moments.zone_of("Asia/Tokyo")) == "Asia/Tokyo"


def test_a_language_without_dates_has_english_ones() -> None:
    """A catalogue may exist for a language that Babel has not heard of."""
    assert str(moments._known("xx")) == str(moments._known("en"))
    assert str(moments._known("de")) == "de"
