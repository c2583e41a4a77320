"""The service over a real database: settings, the app, a client, and rows to start from."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.database import Database
from app.datasets.tables import Dataset
from app.jobs.events import append_event
from app.jobs.tables import Job, TrialRow
from app.main import create_app
from app.models.tables import Model
from app.predictions.predictor import create_predictor
from app.projects.schemas import Quotas
from app.projects.service import create_key, create_project
from app.security import KeyScope
from app.settings import Settings


@pytest.fixture
def predictor_url() -> Iterator[str]:
    """Where a predictor would listen; the `predictor` fixture starts one."""
    with tempfile.TemporaryDirectory(prefix="ws-") as folder:
        yield f"unix://{folder}/predictor.sock"


@pytest.fixture
def settings(database_url: str, predictor_url: str, tmp_path: Path) -> Settings:
    """Of a service with an empty database and its own folder."""
    return Settings(
        database_url=database_url,
        predictor_url=predictor_url,
        data_dir=tmp_path / "data",
        tempo=0.1,
        log_level="warning",
    )


@pytest.fixture
def predictor(settings: Settings) -> Iterator[None]:
    """A running predictor."""
    path = settings.predictor_url.removeprefix("unix://")
    config = uvicorn.Config(
        create_predictor(settings), uds=path, log_config=None, access_log=False, timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield
    server.should_exit = True
    thread.join(20)


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder of real bundles, with rows and what the models answer."""
    return Path(__file__).parents[1] / "workers" / "engine" / "bundle" / "golden" / "v1"


@pytest.fixture
def app(settings: Settings, database: Database) -> FastAPI:
    """The service."""
    return create_app(settings)


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """Talks to the running service; sends no key unless told to."""
    with TestClient(app) as opened:
        yield opened


@dataclass(frozen=True)
class Tenant:
    """A project and a client's headers for each scope."""

    project_id: UUID
    read: dict[str, str]
    write: dict[str, str]
    admin: dict[str, str]
    operator: dict[str, str]


@pytest.fixture
def make_tenant(database: Database) -> Callable[[str], Tenant]:
    """A project with a key of every scope."""

    def make(name: str) -> Tenant:
        with database.transaction() as session:
            project = create_project(session, name, Quotas())
            keys = {}
            for scope in KeyScope:
                _, secret = create_key(session, project.id, scope.value, [scope])
                keys[scope.value] = {"Authorization": f"Bearer {secret}"}
        return Tenant(project.id, **keys)

    return make


@pytest.fixture
def tenant(make_tenant: Callable[[str], Tenant]) -> Tenant:
    """The project that most tests use."""
    return make_tenant("default")


def _column(name: str, kind: str, stored: str, distinct: int, **more: Any) -> dict[str, Any]:
    entry = {"name": name, "kind": kind, "detected_kind": kind, "type": stored, "distinct": distinct, "missing": 0}
    return {**entry, "is_integer": stored == "integer", **more}


def _classes(*labels: str) -> dict[str, Any]:
    return {"classes": [{"value": label, "count": 100} for label in labels]}


#: A table of 200 rows as the reader describes it.
COLUMNS = [
    _column("age", "number", "integer", 60),
    _column("job", "category", "text", 5, **_classes("a", "b", "c", "d", "e")),
    _column("note", "text", "text", 180),
    _column("when", "datetime", "datetime", 150),
    _column("row", "id", "integer", 200),
    _column("same", "constant", "text", 1),
    _column("weight", "number", "number", 50),
    _column("debt", "number", "number", 50),
    _column("person", "category", "text", 40),
    _column("income", "category", "text", 2, **_classes("high", "low")),
    _column("level", "number", "integer", 4, **_classes("1", "2", "3", "4")),
    _column("price", "number", "number", 190),
    _column("empty", "constant", "text", 0, missing=200),
]
_STATISTICS = {
    "weight": {"min": 0.5, "max": 3.0},
    "debt": {"min": -9.0, "max": 9.0},
    "price": {"min": -1.0, "max": 5.0},
}


