"""Migrations on both databases: up, down and up again with people in the tables; one set of keys however many start."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from flask import Flask
from sqlalchemy import create_engine, func, inspect, select, text
from sqlalchemy.engine import make_url

from auth_server import config
from auth_server.access import identities
from auth_server.accounts import users
from auth_server.clients import issuers
from auth_server.config import Settings
from auth_server.database import Base, db
from auth_server.infra import clock, schema, sealed_keys, seen
from auth_server.pages import recover
from tests import conftest
from tests.conftest import BASE, ON_POSTGRESQL, SECRET_KEY, disconnect
from tests.support import authenticator, exchange, factories, passkey
from tests.support.browser import Browser
from tests.support.device import Device, allow, client_of
from tests.support.rp import RelyingParty


def every_table() -> set[str]:
    """Return the names of the models' tables; the application has imported them all."""
    return {table.name for table in Base.metadata.sorted_tables}


@pytest.fixture
def empty_database(template: str, tmp_path: Path) -> Iterator[str]:
    """Return the URL of a database without any table."""
    if ON_POSTGRESQL:
        url = conftest._new_postgresql_database("empty")
        yield url
        conftest._drop_postgresql_database(url)
    else:
        yield f"sqlite:///{tmp_path / 'empty.db'}"


def use(url: str, folder: Path) -> None:
    """Make this the database that migrations run on."""
    config.use(Settings(**BASE, instance_path=folder, database_url=url))


def revisions() -> list[str]:
    """Return every revision, oldest first."""
    return [script.revision for script in ScriptDirectory.from_config(schema._alembic()).walk_revisions()][::-1]


def tables(url: str) -> set[str]:
    engine = create_engine(url)
    found = set(inspect(engine).get_table_names())
    engine.dispose()
    return found


def counts(app: Flask) -> dict[str, int]:
    with app.app_context():
        found = {
            table.name: db.session.scalar(select(func.count()).select_from(table)) or 0
            for table in Base.metadata.sorted_tables
        }
        db.session.rollback()
        return found


@pytest.fixture
def populated(app: Flask, rp: RelyingParty) -> Flask:
    """Return an application with at least one row in every table."""
    factories.role(app, "support", ["orders:read"])
    factories.person(app, "grace@example.org", groups=["staff"], claims={"nickname": "G"})
    factories.api(app)
    factories.api(app, "https://files.example.org", token_format="opaque", scopes={"files:read": "Read your files"})
    client, secret = factories.client(app, scope="openid files:read", client_name="Files")
    files = RelyingParty(app, rp.browser, client, secret).tokens(scope="openid files:read")
    backend = exchange.service(app)
    exchange.rule(app, from_audience=exchange.FILES, scopes=("files:read",))
    backend.exchanged(files["access_token"])
    tokens = rp.tokens()
    rp.refresh(tokens["refresh_token"])
    rp.revoke(tokens["access_token"])
    rp.authorize(prompt="login")
    Browser(app).sign_in(password="wrong")
    grace = factories.person(app, "hopper@example.org")
    factories.within(app, lambda: recover.make_link(users.find(grace.id) or grace))
    factories.within(app, lambda: seen.first_time("jti", "x", clock.now()))
    factories.within(app, lambda: issuers.save("https://id.example.org", {"uses": ["id-jag"]}))
    factories.within(app, lambda: identities.link("https://id.example.org", "x", grace.id))
    owner = Browser(app)
    owner.sign_in(email="grace@example.org")
    authenticator.set_up(owner)
    passkey.add(owner)
    owner.sign_out()
    owner.sign_in(email="grace@example.org")
    device = Device(app, *client_of(app)).started()
    allow(rp.browser, device.user_code)
    disconnect(app)  # what waits to be written is counted too
    empty = {name for name, count in counts(app).items() if not count}
    assert not empty, empty
    return app


def test_a_populated_database_comes_down_one_step_and_up_again(populated: Flask, database_url: str) -> None:
    """Down to the first revision and up: every row of every table that was there all the time; newer ones are empty,
    but for the places in the status lists, which every family that lives gets again.
    """
    before = counts(populated)
    disconnect(populated)
    with populated.app_context():
        for revision in revisions()[-2::-1]:
            schema.downgrade(revision)
            assert schema.revision() == revision
            db.engine.dispose()
        oldest = tables(database_url)
        schema.upgrade()
        assert schema.is_current()
        db.engine.dispose()
    assert len(oldest) > 15
    expected = {name: count if name in oldest else 0 for name, count in before.items()}
    assert counts(populated) == {**expected, "status_index": before["family"]}
    with populated.app_context():
        given = set(db.session.execute(text("SELECT status_index FROM family")).scalars())
        assert given == set(db.session.execute(text("SELECT position FROM status_index")).scalars())


def test_a_populated_database_goes_down_to_nothing_and_up_again(populated: Flask, database_url: str) -> None:
    """`base` is an empty database; coming up again gives every table, empty and usable."""
    disconnect(populated)
    with populated.app_context():
        schema.downgrade("base")
        assert schema.revision() is None
        db.engine.dispose()
    assert tables(database_url) == {"alembic_version"}
    with populated.app_context():
        schema.upgrade()
        db.engine.dispose()
    assert tables(database_url) == {"alembic_version"} | every_table()
    assert set(counts(populated).values()) == {0}


