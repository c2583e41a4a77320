"""Knowledge that finished jobs leave, and how it is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from fastapi.testclient import TestClient
from sqlalchemy import select

from app.database import Database
from app.jobs.tables import Job
from app.knowledge.repository import TaskDescription, record_job
from app.knowledge.tables import KnowledgeEvaluation, KnowledgeTask


def _task(fingerprint: str = "f" * 64, **changes: Any) -> TaskDescription:
    values = {"group": "g", "kind": "binary", "metafeatures": {"rows": 200.0}, "constants": {}, "sketch": b"\x01\x02"}
    return TaskDescription(fingerprint=fingerprint, **{**values, **changes})


def _record(database: Database, job_id: str, task: TaskDescription, losses: list[float]) -> UUID:
    with database.transaction() as session:
        job = session.get(Job, UUID(job_id))
        return record_job(session, job, task, [_evaluation(loss) for loss in losses])


def _evaluation(loss: float) -> dict[str, Any]:
    fidelity = {"rows": 1.0, "folds": None}
    return {"configuration": {"learner": "linear"}, "learner_version": "v", "fidelity": fidelity, "loss": loss}


def test_one_task_is_kept_when_two_jobs_ask_the_same(database: Database, submit: Callable[..., Any]) -> None:
    first, second = submit()["id"], submit()["id"]
    assert _record(database, first, _task(), [0.1, 0.2]) == _record(database, second, _task(), [0.3])
    with database.transaction() as session:
        assert len(session.scalars(select(KnowledgeTask)).all()) == 1
        assert len(session.scalars(select(KnowledgeEvaluation)).all()) == 3


def test_evaluations_are_replaced_when_a_job_is_recorded_again(database: Database, submit: Callable[..., Any]) -> None:
    job_id = submit()["id"]
    _record(database, job_id, _task(), [0.1, 0.2])
    _record(database, job_id, _task(metafeatures={"rows": 201.0}), [0.4])
    with database.transaction() as session:
        assert [row.evaluation for row in session.scalars(select(KnowledgeEvaluation))] == [_evaluation(0.4)]
        assert session.scalars(select(KnowledgeTask)).one().metafeatures == {"rows": 201.0}


def test_projects_keep_tasks_apart_when_fingerprints_are_equal(
    database: Database, client: TestClient, submit: Callable[..., Any], make_tenant: Callable[[str], Any],
    make_dataset: Callable[..., UUID], tenant: Any,
) -> None:  # fmt: skip
    other = make_tenant("other")
    body = {"dataset_id": str(make_dataset(other.project_id)), "target": "income"}
    foreign = client.post("/v1/jobs", json=body, headers=other.write).json()["id"]
    assert _record(database, submit()["id"], _task(), [0.1]) != _record(database, foreign, _task(), [0.2])
    with database.transaction() as session:
        session.add(KnowledgeTask(fingerprint="s", group="s", kind="binary", metafeatures={}))
    answer = client.get("/v1/knowledge", headers=tenant.read).json()
    assert answer == {"own": {"tasks": 1, "evaluations": 1}, "shared": {"tasks": 1, "evaluations": 0}}
    tasks = client.get("/v1/knowledge/tasks", headers=tenant.read).json()["items"]
    assert [(task["kind"], task["evaluations"], task["metafeatures"]) for task in tasks] == [
        ("binary", 1, {"rows": 200.0})
    ]


def test_evaluations_stay_when_their_job_is_deleted(
    database: Database, client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None]
) -> None:
    job_id = submit()["id"]
    _record(database, job_id, _task(), [0.1])
    change_job(job_id, state="succeeded")
    client.delete(f"/v1/jobs/{job_id}", headers=tenant.write)
    assert client.get("/v1/knowledge", headers=tenant.read).json()["own"] == {"tasks": 1, "evaluations": 1}
