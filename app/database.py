"""Engine, sessions, and one transaction a request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, DateTime, Engine, MetaData, create_engine
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker


class Base(DeclarativeBase):
    """Base of every table. Constraint names are deterministic so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {
        dict[str, Any]: JSONB,
        list[Any]: JSONB,
        datetime: DateTime(timezone=True),
        int: BigInteger,
    }


#: libpq's: a server whose machine or network is gone shows as an error within half a minute, not after hours.
KEEPALIVE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def make_engine(url: str, *, pool_size: int = 10, idle_s: float = 60.0) -> Engine:
    """A pooled engine for postgresql:// URLs; connections are checked before use and never wait for ever.

    A transaction in which nothing happens for `idle_s` is ended by the server, and its locks with it: who takes over
    from a process that sleeps in the midst of a write must not wait for it.
    """
    return create_engine(
        url.replace("postgresql://", "postgresql+psycopg://", 1),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=5,
        pool_pre_ping=True,
        connect_args={
            **KEEPALIVE,
            "options": "-c lock_timeout=10s -c statement_timeout=60s"
            f" -c idle_in_transaction_session_timeout={round(1000 * idle_s)}",
        },
    )


class Database:
    """The session factory of one process."""

    def __init__(self, url: str, *, pool_size: int = 10, idle_s: float = 60.0) -> None:
        self.url = url
        self.engine = make_engine(url, pool_size=pool_size, idle_s=idle_s)
        self._sessions = sessionmaker(self.engine, expire_on_commit=False)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """One transaction: commits at the end, rolls back on any error."""
        with self._sessions() as session, session.begin():
            yield session

    def open(self) -> Session:
        """A session whose transaction the caller ends: commit or close, in whatever thread."""
        return self._sessions()

    def dispose(self) -> None:
        """Close every pooled connection."""
        self.engine.dispose()


__all__ = ["UUID", "Base", "Database", "make_engine"]