@pytest.fixture
def make_dataset(database: Database) -> Callable[..., UUID]:
    """A dataset's row, without a file."""

    def make(project_id: UUID, **changes: Any) -> UUID:
        values = {
            "project_id": project_id,
            "name": "people",
            "format": "csv",
            "sha256": "0" * 64,
            "upload_bytes": 1000,
            "blob_key": "datasets/none/table.parquet",
            "stored_bytes": 500,
            "rows": 200,
            "columns": COLUMNS,
            "profile": {"rows": 200, "columns": _STATISTICS, "missing_share": 0.0},
            "alerts": [{"code": "id_like", "column": "row", "severity": "info", "detail": "Different in every row."}],
        }
        with database.transaction() as session:
            dataset = Dataset(**{**values, **changes})
            session.add(dataset)
            session.flush()
            return dataset.id

    return make


@pytest.fixture
def dataset_id(tenant: Tenant, make_dataset: Callable[..., UUID]) -> UUID:
    """A dataset of the tenant."""
    return make_dataset(tenant.project_id)


@pytest.fixture
def submit(client: TestClient, tenant: Tenant, dataset_id: UUID) -> Callable[..., dict[str, Any]]:
    """Queues a job of the tenant through the API."""

    def post(**spec: Any) -> dict[str, Any]:
        body = {"dataset_id": str(dataset_id), "target": "income", **spec}
        response = client.post("/v1/jobs", json=body, headers=tenant.write)
        assert response.status_code == 202, response.text
        return response.json()

    return post


@pytest.fixture
def change_job(database: Database) -> Callable[..., None]:
    """Changes a job's row as a worker would: a new version and an event, in one transaction."""

    def change(job_id: str, **values: Any) -> None:
        with database.transaction() as session:
            job = session.get(Job, UUID(job_id), with_for_update=True)
            for name, value in values.items():
                setattr(job, name, value)
            job.version += 1
            session.flush()
            kind = "state" if "state" in values else "progress"
            append_event(session, job.id, kind, values)

    return change


@pytest.fixture
def add_model(database: Database, app: FastAPI) -> Callable[..., UUID]:
    """Publishes a model of a job, with a bundle of a few bytes."""

    def add(job_id: str, content: bytes = b"PK-a-bundle", **changes: Any) -> UUID:
        blob = app.state.blobs.put_stream(f"jobs/{job_id}/1/model.zip", iter([content]))
        score = {"metric": "roc_auc", "value": 0.9, "low": 0.8, "high": 0.95, "method": "bbc-cv", "rows": 200}
        with database.transaction() as session:
            job = session.get(Job, UUID(job_id))
            model = Model(
                project_id=job.project_id,
                job_id=job.id,
                dataset_id=job.dataset_id,
                kind=job.spec["kind"],
                target=job.spec["target"],
                metric=job.spec["metric"],
                score=score,
                members=[{"trial": 1, "learner": "lightgbm", "weight": 1.0}],
                input_schema={"type": "object"},
                blob_key=blob.key,
                sha256=blob.sha256,
                bytes=blob.bytes,
            )
            for name, value in changes.items():
                setattr(model, name, value)
            session.add(model)
            session.flush()
            return model.id

    return add


@pytest.fixture
def add_trial(database: Database) -> Callable[..., None]:
    """Adds a finished trial to a job."""

    def add(
        job_id: str,
        number: int,
        loss: float | None,
        *,
        status: str = "succeeded",
        cost: Any = (0.1, 0.1),
        **fidelity: Any,
    ) -> None:
        proposal = {
            "configuration": {"learner": "lightgbm", "rate": 0.1 * number},
            "fidelity": {"rows": 1.0, "folds": None, **fidelity},
            "source": "random",
        }
        trial = {"fold_losses": [0.1, 0.2], "metrics": {"roc_auc": 0.9}, "seconds": 1.5, "memory_mb": 90.0}
        trial |= {"predict_ms_per_row": cost[0], "megabytes": cost[1]}
        with database.transaction() as session:
            row = TrialRow(job_id=UUID(job_id), number=number, ask_seq=2 * number, tell_seq=2 * number + 1)
            row.proposal, row.trial, row.status, row.loss = proposal, trial, status, loss
            session.add(row)

    return add
