"""Projects, quotas and keys through HTTP."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi.testclient import TestClient

from app.database import Database
from app.errors import QuotaExceeded
from app.projects.service import check_bytes
from app.settings import Settings


def _bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


def test_new_project_works_when_an_operator_makes_it_and_a_key(client: TestClient, tenant: Any) -> None:
    project = client.post("/v1/projects", json={"name": "new"}, headers=tenant.operator)
    assert project.status_code == 201
    body = {"name": "first", "scopes": ["write"], "project_id": project.json()["id"]}
    key = client.post("/v1/keys", json=body, headers=tenant.operator)
    assert key.status_code == 201
    assert key.headers["cache-control"] == "no-store"
    own = client.get("/v1/projects/current", headers=_bearer(key.json()["secret"])).json()
    assert (own["id"], own["usage"]) == (project.json()["id"], {"running_jobs": 0, "queued_jobs": 0, "bytes": 0})


def test_name_is_refused_when_taken(client: TestClient, tenant: Any) -> None:
    answer = client.post("/v1/projects", json={"name": "default"}, headers=tenant.operator)
    assert (answer.status_code, answer.json()["code"]) == (409, "name_taken")


def test_secret_is_shown_once_when_a_key_is_made(client: TestClient, tenant: Any) -> None:
    made = client.post("/v1/keys", json={"name": "x", "scopes": ["read"]}, headers=tenant.admin).json()
    listed = client.get("/v1/keys", headers=tenant.admin)
    assert made["secret"] not in listed.text
    assert made["secret"].startswith(made["prefix"])
    assert made["id"] in [key["id"] for key in listed.json()["items"]]


def test_key_is_dead_at_once_when_revoked(client: TestClient, tenant: Any) -> None:
    made = client.post("/v1/keys", json={"name": "x", "scopes": ["read"]}, headers=tenant.admin).json()
    assert client.get("/v1/jobs", headers=_bearer(made["secret"])).status_code == 200
    first = client.post(f"/v1/keys/{made['id']}:revoke", headers=tenant.admin).json()
    again = client.post(f"/v1/keys/{made['id']}:revoke", headers=tenant.admin).json()
    assert first["revoked_at"] == again["revoked_at"] is not None
    assert client.get("/v1/jobs", headers=_bearer(made["secret"])).status_code == 401


def test_key_works_until_it_expires(client: TestClient, tenant: Any) -> None:
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    made = client.post("/v1/keys", json={"name": "x", "expires_at": soon}, headers=tenant.admin).json()
    assert client.get("/v1/jobs", headers=_bearer(made["secret"])).status_code == 200


def test_nobody_grants_more_than_they_have(client: TestClient, tenant: Any) -> None:
    answer = client.post("/v1/keys", json={"name": "x", "scopes": ["operator"]}, headers=tenant.admin)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_admin_makes_no_key_for_another_project(
    client: TestClient, tenant: Any, make_tenant: Callable[[str], Any]
) -> None:
    for project_id in (make_tenant("other").project_id, uuid4()):
        body = {"name": "x", "scopes": ["read"], "project_id": str(project_id)}
        assert client.post("/v1/keys", json=body, headers=tenant.admin).status_code == 422


def test_quotas_change_one_by_one_when_an_operator_sets_them(
    client: TestClient, tenant: Any, settings: Settings
) -> None:
    path = f"/v1/projects/{tenant.project_id}"
    client.patch(path, json={"quotas": {"running_jobs": 3, "bytes": 1000}}, headers=tenant.operator)
    answer = client.patch(path, json={"quotas": {"bytes": None}}, headers=tenant.operator)
    assert answer.json()["quotas"] == {
        "running_jobs": 3,
        "queued_jobs": settings.quota_queued_jobs,
        "bytes": settings.quota_bytes,
    }


def test_usage_counts_jobs_and_bytes(
    client: TestClient, tenant: Any, submit: Callable[..., Any], change_job: Callable[..., None],
    add_model: Callable[..., UUID],
) -> None:  # fmt: skip
    submit()
    running = submit()["id"]
    change_job(running, state="running")
    add_model(running, b"x" * 100)
    usage = client.get("/v1/projects/current", headers=tenant.read).json()["usage"]
    assert usage == {"running_jobs": 1, "queued_jobs": 1, "bytes": 600}


def test_bytes_are_refused_when_the_quota_would_be_passed(
    database: Database, settings: Settings, tenant: Any, dataset_id: UUID
) -> None:
    small = settings.model_copy(update={"quota_bytes": 1000})
    with database.transaction() as session:
        check_bytes(session, tenant.project_id, 500, small)
        with pytest.raises(QuotaExceeded, match="stores 500 bytes, 501 more would pass its quota of 1000"):
            check_bytes(session, tenant.project_id, 501, small)
