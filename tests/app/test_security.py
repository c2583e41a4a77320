"""Who may do what: every route against every kind of key."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from app.database import Database
from app.projects.service import create_key, revoke
from app.projects.tables import ApiKey
from app.security import Caller, KeyScope, assert_guarded, hash_secret

#: Every route with the scope that it needs; a route that is missing here fails the test.
ROUTES = {
    "POST /v1/datasets": "write",
    "GET /v1/datasets": "read",
    "GET /v1/datasets/{dataset_id}": "read",
    "GET /v1/datasets/{dataset_id}/profile": "read",
    "GET /v1/datasets/{dataset_id}/preview": "read",
    "PATCH /v1/datasets/{dataset_id}": "write",
    "DELETE /v1/datasets/{dataset_id}": "write",
    "POST /v1/jobs": "write",
    "POST /v1/jobs:validate": "read",
    "GET /v1/jobs": "read",
    "GET /v1/jobs/{job_id}": "read",
    "GET /v1/jobs/{job_id}/trials": "read",
    "GET /v1/jobs/{job_id}/leaderboard": "read",
    "GET /v1/jobs/{job_id}/events": "read",
    "DELETE /v1/jobs/{job_id}": "write",
    "POST /v1/jobs/{job_id}:cancel": "write",
    "POST /v1/jobs/{job_id}:extend": "write",
    "GET /v1/models": "read",
    "GET /v1/models/{model_id}": "read",
    "GET /v1/models/{model_id}/bundle": "read",
    "DELETE /v1/models/{model_id}": "write",
    "POST /v1/models/{model_id}/predictions": "read",
    "GET /v1/knowledge": "read",
    "GET /v1/knowledge/tasks": "read",
    "GET /v1/knowledge/similar": "read",
    "GET /v1/knowledge/metamodels": "read",
    "GET /v1/knowledge/trainings": "read",
    "GET /v1/knowledge/trainings/{training_id}": "read",
    "POST /v1/knowledge:export": "read",
    "POST /v1/knowledge:import": "write",
    "POST /v1/knowledge:train": "operator",
    "POST /v1/knowledge/metamodels/{metamodel_id}:promote": "operator",
    "GET /v1/jobs/{job_id}/knowledge": "read",
    "POST /v1/projects": "operator",
    "GET /v1/projects": "operator",
    "GET /v1/projects/{project_id}": "read",
    "PATCH /v1/projects/{project_id}": "admin",  # quotas: operator
    "DELETE /v1/projects/{project_id}": "operator",
    "POST /v1/keys": "admin",
    "GET /v1/keys": "admin",
    "POST /v1/keys/{key_id}:revoke": "admin",
    "GET /v1/space": "read",
}
OPEN = {"GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json", "GET /docs", "GET /docs/oauth2-redirect"}
_BODIES: dict[str, Any] = {
    "POST /v1/jobs": {"dataset_id": str(uuid4()), "target": "y"},
    "POST /v1/jobs:validate": {"dataset_id": str(uuid4()), "target": "y"},
    "POST /v1/jobs/{job_id}:extend": {"seconds": 1},
    "POST /v1/models/{model_id}/predictions": {"rows": [{}]},
    "PATCH /v1/datasets/{dataset_id}": {"name": "x"},
    "POST /v1/projects": {"name": "new"},
    "PATCH /v1/projects/{project_id}": {"shares_knowledge": False},
    "POST /v1/keys": {"name": "new", "scopes": ["read"]},
}


def _call(client: TestClient, route: str, headers: dict[str, str], object_id: object = None) -> Any:
    method, path = route.split(" ")
    for name in ("dataset_id", "job_id", "model_id", "project_id", "key_id", "training_id", "metamodel_id"):
        path = path.replace(f"{{{name}}}", str(object_id or uuid4()))
    return client.request(method, path, headers=headers, json=_BODIES.get(route))


def test_every_route_has_a_row_when_walked(app: FastAPI) -> None:
    found = {
        f"{method} {route.path_format or route.path}"
        for route in iter_route_contexts(app.routes)
        for method in (route.methods or ())
        if method != "HEAD"
    }
    assert found == set(ROUTES) | OPEN


def test_app_is_refused_when_a_route_is_open(app: FastAPI) -> None:
    @app.get("/v1/open")
    def leak() -> None: ...

    with pytest.raises(RuntimeError, match="/v1/open"):
        assert_guarded(app)


@pytest.fixture
def bad_keys(database: Database, tenant: Any) -> dict[str, dict[str, str]]:
    with database.transaction() as session:
        past = datetime.now(UTC) - timedelta(seconds=1)
        _, expired = create_key(session, tenant.project_id, "expired", [KeyScope.OPERATOR], past)
        key, revoked = create_key(session, tenant.project_id, "revoked", [KeyScope.OPERATOR])
        revoke(session, tenant.project_id, key.id)
    secrets = {"unknown": "ws_nothing", "expired": expired, "revoked": revoked, "empty": "", "unicode": "ws_\u00fc"}
    headers = {name: {"Authorization": f"Bearer {secret}".encode("latin-1")} for name, secret in secrets.items()}
    return {"none": {}, "basic": {"Authorization": "Basic d3M6d3M="}, **headers}  # type: ignore[dict-item]


def test_answer_is_401_when_the_key_is_not_valid(client: TestClient, bad_keys: dict[str, dict[str, str]]) -> None:
    for route in ROUTES:
        for name, headers in bad_keys.items():
            response = _call(client, route, headers)
            assert response.status_code == 401, (route, name, response.text)
            assert response.json()["code"] == "unauthorised"
            assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("scope", ["read", "write", "admin", "operator"])
def test_answer_is_403_exactly_when_the_scope_is_too_small(client: TestClient, tenant: Any, scope: str) -> None:
    order = [entry.value for entry in KeyScope]
    for route, needed in ROUTES.items():
        status = _call(client, route, getattr(tenant, scope)).status_code
        is_allowed = order.index(scope) >= order.index(needed)
        assert (status != 403) == is_allowed, (route, scope, status)
        assert status != 401


@pytest.fixture
def owned(
    tenant: Any, submit: Callable[..., Any], add_model: Callable[..., UUID], change_job: Callable[..., None],
    client: TestClient, dataset_id: UUID,
) -> dict[str, object]:  # fmt: skip
    """One of everything that the tenant owns, by the name of its path parameter."""
    job = submit()
    change_job(job["id"], state="succeeded")
    key = client.get("/v1/keys", headers=tenant.admin).json()["items"][0]
    return {
        "dataset_id": dataset_id,
        "job_id": job["id"],
        "model_id": add_model(job["id"]),
        "project_id": tenant.project_id,
        "key_id": key["id"],
    }


def test_foreign_objects_look_missing_when_asked_for(
    client: TestClient, owned: dict[str, object], make_tenant: Callable[[str], Any]
) -> None:
    stranger = make_tenant("stranger")
    checked = 0
    for route, scope in ROUTES.items():
        if "{" not in route or scope == "operator":
            continue
        name = route.split("{")[1].split("}")[0]
        if name == "training_id":  # what is learned from what all share is everybody's
            continue
        foreign = _call(client, route, stranger.admin, owned[name])
        missing = _call(client, route, stranger.admin)
        assert foreign.status_code == missing.status_code == 404, (route, foreign.text)
        assert _without_id(foreign.json()) == _without_id(missing.json())
        checked += 1
    assert checked >= 15


def _without_id(problem: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in problem.items() if name != "request_id"}


def test_lists_show_nothing_foreign_when_others_own_things(
    client: TestClient, owned: dict[str, object], make_tenant: Callable[[str], Any]
) -> None:
    stranger = make_tenant("stranger")
    for path in ("/v1/datasets", "/v1/jobs", "/v1/models", "/v1/knowledge/tasks"):
        assert client.get(path, headers=stranger.admin).json()["items"] == []


def test_job_is_refused_when_the_dataset_is_foreign(
    client: TestClient, dataset_id: UUID, make_tenant: Callable[[str], Any]
) -> None:
    stranger = make_tenant("stranger")
    body = {"dataset_id": str(dataset_id), "target": "income"}
    foreign = client.post("/v1/jobs", json=body, headers=stranger.write)
    missing = client.post("/v1/jobs", json={**body, "dataset_id": str(uuid4())}, headers=stranger.write)
    assert foreign.status_code == missing.status_code == 422
    assert _without_id(foreign.json()) == _without_id(missing.json())


def test_only_the_digest_is_stored_when_a_key_is_made(database: Database, tenant: Any) -> None:
    with database.transaction() as session:
        key, secret = create_key(session, tenant.project_id, "x", [KeyScope.READ])
        row = session.get(ApiKey, key.id)
        assert len(secret) >= 46
        assert secret.startswith("ws_")
        assert row.hash == hash_secret(secret)
        assert all(secret not in str(getattr(row, column.name)) for column in ApiKey.__table__.columns)


def test_scopes_include_smaller_ones_when_asked() -> None:
    caller = Caller(project_id=uuid4(), key_id=uuid4(), scopes=frozenset({KeyScope.WRITE}))
    assert [caller.has(scope) for scope in KeyScope] == [True, True, False, False]
