"""Learners that are networks with fixed weights: any number of rows, columns and classes, and where they decline."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.workers.engine.learners.made import make_context
from workers.engine import meta
from workers.engine.catalog import READERS, get_learner
from workers.engine.learners.base import Size
from workers.engine.learners.reading import MOST_COLUMNS, MOST_ROWS


def fitted(name: str, X: Any, y: Any, classes: int, weight: Any = None, **more: Any) -> Any:
    return get_learner(name).build({"views": 1}, make_context(X, classes, **more)).fit(X, y, sample_weight=weight)


@pytest.mark.parametrize("name", READERS)
def test_more_columns_than_a_view_takes(name: str) -> None:
    """What tells something is found among many that do not."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((120, 5 * MOST_COLUMNS)).astype(np.float32)
    y = (X[:, 150] > 0).astype(np.int64)
    said = fitted(name, X[:80], y[:80], 2).predict_proba(X[80:])
    assert ((said[:, 1] > 0.5) == y[80:]).mean() > 0.8


@pytest.mark.parametrize("name", READERS)
def test_more_rows_than_a_view_takes(name: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((MOST_ROWS + 300, 3)).astype(np.float32)
    y = X[:, 0] * 50 + 1_000
    estimator = fitted(name, X[:-100], y[:-100], 0)
    assert {len(estimator.tensors_[f"view.{place}.rows"]) for place in (0, 1)} == {MOST_ROWS}
    error = np.abs(estimator.predict(X[-100:]) - y[-100:]).mean()
    assert error < 30  # 40 if nothing were known; those that adapt in a few steps say no value far out


@pytest.mark.parametrize("name", READERS)
def test_more_classes_than_it_practised_on(name: str) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(260) % 26
    centres = 3 * rng.standard_normal((26, 4))
    X = (centres[y] + 0.3 * rng.standard_normal((260, 4))).astype(np.float32)
    said = fitted(name, X[:182], y[:182], 26).predict_proba(X[182:])
    assert said.shape == (78, 26)
    assert said.sum(axis=1) == pytest.approx(np.ones(78), abs=1e-5)
    assert (said.argmax(axis=1) == y[182:]).mean() > 0.8


@pytest.mark.parametrize("name", READERS)
def test_the_median_is_told_where_absolute_errors_count(name: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2)).astype(np.float32)
    y = np.exp(1.2 * rng.standard_normal(200))  # X tells nothing: the mean is 2.05, the median 1
    mean, median = (fitted(name, X, y, 0, metric=metric).predict(X[:20]).mean() for metric in ("rmse", "mae"))
    assert median < mean
    assert np.abs(y - median).mean() < np.abs(y - mean).mean()


@pytest.mark.parametrize("name", READERS)
def test_classes_weigh_what_their_rows_do(name: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((100, 2)).astype(np.float32)  # tells nothing
    y = (np.arange(100) % 5 == 0).astype(np.int64)
    plain, balanced = (
        fitted(name, X, y, 2, weight=weight).predict_proba(X)[:, 1].mean() for weight in (None, np.where(y, 4.0, 1.0))
    )
    assert plain == pytest.approx(0.2, abs=0.12)
    assert balanced == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("name", READERS)
def test_outside_its_range_it_says_why_not(name: str) -> None:
    learner = get_learner(name)
    assert "rows" in str(learner.declines(Size(rows=5_000, columns=10, classes=2)))
    assert "classes" in str(learner.declines(Size(rows=2_000, columns=10, classes=7)))
    assert learner.declines(Size(rows=100, columns=10, classes=60)) is None
    assert learner.declines(Size(rows=2_000, columns=1_000, classes=2)) is None


@pytest.mark.parametrize("name", READERS)
def test_memory_at_two_thousand_rows_of_a_hundred_columns(name: str) -> None:
    """Under 2 GB, the interpreter and its libraries included."""
    program = f"""
import resource
import numpy as np
from workers.engine.catalog import get_learner
from workers.engine.learners.base import FitContext
from workers.engine.types import TaskKind
X = np.random.default_rng(0).standard_normal((2_000, 100)).astype(np.float32)
y = (X[:, 0] > 0).astype(np.int64)
context = FitContext(
    kind=TaskKind.BINARY, n_classes=2, n_rows=2_000, n_columns=100, categorical=(), threads=1, seed=0
)
estimator = get_learner({name!r}).build({{"views": 1}}, context).fit(X, y)
assert np.isfinite(estimator.predict_proba(X[:100])).all()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 2_000_000  # kB


def test_cards_name_the_weights_that_ship() -> None:
    """All of them together are small."""
    cards = (Path(__file__).parents[4] / "docs" / "metamodels.md").read_text()
    files = list(Path(meta.__file__).parent.rglob("*.safetensors"))
    assert {path.name for path in files} >= {f"{name}_1.safetensors" for name in READERS}
    assert sum(path.stat().st_size for path in files) < 40_000_000
    missing = [path.name for path in files if hashlib.sha256(path.read_bytes()).hexdigest() not in cards]
    assert not missing, "their cards are of other weights"
