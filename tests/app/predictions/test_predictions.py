"""Predictions through the API and a real predictor: answers, and what is said when there is none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app.settings import Settings


@pytest.fixture
def rows(golden: Path) -> list[dict[str, Any]]:
    """Rows with every oddity that is answered."""
    return json.loads((golden / "rows.json").read_text(encoding="utf-8"))


@pytest.fixture
def publish(
    submit: Callable[..., Any], add_model: Callable[..., UUID], golden: Path
) -> Callable[[str], tuple[str, str]]:
    """Publishes a golden bundle: the paths of its predictions and of the model."""

    def make(kind: str) -> tuple[str, str]:
        model_id = add_model(submit()["id"], (golden / f"{kind}.zip").read_bytes())
        return f"/v1/models/{model_id}/predictions", str(model_id)

    return make


@pytest.fixture
def ask(
    client: TestClient, tenant: Any, predictor: None, publish: Callable[[str], tuple[str, str]]
) -> Callable[..., Any]:
    """Asks for predictions of a binary model."""
    path, _ = publish("binary")

    def post(body: Any) -> Any:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return client.post(path, content=content, headers={**tenant.read, "Content-Type": "application/json"})

    return post


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_rows_are_answered_as_the_bundle_answers_them(
    kind: str, client: TestClient, tenant: Any, predictor: None, publish: Any, rows: list[Any], golden: Path
) -> None:
    path, model_id = publish(kind)
    answer = client.post(path, json={"rows": rows}, headers=tenant.read)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    expected = json.loads((golden / f"{kind}.json").read_text(encoding="utf-8"))
    assert (found.pop("model_id"), found.pop("model_version")) == (model_id, 1)
    assert found["warnings"] == expected["warnings"]
    if kind == "regression":
        assert found["predictions"] == pytest.approx(expected["predictions"], abs=1e-6)
        assert "probabilities" not in found
        return
    assert found["predictions"] == expected["predictions"]
    for one, other in zip(found["probabilities"], expected["probabilities"], strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_a_row_gets_the_same_answer_alone_and_in_a_batch(ask: Callable[..., Any], rows: list[Any]) -> None:
    batch = ask({"rows": rows}).json()["probabilities"]
    for row, expected in zip(rows, batch, strict=True):
        assert ask({"rows": [row]}).json()["probabilities"][0] == pytest.approx(expected, abs=1e-6)


def test_error_points_to_each_cell_when_rows_do_not_fit(ask: Callable[..., Any], rows: list[Any]) -> None:
    lacking = {name: value for name, value in rows[1].items() if name != "job"}
    answer = ask({"rows": [rows[0], lacking, rows[2], {**rows[3], "age": "old", "pay/€": []}]})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["code"] == "invalid_rows"
    assert [(error["pointer"], error["detail"]) for error in problem["errors"]] == [
        ("/rows/3/age", "must be a number, not the text 'old'"),
        ("/rows/3/pay~1€", "must be a number or null, not an array"),
        ("/rows/1/job", "column 'job' is missing; send null for no value"),
    ]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", ""),
        (b"{", ""),
        (b"\xff\xfe", ""),
        (b"[" * 100_000, ""),
        ([], ""),
        ({}, "/rows"),
        ({"rows": {}}, "/rows"),
        ({"rows": [], "columns": {}}, "/columns"),
        ({"rows": [3]}, "/rows/0"),
        (b'{"rows": [{"\\ud800": 1}]}', "/rows/0/age"),
    ],
)
def test_body_is_refused_when_it_is_not_rows(ask: Callable[..., Any], body: Any, pointer: str) -> None:
    answer = ask(body)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_lone_surrogates_are_answered(ask: Callable[..., Any], rows: list[Any]) -> None:
    row = json.dumps({**rows[0], "job": "?", "note": "?"}).replace('"?"', '"\\ud800"')
    answer = ask(f'{{"rows": [{row}]}}'.encode())
    assert answer.status_code == 200, answer.text


def test_no_rows_get_no_predictions(ask: Callable[..., Any]) -> None:
    assert ask({"rows": []}).json()["predictions"] == []


def test_answer_is_404_when_the_model_is_another_project_s(
    client: TestClient, make_tenant: Callable[[str], Any], predictor: None, publish: Any, rows: list[Any]
) -> None:
    path, _ = publish("binary")
    other = make_tenant("other")
    foreign = client.post(path, json={"rows": rows}, headers=other.read)
    missing = client.post(f"/v1/models/{uuid4()}/predictions", json={"rows": rows}, headers=other.read)
    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert foreign.json()["detail"] == missing.json()["detail"]


def test_answer_is_503_when_no_predictor_runs(client: TestClient, tenant: Any, publish: Any, rows: list[Any]) -> None:
    answer = client.post(publish("binary")[0], json={"rows": rows}, headers=tenant.read)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0


def test_answer_is_503_when_the_bundle_is_away(
    client: TestClient, app: FastAPI, tenant: Any, predictor: None, publish: Any, rows: list[Any]
) -> None:
    path, _ = publish("binary")
    app.state.blobs.delete_tree("jobs")
    assert client.post(path, json={"rows": rows}, headers=tenant.read).status_code == 503


def test_answer_is_500_without_details_when_the_bundle_was_changed(
    client: TestClient, tenant: Any, predictor: None, submit: Any, add_model: Any, golden: Path, rows: list[Any]
) -> None:
    content = (golden / "binary.zip").read_bytes()
    model_id = add_model(submit()["id"], content, sha256=hashlib.sha256(b"another").hexdigest())
    answer = client.post(f"/v1/models/{model_id}/predictions", json={"rows": rows}, headers=tenant.read)
    assert (answer.status_code, answer.json()["code"]) == (500, "prediction_failed")


class TestLimits:
    """Small limits."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        return settings.model_copy(update={"predict_rows_max": 3, "predict_body_max_bytes": 10_000})

    def test_answer_is_413_when_there_are_too_many_rows(self, ask: Callable[..., Any], rows: list[Any]) -> None:
        answer = ask({"rows": rows})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert "4 rows are more than the 3" in answer.json()["detail"]

    def test_answer_is_413_when_the_body_is_too_large(self, ask: Callable[..., Any]) -> None:
        answer = ask({"rows": ["x" * 20_000]})
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_new_version_is_used_when_a_job_publishes_it(
    client: TestClient, tenant: Any, predictor: None, submit: Any, add_model: Any, golden: Path, rows: list[Any],
    database: Any, app: FastAPI,
) -> None:  # fmt: skip
    from app.models.tables import Model

    model_id = add_model(submit()["id"], (golden / "binary.zip").read_bytes())
    path = f"/v1/models/{model_id}/predictions"
    first = client.post(path, json={"rows": rows}, headers=tenant.read).json()
    blob = app.state.blobs.put_file(f"jobs/{uuid4()}/2/model.zip", golden / "multiclass.zip")
    with database.transaction() as session:
        model = session.get(Model, model_id)
        model.blob_key, model.sha256, model.version = blob.key, blob.sha256, 2
    second = client.post(path, json={"rows": rows}, headers=tenant.read).json()
    assert (first["model_version"], second["model_version"]) == (1, 2)
    assert (len(first["probabilities"][0]), len(second["probabilities"][0])) == (2, 3)
