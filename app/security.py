"""API keys: who asks, for which project, with which scopes. `assert_guarded`: no /v1 route without a `Caller`."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from fastapi import Depends, FastAPI, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.routing import iter_route_contexts
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy import func, or_, select, text
from sqlalchemy.orm import Session
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from app.database import Database
from app.errors import Forbidden, Unauthorised
from app.projects.tables import ApiKey

_PREFIX = "ws_"
_REMEMBER_S = 10.0
_REMEMBER_KEYS = 10_000
KEYS_CHANNEL = "warmstart_keys"  #: NOTIFY: payload is the hash of a key that was revoked


class KeyScope(StrEnum):
    """What a key may do; each includes the ones before it."""

    READ = "read"
    WRITE = "write"  # make and delete datasets, jobs, models
    ADMIN = "admin"  # the project's keys
    OPERATOR = "operator"  # projects and their quotas


_ORDER = list(KeyScope)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """An authenticated request's key."""

    project_id: UUID
    key_id: UUID
    scopes: frozenset[KeyScope]
    expires_at: datetime | None = None

    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= datetime.now(UTC)

    def has(self, scope: KeyScope) -> bool:
        """Whether this scope or one that includes it was granted."""
        return any(granted in self.scopes for granted in _ORDER[_ORDER.index(scope) :])


def new_secret() -> str:
    """A fresh key of 256 random bits."""
    return _PREFIX + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """What the database keeps of a key. The key is random, so a plain digest can't be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()


def find_caller(database: Database, digest: str) -> Caller | None:
    """The caller of a valid key by its hash; None when it is unknown, expired or revoked."""
    valid = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())
    query = select(ApiKey.project_id, ApiKey.id, ApiKey.scopes, ApiKey.expires_at).where(
        ApiKey.hash == digest, ApiKey.revoked_at.is_(None), valid
    )
    with database.transaction() as session:
        row = session.execute(query).one_or_none()
    if row is None:
        return None
    scopes = frozenset(KeyScope(scope) for scope in row[2])
    return Caller(project_id=row[0], key_id=row[1], scopes=scopes, expires_at=row[3])


def forget_key(session: Session, digest: str) -> None:
    """Make every process look the key up again, once the transaction commits."""
    session.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": KEYS_CHANNEL, "payload": digest})


class KeyRing:
    """Keys looked up lately, so that a poll costs no query. Used only while notifications of revocations arrive."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, Caller]] = {}
        self._is_listening = False
        self._heard = 0  # what was looked up before the last word of a revocation is not remembered

    async def find(self, secret: str) -> Caller | None:
        """The caller of a valid key."""
        digest = hash_secret(secret)
        looked_up, caller = self._known.get(digest, (0.0, None))
        if caller is not None and time.monotonic() - looked_up < _REMEMBER_S and not caller.is_expired():
            return caller
        now, heard = time.monotonic(), self._heard
        caller = await run_in_threadpool(find_caller, self._database, digest)
        if caller is not None and self._is_listening and heard == self._heard:
            if len(self._known) >= _REMEMBER_KEYS:
                self._known.clear()
            self._known[digest] = (now, caller)
        return caller

    def listen(self, is_listening: bool) -> None:
        """Say whether revocations are heard; what is known from before is forgotten either way."""
        self._is_listening = is_listening
        self._heard += 1
        self._known.clear()

    def forget(self, digest: str) -> None:
        """Look this key up again next time."""
        self._heard += 1
        self._known.pop(digest, None)


_bearer = HTTPBearer(auto_error=False, description="An API key, as `Authorization: Bearer ws_…`.")


class RequireKey:
    """No request passes to anything under /v1 without a valid key, whatever else is wrong with it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run one request.

        Raises:
            Unauthorised: no valid key.
        """
        if scope["type"] == "http" and scope["path"].startswith("/v1"):
            kind, _, secret = Headers(scope=scope).get("authorization", "").partition(" ")
            keys: KeyRing = scope["app"].state.keys
            caller = await keys.find(secret.strip()) if kind.lower() == "bearer" else None
            if caller is None:
                raise Unauthorised("Send a valid API key as `Authorization: Bearer ws_…`.")
            scope["state"]["caller"] = caller
        await self.app(scope, receive, send)


async def get_caller(request: Request, _: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]) -> Caller:
    """Who `RequireKey` found; the unused parameter is there for OpenAPI.

    Raises:
        Unauthorised: nobody, because the path is not under /v1.
    """
    caller: Caller | None = getattr(request.state, "caller", None)
    if caller is None:
        raise Unauthorised()
    return caller


_GUARDS: set[Callable[..., Any]] = set()


def _require(scope: KeyScope) -> Callable[[Caller], Awaitable[Caller]]:
    async def check(caller: Annotated[Caller, Depends(get_caller)]) -> Caller:
        if not caller.has(scope):
            raise Forbidden(f"This needs a key with the scope {scope.value!r}.")
        return caller

    _GUARDS.add(check)
    check.__name__ = f"require_{scope.value}"
    return check


ReadCaller = Annotated[Caller, Depends(_require(KeyScope.READ))]
WriteCaller = Annotated[Caller, Depends(_require(KeyScope.WRITE))]
AdminCaller = Annotated[Caller, Depends(_require(KeyScope.ADMIN))]
OperatorCaller = Annotated[Caller, Depends(_require(KeyScope.OPERATOR))]


def assert_guarded(app: FastAPI) -> None:
    """Refuse to build an app in which some /v1 route asks for no caller.

    Raises:
        RuntimeError: names the route.
    """
    for route in iter_route_contexts(app.routes):
        if (route.path or "").startswith("/v1") and not _is_guarded(getattr(route, "dependant", None)):
            raise RuntimeError(f"{route.methods} {route.path} has no Caller dependency")


def _is_guarded(dependant: Any) -> bool:
    if dependant is None:
        return False
    return dependant.call in _GUARDS or any(_is_guarded(inner) for inner in dependant.dependencies)
