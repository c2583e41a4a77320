"""The HTTP service: `create_app(settings)`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

import anyio.to_thread
from fastapi import FastAPI

from app import openapi, problems
from app.blobs import Blobs
from app.database import Database
from app.jobs.watch import JobWatch
from app.logging import configure_logging
from app.middleware import IdempotentPosts, RequestContext
from app.predictions.forward import PredictorClient
from app.routers import include_routers
from app.security import KeyRing, RequireKey, assert_guarded
from app.settings import Settings, get_settings

_DESCRIPTION = "AutoML as a service that remembers: post a table and a question, get a trained model back."


def create_app(settings: Settings | None = None) -> FastAPI:
    """The service with these settings, by default those of the environment.

    Raises:
        RuntimeError: no database is configured, or a route is open to everybody.
    """
    settings = settings or get_settings()
    if settings.database_url is None:
        raise RuntimeError("Set WARMSTART_DATABASE_URL, or start everything with `warmstart up`.")
    configure_logging(settings)
    app = FastAPI(
        title="Warmstart",
        version=version("warmstart"),
        description=_DESCRIPTION,
        lifespan=_lifespan,
        docs_url="/docs" if settings.docs_enabled else None,
        redoc_url=None,
    )
    # A thread never waits for a connection: the pool has one for each.
    database = Database(settings.database_url.get_secret_value(), pool_size=max(5, settings.api_threads // 2))
    app.state.settings, app.state.database = settings, database
    app.state.blobs = Blobs(settings.blobs)
    app.state.keys = KeyRing(database)
    app.state.predictor = PredictorClient(settings.predictor_url)
    app.state.watch = JobWatch(database, settings, app.state.keys)
    include_routers(app, settings)
    problems.install(app)
    openapi.install(app)
    app.add_middleware(
        IdempotentPosts,
        settings=settings,
        not_here=frozenset({"/v1/datasets"}),
        sessions=max(2, settings.api_threads // 2),
    )
    app.add_middleware(RequireKey)
    app.add_middleware(RequestContext)
    assert_guarded(app)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: Settings = app.state.settings
    settings.scratch.mkdir(parents=True, exist_ok=True, mode=0o700)
    anyio.to_thread.current_default_thread_limiter().total_tokens = settings.api_threads
    async with app.state.watch.running():
        yield
    await app.state.predictor.close()
    app.state.database.dispose()
