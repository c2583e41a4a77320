"""The database's schema: bring it up to date, say whether it is, and whether the code has drifted from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

import migrations
from app.database import Database, make_engine
from app.tables import Base

#: Arbitrary; held while migrating so that two starters do it one after the other.
_LOCK = 0x57415253


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate up, in one transaction. Safe to call from several processes at once."""
    with _locked(url) as connection:
        command.upgrade(_config(connection), revision)


def downgrade(url: str, revision: str) -> None:
    """Migrate down to a revision, or to `base`: everything is dropped."""
    with _locked(url) as connection:
        command.downgrade(_config(connection), revision)


def is_current(database: Database | str) -> bool:
    """Whether the database has every migration that this code knows."""
    if isinstance(database, str):
        opened = Database(database, pool_size=1)
        try:
            return is_current(opened)
        finally:
            opened.dispose()
    with database.engine.connect() as connection:
        heads = MigrationContext.configure(connection).get_current_heads()
    return set(heads) == set(ScriptDirectory.from_config(_config()).get_heads())


def find_drift(url: str) -> list[Any]:
    """Differences between the migrated schema and the declared tables; empty: none."""
    with _locked(url) as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, Base.metadata))


@contextmanager
def _locked(url: str) -> Iterator[Connection]:
    engine = make_engine(url, pool_size=1)
    try:
        with engine.begin() as connection:
            connection.execute(text("SET LOCAL lock_timeout = '300s'"))
            connection.execute(text("SET LOCAL statement_timeout = '600s'"))
            connection.execute(text("SELECT pg_advisory_xact_lock(:id)"), {"id": _LOCK})
            yield connection
    finally:
        engine.dispose()


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
