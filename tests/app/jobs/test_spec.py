"""Specs against their dataset: what is filled in, and what a human reads when something is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from fastapi.testclient import TestClient


@pytest.fixture
def validate(client: TestClient, tenant: Any, dataset_id: UUID) -> Callable[..., Any]:
    def post(**spec: Any) -> Any:
        body = {"dataset_id": str(dataset_id), "target": "income", **spec}
        return client.post("/v1/jobs:validate", json=body, headers=tenant.read)

    return post


def test_everything_is_filled_in_when_only_dataset_and_target_are_given(validate: Callable[..., Any]) -> None:
    answer = validate().json()
    spec = answer["spec"]
    assert (spec["kind"], spec["metric"], spec["positive_class"]) == ("binary", "roc_auc", "low")
    assert spec["budget"] == {"seconds": 300, "trials": None}
    assert spec["trial"] == {"seconds": None, "memory_mb": 4096}
    assert spec["validation"]["scheme"] == "auto"
    assert spec["strategy"] == "auto"
    assert spec["ensemble"] is True
    assert spec["features"]["kinds"]["row"] == "id"
    assert spec["features"]["kinds"]["when"] == "datetime"
    assert "income" not in spec["features"]["kinds"]
    assert answer["cost"]["seconds"] == 300
    assert "lightgbm" in answer["cost"]["fit_seconds"]


def test_resolved_spec_is_a_fixed_point_when_sent_again(validate: Callable[..., Any]) -> None:
    first = validate(validation={"group_column": "person"}, class_weight={"low": 2.5}).json()["spec"]
    assert validate(**first).json()["spec"] == first


@pytest.mark.parametrize(
    ("target", "kind", "metric"),
    [("income", "binary", "roc_auc"), ("level", "regression", "rmse"), ("price", "regression", "rmse"),
     ("job", "multiclass", "log_loss"), ("row", "regression", "rmse")],
)  # fmt: skip
def test_kind_is_inferred_when_not_given(validate: Callable[..., Any], target: str, kind: str, metric: str) -> None:
    spec = validate(target=target).json()["spec"]
    expected = "multiclass" if target == "level" else kind  # 200 rows: four integers, seen often
    assert spec["kind"] == expected
    assert spec["metric"] == ("log_loss" if target == "level" else metric)


def test_special_columns_choose_the_scheme_when_it_is_auto(validate: Callable[..., Any]) -> None:
    assert validate(validation={"group_column": "person"}).json()["spec"]["validation"]["scheme"] == "group"
    assert validate(validation={"time_column": "when"}).json()["spec"]["validation"]["scheme"] == "time"


def test_id_column_becomes_a_feature_when_named(validate: Callable[..., Any]) -> None:
    spec = validate(features={"include": ["row", "age"]}).json()["spec"]
    assert spec["features"]["kinds"]["row"] == "number"


def test_labels_are_canonical_when_positive_class_is_a_number(
    client: TestClient, tenant: Any, make_dataset: Callable[..., UUID]
) -> None:
    target = {"name": "y", "kind": "number", "type": "integer", "distinct": 2, "missing": 0, "is_integer": True}
    other = {"name": "x", "kind": "number", "type": "number", "distinct": 90, "missing": 0, "is_integer": False}
    classes = [{"value": "0", "count": 50}, {"value": "1", "count": 150}]
    dataset_id = make_dataset(tenant.project_id, columns=[{**target, "classes": classes}, other])
    body = {"dataset_id": str(dataset_id), "target": "y", "positive_class": 0.0}
    answer = client.post("/v1/jobs:validate", json=body, headers=tenant.read)
    assert answer.json()["spec"]["positive_class"] == "0"


#: (spec, pointer, what the message must say)
BAD = [
    ({"target": "incme"}, "/target", "'incme' is not a column of the dataset. Did you mean 'income'"),
    ({"target": "same"}, "/target", "one value in every row"),
    ({"target": "empty"}, "/target", "Present in no row"),
    ({"target": "note", "kind": "multiclass"}, "/target", "180 classes in 200 rows, too many"),
    ({"target": "job", "kind": "binary"}, "/kind", "5 classes; binary needs exactly two"),
    ({"target": "job", "kind": "regression"}, "/kind", "holds text; regression needs numbers"),
    ({"metric": "auc"}, "/metric", "No metric is called 'auc'"),
    ({"metric": "rmse"}, "/metric", "rmse does not fit a binary task; fitting are accuracy,"),
    ({"target": "price", "metric": "rmsle"}, "/metric", "never negative; its least value is -1"),
    ({"positive_class": "medium"}, "/positive_class", "is not a class of the target; classes are 'high', 'low'"),
    ({"target": "job", "positive_class": "a"}, "/positive_class", "Only a binary task has one"),
    ({"class_weight": {"lo/w": 2}}, "/class_weight/lo~1w", "'lo/w' is not a class"),
    ({"target": "price", "class_weight": "balanced"}, "/class_weight", "this task is regression"),
    ({"class_weight": {"low": 0}}, "/class_weight/low", "greater than 0"),
    ({"budget": {"seconds": None}}, "/budget", "Give seconds, trials, or both"),
    ({"budget": {"seconds": 100_000}}, "/budget/seconds", "At most 86400"),
    ({"budget": {"seconds": 0}}, "/budget/seconds", "greater than 0"),
    ({"budget": {"minutes": 5}}, "/budget/minutes", "Extra inputs are not permitted"),
    ({"budget": {"seconds": 10}, "trial": {"seconds": 20}}, "/trial/seconds", "more than the whole budget"),
    ({"validation": {"scheme": "group"}}, "/validation/group_column", "The scheme group needs it"),
    ({"validation": {"scheme": "kfold", "group_column": "person"}}, "/validation/group_column", "Only the scheme"),
    ({"validation": {"scheme": "holdout", "folds": 3}}, "/validation/folds", "The scheme holdout has no folds"),
    ({"validation": {"time_column": "job"}}, "/validation/time_column", "Holds text; dates or numbers"),
    ({"validation": {"group_column": "income"}}, "/validation/group_column", "The target can't be it"),
    ({"validation": {"group_column": "person", "folds": 50}}, "/validation/group_column", "Has 40 groups"),
    ({"validation": {"group_column": "person", "time_column": "when"}}, "/validation/time_column", "Only the"),
    ({"weights_column": "job"}, "/weights_column", "Holds text; weights are numbers"),
    ({"weights_column": "debt"}, "/weights_column", "at least 0 in every row"),
    ({"weights_column": "income"}, "/weights_column", "The target can't be it"),
    ({"features": {"include": ["agee"]}}, "/features/include/0", "Did you mean 'age'"),
    ({"features": {"include": ["age", "income"]}}, "/features/include/1", "'income' is the target, so no feature"),
    ({"features": {"include": ["age"], "exclude": ["age"]}}, "/features/include/0", "'age' is excluded too"),
    ({"features": {"include": ["same"]}}, "/features", "No feature is left"),
    ({"features": {"kinds": {"a/b": "number"}}}, "/features/kinds/a~1b", "is not a column"),
    ({"features": {"kinds": {"age": "money"}}}, "/features/kinds/age", "'number', 'category'"),
    ({"algorithms": {"include": ["lightgmb"]}}, "/algorithms/include/0", "Did you mean 'lightgbm'"),
    ({"algorithms": {"include": ["svm"], "exclude": ["svm"]}}, "/algorithms", "none was included"),
    ({"target": "price", "algorithms": {"include": ["naive_bayes"]}}, "/algorithms/include/0", "can't do regression"),
    ({"strategy": "gridsearch"}, "/strategy", "No strategy is called 'gridsearch'"),
    ({"seed": -1}, "/seed", "greater than or equal to 0"),
    ({"name": ""}, "/name", "at least 1 character"),
    ({"name": "nul\x00"}, "/name", "pattern"),
    ({"webhook": "https://example.org"}, "/webhook", "Extra inputs are not permitted"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "pointer", "says"), BAD, ids=[f"{pointer}-{n}" for n, (_, pointer, _) in enumerate(BAD)]
)
def test_message_says_what_to_change_when_the_spec_does_not_fit(
    validate: Callable[..., Any], spec: dict[str, Any], pointer: str, says: str
) -> None:
    answer = validate(**spec)
    assert answer.status_code == 422
    problems = {problem.get("pointer"): problem["detail"] for problem in answer.json()["errors"]}
    assert says in problems.get(pointer, ""), problems


def test_every_problem_is_named_when_there_are_several(validate: Callable[..., Any]) -> None:
    answer = validate(metric="auc", strategy="grid", features={"include": ["nothing"]}).json()
    assert {problem["pointer"] for problem in answer["errors"]} >= {"/metric", "/strategy", "/features/include/0"}


def test_nothing_is_queued_when_only_validated(client: TestClient, tenant: Any, validate: Callable[..., Any]) -> None:
    assert validate().status_code == 200
    assert client.get("/v1/jobs", headers=tenant.read).json()["items"] == []


def test_alerts_are_of_used_columns_when_validated(validate: Callable[..., Any]) -> None:
    assert validate().json()["alerts"] == []
    named = validate(features={"include": ["row", "age"]}).json()["alerts"]
    assert [alert["code"] for alert in named] == ["id_like"]
