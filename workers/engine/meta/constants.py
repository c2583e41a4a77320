"""What the best constant prediction scores: the yardstick by which losses on different tasks compare."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.metrics import all_metrics, to_loss
from ..learners.base import ABSOLUTE, LOGARITHMIC
from ..types import TaskKind

Array = NDArray[Any]

_ROWS = 50_000  # of the sample
LEAST = 1e-9  #: of a constant's loss: where it makes no error, nothing can be learned


def constant_scores(y: Array, kind: TaskKind, n_classes: int) -> dict[str, float]:
    """Every metric, in its usual sense, of class shares; in regression of the mean, or of what the metric asks for.

    Args:
        y: (n,) class indices or values.
        kind: of the task.
        n_classes: 0 in regression.
    """
    y = y[np.linspace(0, len(y) - 1, min(len(y), _ROWS)).astype(np.int64)]
    if kind.is_classification:
        shares = np.bincount(y, minlength=n_classes) / len(y)
        return all_metrics(kind, y, np.tile(shares, (len(y), 1)))
    mean, median = (all_metrics(kind, y, np.full(len(y), value)) for value in (y.mean(), np.median(y)))
    scores = mean | {name: value for name, value in median.items() if name in ABSOLUTE}
    if LOGARITHMIC & scores.keys():
        middle = np.full(len(y), np.expm1(np.log1p(y).mean()))
        scores |= {name: value for name, value in all_metrics(kind, y, middle).items() if name in LOGARITHMIC}
    return {name: float(value) for name, value in scores.items()}


def relative_loss(metric: str, score: float, constant: float) -> float:
    """The loss of a score by that of the constant prediction: 0 is perfect, 1 has learned nothing."""
    return to_loss(metric, score) / _yardstick(metric, constant)


def absolute_loss(metric: str, relative: float, constant: float) -> float:
    """The loss that `relative_loss` made relative to a constant prediction of this score."""
    return relative * _yardstick(metric, constant)


def _yardstick(metric: str, constant: float) -> float:
    return max(to_loss(metric, constant), LEAST)
