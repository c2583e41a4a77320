"""Every failure is a problem, and tells nothing that it should not."""

from __future__ import annotations

from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy.exc import DataError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app import errors
from app.errors import AppError
from app.main import create_app
from app.problems import from_exception
from app.settings import Settings


def _family(kind: type[AppError]) -> list[type[AppError]]:
    return [kind, *(inner for child in kind.__subclasses__() for inner in _family(child))]


def test_codes_are_unique_when_all_errors_are_listed() -> None:
    family = _family(AppError)
    codes = [kind.code for kind in family]
    assert len(codes) == len(set(codes))
    assert all(kind.__module__ == errors.__name__ for kind in family)
    assert all(400 <= kind.status < 600 for kind in family)


def test_problem_has_every_member_when_nothing_is_found(client: TestClient) -> None:
    answer = client.get("/nothing", headers={"X-Request-ID": "abc-1"})
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"] == "abc-1"
    problem = answer.json()
    assert problem["type"] == "urn:warmstart:problem:not_found"
    assert problem["request_id"] == "abc-1"
    assert problem.keys() == {"type", "title", "status", "detail", "code", "request_id", "errors"}


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "<script>"])
def test_request_id_is_ours_when_the_given_one_is_odd(client: TestClient, given: str) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] != given
    assert len(answer.headers["x-request-id"]) == 36


def test_answer_is_405_when_the_method_is_wrong(client: TestClient, tenant: Any) -> None:
    answer = client.put("/v1/jobs", json={}, headers=tenant.read)
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET, POST"


def test_answer_is_401_when_an_unknown_path_is_asked_without_a_key(client: TestClient) -> None:
    assert client.get("/v1/nothing").status_code == 401
    assert client.post("/v1/jobs", content=b"{").status_code == 401


@pytest.mark.parametrize(
    ("content", "pointer"),
    [(b"{", "/1"), (b"[]", ""), (b"null", ""), (b"\xff\xfe", ""), (b'{"name": "\\ud800"}', "/name"), (b'"x"', "")],
)
def test_body_is_refused_when_it_is_no_such_object(
    client: TestClient, tenant: Any, content: bytes, pointer: str
) -> None:
    headers = {**tenant.operator, "Content-Type": "application/json"}
    answer = client.post("/v1/projects", content=content, headers=headers)
    assert answer.status_code in (400, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"


def test_answer_is_413_when_the_body_is_too_large(client: TestClient, tenant: Any) -> None:
    content = b'{"name": "' + b"x" * 1_100_000 + b'"}'
    headers = {**tenant.operator, "Content-Type": "application/json"}
    answer = client.post("/v1/projects", content=content, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    chunked = client.post("/v1/projects", content=iter([content]), headers=headers)
    assert (chunked.status_code, chunked.json()["code"]) == (413, "too_large")
    keyed = client.post("/v1/projects", content=content, headers={**headers, "Idempotency-Key": "k"})
    assert keyed.status_code == 413


@pytest.fixture
def broken(settings: Settings, database: Any) -> FastAPI:
    """The service with a route that fails in whatever way it is told."""
    app = create_app(settings)

    @app.get("/fail")
    def fail() -> None:
        raise app.state.failure

    return app


class _Sqlstate(Exception):
    def __init__(self, state: str) -> None:
        super().__init__("secret detail")
        self.sqlstate = state


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (RuntimeError("password=hunter2"), 500, "internal_error"),
        (OperationalError("SELECT hunter2", {}, _Sqlstate("08006")), 503, "unavailable"),
        (OperationalError("INSERT hunter2", {}, _Sqlstate("53100")), 507, "storage_full"),
        (DataError("INSERT hunter2", {}, _Sqlstate("22021")), 422, "invalid_request"),
        (PoolTimeout("hunter2"), 503, "unavailable"),
        (OSError(28, "No space left on device: hunter2"), 507, "storage_full"),
        (OSError(2, "hunter2"), 500, "internal_error"),
    ],
)
def test_nothing_leaks_when_something_unexpected_fails(
    broken: FastAPI, failure: Exception, status: int, code: str
) -> None:
    broken.state.failure = failure
    with TestClient(broken) as client:
        answer = client.get("/fail")
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "hunter2" not in answer.text
    assert ("retry-after" in answer.headers) == (status == 503)


def test_appearance_is_kept_when_an_error_is_ours() -> None:
    error = errors.Conflict("x", code="y")
    assert from_exception(error) is error
