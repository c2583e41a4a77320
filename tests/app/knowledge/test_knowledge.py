"""Knowledge that finished jobs leave, and how it is read."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from sqlalchemy import delete, select

from app.database import Database
from app.jobs.tables import Job, TrialRow
from app.knowledge.archive import write_archive
from app.knowledge.repository import (
    TaskDescription,
    find_champion,
    keep_embedding,
    pin_knowledge,
    record_job,
)
from app.knowledge.tables import KnowledgeEvaluation, KnowledgeTask, Metamodel
from app.knowledge.training import train_when_due
from app.settings import Settings
from tests.app.knowledge.made import FULL, make_evaluation, make_task
from workers.engine.meta.evaluations import key_of


def _record(database: Database, job_id: str, task: TaskDescription, losses: list[float]) -> UUID:
    with database.transaction() as session:
        job = session.get(Job, UUID(job_id))
        return record_job(session, job, task, [_evaluation(loss) for loss in losses])


def _evaluation(loss: float) -> dict[str, Any]:
    fidelity = {"rows": 1.0, "folds": None}
    return {"configuration": {"learner": "linear"}, "learner_version": "v", "fidelity": fidelity, "loss": loss}


def test_one_task_is_kept_when_two_jobs_ask_the_same(database: Database, submit: Callable[..., Any]) -> None:
    first, second = submit()["id"], submit()["id"]
    assert _record(database, first, make_task(), [0.1, 0.2]) == _record(database, second, make_task(), [0.3])
    with database.transaction() as session:
        assert len(session.scalars(select(KnowledgeTask)).all()) == 1
        assert len(session.scalars(select(KnowledgeEvaluation)).all()) == 3


def test_evaluations_are_replaced_when_a_job_is_recorded_again(database: Database, submit: Callable[..., Any]) -> None:
    job_id = submit()["id"]
    _record(database, job_id, make_task(), [0.1, 0.2])
    _record(database, job_id, make_task(metafeatures={"rows": 201.0}), [0.4])
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
    assert _record(database, submit()["id"], make_task(), [0.1]) != _record(database, foreign, make_task(), [0.2])
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
    _record(database, job_id, make_task(), [0.1])
    change_job(job_id, state="succeeded")
    client.delete(f"/v1/jobs/{job_id}", headers=tenant.write)
    assert client.get("/v1/knowledge", headers=tenant.read).json()["own"] == {"tasks": 1, "evaluations": 1}


def _past(database: Database, project_id: UUID | None, name: str, point: list[float], **changes: Any) -> UUID:
    """A task in the store, placed by the champion."""
    with database.transaction() as session:
        metamodel = find_champion(session, "embedding")
        if metamodel is None:
            values = {"name": "metafeatures", "version": 1, "blob_key": "metamodels/x/m.safetensors"}
            values["sha256"] = hashlib.sha256(b"weights").hexdigest()
            values["promoted_at"] = datetime.now(UTC)
            metamodel = Metamodel(role="embedding", state="champion", learned_from={}, **values)
            session.add(metamodel)
        task = KnowledgeTask(
            project_id=project_id, fingerprint=name, group=name, kind="binary", metafeatures={"rows": 100.0}, **changes
        )
        session.add(task)
        session.flush()
        keep_embedding(session, task.id, metamodel.id, point)
        evaluation = make_evaluation()
        session.add(KnowledgeEvaluation(task_id=task.id, configuration_key=key_of(evaluation), evaluation=evaluation))
        return task.id


def test_similar_tasks_are_the_near_ones_that_the_project_may_see(
    database: Database, client: TestClient, tenant: Any, make_tenant: Callable[[str], Any]
) -> None:
    other = make_tenant("other")
    mine = _past(database, tenant.project_id, "mine", [0.0, 0.0])
    far = _past(database, None, "seed", [3.0, 4.0])
    shared = _past(database, other.project_id, "shared", [1.0, 0.0], is_shared=True)
    secret = _past(database, other.project_id, "secret", [0.0, 0.1])
    found = client.get(f"/v1/knowledge/similar?task_id={mine}", headers=tenant.read).json()
    assert [(each["task_id"], each["distance"], each["own"]) for each in found] == [
        (str(shared), 1.0, False),
        (str(far), 5.0, False),
    ]
    assert client.get(f"/v1/knowledge/similar?task_id={secret}", headers=tenant.read).status_code == 404
    answer = client.patch("/v1/projects/current", json={"shares_knowledge": False}, headers=other.admin)
    assert answer.json()["shares_knowledge"] is False
    assert client.get(f"/v1/knowledge/similar?task_id={shared}", headers=tenant.read).status_code == 404


def test_an_export_can_be_imported_again_and_elsewhere(
    database: Database, client: TestClient, tenant: Any, make_tenant: Callable[[str], Any], app: FastAPI
) -> None:
    other = make_tenant("other")
    _past(database, tenant.project_id, "mine", [0.0, 0.0], constants={"roc_auc": 0.5})
    app.state.blobs.put_stream("metamodels/x/m.safetensors", iter([b"weights"]))
    exported = client.post("/v1/knowledge:export", headers=tenant.read).content
    assert client.post("/v1/knowledge:export", headers=tenant.read).content == exported
    for _ in range(2):
        answer = client.post("/v1/knowledge:import", content=exported, headers=other.write)
        assert answer.json() == {"tasks": 1, "evaluations": 1}
        assert client.get("/v1/knowledge", headers=other.read).json()["own"] == {"tasks": 1, "evaluations": 1}
    metamodels = client.get("/v1/knowledge/metamodels", headers=other.read).json()["items"]
    assert [(each["name"], each["state"]) for each in metamodels] == [("metafeatures", "champion")]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda files: None, "no zip file"),
        (lambda files: files.pop("tasks.parquet"), "differ: tasks.parquet"),
        (lambda files: files.update({"tasks.parquet": b"PAR1"}), "damaged"),
        (lambda files: files.update({"../escape": b""}), "odd place"),
        (lambda files: files.update({"manifest.json": b"[]"}), "manifest.json"),
    ],
)
def test_a_damaged_export_is_refused_and_nothing_stays(
    database: Database,
    client: TestClient,
    tenant: Any,
    app: FastAPI,
    damage: Callable[[dict[str, bytes]], Any],
    said: str,
) -> None:
    _past(database, tenant.project_id, "mine", [0.0, 0.0])
    app.state.blobs.put_stream("metamodels/x/m.safetensors", iter([b"weights"]))
    with zipfile.ZipFile(io.BytesIO(client.post("/v1/knowledge:export", headers=tenant.read).content)) as file:
        files = {name: file.read(name) for name in file.namelist()}
    damage(files)
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    content = b"PK" if said == "no zip file" else body.getvalue()
    with database.transaction() as session:
        session.execute(delete(KnowledgeTask))
    answer = client.post("/v1/knowledge:import", content=content, headers=tenant.write)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert client.get("/v1/knowledge", headers=tenant.read).json()["own"] == {"tasks": 0, "evaluations": 0}


def test_a_jobs_knowledge_names_its_neighbours_and_what_each_source_brought(
    database: Database, client: TestClient, tenant: Any, submit: Callable[..., Any]
) -> None:
    job_id = submit()["id"]
    nothing = client.get(f"/v1/jobs/{job_id}/knowledge", headers=tenant.read).json()
    assert (nothing["is_warm"], nothing["tasks"], nothing["sources"]) == (False, 0, [])
    summary = {
        "tasks": 7,
        "evaluations": 70,
        "configurations": 9,
        "metamodels": {},
        "neighbours": [],
        "seconds_saved": 1.5,
    }
    with database.transaction() as session:
        pin_knowledge(session, UUID(job_id), "jobs/x/knowledge.npz", summary)
        for number, (source, loss) in enumerate([("default", 0.5), ("neighbour", 0.3), ("default", 0.4)]):
            session.add(
                TrialRow(
                    job_id=UUID(job_id), number=number, ask_seq=2 * number, tell_seq=2 * number + 1, status="succeeded",
                    proposal={"configuration": {"learner": "linear"}, "fidelity": FULL, "source": source},
                    trial={"seconds": 1.0, "metrics": {"roc_auc": 1 - loss}}, loss=loss,
                )
            )  # fmt: skip
    known = client.get(f"/v1/jobs/{job_id}/knowledge", headers=tenant.read).json()
    assert (known["is_warm"], known["tasks"], known["seconds_saved"]) == (True, 7, 1.5)
    brought = {each["source"]: each for each in known["sources"]}
    assert brought["neighbour"]["gain"] == pytest.approx(0.2)
    assert brought["neighbour"]["best_score"] == 0.7
    assert (brought["default"]["trials"], brought["default"]["improvements"]) == (2, 1)


def test_a_deleted_project_takes_its_knowledge_along_and_retires_what_it_taught(
    database: Database, client: TestClient, tenant: Any, make_tenant: Callable[[str], Any]
) -> None:
    other = make_tenant("other")
    _past(database, other.project_id, "theirs", [0.0, 0.0], is_shared=True)
    with database.transaction() as session:
        session.scalars(select(Metamodel)).one().state = "retired"
        taught = {"projects": [str(other.project_id)]}
        values = {"name": "metafeatures", "version": 2, "blob_key": "metamodels/y/m.safetensors", "sha256": "y"}
        session.flush()
        session.add(Metamodel(role="embedding", state="champion", learned_from=taught, **values))
    assert client.delete(f"/v1/projects/{other.project_id}", headers=tenant.operator).status_code == 204
    with database.transaction() as session:
        assert session.scalars(select(KnowledgeTask)).all() == []
        states = {row.version: row.state for row in session.scalars(select(Metamodel))}
    assert states == {1: "champion", 2: "retired"}
    assert client.get("/v1/jobs", headers=other.read).status_code == 401


def test_an_operator_asks_for_a_training_and_is_told_of_the_one_that_waits(
    client: TestClient, tenant: Any, database: Database
) -> None:
    assert client.post("/v1/knowledge:train", headers=tenant.write).status_code == 403
    first, second = (client.post("/v1/knowledge:train", headers=tenant.operator) for _ in range(2))
    assert first.status_code == 202
    assert first.json()["id"] == second.json()["id"]
    listed = client.get("/v1/knowledge/trainings", headers=tenant.read).json()["items"]
    assert [each["state"] for each in listed] == ["queued"]
    assert client.get(first.headers["Location"], headers=tenant.read).json() == listed[0]
    assert client.get("/v1/jobs", headers=tenant.read).json()["items"] == []
    assert client.get(f"/v1/jobs/{listed[0]['id']}", headers=tenant.read).status_code == 404


def test_a_training_is_due_when_enough_was_shared(
    database: Database, client: TestClient, tenant: Any, settings: Settings
) -> None:
    due = settings.model_copy(update={"train_every_tasks": 2})
    _past(database, tenant.project_id, "one", [0.0], is_shared=True)
    _past(database, tenant.project_id, "own", [0.0])
    with database.transaction() as session:
        assert train_when_due(session, due) is None
    _past(database, tenant.project_id, "two", [0.0], is_shared=True)
    with database.transaction() as session:
        assert train_when_due(session, settings) is None  # by default only when asked
        assert train_when_due(session, due) is not None


@pytest.mark.parametrize(
    "change",
    [
        {"configuration": {"learner": "/tmp/evil"}},
        {"learner_version": "../v"},
        {"metrics": {"roc_auc": True}},
        {"metrics": {"roc_auc": 1e300}},
        {"metrics": {"roc_auc": 10**400}},
        {"cpu_seconds": 1e308},
        {"cpu_seconds": -1.0},
        {"status": "splendid"},
        {"fidelity": {"rows": 0.5, "folds": None}},
        {"configuration": {"learner": "linear", "note": "x" * 10_000}},
        {"rows": [[1, 2], [3, 4]]},
    ],
)
def test_an_archive_with_a_hostile_evaluation_is_refused_whole(
    database: Database, client: TestClient, tenant: Any, tmp_path: Path, change: dict[str, Any]
) -> None:
    description = make_task("f", metafeatures={"rows": 5.0})
    good = make_evaluation()
    write_archive(tmp_path, [description], [("f", good)])
    table = pq.read_table(tmp_path / "evaluations" / "linear-v.parquet")
    hostile = table.set_column(1, "evaluation", pa.array([json.dumps(good | change)]))
    pq.write_table(hostile, tmp_path / "evaluations" / "linear-v.parquet")
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    name = "evaluations/linear-v.parquet"
    manifest["files"][name] = hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    body = io.BytesIO()
    with zipfile.ZipFile(body, "w") as file:
        for path in tmp_path.rglob("*"):
            if path.is_file():
                file.write(path, path.relative_to(tmp_path).as_posix())
    answer = client.post("/v1/knowledge:import", content=body.getvalue(), headers=tenant.write)
    assert answer.status_code == 422, answer.text
    assert client.get("/v1/knowledge", headers=tenant.read).json()["own"] == {"tasks": 0, "evaluations": 0}
