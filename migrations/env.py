"""Alembic's entry. `app.migrate` hands over a connection; the alembic command uses WARMSTART_DATABASE_URL."""

from alembic import context
from sqlalchemy import Connection

from app.database import make_engine
from app.settings import get_settings
from app.tables import Base


def migrate(connection: Connection) -> None:
    context.configure(
        connection=connection, target_metadata=Base.metadata, compare_type=True, compare_server_default=True
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    migrate(given)
else:
    url = get_settings().database_url
    if url is None:
        raise SystemExit("Set WARMSTART_DATABASE_URL.")
    with make_engine(url.get_secret_value(), pool_size=1).begin() as opened:
        migrate(opened)
