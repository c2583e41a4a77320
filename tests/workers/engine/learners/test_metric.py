"""Learners minimise what the job's metric asks for, where they can; a bundle's member predicts the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workers.engine.learners.made import make_context
from workers.engine.bundle.runtime.members import load_member
from workers.engine.bundle.runtime.schema import Field, Schema
from workers.engine.bundle.save import save_member
from workers.engine.catalog import get_learner
from workers.engine.evaluation.metrics import loss
from workers.engine.preprocessing.fit import fit_encoder
from workers.engine.space import Space
from workers.engine.types import TaskKind

N, HALF = 1200, 600
SCHEMA = Schema((Field("a", "number"), Field("b", "number")))


def heavy_tailed() -> tuple[dict[str, Any], Any]:
    """Columns and a positive target whose noise multiplies."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, N))
    return {"a": a, "b": b}, np.exp(2 + a + 0.5 * np.sin(3 * b) + 0.8 * rng.normal(size=N))


def fitted(name: str, metric: str, folder: Path, **context_of: Any) -> tuple[Any, Any, Any]:
    """(truth, prediction) of the second half, and what the saved member predicts of it."""
    columns, y = heavy_tailed()
    first, second = ({key: part[rows] for key, part in columns.items()} for rows in (slice(HALF), slice(HALF, None)))
    configuration = Space([name], TaskKind.REGRESSION).defaults()[0]
    encoder, X = fit_encoder(configuration, SCHEMA, first, y[:HALF], TaskKind.REGRESSION, 0, 0)
    context = make_context(X, 0, metric=metric, **context_of)
    own = {key: value for key, value in configuration.items() if key != "learner"}
    cut = HALF - 100
    estimator = get_learner(name).build(own, context)
    estimator.fit(X[:cut], y[:cut], eval_set=(X[cut:], y[cut:HALF], None))
    save_member(folder, encoder, estimator, TaskKind.REGRESSION, 0)
    prediction = estimator.predict(encoder.transform(second))
    return y[HALF:], prediction, load_member(folder).predict_columns(second)


@pytest.mark.parametrize("name", ["linear", "lightgbm", "catboost", "random_forest", "network", "elastic_net"])
def test_rmsle_is_minimised_on_logarithms(name: str, tmp_path: Path) -> None:
    truth, plain, _ = fitted(name, "rmse", tmp_path / "plain")
    _, asked, loaded = fitted(name, "rmsle", tmp_path / "asked")
    assert loss("rmsle", truth, asked) < 0.95 * loss("rmsle", truth, plain)
    assert loaded == pytest.approx(asked, rel=1e-6)


@pytest.mark.parametrize("name", ["lightgbm", "catboost", "network"])
def test_absolute_errors_are_minimised_as_such(name: str, tmp_path: Path) -> None:
    truth, plain, _ = fitted(name, "rmse", tmp_path / "plain")
    _, asked, loaded = fitted(name, "mae", tmp_path / "asked")
    assert loss("mae", truth, asked) < loss("mae", truth, plain)
    assert loaded == pytest.approx(asked, rel=1e-6)


@pytest.mark.parametrize("name", ["linear", "catboost"])
def test_a_target_with_a_long_tail_is_learned_better_as_its_logarithm(name: str, tmp_path: Path) -> None:
    truth, plain, _ = fitted(name, "rmse", tmp_path / "plain")
    _, asked, _ = fitted(name, "rmse", tmp_path / "asked", log_target=True)
    assert loss("rmse", truth, asked) < loss("rmse", truth, plain)


@pytest.mark.parametrize("name", ["linear", "lightgbm", "catboost", "network"])
def test_what_is_right_on_the_mean_of_logarithms_is_corrected_for_squared_errors(name: str, tmp_path: Path) -> None:
    truth, plain, _ = fitted(name, "rmse", tmp_path / "plain", log_target=True, smear=1.0)
    _, asked, loaded = fitted(name, "rmse", tmp_path / "asked", log_target=True)
    assert plain.mean() < asked.mean() < 1.2 * truth.mean()
    assert loss("rmse", truth, asked) < loss("rmse", truth, plain)
    assert loaded == pytest.approx(asked, rel=1e-6)
