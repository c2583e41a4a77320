"""Official foundation models: the package `tabicl` with small weights that nobody trained, as the operator has them."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.settings import Settings
from tests.workers.engine.learners.made import make_context
from workers.engine.bundle import open_bundle
from workers.engine.bundle.runtime.errors import BundleProblem
from workers.engine.bundle.runtime.installed import FOLDER
from workers.engine.catalog import LEARNERS
from workers.engine.errors import BundleError
from workers.engine.fit import Plan
from workers.engine.learners import foundation
from workers.engine.learners.base import Size
from workers.engine.types import TaskKind

_SMALL = {
    "embed_dim": 8,
    "col_num_blocks": 1,
    "col_nhead": 2,
    "col_num_inds": 4,
    "row_num_blocks": 1,
    "row_nhead": 2,
    "row_num_cls": 2,
    "icl_num_blocks": 1,
    "icl_nhead": 2,
}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of them, named as the official ones are."""
    import torch
    from tabicl._model.tabicl import TabICL

    folder = tmp_path_factory.mktemp("weights")
    for seed, (name, classes) in enumerate((("classifier", 10), ("regressor", 0))):
        torch.manual_seed(seed)
        config = {**_SMALL, "max_classes": classes}
        model = TabICL(**config)
        torch.save({"config": config, "state_dict": model.state_dict()}, folder / f"tabicl-{name}-v2.ckpt")
    return folder


@pytest.fixture
def installed(weights: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As if this process had been started with the setting."""
    monkeypatch.setenv(FOLDER, str(weights))
    monkeypatch.setitem(LEARNERS, "tabicl", "foundation:TABICL")
    monkeypatch.setattr(foundation, "TABICL", foundation.foundation_learner("tabicl"))
    return weights


def listed(environment: dict[str, str]) -> str:
    program = "from workers.engine.catalog import FOUNDATION, LEARNERS; print(FOUNDATION, 'tabicl' in LEARNERS)"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_the_setting_is_the_variable_that_is_read(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(weights))
    assert Settings().foundation_models == weights


def test_it_is_an_algorithm_where_package_and_weights_are_there(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER, raising=False)
    assert listed(dict(os.environ)) == "() False"
    assert listed({**os.environ, FOLDER: str(tmp_path)}) == "() False"
    assert listed({**os.environ, FOLDER: str(weights)}) == "('tabicl',) True"


def test_it_says_what_the_package_says(installed: Path) -> None:
    from tabicl import TabICLClassifier, TabICLRegressor

    rng = np.random.default_rng(0)
    X, asked = (rng.standard_normal((count, 4)).astype(np.float32) for count in (60, 9))
    arguments: dict[str, Any] = {"n_estimators": 2, "random_state": 3, "allow_auto_download": False, "device": "cpu"}
    build = foundation.TABICL.build
    y = rng.integers(0, 3, 60)
    own = build({"views": 2}, make_context(X, 3, seed=3)).fit(X, y).predict_proba(asked)
    official = TabICLClassifier(model_path=installed / "tabicl-classifier-v2.ckpt", **arguments).fit(X, y)
    assert own == pytest.approx(official.predict_proba(asked), abs=1e-6)
    values = np.exp(rng.standard_normal(60))
    official = TabICLRegressor(model_path=installed / "tabicl-regressor-v2.ckpt", **arguments)
    official.fit(X, (values - values.mean()) / values.std())
    for metric, output in (("rmse", "mean"), ("mae", "median")):
        own = build({"views": 2}, make_context(X, 0, seed=3, metric=metric)).fit(X, values).predict(asked)
        said = official.predict(asked, output_type=output) * values.std() + values.mean()
        assert own == pytest.approx(said, rel=1e-4)


def test_a_job_searches_bundles_and_predicts_with_it(
    weights: Path, make_problem: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own: trials know the settings of whoever started their template."""
    problem, plan = make_problem(TaskKind.BINARY, folds=2), Plan(algorithms=("tabicl",), ensemble=False)
    (tmp_path / "problem").write_bytes(pickle.dumps((problem.table, problem.y, problem.task, plan)))
    program = f"""
import pickle
from pathlib import Path
from workers.engine.fit import fit
from workers.engine.journal import FolderJournal
from workers.engine.types import Budget
folder = Path({str(tmp_path)!r})
journal = FolderJournal(folder, Budget(seconds=None, trials=2))
result = fit(*pickle.loads((folder / "problem").read_bytes()), journal, folder / "scratch")
print(sum(trial.loss is not None for trial in result.trials))
"""
    environment = {**os.environ, FOLDER: str(weights)}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "2"
    monkeypatch.setenv(FOLDER, str(weights))
    said = open_bundle(tmp_path / "model.zip").predict_columns(problem.table.columns)
    assert said.shape == (len(problem.y), 2)
    assert said.sum(axis=1) == pytest.approx(np.ones(len(said)))
    for folder in ("", str(tmp_path)):
        monkeypatch.setenv(FOLDER, folder)
        with pytest.raises(BundleError, match=rf"needs the package tabicl, and the weights .* {FOLDER}"):
            open_bundle(tmp_path / "model.zip").predict_columns(problem.table.columns)


def test_other_weights_are_another_algorithm_and_not_taken_for_the_bundle_s(installed: Path, tmp_path: Path) -> None:
    before = foundation.TABICL.revision
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((30, 3)).astype(np.float32), np.arange(30) % 2
    fitted = foundation.TABICL.build({"views": 1}, make_context(X, 2, seed=3)).fit(X, y)
    path = installed / "tabicl-classifier-v2.ckpt"
    official = path.read_bytes()
    try:
        path.write_bytes(official + b" ")
        assert foundation.foundation_learner("tabicl").revision != before
        with pytest.raises(BundleProblem, match="SHA-256"):
            foundation.Foundation(fitted.configuration_, X, y)
    finally:
        path.write_bytes(official)
    assert foundation.foundation_learner("tabicl").revision == before


def test_outside_its_range_it_says_why_not(installed: Path) -> None:
    declines = foundation.TABICL.declines
    assert declines(Size(rows=1_000, columns=20, classes=10)) is None
    assert "classes" in str(declines(Size(rows=1_000, columns=20, classes=11)))
    assert "rows" in str(declines(Size(rows=20_000, columns=20, classes=2)))
    assert "columns" in str(declines(Size(rows=1_000, columns=2_000, classes=0)))
