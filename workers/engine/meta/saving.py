"""What a warm start is worth in seconds, by past tasks: how soon each order reaches what the cold one ends at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .past import Past
from .portfolio import greedy_portfolio

Array = NDArray[np.float64]

_CLOSE = 0.01  # of a task's range of losses: as good as reached
_JUDGES = 30  # past tasks, the likest ones


def seconds_saved(past: Past, cold: Sequence[int]) -> float | None:
    """Expected on the past tasks most like this one, in their seconds; None where nobody knows what trials took.

    Args:
        past: with seconds.
        cold: places of its configurations, in the order in which a cold search tries them.
    """
    if past.seconds is None or not cold or np.isnan(past.seconds[:, list(cold)]).all():
        return None
    took = np.where(np.isnan(past.seconds), np.nanmedian(past.seconds), past.seconds)
    judges = np.argsort(-past.weights, kind="stable")[:_JUDGES]
    warm = greedy_portfolio(past.regrets, past.regrets.shape[1], past.weights)
    saved = []
    for task in judges:
        goal = past.regrets[task, list(cold)].min() + _CLOSE
        saved.append(
            _until(past.regrets[task], took[task], cold, goal) - _until(past.regrets[task], took[task], warm, goal)
        )
    weights = past.weights[judges]
    mean = float(weights @ np.array(saved) / weights.sum())
    return mean if np.isfinite(mean) else None


def _until(regrets: Array, took: Array, order: Sequence[int], goal: float) -> float:
    reached = np.flatnonzero(regrets[list(order)] <= goal)
    return float(took[list(order)][: reached[0] + 1].sum()) if len(reached) else float(took[list(order)].sum())