def test_migrating_twice_changes_nothing(populated: Flask) -> None:
    """`init` is safe to repeat."""
    before = counts(populated)
    disconnect(populated)
    with populated.app_context():
        schema.upgrade()
        schema.upgrade()
        db.engine.dispose()
    assert counts(populated) == before


def test_models_and_migrations_say_the_same(empty_database: str, tmp_path: Path) -> None:
    """Alembic finds nothing to do between a migrated database and the models, types included."""
    use(empty_database, tmp_path)
    schema.upgrade()
    engine = create_engine(empty_database)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "render_as_batch": True})
        assert compare_metadata(context, Base.metadata) == []
    engine.dispose()


def test_every_constraint_has_a_name(empty_database: str, tmp_path: Path) -> None:
    """Without names SQLite could not change them later."""
    use(empty_database, tmp_path)
    schema.upgrade()
    engine = create_engine(empty_database)
    inspector = inspect(engine)
    for table in every_table():
        named = [
            inspector.get_pk_constraint(table),
            *inspector.get_foreign_keys(table),
            *inspector.get_unique_constraints(table),
            *inspector.get_indexes(table),
        ]
        assert all(item["name"] for item in named), table  # type: ignore[typeddict-item]
        assert str(named[0]["name"]) == f"pk_{table}"
    engine.dispose()


@pytest.mark.sqlite_only
def test_no_row_is_left_without_its_parent(populated: Flask, database_url: str) -> None:
    """`foreign_key_check` is clean after going down and up, and foreign keys are enforced in use."""
    disconnect(populated)
    with populated.app_context():
        for revision in revisions()[-2::-1]:
            schema.downgrade(revision)
        schema.upgrade()
        assert db.session.execute(text("PRAGMA foreign_key_check")).all() == []
        assert db.session.execute(text("PRAGMA foreign_keys")).scalar() == 1
        assert db.session.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert db.session.execute(text("PRAGMA integrity_check")).scalar() == "ok"
        db.session.rollback()


@pytest.mark.sqlite_only
def test_a_migration_that_breaks_a_reference_is_undone(populated: Flask, database_url: str) -> None:
    """An orphan stops the migration, and nothing of it is kept."""
    path = make_url(database_url).database or ""
    disconnect(populated)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE password SET user_id = 'nobody' WHERE rowid = 1")
    connection.commit()
    connection.close()
    use(database_url, Path(path).parent)
    with pytest.raises(RuntimeError, match="without their parent"):
        schema.upgrade()
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM password WHERE user_id = 'nobody'")
    connection.commit()
    connection.close()
    schema.upgrade()


@pytest.mark.sqlite_only
def test_a_snapshot_is_whole_and_private(populated: Flask, tmp_path: Path) -> None:
    """The copy before a migration has every row and is for the owner alone."""
    with populated.app_context():
        path = schema.snapshot()
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o600
    copy = sqlite3.connect(path)
    found = {name: copy.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0] for name in every_table()}  # noqa: S608
    copy.close()
    assert found == counts(populated)


def test_a_newer_database_is_refused(app: Flask) -> None:
    """A revision that this program does not know stops it; a known one does not."""
    with app.app_context():
        schema.check_not_newer()
        db.session.execute(text("UPDATE alembic_version SET version_num = 'from_the_future'"))
        db.session.commit()
        with pytest.raises(schema.SchemaTooNew):
            schema.check_not_newer()
        assert not schema.is_current()


def start_init(url: str, folder: Path) -> subprocess.Popen[str]:
    """Start `auth-server init` as a process of its own."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(config.PREFIX)}
    environ |= {
        "AUTH_SERVER_DATABASE_URL": url,
        "AUTH_SERVER_INSTANCE_PATH": str(folder),
        "AUTH_SERVER_SECRET_KEY": SECRET_KEY,
    }
    command = [sys.executable, "-c", "from auth_server.cli import main; main()", "init"]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_two_processes_that_start_at_once_make_one_set_of_keys(empty_database: str, tmp_path: Path) -> None:
    """Both succeed; the schema is made once, each algorithm has one current and one next key."""
    processes = [start_init(empty_database, tmp_path / "instance") for _ in range(2)]
    for process in processes:
        _out, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
    engine = create_engine(empty_database)
    with engine.connect() as connection:
        keys = connection.execute(text("SELECT alg, state FROM signing_key ORDER BY alg, state")).all()
        sealed = connection.execute(text("SELECT count(*) FROM sealed_key")).scalar()
        versions = connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all()
    engine.dispose()
    assert [tuple(key) for key in keys] == [
        (alg, state) for alg in ("ES256", "EdDSA", "RS256") for state in ("current", "next")
    ]
    assert (sealed, versions) == (len(sealed_keys.NAMES), revisions()[-1:])
