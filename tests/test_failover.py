"""Two servers behind nginx, on PostgreSQL and Redis, lose one of them and get it back under load."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

PROJECT = Path(__file__).parents[1]
HAS_ALL = "AUTH_TEST_REDIS_URL" in os.environ and shutil.which("nginx")


@pytest.fixture
def empty_database(database_url: str) -> str:
    """Return the URL of a database without a table: the servers' own `init` shall make them."""
    engine = create_engine(database_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()
    return make_url(database_url).render_as_string(hide_password=False)


@pytest.mark.postgresql_only
@pytest.mark.skipif(not HAS_ALL and os.environ.get("CI") != "true", reason="NO REDIS OR NGINX: failover was not tested")
def test_a_server_dies_and_comes_back(empty_database: str) -> None:
    """No token is wrong: none unsigned, none alive after its revocation, no code good twice, nobody signed out."""
    command = [sys.executable, "-m", "benchmarks", "failover", "--json", "--seconds", "2", "--database", empty_database]
    run = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=240, check=False)
    assert run.stdout, run.stderr
    phases = json.loads(run.stdout)
    assert [phase["phase"] for phase in phases if phase["wrong"]] == [], run.stdout
    assert len(phases) == 5
    assert all(phase["statuses"].get("200") for phase in phases)
    assert run.returncode == 0
