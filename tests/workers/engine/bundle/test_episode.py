"""What networks that read tables are told of them: nothing of a row's own label, nothing of other questions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from workers.engine.bundle.runtime.episode import CELL, ROW, RULES, Episode, class_targets

SAID = slice(2, 2 + RULES)


def make_table(rows: int = 60, columns: int = 4, seed: int = 0) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((rows, columns)).astype(np.float32)
    X[:, -1] = np.round(X[:, -1])
    y = X[:, 0] + np.abs(X[:, 1 % columns]) + 0.1 * rng.standard_normal(rows)
    return X, ((y - y.mean()) / y.std())[:, None].astype(np.float32)


def test_shapes_and_finite_whatever_the_table() -> None:
    for rows, columns in ((3, 1), (8, 40), (60, 4)):
        X, targets = make_table(rows, columns)
        X[:, 0] = 7.0  # says nothing
        episode = Episode(X, targets)
        known, labels = episode.told()
        cells, said = episode.ask(X[:2] * 1e6)
        assert (known.shape, labels.shape) == ((1, rows, columns, CELL), (1, rows, ROW))
        assert (cells.shape, said.shape) == ((1, 2, columns, CELL), (1, 2, ROW))
        assert all(np.isfinite(part).all() for part in (known, labels, cells, said))


def test_units_and_the_order_of_rows_do_not_matter() -> None:
    X, targets = make_table()
    scaled = X * np.array([1e3, 1e-2, 5.0, 1.0]) + np.array([7.0, 0.0, -40.0, 0.0])
    order = np.random.default_rng(1).permutation(len(X))
    expected = Episode(X, targets).ask(X[:5])
    found = Episode(scaled[order], targets[order]).ask(scaled[:5])
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=2e-3)


def test_a_row_does_not_hear_its_own_label() -> None:
    """The penalty and the columns' weights may change with one label, little; the rest is without it."""
    X, targets = make_table()
    (cells, before), changed = Episode(X, targets).told(), targets.copy()
    changed[7] = -3 * np.sign(targets[7])
    cells_after, after = Episode(X, changed).told()
    moved = np.abs(after[0, :, SAID] - before[0, :, SAID]).mean(axis=1)
    assert moved[7] < np.abs(changed[7] - targets[7]) * 0.2
    near = np.abs(cells_after[0, 7, :, 2:4] - cells[0, 7, :, 2:4])
    np.testing.assert_allclose(near, 0, atol=1e-6)


def test_rules_without_the_own_label_are_what_a_fit_without_the_row_says() -> None:
    X, targets = make_table(200)
    left_out = [Episode(np.delete(X, row, 0), np.delete(targets, row, 0)).ask(X[row : row + 1])[1] for row in range(20)]
    expected = np.stack([rows[0, 0, SAID] for rows in left_out])
    found = Episode(X, targets).told()[1][0, :20, SAID]
    assert np.abs(found - expected).mean() < 0.05
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


def test_the_rules_predict() -> None:
    X, targets = make_table(300)
    said = Episode(X[:150], targets[:150]).ask(X[150:])[1][0, :, SAID]
    errors = ((said - targets[150:]) ** 2).mean(axis=0) / targets[150:].var()
    assert (errors < [0.6, 0.15, 0.3]).all()


@pytest.mark.parametrize(("classes", "targets"), [(2, 1), (3, 3)])
def test_classes_are_targets_against_the_rest(classes: int, targets: int) -> None:
    y = np.arange(30) % classes
    found, share = class_targets(y, classes)
    assert found.shape == (30, targets)
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(found.std(axis=0), 1, atol=1e-6)
    np.testing.assert_allclose(share, 1 / classes, atol=1e-6)
