"""Countries of addresses from the operator's file, and everything without one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from flask import Flask

from auth_server import config
from auth_server.config import ConfigurationError
from auth_server.infra import events, geo, origin
from auth_server.infra.geo import NOWHERE, Place
from auth_server.infra.origin import Origin
from tests.infra.test_config import problems, read
from tests.support.geo import (
    AT_HOME,
    BERLIN,
    IN_BERLIN,
    IN_LYON,
    IN_TOKYO,
    PLACES,
    without_places,
    write,
)

MakeApp = Callable[..., Flask]


@pytest.fixture
def atlas(make_app: MakeApp, tmp_path: Path) -> Path:
    """Return the file of a server that has one."""
    path = tmp_path / "places.mmdb"
    make_app(geoip_file=write(path))
    return path


@pytest.mark.usefixtures("atlas")
def test_an_address_has_a_country_and_a_place() -> None:
    """IPv4, IPv6, and IPv4 written as IPv6."""
    assert geo.locate(IN_BERLIN) == Place("DE", 52.5, 13.4)
    assert geo.locate(IN_TOKYO).country == "JP"
    assert geo.locate(f"::ffff:{IN_LYON}").country == "FR"


@pytest.mark.usefixtures("atlas")
@pytest.mark.parametrize("address", [AT_HOME, "127.0.0.1", "::1", "", "not an address", "999.1.1.1", "fe80::1%eth0"])
def test_an_unknown_address_is_nowhere(address: str) -> None:
    assert geo.locate(address) == NOWHERE


@pytest.mark.usefixtures("app")
def test_without_a_file_everything_is_nowhere() -> None:
    assert geo.locate(IN_BERLIN) == NOWHERE


def test_a_file_may_know_countries_alone(make_app: MakeApp, tmp_path: Path) -> None:
    """Then there is no distance; a file without countries at all is no harm either."""
    make_app(geoip_file=write(tmp_path / "countries.mmdb", without_places()))
    assert geo.locate(IN_BERLIN) == Place("DE")
    assert geo.kilometres(geo.locate(IN_BERLIN), geo.locate(IN_LYON)) is None
    odd = {"192.0.2.0/24": {"country": {"iso_code": "Germany"}}, "203.0.113.0/24": {"location": {"latitude": 1.0}}}
    make_app(geoip_file=write(tmp_path / "odd.mmdb", odd))
    assert geo.locate(IN_BERLIN) == geo.locate(IN_LYON) == NOWHERE


def test_a_new_file_is_noticed(atlas: Path) -> None:
    """The operator moves the new month's file into its place; no restart."""
    assert geo.locate(IN_LYON).country == "FR"
    write(atlas, {"203.0.113.0/24": BERLIN})
    assert geo.locate(IN_LYON).country == "DE"
    assert geo.locate(IN_TOKYO) == NOWHERE


def test_a_file_that_breaks_later_is_said_and_the_former_one_used(
    atlas: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Sign-ins go on; the log says it once."""
    assert geo.locate(IN_LYON).country == "FR"
    atlas.rename(atlas.with_suffix(".old"))
    with caplog.at_level(logging.WARNING, "auth_server.geo"):
        assert [geo.locate(IN_LYON).country for _time in range(3)] == ["FR"] * 3
    assert len(caplog.records) == 1
    write(atlas, PLACES)
    assert geo.locate(IN_BERLIN).country == "DE"


def test_an_unreadable_file_refuses_the_start(tmp_path: Path) -> None:
    """One line with the name, as every other problem; a good file is taken."""
    broken = tmp_path / "broken.mmdb"
    broken.write_bytes(b"not a database")
    for path in (broken, tmp_path / "missing.mmdb", tmp_path):
        (line,) = problems(tmp_path, GEOIP_FILE=str(path))
        assert line.startswith("AUTH_SERVER_GEOIP_FILE: expected a readable file in MaxMind's format")
    good = write(tmp_path / "good.mmdb")
    assert read(tmp_path, GEOIP_FILE=good).geoip_file == good
    with pytest.raises(ConfigurationError):
        config.from_env({"AUTH_SERVER_GEOIP_FILE": str(broken), "AUTH_SERVER_INSTANCE_PATH": str(tmp_path)})


def test_distances_follow_the_globe() -> None:
    """Berlin and Lyon are about 960 km apart; a place without coordinates has no distance."""
    berlin, lyon = Place("DE", 52.5, 13.4), Place("FR", 45.76, 4.84)
    assert 930 < (geo.kilometres(berlin, lyon) or 0) < 1000
    assert geo.kilometres(berlin, berlin) == 0
    assert 20_000 < (geo.kilometres(Place("", 0.0, 0.0), Place("", 0.0, 180.0)) or 0) < 20_040
    assert geo.kilometres(berlin, NOWHERE) is None


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:7:8::9", "2001:db8:7::/48"),
        ("::ffff:192.0.2.77", "192.0.2.0/24"),
        ("", ""),
        ("unknown", ""),
    ],
)
def test_a_network_is_coarse(address: str, network: str) -> None:
    """IPv4 by /24, IPv6 by /48; never the address itself."""
    assert origin.network_of(address) == network


@pytest.mark.usefixtures("atlas")
def test_an_origin_is_what_is_kept_of_a_request() -> None:
    events.begin(events.Context(address=IN_BERLIN, user_agent="okhttp/4.12"))
    assert origin.here() == Origin("192.0.2.0/24", "DE", "okhttp")
    assert origin.place_of("192.0.2.0/24").country == "DE"
    events.begin(events.Context())
    assert origin.here() == Origin()
