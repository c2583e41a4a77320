"""Temperature and threshold: what they gain, and that a bundle applies them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score, f1_score, matthews_corrcoef

from workers.engine.evaluation.calibration import best_threshold, calibrate, searched_loss
from workers.engine.evaluation.metrics import loss

SCORERS = {"f1": f1_score, "mcc": matthews_corrcoef, "balanced_accuracy": balanced_accuracy_score}


def two_classes(seed: int, n: int = 400, rare: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """(y, probabilities of 1) that know something."""
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < rare).astype(np.int64)
    return y, np.round(1 / (1 + np.exp(-(rng.normal(size=n) + 2 * y - 3))), 2)


@pytest.mark.parametrize("metric", SCORERS)
@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_better_than_the_best_one(metric: str, seed: int) -> None:
    """Against scikit-learn at every threshold that makes a difference."""
    y, positive = two_classes(seed)
    threshold, value = best_threshold(metric, y, positive)
    scores = [SCORERS[metric](y, positive >= t) for t in np.unique(positive)]
    assert value == pytest.approx(max(scores))
    assert SCORERS[metric](y, positive >= threshold) == pytest.approx(value)


def test_weights_count_like_repeated_rows() -> None:
    y, positive = two_classes(0)
    times = np.random.default_rng(1).integers(1, 4, len(y))
    weighted = best_threshold("f1", y, positive, times.astype(np.float64))
    assert weighted == pytest.approx(best_threshold("f1", np.repeat(y, times), np.repeat(positive, times)))


def test_the_threshold_helps_rows_that_it_has_not_seen() -> None:
    y, positive = two_classes(3, n=6000)
    table = np.stack([1 - positive, positive], axis=1)
    seen, unseen = slice(0, 3000), slice(3000, None)
    calibration = calibrate("f1", y[seen], table[seen])
    after = loss("f1", y[unseen], calibration.apply("f1", table[unseen]))
    assert after < loss("f1", y[unseen], table[unseen]) - 0.1
    assert searched_loss("f1", y[seen], table[seen]) == pytest.approx(
        loss("f1", y[seen], calibration.apply("f1", table[seen]))
    )


def test_the_temperature_undoes_what_blurred_the_probabilities() -> None:
    rng = np.random.default_rng(0)
    logits = 2 * rng.normal(size=(4000, 4))
    true = softmax(logits, axis=1)
    y = (true.cumsum(axis=1) > rng.random((4000, 1))).argmax(axis=1)
    calibration = calibrate("log_loss", y, softmax(logits / 1.6, axis=1))
    assert calibration.temperature == pytest.approx(1 / 1.6, abs=0.05)
    assert calibrate("log_loss", y, true).temperature == pytest.approx(1.0, abs=0.07)


@pytest.mark.parametrize(("metric", "rows"), [("roc_auc", 1000), ("log_loss", 100)])
def test_nothing_is_changed_where_it_serves_nothing_or_rows_are_few(metric: str, rows: int) -> None:
    y, positive = two_classes(0, n=rows)
    table = np.stack([1 - positive, positive], axis=1)
    calibration = calibrate(metric, y, table)
    assert (calibration.temperature, calibration.threshold) == (1.0, 0.5)
    assert calibration.apply(metric, table) is table
