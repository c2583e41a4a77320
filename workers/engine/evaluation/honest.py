"""Scores that selection has not flattered.

Whoever picks the best of many by their cross-validated scores has been lucky too. BBC-CV (Tsamardinos et al. 2018)
repeats the picking on bootstrap samples of the out-of-fold rows and scores each pick on the rows that it left out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ensemble import blend, select
from ..types import Score
from .calibration import calibrate
from .metrics import loss, score, to_score

Array = NDArray[Any]

_BOOTSTRAPS = 100
_FEWEST = 20  # bootstraps, even when time is over
_MOST_ROWS = 2_000  # of a bootstrap sample; intervals are widened to what all rows would give
_ROUNDS = 6  # of greedy selection inside a bootstrap


def bbc_score(
    metric: str,
    y: Array,
    predictions: Sequence[Array],
    weights: NDArray[np.float64] | None = None,
    *,
    ensemble: bool,
    seed: int,
    seconds: float | None = 1.0,
    is_allowed: Callable[[Collection[int]], bool] = lambda members: True,
) -> Score:
    """The score to expect of what selection picked, with its 95 % interval.

    Args:
        metric: of the task.
        y: (n,) truth.
        predictions: out-of-fold, of every candidate that selection saw.
        weights: (n,) or None.
        ensemble: whether selection builds an ensemble or takes the single best.
        seed: of the bootstrap.
        seconds: to spend at most; None: all bootstraps, so that the result is reproducible.
        is_allowed: as `select` was told.
    """
    rng = np.random.default_rng(seed)
    n, until = len(y), None if seconds is None else time.monotonic() + seconds
    most = min(n, _MOST_ROWS)
    losses: list[float] = []
    for done in range(_BOOTSTRAPS):
        if until is not None and time.monotonic() > until and done >= _FEWEST:
            break
        inside = rng.integers(0, n, most)
        left = np.setdiff1d(np.arange(n), inside)
        outside = left if len(left) <= most else rng.choice(left, most, replace=False)
        if not len(outside) or len(np.unique(y[outside])) < 2:
            continue
        rounds = _ROUNDS if ensemble else 1
        losses.append(_picked_loss(metric, y, predictions, weights, inside, outside, rounds, is_allowed))
    if not losses:  # so few rows that no sample leaves two values out
        value = score(metric, y, predictions[0], weights)
        return Score(metric=metric, value=value, low=value, high=value, method="cv", rows=n)
    return _summary(metric, np.array(losses), shrink=np.sqrt(most / n), rows=n, method="bbc-cv")


def holdout_score(
    metric: str, y: Array, prediction: Array, weights: NDArray[np.float64] | None = None, *, seed: int
) -> Score:
    """The score on rows that nothing has seen, with its 95 % bootstrap interval."""
    rng = np.random.default_rng(seed)
    n = len(y)
    losses = []
    for _ in range(_BOOTSTRAPS):
        rows = rng.integers(0, n, n)
        if len(np.unique(y[rows])) > 1:
            losses.append(loss(metric, y[rows], prediction[rows], None if weights is None else weights[rows]))
    value = score(metric, y, prediction, weights)
    low, high = _interval(metric, np.array(losses)) if losses else (value, value)
    return Score(metric=metric, value=value, low=min(low, value), high=max(high, value), method="holdout", rows=n)


def _picked_loss(
    metric: str,
    y: Array,
    predictions: Sequence[Array],
    weights: NDArray[np.float64] | None,
    inside: Array,
    outside: Array,
    rounds: int,
    is_allowed: Callable[[Collection[int]], bool],
) -> float:
    w_in, w_out = (None, None) if weights is None else (weights[inside], weights[outside])
    picked = select(metric, y[inside], [p[inside] for p in predictions], w_in, rounds=rounds, is_allowed=is_allowed)
    fitted, judged = (blend([p[rows] for p in predictions], picked.weights) for rows in (inside, outside))
    calibration = calibrate(metric, y[inside], fitted, w_in)
    return loss(metric, y[outside], calibration.apply(metric, judged), w_out)


def _summary(metric: str, losses: Array, *, shrink: float, rows: int, method: str) -> Score:
    mean = losses.mean()
    low, high = _interval(metric, mean + (losses - mean) * shrink)
    return Score(metric=metric, value=to_score(metric, float(mean)), low=low, high=high, method=method, rows=rows)


def _interval(metric: str, losses: Array) -> tuple[float, float]:
    ends = [to_score(metric, float(end)) for end in np.quantile(losses, [0.025, 0.975])]
    return min(ends), max(ends)
