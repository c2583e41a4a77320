"""Around every request: an id, a log line, a latency observation, no exception that escapes, Idempotency-Key."""

from __future__ import annotations

import asyncio
import hashlib
import re
import time

import structlog
from fastapi.concurrency import run_in_threadpool
from sqlalchemy.orm import Session
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.database import Database
from app.dependencies import end
from app.errors import Conflict, IdempotencyInFlight, TooLarge
from app.idempotency import POLL_S, WAIT_S, Attempt, find_answer, read_key, remember, try_lock
from app.ids import new_id
from app.problems import MEDIA_TYPE, from_exception, to_response
from app.security import Caller
from app.settings import Settings
from app.system.metrics import observe_request

_log = structlog.get_logger("app.requests")
_ONCE = "This was done before. Its answer held a secret, which is kept nowhere: revoke that one and make another."
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RequestContext:
    """Outermost of our middlewares. A client's own X-Request-ID is kept if it is plain."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else str(new_id())
        scope.setdefault("state", {})["request_id"] = request_id
        status, started, is_dropped = 0, time.perf_counter(), False

        async def send_marked(message: Message) -> None:
            nonlocal status, is_dropped
            if message["type"] == "http.response.start":
                is_dropped = message["status"] == 413 and not _is_problem(message)
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            if not is_dropped:
                await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                await self.app(scope, receive, send_marked)
                if is_dropped:  # Starlette's own answer to a large body is plain text
                    await to_response(TooLarge("The body is over its limit."), request_id)(scope, receive, send_marked)
            except Exception as error:
                problem = from_exception(error)
                if status:
                    raise  # too late for another answer: the server closes the connection
                await to_response(problem, request_id)(scope, receive, send_marked)
            finally:
                _report(scope, status, time.perf_counter() - started)


def _is_problem(start: Message) -> bool:
    return MutableHeaders(scope=start).get("content-type", "") == MEDIA_TYPE


def _report(scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path_format", "unmatched")
    observe_request(scope["method"], route, status, seconds)
    caller = scope["state"].get("caller")
    _log.info(
        "request",
        method=scope["method"],
        path=scope["path"],
        status=status,
        ms=round(seconds * 1000, 1),
        project_id=str(caller.project_id) if caller else None,
    )


class IdempotentPosts:
    """Runs a POST under its Idempotency-Key. Uploads do the same in their router, once they know the body's digest.

    Only answers below 400 are remembered: after an error nothing was done, so a repetition may try again.
    """

    def __init__(self, app: ASGIApp, settings: Settings, not_here: frozenset[str], sessions: int) -> None:
        self.app = app
        self.settings = settings
        self.not_here = not_here  #: paths that handle their key themselves
        self.slots = asyncio.Semaphore(sessions)  #: transactions open at once, so that other requests get connections

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request."""
        is_post = scope["type"] == "http" and scope["method"] == "POST" and scope["path"] not in self.not_here
        key = read_key(Headers(scope=scope).get("idempotency-key")) if is_post else None
        caller: Caller | None = scope["state"].get("caller") if key else None
        if key is None or caller is None:
            await self.app(scope, receive, send)
            return
        body = await _read_body(Request(scope, receive), self.settings.predict_body_max_bytes)
        fingerprint = hashlib.sha256(body).hexdigest()
        attempt = Attempt(project_id=caller.project_id, route=f"POST {scope['path']}", key=key, fingerprint=fingerprint)
        async with self.slots:
            response = await self._run(scope, body, attempt, scope["app"].state.database)
        await response(scope, receive, send)

    async def _run(self, scope: Scope, body: bytes, attempt: Attempt, database: Database) -> Response:
        begun = await self._begin(attempt, database)
        if isinstance(begun, Response):
            return begun
        scope["state"]["session"] = begun
        try:
            response = await _capture(self.app, scope, body)
        except BaseException:
            await end(begun.close)
            raise
        await end(lambda: _end(begun, attempt, response))
        return response

    async def _begin(self, attempt: Attempt, database: Database) -> Session | Response:
        deadline = time.monotonic() + WAIT_S
        while (begun := await run_in_threadpool(_try_begin, database, attempt)) is None:
            if time.monotonic() > deadline:
                raise IdempotencyInFlight(headers={"Retry-After": "5"})
            await asyncio.sleep(POLL_S)
        return begun


def _try_begin(database: Database, attempt: Attempt) -> Session | Response | None:
    """A session with the lock held, or the remembered answer, or None while another request holds the lock."""
    session = database.open()
    keep = False
    try:
        if not try_lock(session, attempt):
            return None
        if (answer := find_answer(session, attempt)) is not None:
            return answer
        keep = True
        return session
    finally:
        if not keep:
            session.close()


def _end(session: Session, attempt: Attempt, response: Response) -> None:
    with session:  # closes it, and what is not committed is rolled back
        if response.status_code >= 400:
            return
        kept = response
        if "no-store" in response.headers.get("cache-control", ""):
            kept = to_response(Conflict(_ONCE, code="answer_not_kept"), None)
        remember(session, attempt, kept.status_code, dict(kept.headers), bytes(kept.body))
        session.commit()


async def _read_body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"The body is over its limit of {limit} bytes.")
    return bytes(body)


async def _capture(app: ASGIApp, scope: Scope, body: bytes) -> Response:
    """Run the app on a body that has been read; its whole answer."""
    response = Response()
    parts: list[bytes] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            response.status_code, response.raw_headers = message["status"], list(message["headers"])
        elif message["type"] == "http.response.body":
            parts.append(message.get("body", b""))

    await app(scope, receive, send)
    response.body = b"".join(parts)
    return response
