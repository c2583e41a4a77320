"""What past tasks say of a job that is only validated: real tables, the shipped knowledge, a real predictor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.database import Database
from app.knowledge.loading import load_seed
from app.settings import Settings


@pytest.fixture
def foretell(
    client: TestClient, tenant: Any, database: Database, settings: Settings
) -> Callable[..., dict[str, Any] | None]:
    """Uploads a table whose target follows its features as far as `signal` says, and validates a job on it."""
    load_seed(database.url, settings.model_copy(update={"seed_knowledge": True}))

    def send(signal: float, **spec: Any) -> dict[str, Any] | None:
        rng = np.random.default_rng(0)
        numbers = rng.standard_normal((400, 3))
        answers = signal * numbers.sum(axis=1) + rng.standard_normal(400) > 0
        lines = [
            ",".join([*map("{:.3f}".format, row), "yes" if y else "no"])
            for row, y in zip(numbers, answers, strict=True)
        ]
        table = "\n".join(["a,b,c,y", *lines]).encode()
        dataset = client.post("/v1/datasets", content=table, headers=tenant.write).json()
        body = {"dataset_id": dataset["id"], "target": "y", **spec}
        answer = client.post("/v1/jobs:validate", json=body, headers=tenant.read)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] | None = answer.json()["knowledge"]
        return found

    return send


def test_neighbours_and_a_score_are_foretold(predictor: None, foretell: Callable[..., Any]) -> None:
    found = foretell(signal=5.0)
    assert found["tasks"] == 50
    distances = [neighbour["distance"] for neighbour in found["neighbours"]]
    assert len(distances) == 10
    assert distances == sorted(distances)
    assert all(neighbour["kind"] != "regression" and neighbour["shared_traits"] for neighbour in found["neighbours"])
    expected = found["expected"]
    assert expected["metric"] == "roc_auc"
    assert expected["low"] <= expected["score"] <= expected["high"]
    assert expected["score"] > 0.9


def test_less_is_foretold_where_there_is_less_to_learn(predictor: None, foretell: Callable[..., Any]) -> None:
    assert foretell(signal=0.0)["expected"]["high"] < foretell(signal=5.0)["expected"]["low"]


def test_errors_are_foretold_in_their_own_unit(predictor: None, foretell: Callable[..., Any]) -> None:
    expected = foretell(signal=5.0, metric="log_loss")["expected"]
    assert 0 < expected["low"] <= expected["score"] <= expected["high"] < 0.5


def test_nothing_is_foretold_with_knowledge_off(predictor: None, foretell: Callable[..., Any]) -> None:
    assert foretell(signal=5.0, knowledge="off") is None


def test_the_rest_is_answered_when_no_predictor_is_there(foretell: Callable[..., Any]) -> None:
    assert foretell(signal=5.0) is None


def test_what_the_job_would_fail_for_is_an_alert(
    client: TestClient, tenant: Any, predictor: None, foretell: Callable[..., Any]
) -> None:
    foretell(signal=1.0)
    (dataset,) = client.get("/v1/datasets", headers=tenant.read).json()["items"]
    body = {"dataset_id": dataset["id"], "target": "a", "features": {"kinds": {"y": "number"}}}
    answer = client.post("/v1/jobs:validate", json=body, headers=tenant.read).json()
    assert answer["knowledge"] is None
    (alert,) = [alert for alert in answer["alerts"] if alert["code"] == "invalid_task"]
    assert "'y'" in alert["detail"]
