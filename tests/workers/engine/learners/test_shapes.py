"""Matrices that real tables make: narrow, wide, constant, weighted; and a clock that has run out."""

from __future__ import annotations

import itertools
import time
from typing import Any

import numpy as np
import pytest

from tests.workers.engine.learners.made import make_context
from workers.engine.catalog import LEARNERS, get_learner
from workers.engine.space import Space
from workers.engine.types import TaskKind

PAIRS = [
    pytest.param(name, kind, id=f"{name}-{kind.value}")
    for name, kind in itertools.product(LEARNERS, TaskKind)
    if kind in get_learner(name).kinds
]
EARLY_STOPPERS = [name for name in LEARNERS if get_learner(name).stops_early]
N_CLASSES = {TaskKind.BINARY: 2, TaskKind.MULTICLASS: 3, TaskKind.REGRESSION: 0}
FEW = {"n_estimators": 50, "width": 32, "blocks": 1}


def built(name: str, kind: TaskKind, X: Any, **more: Any) -> Any:
    """An unfitted estimator of the learner's default."""
    space = Space([name], kind)
    known = {hyperparameter.name for hyperparameter in space.learners[name].space}
    few = {key: value for key, value in FEW.items() if key in known}
    configuration = space.complete(name, {**space.learners[name].defaults[0], **few})
    context = make_context(X, N_CLASSES[kind], **more)
    return get_learner(name).build({key: configuration[key] for key in configuration if key != "learner"}, context)


def predicted(estimator: Any, X: Any, kind: TaskKind) -> Any:
    return estimator.predict_proba(X) if kind.is_classification else estimator.predict(X)


def matrix(shape: str) -> Any:
    rng = np.random.default_rng(0)
    columns = {"single": 1, "wide": 200, "constant": 3}[shape]
    X = rng.normal(size=(60, columns)).astype(np.float32)
    if shape == "constant":
        X[:] = 1.0
    elif shape == "wide":  # more columns than rows, some constant, some repeated
        X[:, 2], X[:, 4] = 0.0, X[:, 3]
    return X


@pytest.mark.parametrize("shape", ["single", "wide", "constant"])
@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_learner_answers_whatever_the_shape(name: str, kind: TaskKind, shape: str) -> None:
    X = matrix(shape)
    y = np.arange(60) % N_CLASSES[kind] if kind.is_classification else X[:, 0] + np.linspace(0, 1, 60)
    estimator = built(name, kind, X, iterations=5)
    estimator.fit(X, y)
    prediction = predicted(estimator, X, kind)
    assert np.isfinite(prediction).all()
    if kind.is_classification:
        assert prediction.shape == (60, N_CLASSES[kind])
        assert prediction.sum(axis=1) == pytest.approx(np.ones(60))


@pytest.mark.parametrize("kind", [TaskKind.BINARY, TaskKind.REGRESSION])
@pytest.mark.parametrize("name", LEARNERS)
def test_heavy_rows_pull_the_answer_to_their_side(name: str, kind: TaskKind) -> None:
    """Class weights and the weights column reach every learner as sample weights."""
    if kind not in get_learner(name).kinds:
        pytest.skip("not of this kind")
    rng = np.random.default_rng(1)
    X = rng.normal(size=(200, 3)).astype(np.float32)
    noisy = X[:, 0] + 2 * rng.normal(size=200)
    y = (noisy > 0).astype(np.int64) if kind.is_classification else noisy
    answers = []
    for weight in (np.ones(200), np.where(noisy > 0, 8.0, 1.0)):
        estimator = built(name, kind, X, iterations=20)
        estimator.fit(X, y, sample_weight=weight)
        prediction = predicted(estimator, X, kind)
        answers.append(prediction[:, 1].mean() if kind.is_classification else prediction.mean())
    assert answers[1] > answers[0] + 0.05


@pytest.mark.parametrize("kind", list(TaskKind))
@pytest.mark.parametrize("name", EARLY_STOPPERS)
def test_early_stopper_ends_when_its_time_is_over(name: str, kind: TaskKind) -> None:
    rng = np.random.default_rng(2)
    X = rng.normal(size=(4000, 40)).astype(np.float32)
    y = rng.integers(0, N_CLASSES[kind], 4000) if kind.is_classification else X[:, 0] + rng.normal(size=4000)
    estimator = built(name, kind, X, seconds=0.05)
    started = time.process_time()
    estimator.fit(X[:3000], y[:3000], eval_set=(X[3000:], y[3000:], None))
    assert time.process_time() - started < 5
    assert estimator.timed_
    assert estimator.best_iteration_ >= 1
    assert np.isfinite(predicted(estimator, X, kind)).all()
