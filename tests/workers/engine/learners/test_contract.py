"""What every learner must do, whoever wrote it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from workers.engine.bundle.runtime.members import load_member
from workers.engine.bundle.save import save_member
from workers.engine.catalog import LEARNERS, get_learner
from workers.engine.evaluation.metrics import loss
from workers.engine.learners.base import FitContext, Size
from workers.engine.preprocessing.fit import fit_encoder
from workers.engine.space import Space
from workers.engine.types import TaskKind

PAIRS = [
    pytest.param(name, kind, id=f"{name}-{kind.value}")
    for name, kind in itertools.product(LEARNERS, TaskKind)
    if kind in get_learner(name).kinds
]


def build(name: str, problem: Any, configuration: Any, rows: int, **more: Any) -> tuple[Any, Any, Any]:
    """(encoder, its matrix, an unfitted estimator)."""
    task = problem.task
    encoder, X = fit_encoder(
        configuration, problem.table.schema, problem.table.columns, problem.y, task.kind, problem.n_classes, 0
    )
    context = FitContext(
        kind=task.kind,
        n_classes=problem.n_classes,
        n_rows=rows,
        n_columns=X.shape[1],
        categorical=tuple(encoder.categorical),
        threads=1,
        seed=0,
        **more,
    )
    own = {key: value for key, value in configuration.items() if key != "learner"}
    return encoder, X, get_learner(name).build(own, context)


def predict(estimator: Any, X: Any, n_classes: int) -> Any:
    return estimator.predict_proba(X) if n_classes else estimator.predict(X)


def quick(name: str, kind: TaskKind) -> Any:
    """The learner's default with few rounds, where it has rounds."""
    space = Space([name], kind)
    few = {"n_estimators": 50, "iterations": 50, "width": 32, "blocks": 1}
    known = {hyperparameter.name for hyperparameter in space.learners[name].space}
    return space.complete(name, {**space.learners[name].defaults[0], **{k: v for k, v in few.items() if k in known}})


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_learner_keeps_the_contract(
    name: str, kind: TaskKind, make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    """Deterministic, finite, whole probabilities, better than nothing, the same after a round trip through files."""
    problem = make_problem(kind)
    n, k = len(problem.y), problem.n_classes
    encoder, X, estimator = build(name, problem, quick(name, kind), 90)
    weights = np.linspace(0.5, 2.0, 90)
    held = (X[90:], problem.y[90:], np.ones(30)) if get_learner(name).stops_early else None
    estimator.fit(X[:90], problem.y[:90], sample_weight=weights, eval_set=held)
    prediction = predict(estimator, X, k)
    assert prediction.shape == ((n, k) if k else (n,))
    assert np.isfinite(prediction).all()
    if k:
        assert prediction.sum(axis=1) == pytest.approx(np.ones(n))
    if name != "dummy":
        baseline = np.tile(np.bincount(problem.y) / n, (n, 1)) if k else np.full(n, problem.y.mean())
        metric = "log_loss" if k else "rmse"
        assert loss(metric, problem.y, prediction, None) < loss(metric, problem.y, baseline, None)
    _, _, again = build(name, problem, quick(name, kind), 90)
    again.fit(X[:90], problem.y[:90], sample_weight=weights, eval_set=held)
    assert np.array_equal(predict(again, X, k), prediction)
    save_member(tmp_path / "member", encoder, estimator, kind, k)
    assert load_member(tmp_path / "member").predict(X) == pytest.approx(prediction, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_learner_survives_a_class_or_a_spread_that_is_missing(
    name: str, kind: TaskKind, make_problem: Callable[..., Any], tmp_path: Path
) -> None:
    """A fold may lack a class, or hold one target only."""
    problem = make_problem(kind)
    k = problem.n_classes
    encoder, X, estimator = build(name, problem, quick(name, kind), 40, iterations=5)
    rows = np.flatnonzero(problem.y != 1)[:40] if k == 3 else np.flatnonzero(problem.y == problem.y[0])[:40]
    estimator.fit(X[rows], problem.y[rows])
    prediction = predict(estimator, X, k)
    assert np.isfinite(prediction).all()
    if k:
        assert prediction.shape == (len(X), k)
        assert prediction[:, 1].max() < 0.2 or k == 2
    save_member(tmp_path / "member", encoder, estimator, kind, k)
    assert load_member(tmp_path / "member").predict(X) == pytest.approx(prediction, abs=1e-6, rel=1e-6)


@pytest.mark.parametrize("name", LEARNERS)
def test_cost_is_positive_and_grows_with_rows(name: str) -> None:
    learner = get_learner(name)
    configuration = Space([name], next(iter(learner.kinds))).defaults()[0]
    small, large = (learner.cost(configuration, Size(rows=rows, columns=20, classes=2)) for rows in (500, 50_000))
    assert 0 < small < large < 1e5


@pytest.mark.parametrize("name", ["lightgbm", "catboost", "network"])
def test_early_stoppers_say_how_many_rounds_and_obey_a_refit(name: str, make_problem: Callable[..., Any]) -> None:
    problem = make_problem(TaskKind.BINARY)
    _, X, estimator = build(name, problem, quick(name, TaskKind.BINARY), 90)
    estimator.fit(X[:90], problem.y[:90], eval_set=(X[90:], problem.y[90:], None))
    assert estimator.best_iteration_ >= 1
    _, X, refitted = build(name, problem, quick(name, TaskKind.BINARY), 120, iterations=7)
    refitted.fit(X, problem.y)
    assert refitted.best_iteration_ == 7
