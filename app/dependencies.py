"""What routes may ask for: a session, the settings, the blobs, the watch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.blobs import Blobs
from app.settings import Settings

if TYPE_CHECKING:
    from app.database import Database


def get_session(request: Request) -> Iterator[Session]:
    """The request's one transaction: committed before the answer is sent, rolled back on any error.

    Under an Idempotency-Key the middleware has begun it, and commits it together with the remembered answer.
    """
    begun: Session | None = getattr(request.state, "session", None)
    if begun is not None:
        yield begun
        return
    database: Database = request.app.state.database
    with database.transaction() as session:
        yield session


def _get_settings(request: Request) -> Settings:
    return request.app.state.settings  # type: ignore[no-any-return]


def _get_blobs(request: Request) -> Blobs:
    return request.app.state.blobs  # type: ignore[no-any-return]


SessionDep = Annotated[Session, Depends(get_session, scope="function")]
SettingsDep = Annotated[Settings, Depends(_get_settings)]
BlobsDep = Annotated[Blobs, Depends(_get_blobs)]
