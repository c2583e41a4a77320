"""Ensemble selection, and scores that it has not flattered."""

from __future__ import annotations

import numpy as np
import pytest

from workers.engine.ensemble import blend, select
from workers.engine.evaluation.honest import bbc_score, holdout_score
from workers.engine.evaluation.metrics import loss


def test_two_that_err_apart_beat_the_best_of_them() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=2000)
    predictions = [y + rng.normal(size=2000), y + 1.05 * rng.normal(size=2000), 5 * rng.normal(size=2000)]
    chosen = select("rmse", y, predictions)
    assert chosen.weights[0] + chosen.weights[1] > 0.85
    assert sum(chosen.weights.values()) == pytest.approx(1.0)
    assert chosen.loss == pytest.approx(loss("rmse", y, blend(predictions, chosen.weights)))
    assert chosen.loss < 0.8 * loss("rmse", y, predictions[0])


def test_a_perfect_candidate_stands_alone() -> None:
    y = np.arange(100) % 2
    perfect, noise = np.eye(2)[y], np.full((100, 2), 0.5)
    assert select("log_loss", y, [noise, perfect]).weights == {1: 1.0}


def test_row_weights_count() -> None:
    y = np.array([0.0, 1.0] * 50)
    weights = np.where(y == 0, 1.0, 0.001)
    zeros, ones = np.zeros(100), np.ones(100)
    assert max(select("mae", y, [ones, zeros], weights).weights.items(), key=lambda item: item[1])[0] == 1


def test_only_what_is_allowed_together_is_chosen() -> None:
    rng = np.random.default_rng(0)
    y = rng.normal(size=2000)
    predictions = [y + rng.normal(size=2000) for _ in range(6)]
    chosen = select("rmse", y, predictions, is_allowed=lambda members: len(members) <= 2 and 0 not in members)
    assert len(chosen.weights) == 2
    assert 0 not in chosen.weights
    assert len(select("rmse", y, predictions).weights) > 2


def test_nothing_to_choose_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="candidate"):
        select("rmse", np.zeros(3), [])
    with pytest.raises(ValueError, match="candidate"):
        select("rmse", np.zeros(3), [np.zeros(3)], is_allowed=lambda members: False)


def test_bbc_is_honest_where_the_best_of_many_is_only_lucky() -> None:
    """200 candidates of pure noise: the best looks well above chance, its corrected score does not."""
    rng = np.random.default_rng(1)
    y = rng.integers(0, 2, 150)
    noise = [rng.random((150, 2)) for _ in range(200)]
    naive = 1 - min(loss("roc_auc", y, prediction) for prediction in noise)
    honest = bbc_score("roc_auc", y, noise, ensemble=False, seed=0, seconds=None)
    assert naive > 0.6
    assert abs(honest.value - 0.5) < 0.04
    assert honest.low < 0.5 < honest.high
    assert honest.method == "bbc-cv"


def test_bbc_agrees_with_the_score_where_nothing_was_selected() -> None:
    rng = np.random.default_rng(2)
    y = rng.normal(size=800)
    prediction = y + 0.5 * rng.normal(size=800)
    honest = bbc_score("rmse", y, [prediction], ensemble=True, seed=0, seconds=None)
    assert honest.value == pytest.approx(0.5, abs=0.03)
    assert honest.low < 0.5 < honest.high
    assert honest.high - honest.low < 0.1


def test_the_interval_of_a_holdout_shrinks_with_its_rows() -> None:
    rng = np.random.default_rng(3)
    widths = []
    for rows in (50, 5000):
        y = rng.integers(0, 2, rows)
        prediction = np.eye(2)[y] * 0.4 + rng.random((rows, 2)) * 0.6
        score = holdout_score("accuracy", y, prediction / prediction.sum(axis=1, keepdims=True), seed=0)
        assert score.low <= score.value <= score.high
        widths.append(score.high - score.low)
    assert widths[1] < widths[0] / 4
