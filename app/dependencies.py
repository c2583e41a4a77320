"""What routes may ask for: a session, the settings, the blobs. All async: a sync dependency takes a thread."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import anyio.to_thread
from anyio import CancelScope, CapacityLimiter
from fastapi import Depends, Request
from sqlalchemy.orm import Session

from app.blobs import Blobs
from app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.database import Database

#: Threads that end transactions. They are apart from those that run requests: otherwise, under load, every thread
#: could wait for a connection while every connection waits for a thread.
_ENDS = CapacityLimiter(16)


async def end(work: Callable[[], None]) -> None:
    """Run what ends a transaction, even if the request was cancelled."""
    with CancelScope(shield=True):
        await anyio.to_thread.run_sync(work, limiter=_ENDS)


async def get_session(request: Request) -> AsyncIterator[Session]:
    """The request's one transaction: committed before the answer is sent, rolled back on any error.

    Under an Idempotency-Key the middleware has begun it, and commits it together with the remembered answer.
    """
    begun: Session | None = getattr(request.state, "session", None)
    if begun is not None:
        yield begun
        return
    database: Database = request.app.state.database
    session = database.open()
    try:
        yield session
    except BaseException:
        await end(session.close)
        raise
    await end(lambda: _commit(session))


def _commit(session: Session) -> None:
    with session:
        session.commit()


async def _get_settings(request: Request) -> Settings:
    return request.app.state.settings  # type: ignore[no-any-return]


async def _get_blobs(request: Request) -> Blobs:
    return request.app.state.blobs  # type: ignore[no-any-return]


SessionDep = Annotated[Session, Depends(get_session, scope="function")]
SettingsDep = Annotated[Settings, Depends(_get_settings)]
BlobsDep = Annotated[Blobs, Depends(_get_blobs)]
