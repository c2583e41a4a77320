"""Synthetic tables: finite, of the size asked for, the same from the same seed, and with something to learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.metrics import roc_auc_score

from workers.engine.meta.reading.prior import MOST_CLASSES, sample_task


@given(st.integers(0, 10_000), st.integers(60, 200), st.integers(1, 20), st.sampled_from([0, 2, 3, MOST_CLASSES]))
@settings(max_examples=30)
def test_a_table_is_finite_and_of_the_size_asked_for(seed: int, rows: int, columns: int, classes: int) -> None:
    task = sample_task(np.random.default_rng(seed), rows, columns, classes)
    assert task.X.shape == (rows, columns)
    assert np.isfinite(task.X).all()
    assert np.abs(task.X.mean(axis=0)).max() < 1e-3
    if classes:
        assert set(task.y) == set(range(classes))
    else:
        assert abs(task.y.mean()) < 1e-3
        assert task.y.std() == pytest.approx(1, abs=1e-3)


def test_the_same_seed_gives_the_same_table() -> None:
    one, other = (sample_task(np.random.default_rng(7), 80, 5, 3) for _ in range(2))
    np.testing.assert_array_equal(one.X, other.X)
    np.testing.assert_array_equal(one.y, other.y)


def test_there_is_something_to_learn_and_not_everywhere_the_same_much() -> None:
    rng = np.random.default_rng(0)
    found = []
    for _ in range(40):
        task = sample_task(rng, 300, int(rng.integers(2, 10)), 2)
        forest = RandomForestClassifier(30, random_state=0, min_samples_leaf=3).fit(task.X[:150], task.y[:150])
        if len(set(task.y[:150])) == len(set(task.y[150:])) == 2:
            found.append(roc_auc_score(task.y[150:], forest.predict_proba(task.X[150:])[:, 1]))
    assert np.mean(found) > 0.65
    assert np.std(found) > 0.08
