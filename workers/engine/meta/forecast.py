"""What a search is likely to reach, before it runs: from what was reached on past tasks with alike landmarkers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .past import OFFSET, WORST

Array = NDArray[np.float64]

LANDMARK = "landmark_best"  #: metafeature, the best simple learner's balanced accuracy or R²: 1 is perfect
NEAREST = 50  #: past tasks to ask
FEWEST = 10  #: below, nothing is foretold
QUANTILES = (0.1, 0.5, 0.9)
_PRIOR_SPREAD, _PRIOR_SLOPE = 0.02, 0.8  # of the line, when the landmarkers hardly differ


@dataclass(frozen=True)
class Forecast:
    """Relative losses: 0 is perfect, 1 is as good as a constant. Eight in ten tasks end between the outer two."""

    low: float
    middle: float
    high: float


def forecast(landmark: float, landmarks: Array, losses: Array, likeness: Array) -> Forecast:
    """A line through past tasks, logarithm of the best loss by that of the landmarker's, and their spread about it.

    Args:
        landmark: of the task.
        landmarks: (tasks,) of past tasks.
        losses: (tasks,) best relative loss on each.
        likeness: (tasks,) how much each counts, at least 0, not all 0.
    """
    weights = likeness / likeness.sum()
    x, y = _log(1 - landmarks), _log(losses)
    centre_x, centre_y = weights @ x, weights @ y
    spread = weights @ (x - centre_x) ** 2
    together = weights @ ((x - centre_x) * (y - centre_y))
    slope = (together + _PRIOR_SPREAD * _PRIOR_SLOPE) / (spread + _PRIOR_SPREAD)
    residuals = y - centre_y - slope * (x - centre_x)
    order = np.argsort(residuals)
    shares = np.cumsum(weights[order])
    places = np.minimum(np.searchsorted(shares, QUANTILES), len(order) - 1)
    logs = centre_y + slope * (_log(np.array(1 - landmark)) - centre_x) + residuals[order][places]
    low, middle, high = np.clip(np.exp(logs) - OFFSET, 0.0, WORST)
    return Forecast(float(low), float(middle), float(high))


def _log(losses: Array) -> Array:
    return np.asarray(np.log(np.clip(losses, 0.0, WORST) + OFFSET))
