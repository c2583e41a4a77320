"""The predictor: a process that holds bundles, looks at tables, and answers the API. It trusts its caller: never
expose it."""

from __future__ import annotations

import ctypes
import json
import multiprocessing
import os
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from uvicorn.supervisors import Multiprocess

from app.blobs import Blobs
from app.errors import AppError, BundleDamaged, BundleGone, InvalidRequest, TooLarge, Unavailable
from app.logging import configure_logging
from app.predictions.cache import BundleCache
from app.settings import Settings, get_settings

_log = structlog.get_logger(__name__)

_THREADS = 4
_PR_SET_PDEATHSIG = 1
_WARM = ("lightgbm", "catboost", "sklearn.tree", "workers.engine.bundle.runtime.model")


def run_predictor(settings: Settings) -> None:
    """Serve at `settings.predictor_url` with `settings.predictor_processes` processes, until a signal.

    Raises:
        ValueError: no URL, or neither http://host:port nor unix:///path.
    """
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")  # before numpy is imported: requests share the cores, not one request
    listening = _bind(settings.predictor_url or "")
    processes = settings.predictor_processes
    config = uvicorn.Config(
        create_predictor if processes == 1 else "app.predictions.predictor:create_child",
        factory=True,
        workers=processes,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=75,  # longer than the API keeps connections
        timeout_graceful_shutdown=5,
    )
    with listening:
        if processes == 1:
            uvicorn.Server(config).run(sockets=[listening])
        else:
            Multiprocess(config, sockets=[listening]).run()


def create_child() -> Starlette:
    """The app in one of several processes; it ends with the one that started it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is not None and os.getppid() != parent.pid:  # it ended while we started
        os._exit(1)
    configure_logging(get_settings())
    return create_predictor()


def create_predictor(settings: Settings | None = None) -> Starlette:
    """The app: POST /predict?blob_key=&sha256=&model_id=&model_version=, POST /describe, GET /healthz."""
    settings = settings or get_settings()
    app = Starlette(
        routes=[
            Route("/predict", _predict, methods=["POST"]),
            Route("/describe", _describe, methods=["POST"]),
            Route("/healthz", _health),
        ],
        exception_handlers={AppError: _answer_error},
        lifespan=_lifespan,
        max_body_size=settings.predict_body_max_bytes,
    )
    app.state.rows_max = settings.predict_rows_max
    app.state.blobs = Blobs(settings.blobs)
    app.state.cache = BundleCache(settings.predictor_cache_mb * 1_000_000, _load)
    app.state.threads = anyio.CapacityLimiter(_THREADS)
    app.state.describing = anyio.CapacityLimiter(1)  # a table in memory at a time
    return app


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, _warm_up)
        yield


def _warm_up() -> None:
    """Import what most bundles need, while nobody waits for it."""
    for name in _WARM:
        import_module(name)
    import_module("workers.engine.bundle.runtime.estimators").import_skops()


async def _health(request: Request) -> Response:
    return Response('{"status": "ok"}', media_type="application/json")


async def _predict(request: Request) -> Response:
    body = await request.body()
    state, query = request.app.state, dict(request.query_params)
    answer = await anyio.to_thread.run_sync(_answer, state, query, body, limiter=state.threads)
    return Response(answer, media_type="application/json")


def _answer(state: Any, query: Mapping[str, str], body: bytes) -> bytes:
    from workers.engine.bundle.runtime.errors import RowsProblem

    rows = read_rows(body, state.rows_max)
    model = _find_model(state, query)
    try:
        predicted = model.predict(rows)
    except RowsProblem as problem:
        errors = [{name: _encodable(text) for name, text in error.items()} for error in problem.errors]
        raise InvalidRequest(_encodable(str(problem)), errors=errors, code="invalid_rows") from problem
    about = {"model_id": query["model_id"], "model_version": int(query["model_version"])}
    return json.dumps({**about, **predicted}).encode()


async def _describe(request: Request) -> Response:
    body, state = await request.body(), request.app.state
    if not state.describing.available_tokens:  # whoever asks can do without, and would wait for longer than it is worth
        raise Unavailable("Another table is being looked at.")
    answer = await anyio.to_thread.run_sync(_look, state, body, limiter=state.describing)
    return Response(answer, media_type="application/json")


def _look(state: Any, body: bytes) -> bytes:
    """Where the task of a resolved spec lies among past ones."""
    from workers.description import foresee
    from workers.engine.errors import TaskError
    from workers.engine.meta.embeddings import load_embedding

    asked = json.loads(body)
    metamodel = asked["metamodel"]
    embedding = load_embedding(metamodel["name"], state.blobs.path(metamodel["blob_key"]))
    try:
        path = state.blobs.path(asked["blob_key"])
        seen = foresee(asked["spec"], asked["columns"], path, asked["rows"], embedding)
    except TaskError as error:
        raise InvalidRequest(_encodable(str(error)), code="invalid_task") from error
    return json.dumps(seen).encode()


def _find_model(state: Any, query: Mapping[str, str]) -> Any:
    from workers.engine.errors import BundleError

    try:
        return state.cache.get(state.blobs.path(query["blob_key"]), query["sha256"])
    except FileNotFoundError as error:
        raise BundleGone() from error
    except BundleError as error:
        _log.exception("bundle refused", blob_key=query["blob_key"])
        raise BundleDamaged() from error


def _load(path: Path, sha256: str) -> Any:
    from workers.engine.bundle import open_bundle

    return open_bundle(path, sha256)


def read_rows(body: bytes, rows_max: int) -> list[Any]:
    """The rows of a request's body.

    Raises:
        InvalidRequest: not JSON, or not {"rows": [...]} and nothing else.
        TooLarge: more than `rows_max` rows.
    """
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise _invalid("", f"the body is not JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise _invalid("", 'the body must be an object: {"rows": [{column: value}, …]}')
    for name in parsed:
        if name != "rows":
            escaped = name.replace("~", "~0").replace("/", "~1")
            raise _invalid(f"/{escaped}", "unknown field; the body has only rows")
    rows = parsed.get("rows")
    if not isinstance(rows, list):
        raise _invalid("/rows", "must be a list of rows, each an object of column: value")
    if len(rows) > rows_max:
        raise TooLarge(f"{len(rows)} rows are more than the {rows_max} of one request; send them in parts.")
    return rows


def _invalid(pointer: str, detail: str) -> InvalidRequest:
    pointer, detail = _encodable(pointer), _encodable(detail)
    return InvalidRequest(f"{pointer or 'the body'}: {detail}", errors=[{"pointer": pointer, "detail": detail}])


def _encodable(text: str) -> str:
    """Text without lone surrogates, which JSON may carry and UTF-8 may not."""
    return text.encode("utf-8", "backslashreplace").decode()


async def _answer_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, AppError)
    content = {"code": error.code, "detail": error.detail, "errors": error.errors}
    return Response(json.dumps(content), status_code=error.status, media_type="application/json")


def _bind(url: str) -> socket.socket:
    """A listening socket for http://host:port or unix:///path; a file that a dead predictor left is replaced."""
    parts = urlsplit(url)
    if parts.scheme == "unix" and parts.path:
        Path(parts.path).unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(parts.path)
        Path(parts.path).chmod(0o600)
    elif parts.scheme == "http" and parts.hostname and parts.port:
        family = socket.AF_INET6 if ":" in parts.hostname else socket.AF_INET
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((parts.hostname, parts.port))
    else:
        raise ValueError(f"WARMSTART_PREDICTOR_URL must be http://host:port or unix:///path, not {url!r}.")
    listening.listen(512)
    listening.set_inheritable(True)
    return listening
