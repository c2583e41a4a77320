"""Models through HTTP: list, read, download, delete."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient

_CONTENT = b"PK" + bytes(range(256)) * 1000
_DIGEST = f"sha-256=:{base64.b64encode(hashlib.sha256(_CONTENT).digest()).decode()}:"


@pytest.fixture
def model_id(submit: Callable[..., Any], add_model: Callable[..., UUID], change_job: Callable[..., None]) -> UUID:
    """A model of an ended job."""
    job_id = submit()["id"]
    change_job(job_id, state="succeeded")
    return add_model(job_id, _CONTENT)


def test_model_is_shown_when_published(client: TestClient, tenant: Any, model_id: UUID) -> None:
    listed = client.get("/v1/models", headers=tenant.read).json()["items"]
    answer = client.get(f"/v1/models/{model_id}", headers=tenant.read)
    model = answer.json()
    assert [item["id"] for item in listed] == [str(model_id)]
    assert "input_schema" not in listed[0]
    assert model["input_schema"] == {"type": "object"}
    assert model["score"]["low"] == 0.8
    assert (model["sha256"], model["bytes"]) == (hashlib.sha256(_CONTENT).hexdigest(), len(_CONTENT))
    assert client.get(f"/v1/jobs/{model['job_id']}", headers=tenant.read).json()["model_id"] == str(model_id)
    known = {**tenant.read, "If-None-Match": answer.headers["etag"]}
    assert client.get(f"/v1/models/{model_id}", headers=known).status_code == 304


def test_whole_bundle_comes_with_its_digest_when_downloaded(client: TestClient, tenant: Any, model_id: UUID) -> None:
    answer = client.get(f"/v1/models/{model_id}/bundle", headers=tenant.read)
    assert answer.content == _CONTENT
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["repr-digest"] == answer.headers["content-digest"] == _DIGEST
    assert answer.headers["accept-ranges"] == "bytes"
    assert f"model-{model_id}-v1.zip" in answer.headers["content-disposition"]


def test_download_resumes_when_a_range_is_asked_for(client: TestClient, tenant: Any, model_id: UUID) -> None:
    path = f"/v1/models/{model_id}/bundle"
    first = client.get(path, headers={**tenant.read, "Range": "bytes=0-999"})
    resumed = {**tenant.read, "Range": "bytes=1000-", "If-Range": first.headers["etag"]}
    rest = client.get(path, headers=resumed)
    assert (first.status_code, rest.status_code) == (206, 206)
    assert first.content + rest.content == _CONTENT
    assert rest.headers["content-range"] == f"bytes 1000-{len(_CONTENT) - 1}/{len(_CONTENT)}"
    assert rest.headers["repr-digest"] == _DIGEST
    assert "content-digest" not in rest.headers
    changed = client.get(path, headers={**resumed, "If-Range": '"other"'})
    assert (changed.status_code, changed.content) == (200, _CONTENT)


def test_answer_is_416_when_the_range_lies_outside(client: TestClient, tenant: Any, model_id: UUID) -> None:
    headers = {**tenant.read, "Range": "bytes=99999999-"}
    answer = client.get(f"/v1/models/{model_id}/bundle", headers=headers)
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(_CONTENT)}"


def test_nothing_is_sent_when_the_client_has_the_bundle(client: TestClient, tenant: Any, model_id: UUID) -> None:
    path = f"/v1/models/{model_id}/bundle"
    etag = client.get(path, headers=tenant.read).headers["etag"]
    answer = client.get(path, headers={**tenant.read, "If-None-Match": etag})
    assert (answer.status_code, answer.content) == (304, b"")


def test_answer_is_503_when_the_file_is_away(client: TestClient, tenant: Any, model_id: UUID, app: Any) -> None:
    app.state.blobs.delete_tree("jobs")
    answer = client.get(f"/v1/models/{model_id}/bundle", headers=tenant.read)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


def test_bundle_goes_with_the_model_when_deleted(client: TestClient, tenant: Any, model_id: UUID, app: Any) -> None:
    job_id = client.get(f"/v1/models/{model_id}", headers=tenant.read).json()["job_id"]
    assert client.delete(f"/v1/models/{model_id}", headers=tenant.write).status_code == 204
    assert client.get(f"/v1/models/{model_id}", headers=tenant.read).status_code == 404
    assert client.get(f"/v1/jobs/{job_id}", headers=tenant.read).json()["model_id"] is None
    assert not app.state.blobs.path(f"jobs/{job_id}/1/model.zip").exists()


def test_delete_is_refused_when_the_job_still_runs(
    client: TestClient, tenant: Any, submit: Callable[..., Any], add_model: Callable[..., UUID]
) -> None:
    model_id = add_model(submit()["id"])
    answer = client.delete(f"/v1/models/{model_id}", headers=tenant.write)
    assert (answer.status_code, answer.json()["code"]) == (409, "job_not_ended")
