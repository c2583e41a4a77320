"""What is decided after the ensemble is: how sharp its probabilities are, and from which one on the label is positive.

Both are fitted on the out-of-fold predictions that chose the ensemble; a bundle's manifest keeps them. Temperature
scaling (Guo et al. 2017) serves log loss: averages of models are less sure than they could be. A threshold serves
labels of two classes where 0.5 is not what the metric wants (Lipton et al. 2014 for F1).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from ..bundle.runtime.model import sharpened
from .metrics import loss

Array = NDArray[Any]
Weights = NDArray[np.float64] | None

THRESHOLDED = frozenset({"f1", "mcc", "balanced_accuracy"})  #: metrics of labels that 0.5 does not serve
_TEMPERATURES = (0.4, 2.5)
_MOST_ROWS = 5_000  # that decide the temperature: one number needs no more
_FEWEST_ROWS = 200  # below, a temperature is noise


@dataclass(frozen=True)
class Calibration:
    """Applied to an ensemble's probabilities."""

    temperature: float = 1.0
    threshold: float = 0.5

    def apply(self, metric: str, prediction: Array) -> Array:
        """What the metric is to be computed on: probabilities, or for metrics of labels what was decided."""
        if _has_threshold(metric, prediction):
            chosen = (prediction[:, 1] >= self.threshold).astype(np.float64)
            return np.stack([1.0 - chosen, chosen], axis=1)
        return sharpened(prediction, self.temperature) if self.temperature != 1.0 else prediction


def calibrate(metric: str, y: Array, prediction: Array, weights: Weights = None) -> Calibration:
    """What suits the metric best.

    Args:
        metric: of the task.
        y: (n,) truth.
        prediction: (n, n_classes) probabilities or (n,) values, out of fold.
        weights: (n,) or None.
    """
    if metric == "log_loss" and len(y) >= _FEWEST_ROWS:
        return Calibration(temperature=_best_temperature(y, prediction, weights))
    if _has_threshold(metric, prediction):
        return Calibration(threshold=best_threshold(metric, y, prediction[:, 1], weights)[0])
    return Calibration()


def _has_threshold(metric: str, prediction: Array) -> bool:
    return metric in THRESHOLDED and prediction.shape[1] == 2


def searched_loss(metric: str, y: Array, prediction: Array, weights: Weights = None) -> float:
    """What search and selection minimise: the loss, at the best threshold where the metric asks for one."""
    if _has_threshold(metric, prediction):
        return 1.0 - best_threshold(metric, y, prediction[:, 1], weights)[1]
    return loss(metric, y, prediction, weights)


def best_threshold(metric: str, y: Array, positive: Array, weights: Weights = None) -> tuple[float, float]:
    """(threshold, score there) of two classes: the best of all, half-way to the next lower probability.

    Args:
        metric: one of THRESHOLDED.
        y: (n,) 0 or 1.
        positive: (n,) probabilities of 1.
        weights: (n,) or None.
    """
    w = np.ones(len(y)) if weights is None or not weights.any() else weights
    order = np.argsort(-positive, kind="stable")
    ranked, is_hit = positive[order], y[order] == 1
    ends = np.flatnonzero(np.r_[np.diff(ranked) != 0, True])
    chosen, hits = np.cumsum(w[order])[ends], np.cumsum(w[order] * is_hit)[ends]
    scores = _of_counts(metric, hits, chosen - hits, hits[-1], chosen[-1] - hits[-1])
    best = int(np.argmax(scores))
    below = ranked[ends[best + 1]] if best + 1 < len(ends) else 0.0
    return float((ranked[ends[best]] + below) / 2), float(scores[best])


def _of_counts(metric: str, hits: Array, false: Array, positives: float, negatives: float) -> Array:
    """The metric from weights: `hits` and `false` are labelled positive, of so many of each class."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if metric == "f1":
            value = 2 * hits / (hits + false + positives)
        elif metric == "balanced_accuracy":
            value = (hits / positives + 1 - false / negatives) / 2
        else:
            spread = (hits + false) * positives * negatives * (positives - hits + negatives - false)
            value = (hits * (negatives - false) - false * (positives - hits)) / np.sqrt(spread)
    return np.asarray(np.nan_to_num(value))


def _best_temperature(y: Array, prediction: Array, weights: Weights) -> float:
    if len(y) > _MOST_ROWS:
        rows = np.linspace(0, len(y) - 1, _MOST_ROWS).astype(np.int64)
        y, prediction, weights = y[rows], prediction[rows], None if weights is None else weights[rows]
    found = minimize_scalar(
        lambda power: loss("log_loss", y, sharpened(prediction, float(np.exp(power))), weights),
        bounds=np.log(_TEMPERATURES),
        method="bounded",
        options={"xatol": 0.01},
    )
    return round(float(np.exp(found.x)), 4)
