"""Ensemble selection (Caruana et al. 2004): greedily add, with replacement, what helps the average most."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .evaluation.calibration import searched_loss

Array = NDArray[Any]

_ROUNDS = 40
_CANDIDATES = 24  # more only find more ways to overfit the validation rows
_GAIN = 1e-4  # relative to the best single: less is noise
_STALLED = 8  # rounds without a better ensemble


@dataclass(frozen=True)
class Ensemble:
    """Weights that sum to one, by place among the candidates given; its loss on the rows that chose it."""

    weights: dict[int, float]
    loss: float


def select(
    metric: str,
    y: Array,
    predictions: Sequence[Array],
    weights: NDArray[np.float64] | None = None,
    *,
    until: float | None = None,
    is_allowed: Callable[[Collection[int]], bool] = lambda members: True,
    rounds: int = _ROUNDS,
) -> Ensemble:
    """Choose among candidates by their out-of-fold predictions.

    Args:
        metric: of the task.
        y: (n,) truth of the rows that all candidates predicted.
        predictions: each (n, n_classes) or (n,).
        weights: (n,) or None.
        until: `time.monotonic()` when to be content with what there is.
        is_allowed: whether candidates at these places may be in one ensemble; must allow some alone.
        rounds: picks at most.

    Raises:
        ValueError: no candidate, or none that is allowed alone.
    """
    if not predictions:
        raise ValueError("an ensemble needs a candidate")
    alone = np.array([searched_loss(metric, y, prediction, weights) for prediction in predictions])
    order = [place for place in np.argsort(alone, kind="stable") if is_allowed({int(place)})][:_CANDIDATES]
    if not order:
        raise ValueError("no candidate is allowed")
    counts = np.zeros(len(predictions), dtype=np.int64)
    counts[order[0]] = 1
    summed = np.asarray(predictions[order[0]], dtype=np.float64).copy()
    best, least, stalled = counts.copy(), float(alone[order[0]]), 0
    margin = _GAIN * abs(least)
    for size in range(2, rounds + 1):
        if stalled >= _STALLED or (until is not None and time.monotonic() > until):
            break
        members = {int(place) for place in np.flatnonzero(counts)}
        able = [place for place in order if is_allowed(members | {int(place)})]
        losses = [searched_loss(metric, y, (summed + predictions[place]) / size, weights) for place in able]
        pick = able[int(np.argmin(losses))]
        counts[pick] += 1
        summed += predictions[pick]
        if min(losses) < least - margin:
            best, least, stalled = counts.copy(), float(min(losses)), 0
        else:
            stalled += 1
    chosen = np.flatnonzero(best)
    return Ensemble({int(place): float(best[place] / best.sum()) for place in chosen}, least)


def blend(predictions: Sequence[Array], weights: dict[int, float]) -> Array:
    """The weighted average of the chosen candidates."""
    return np.asarray(sum(weight * predictions[place] for place, weight in weights.items()))
