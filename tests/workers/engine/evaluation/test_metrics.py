"""Metrics against scikit-learn as the oracle."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import sklearn.metrics as oracle
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.engine.catalog import METRICS
from workers.engine.evaluation.metrics import all_metrics, greater_is_better, loss, score, undefined
from workers.engine.types import TaskKind


def labels(name: str, n_classes: int) -> Any:
    average = "binary" if n_classes == 2 else "macro"
    return {
        "accuracy": oracle.accuracy_score,
        "balanced_accuracy": oracle.balanced_accuracy_score,
        "mcc": oracle.matthews_corrcoef,
        "precision": lambda y, p, sample_weight: oracle.precision_score(
            y, p, average=average, zero_division=0, sample_weight=sample_weight
        ),
        "recall": lambda y, p, sample_weight: oracle.recall_score(
            y, p, average=average, zero_division=0, sample_weight=sample_weight
        ),
        "f1": lambda y, p, sample_weight: oracle.f1_score(
            y, p, average=average, zero_division=0, sample_weight=sample_weight
        ),
    }[name]


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([2, 4]), st.booleans())
def test_classification_metrics_equal_the_oracle(seed: int, n_classes: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(n_classes * 3, 80))
    y = np.concatenate([np.arange(n_classes), rng.integers(0, n_classes, n - n_classes)])
    probabilities = rng.random((n, n_classes)).round(1) + 0.01  # rounded, so that there are ties
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    weights = rng.random(n) + 0.1 if weighted else None
    predicted = probabilities.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in ("accuracy", "balanced_accuracy", "precision", "recall", "f1", "mcc"):
            expected = labels(name, n_classes)(y, predicted, sample_weight=weights)
            assert score(name, y, probabilities, weights) == pytest.approx(expected, abs=1e-9), name
    expected = oracle.log_loss(y, probabilities, sample_weight=weights)
    assert score("log_loss", y, probabilities, weights) == pytest.approx(expected)
    aucs = [oracle.roc_auc_score(y == c, probabilities[:, c], sample_weight=weights) for c in range(n_classes)]
    expected = aucs[1] if n_classes == 2 else float(np.mean(aucs))
    assert score("roc_auc", y, probabilities, weights) == pytest.approx(expected)
    areas = [
        oracle.average_precision_score(y == c, probabilities[:, c], sample_weight=weights) for c in range(n_classes)
    ]
    expected = areas[1] if n_classes == 2 else float(np.mean(areas))
    assert score("average_precision", y, probabilities, weights) == pytest.approx(expected)


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.booleans())
def test_regression_metrics_equal_the_oracle(seed: int, weighted: bool) -> None:
    rng = np.random.default_rng(seed)
    y, prediction = rng.exponential(size=50) + 0.1, rng.exponential(size=50)
    weights = rng.random(50) + 0.1 if weighted else None
    for name, function in {
        "rmse": oracle.root_mean_squared_error,
        "mae": oracle.mean_absolute_error,
        "mape": oracle.mean_absolute_percentage_error,
        "r2": oracle.r2_score,
        "rmsle": oracle.root_mean_squared_log_error,
    }.items():
        assert score(name, y, prediction, weights) == pytest.approx(function(y, prediction, sample_weight=weights)), (
            name
        )


@pytest.mark.parametrize("kind", list(TaskKind))
def test_a_perfect_prediction_has_the_least_loss_and_every_metric_is_there(kind: TaskKind) -> None:
    k = {TaskKind.BINARY: 2, TaskKind.MULTICLASS: 3, TaskKind.REGRESSION: 0}[kind]
    y = np.arange(30) % k if k else np.linspace(1, 2, 30)
    perfect, poor = (np.eye(k)[y], np.full((30, k), 1 / k)) if k else (y, np.full(30, y.mean()))
    assert set(all_metrics(kind, y, perfect)) == {name for name, kinds in METRICS.items() if kind in kinds}
    for name in all_metrics(kind, y, perfect):
        assert loss(name, y, perfect) == pytest.approx(0.0, abs=1e-9)
        assert loss(name, y, perfect) < loss(name, y, poor)
        better = score(name, y, perfect) > score(name, y, poor)
        assert better == greater_is_better(name)


def test_ranking_metrics_say_nothing_where_one_class_is_seen() -> None:
    y, prediction = np.ones(5, dtype=int), np.tile([0.3, 0.7], (5, 1))
    assert score("roc_auc", y, prediction) == 0.5
    assert np.isfinite(score("average_precision", y, prediction))


def test_metrics_that_mean_nothing_for_the_targets_are_left_out() -> None:
    y = np.array([-2.0, 0.0, 3.0])
    assert set(all_metrics(TaskKind.REGRESSION, y, y + 1)) == {"rmse", "mae", "r2"}
    assert "mae" in str(undefined("mape", y))
    assert undefined("mape", np.array([1.0, -1.0])) is None


def test_weights_that_are_all_zero_count_as_none() -> None:
    y, prediction = np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3]])
    for name in ("roc_auc", "log_loss", "accuracy"):
        assert score(name, y, prediction, np.zeros(3)) == score(name, y, prediction)


def test_a_class_that_no_row_has_does_not_count() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 60)
    prediction = rng.dirichlet(np.ones(3), 60)
    aucs = [oracle.roc_auc_score(y == c, prediction[:, c]) for c in (0, 1)]
    assert score("roc_auc", y, prediction) == pytest.approx(np.mean(aucs))
