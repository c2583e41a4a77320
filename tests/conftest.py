"""Real servers for every test session: one embedded PostgreSQL and one Valkey a pytest process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
import skops.io  # noqa: F401 - see below
from hypothesis import settings as hypothesis_settings
from sqlalchemy import make_url, text

from app.database import Base, Database
from app.local.postgres import Postgres
from app.local.valkey import Valkey
from app.migrate import upgrade
from app.settings import Settings
from benchmarks.stack import Stack, running_stack

os.environ.setdefault("WARMSTART_SEED_KNOWLEDGE", "false")  # what a test knows it brings itself

hypothesis_settings.register_profile("shared machine", deadline=None)
hypothesis_settings.load_profile("shared machine")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Groups are kept together: pytest-xdist 3.8 silently forgets them beside pytest 9.2."""
    if getattr(session.config.option, "loadgroup", False):
        for item in session.items:
            if (group := item.get_closest_marker("xdist_group")) is not None:
                assert item.nodeid.endswith(f"@{group.args[0]}"), item.nodeid


# skops looks through all modules when it is first imported. In the midst of a test's request, far down the stack,
# pytest has failed to rewrite a module that woke up by that; here it is safe.


@pytest.fixture(scope="session")
def servers_folder() -> Iterator[Path]:
    """Where the session's servers keep their data and logs."""
    folder = Path(tempfile.mkdtemp(prefix="ws-test-"))
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(servers_folder: Path) -> Iterator[Postgres]:
    """A running, migrated PostgreSQL."""
    server = Postgres(servers_folder / "postgres", servers_folder / "postgres.log")
    server.start()
    upgrade(server.url)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def database_url(postgres: Postgres) -> str:
    """URL of a migrated database. Tests that write empty it themselves, see their own fixtures."""
    return postgres.url


@pytest.fixture
def empty_url(database_url: str) -> Iterator[str]:
    """A database without any table."""
    name = f"scratch_{uuid4().hex[:12]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield make_url(database_url).set(database=name).render_as_string(hide_password=False)
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def valkey(servers_folder: Path) -> Iterator[Valkey]:
    """A running Valkey."""
    server = Valkey(servers_folder / "valkey.log")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def broker_url(valkey: Valkey) -> str:
    """URL of the broker."""
    return valkey.url


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """The whole service, as `warmstart up` runs it. Mark its tests xdist_group("stack"): one start serves them all."""
    with running_stack() as running:
        yield running


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    """A database with every table empty."""
    opened = Database(settings.database_url.get_secret_value(), pool_size=5)
    with opened.transaction() as session:
        session.execute(text(f"TRUNCATE {', '.join(Base.metadata.tables)} CASCADE"))
    yield opened
    opened.dispose()
