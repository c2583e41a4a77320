"""Health, readiness, metrics, space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import migrate
from app.main import create_app
from app.settings import Settings
from workers.engine.catalog import LEARNERS

_NOWHERE = "postgresql://nobody@/nothing?host=/nonexistent"


@pytest.fixture
def stranded(settings: Settings) -> TestClient:
    """The service when the database can't be reached."""
    changed = settings.model_copy(update={"database_url": type(settings.database_url)(_NOWHERE)})
    with TestClient(create_app(changed)) as client:
        yield client


def test_service_is_ready_when_all_is_well(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["ready"]) == (200, True)


def test_service_is_not_ready_when_the_database_is_away(stranded: TestClient) -> None:
    assert stranded.get("/healthz").status_code == 200
    answer = stranded.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["database"].startswith("unreachable")


def test_answer_is_503_when_the_database_is_away(stranded: TestClient) -> None:
    answer = stranded.get("/v1/jobs", headers={"Authorization": "Bearer ws_x"})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "2"
    assert "warmstart_database_up 0.0" in stranded.get("/metrics").text


def test_service_is_not_ready_when_migrations_are_missing(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.system.service.is_current", lambda database: False)
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["migrations"]) == (503, "migrations are missing: run `warmstart migrate`")


def test_metrics_count_jobs_and_requests(
    client: TestClient, submit: Callable[..., Any], change_job: Callable[..., None], tenant: Any
) -> None:
    submit()
    change_job(submit()["id"], state="running")
    client.get(f"/v1/jobs/{tenant.project_id}", headers=tenant.read)
    text = client.get("/metrics").text
    assert 'warmstart_jobs{state="queued"} 1.0' in text
    assert 'warmstart_jobs{state="running"} 1.0' in text
    assert 'warmstart_jobs{state="failed"} 0.0' in text
    assert 'warmstart_requests_total{method="GET",route="/v1/jobs/{job_id}",status="404"}' in text
    assert str(tenant.project_id) not in text


def test_space_names_every_learner_and_hyperparameter(client: TestClient, tenant: Any) -> None:
    space = client.get("/v1/space", headers=tenant.read).json()
    assert space["learners"] == list(LEARNERS)
    assert space["spaces"].keys() == {"binary", "multiclass", "regression"}
    lightgbm = space["spaces"]["binary"]["learners"]["lightgbm"]
    assert {"name", "type", "default"} <= lightgbm[0].keys()
    assert len(space["spaces"]["binary"]["version"]) == 12


def test_app_is_refused_when_no_database_is_named() -> None:
    with pytest.raises(RuntimeError, match="WARMSTART_DATABASE_URL"):
        create_app(Settings(database_url=None))


def test_database_is_current_when_migrated(settings: Settings) -> None:
    assert migrate.is_current(settings.database_url.get_secret_value())
