"""Errors as RFC 9457 problem+json: the one place where an exception becomes an answer."""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from sqlalchemy.exc import DataError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException

from app.errors import AppError, InvalidRequest, StorageFull, TooLarge, Unauthorised, Unavailable

_log = structlog.get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
_TYPE = "urn:warmstart:problem:"


class FieldProblem(BaseModel):
    """One thing to change."""

    detail: str
    pointer: str | None = Field(None, description="JSON Pointer into the body.")
    parameter: str | None = Field(None, description="Name of the query, path or header parameter.")


class Problem(BaseModel):
    """What went wrong (RFC 9457). `code` is stable, and the last part of `type`."""

    type: str = Field(examples=["urn:warmstart:problem:not_found"])
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None = None
    errors: list[FieldProblem] = []


def to_response(error: AppError, request_id: str | None) -> JSONResponse:
    """The answer for an error."""
    body = Problem(
        type=_TYPE + error.code,
        title=error.title,
        status=error.status,
        detail=error.detail,
        code=error.code,
        request_id=request_id,
        errors=[FieldProblem(**dict(item)) for item in error.errors],
    )
    headers = dict(error.headers)
    if isinstance(error, Unavailable):
        headers.setdefault("Retry-After", "2")
    if isinstance(error, Unauthorised):
        headers.setdefault("WWW-Authenticate", "Bearer")
    return JSONResponse(
        body.model_dump(exclude_none=True), status_code=error.status, headers=headers, media_type=MEDIA_TYPE
    )


def from_exception(error: Exception) -> AppError:
    """The service's error for any exception. Nothing of an unexpected one reaches the client."""
    if isinstance(error, AppError):
        return error
    if isinstance(error, RequestValidationError):
        return _from_validation(error.errors(), error.body)
    if isinstance(error, HTTPException):
        return _from_http(error)
    if (known := _from_outage(error)) is not None:
        return known
    _log.exception("unexpected error", exc_info=error)
    return AppError()


def install(app: FastAPI) -> None:
    """Answer every exception that a route raises with a problem."""

    def handle(request: Request, error: Exception) -> JSONResponse:
        problem = from_exception(error)
        if problem.status == HTTPStatus.METHOD_NOT_ALLOWED:
            problem.headers["Allow"] = ", ".join(_allowed_methods(app, request.url.path))
        return to_response(problem, getattr(request.state, "request_id", None))

    for kind in (AppError, RequestValidationError, HTTPException, DBAPIError, PoolTimeout, OSError):
        app.add_exception_handler(kind, handle)


def _allowed_methods(app: FastAPI, path: str) -> list[str]:
    """Of every route that the path matches: the router itself names only those of the first."""
    routes = (route for route in iter_route_contexts(app.routes) if route.path_regex.match(path))
    return sorted({method for route in routes for method in route.methods or ()})


def _from_outage(error: Exception) -> AppError | None:
    """Of the database or the disk: the client may try again later."""
    if isinstance(error, DataError):
        return InvalidRequest("A value can't be stored: it is out of range or holds a NUL character.")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageFull()
    if isinstance(error, DBAPIError):
        if getattr(error.orig, "sqlstate", None) == "53100":
            return StorageFull()
        if isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated:
            _log.warning("database unavailable", error=str(error.orig))
            return Unavailable("The database is not available right now; try again.")
    if isinstance(error, PoolTimeout):
        return Unavailable("The service is overloaded; try again.")
    return None


def _from_http(error: HTTPException) -> AppError:
    """Starlette's and FastAPI's own: unknown path, wrong method, oversized body, broken JSON."""
    status = HTTPStatus(error.status_code)
    if status is HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        return TooLarge("The body is over its limit.")
    problem = AppError(str(error.detail or status.phrase), headers=error.headers or {}, code=_code(status))
    problem.status, problem.title = status.value, status.phrase
    return problem


def _code(status: HTTPStatus) -> str:
    return status.phrase.lower().replace(" ", "_").replace("'", "")


def _from_validation(errors: Sequence[Mapping[str, Any]], body: Any) -> AppError:
    problems = [_field_problem(error["loc"], str(error["msg"]), body) for error in errors[:50]]
    first = problems[0]
    where = first.get("pointer") or first.get("parameter") or "the body"
    return InvalidRequest(f"{where}: {first['detail']}", errors=problems)


def _field_problem(location: Sequence[Any], message: str, body: Any) -> dict[str, str]:
    message = message.removeprefix("Value error, ")
    place, *path = location
    if place == "body":
        return {"pointer": _pointer(path, body), "detail": message}
    return {"parameter": ".".join(str(part) for part in path) or str(place), "detail": message}


def _pointer(path: Sequence[Any], body: Any) -> str:
    """A JSON Pointer to what the client sent; parts that only name a branch of a union are left out."""
    pointer = ""
    for place, part in enumerate(path):
        try:
            body = body[part]
        except (KeyError, IndexError, TypeError):
            if place < len(path) - 1 or not isinstance(body, dict):
                continue
        pointer += "/" + str(part).replace("~", "~0").replace("/", "~1")
    return pointer
