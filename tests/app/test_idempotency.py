"""Idempotency-Key: one effect, one answer, whatever happens in between."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select

from app import middleware
from app.database import Database
from app.idempotency import Attempt, IdempotencyKey, try_lock
from app.jobs.tables import Job


@pytest.fixture
def post(client: TestClient, tenant: Any, dataset_id: UUID) -> Callable[..., Any]:
    """Submits a job under a key."""

    def send(key: str, headers: dict[str, str] | None = None, **spec: Any) -> Any:
        body = {"dataset_id": str(dataset_id), "target": "income", **spec}
        return client.post("/v1/jobs", json=body, headers={**(headers or tenant.write), "Idempotency-Key": key})

    return send


def _count_jobs(database: Database) -> int:
    with database.transaction() as session:
        return session.scalar(select(func.count(Job.id))) or 0


def test_one_job_is_made_when_a_hundred_requests_share_a_key(post: Callable[..., Any], database: Database) -> None:
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda _: post("same"), range(100)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert sum(answer.headers.get("idempotency-replayed") == "true" for answer in answers) == 99
    assert _count_jobs(database) == 1


def test_answer_is_replayed_when_the_job_has_changed_since(
    post: Callable[..., Any], change_job: Callable[..., None]
) -> None:
    first = post("k")
    change_job(first.json()["id"], state="running")
    again = post("k")
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert again.headers["retry-after"] == first.headers["retry-after"]


def test_answer_is_422_when_the_body_differs(post: Callable[..., Any], database: Database) -> None:
    post("k")
    answer = post("k", seed=2)
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_mismatch")
    assert _count_jobs(database) == 1


def test_keys_do_not_meet_when_project_or_route_differ(
    post: Callable[..., Any], client: TestClient, tenant: Any, make_tenant: Callable[[str], Any],
    make_dataset: Callable[..., UUID], database: Database,
) -> None:  # fmt: skip
    other = make_tenant("other")
    foreign = post("k", other.write, dataset_id=str(make_dataset(other.project_id)))
    assert post("k").status_code == foreign.status_code == 202
    key = client.post("/v1/projects", json={"name": "x"}, headers={**tenant.operator, "Idempotency-Key": "k"})
    assert key.status_code == 201
    assert _count_jobs(database) == 2


def test_request_runs_again_when_it_failed_before(post: Callable[..., Any], database: Database) -> None:
    assert post("k", metric="nonsense").status_code == 422
    assert post("k").status_code == 202
    assert _count_jobs(database) == 1


def test_nothing_is_left_when_the_process_dies_before_the_commit(
    post: Callable[..., Any], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise OSError("killed")

    with monkeypatch.context() as patch:
        patch.setattr(middleware, "remember", die)
        assert post("k").status_code == 500
    assert _count_jobs(database) == 0
    assert post("k").status_code == 202
    assert _count_jobs(database) == 1


@pytest.fixture
def in_flight(database: Database, tenant: Any) -> Any:
    """A session that holds the lock of a request with the key `k`."""
    session = database.open()
    attempt = Attempt(project_id=tenant.project_id, route="POST /v1/jobs", key="k", fingerprint="")
    assert try_lock(session, attempt)
    yield session
    session.invalidate()


def test_answer_is_409_when_the_first_request_takes_too_long(
    post: Callable[..., Any], in_flight: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(middleware, "WAIT_S", 0.2)
    answer = post("k")
    assert (answer.status_code, answer.json()["code"]) == (409, "idempotency_in_flight")
    assert answer.headers["retry-after"] == "5"


def test_second_request_goes_on_when_the_first_one_dies(post: Callable[..., Any], in_flight: Any) -> None:
    threading.Timer(0.3, in_flight.connection().connection.dbapi_connection.close).start()
    assert post("k").status_code == 202


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 201, "\u00fc", '"'])
def test_answer_is_422_when_the_key_is_malformed(client: TestClient, tenant: Any, dataset_id: UUID, key: str) -> None:
    headers = {**tenant.write, "Idempotency-Key": key.encode("latin-1")}
    answer = client.post("/v1/jobs", json={"dataset_id": str(dataset_id), "target": "income"}, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["parameter"] == "Idempotency-Key"


def test_quotes_do_not_matter_when_keys_are_compared(post: Callable[..., Any]) -> None:
    assert post('"k"').content == post("k").content


def test_no_secret_is_stored_when_a_key_is_made_under_a_key(
    client: TestClient, tenant: Any, database: Database
) -> None:
    headers = {**tenant.admin, "Idempotency-Key": "k"}
    first = client.post("/v1/keys", json={"name": "x"}, headers=headers)
    again = client.post("/v1/keys", json={"name": "x"}, headers=headers)
    assert (first.status_code, again.status_code, again.json()["code"]) == (201, 409, "answer_not_kept")
    with database.transaction() as session:
        assert first.json()["secret"].encode() not in session.scalars(select(IdempotencyKey.body)).one()


def test_key_is_ignored_when_the_caller_is_unknown(client: TestClient, database: Database) -> None:
    headers = {"Authorization": "Bearer ws_x", "Idempotency-Key": "k"}
    assert client.post("/v1/jobs", json={}, headers=headers).status_code in (401, 422)
    with database.transaction() as session:
        assert session.scalars(select(IdempotencyKey)).all() == []
