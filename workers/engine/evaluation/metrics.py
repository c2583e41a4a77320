"""Metrics by name: the score in its usual sense, and a loss that is lower when better.

Predictions are probabilities (n, n_classes) in classification, else values (n,). NumPy all through: ensemble selection
calls these thousands of times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..catalog import METRICS
from ..types import TaskKind

Array = NDArray[Any]
Weights = NDArray[np.float64] | None

#: Smaller is better, in the metric's own unit; every other score is at most 1 and its loss is 1 - score.
ERRORS = frozenset({"log_loss", "rmse", "mae", "mape", "rmsle"})
_TINY = 1e-15


def greater_is_better(name: str) -> bool:
    """Whether a larger score is a better one."""
    return name not in ERRORS


def loss(name: str, y: Array, prediction: Array, weights: Weights = None) -> float:
    """Lower is better: the error itself, or 1 - score."""
    return to_loss(name, score(name, y, prediction, weights))


def to_score(name: str, value: float) -> float:
    """The score of a loss."""
    return value if name in ERRORS else 1.0 - value


def to_loss(name: str, value: float) -> float:
    """The loss of a score."""
    return value if name in ERRORS else 1.0 - value


def score(name: str, y: Array, prediction: Array, weights: Weights = None) -> float:
    """The metric in its usual sense.

    Args:
        name: of `catalog.METRICS`.
        y: (n,) class indices or values.
        prediction: (n, n_classes) probabilities or (n,) values. Labels are the most probable class.
        weights: (n,) or None; all zero counts as None.
    """
    if weights is not None and not weights.any():
        weights = None
    if name in _LABELS:
        n_classes = prediction.shape[1]
        confusion = _confusion(y, prediction.argmax(axis=1), n_classes, weights)
        return _LABELS[name](confusion)
    return _SCORES[name](y, prediction, weights)


def all_metrics(kind: TaskKind, y: Array, prediction: Array, weights: Weights = None) -> dict[str, float]:
    """Every metric of this kind of task that is defined for these targets."""
    names = (name for name, kinds in METRICS.items() if kind in kinds and undefined(name, y) is None)
    return {name: score(name, y, prediction, weights) for name in names}


def undefined(name: str, y: Array) -> str | None:
    """Why the metric means nothing for these targets, and what to use instead; None if it does."""
    if name == "mape" and (zeros := int((y == 0).sum())):
        return f"Metric mape divides by the target, which is 0 in {zeros} rows; choose mae or rmse."
    if name == "rmsle" and (y <= -1).any():
        return "Metric rmsle needs targets above -1; choose rmse or mae."
    return None


# Metrics of labels, from the (weighted) confusion matrix: truth by row, prediction by column. With two classes,
# precision, recall and f1 are of the positive one (index 1); with more they are macro averages over the classes seen.


def _confusion(y: Array, labels: Array, n_classes: int, weights: Weights) -> Array:
    flat = np.bincount(y * n_classes + labels, weights=weights, minlength=n_classes**2)
    return flat.reshape(n_classes, n_classes).astype(np.float64)


def _accuracy(confusion: Array) -> float:
    return float(np.trace(confusion) / confusion.sum())


def _balanced_accuracy(confusion: Array) -> float:
    actual = confusion.sum(axis=1)
    seen = actual > 0
    return float(np.mean(np.diag(confusion)[seen] / actual[seen]))


def _per_class(top: Array, bottom: Array, confusion: Array) -> float:
    values = np.divide(top, bottom, out=np.zeros_like(top), where=bottom > 0)
    if len(values) == 2:
        return float(values[1])
    seen = confusion.sum(axis=0) + confusion.sum(axis=1) > 0
    return float(values[seen].mean())


def _precision(confusion: Array) -> float:
    return _per_class(np.diag(confusion).copy(), confusion.sum(axis=0), confusion)


def _recall(confusion: Array) -> float:
    return _per_class(np.diag(confusion).copy(), confusion.sum(axis=1), confusion)


def _f1(confusion: Array) -> float:
    return _per_class(2 * np.diag(confusion), confusion.sum(axis=0) + confusion.sum(axis=1), confusion)


def _mcc(confusion: Array) -> float:
    """Gorodkin 2004; 0 where it is undefined."""
    total, right = confusion.sum(), np.trace(confusion)
    actual, predicted = confusion.sum(axis=1), confusion.sum(axis=0)
    spread = (total**2 - predicted @ predicted) * (total**2 - actual @ actual)
    return float((right * total - actual @ predicted) / np.sqrt(spread)) if spread > 0 else 0.0


# Metrics of probabilities.


def _log_loss(y: Array, prediction: Array, weights: Weights) -> float:
    picked = np.clip(prediction[np.arange(len(y)), y], _TINY, 1.0)
    return float(np.average(-np.log(picked), weights=weights))


def _one_vs_rest(binary: Callable[[Array, Array, Weights], float]) -> Callable[[Array, Array, Weights], float]:
    def metric(y: Array, prediction: Array, weights: Weights) -> float:
        n_classes = prediction.shape[1]
        if n_classes == 2:
            return binary(y == 1, prediction[:, 1], weights)
        counts = np.bincount(y, minlength=n_classes)
        seen = np.flatnonzero((counts > 0) & (counts < len(y)))
        return float(np.mean([binary(y == c, prediction[:, c], weights) for c in seen])) if len(seen) else 0.5

    return metric


def _auc(positive: Array, values: Array, weights: Weights) -> float:
    """Area under the ROC curve by ranks, ties shared; 0.5 where only one class is seen."""
    if weights is not None:
        return _weighted_auc(positive, values, weights)
    hits, others = np.sort(values[positive]), np.sort(values[~positive])
    pairs = len(hits) * len(others)
    below = others.searchsorted(hits, "left").sum() + others.searchsorted(hits, "right").sum()
    return float(below / (2 * pairs)) if pairs else 0.5


def _weighted_auc(positive: Array, values: Array, weights: Array) -> float:
    order = np.argsort(values)
    values, w_positive = values[order], (weights * positive)[order]
    ends = np.flatnonzero(np.r_[np.diff(values) != 0, True])
    positives = np.diff(np.cumsum(w_positive)[ends], prepend=0.0)
    negatives = np.diff(np.cumsum(weights[order] - w_positive)[ends], prepend=0.0)
    below = np.cumsum(negatives) - negatives
    total = positives.sum() * negatives.sum()
    return float(positives @ (below + negatives / 2) / total) if total > 0 else 0.5


def _average_precision(positive: Array, values: Array, weights: Weights) -> float:
    """Mean over the positives of the precision at each one's own value as threshold; 0 without positives."""
    w = np.ones(len(values)) if weights is None else weights
    thresholds, w_positive = values[positive], w[positive]
    if not w_positive.sum() > 0:
        return 0.0
    hits = _weight_from(thresholds, thresholds, w_positive)
    others = _weight_from(thresholds, values[~positive], w[~positive])
    seen = hits + others
    precision = np.divide(hits, seen, out=np.zeros_like(hits), where=seen > 0)
    return float(np.average(precision, weights=w_positive))


def _weight_from(thresholds: Array, values: Array, weights: Array) -> Array:
    """For each threshold, the weight of the values not below it."""
    order = np.argsort(values)
    above = np.r_[np.cumsum(weights[order][::-1])[::-1], 0.0]
    return np.asarray(above[values[order].searchsorted(thresholds, "left")])


# Metrics of values.


def _rmse(y: Array, prediction: Array, weights: Weights) -> float:
    return float(np.sqrt(np.average((y - prediction) ** 2, weights=weights)))


def _mae(y: Array, prediction: Array, weights: Weights) -> float:
    return float(np.average(np.abs(y - prediction), weights=weights))


def _mape(y: Array, prediction: Array, weights: Weights) -> float:
    """As a fraction, not in percent. No target is 0: `undefined` has seen to that."""
    return float(np.average(np.abs((y - prediction) / y), weights=weights))


def _r2(y: Array, prediction: Array, weights: Weights) -> float:
    """0 for a constant target that is missed, 1 for one that is met."""
    spread = np.average((y - np.average(y, weights=weights)) ** 2, weights=weights)
    missed = np.average((y - prediction) ** 2, weights=weights)
    if spread == 0:
        return 1.0 if missed == 0 else 0.0
    return float(1.0 - missed / spread)


def _rmsle(y: Array, prediction: Array, weights: Weights) -> float:
    """Negative predictions count as 0. No target is -1 or less: `undefined` has seen to that."""
    difference = np.log1p(y) - np.log1p(np.maximum(prediction, 0.0))
    return float(np.sqrt(np.average(difference**2, weights=weights)))


_LABELS: dict[str, Callable[[Array], float]] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "precision": _precision,
    "recall": _recall,
    "f1": _f1,
    "mcc": _mcc,
}

_SCORES: dict[str, Callable[[Array, Array, Weights], float]] = {
    "log_loss": _log_loss,
    "roc_auc": _one_vs_rest(_auc),
    "average_precision": _one_vs_rest(_average_precision),
    "rmse": _rmse,
    "mae": _mae,
    "mape": _mape,
    "r2": _r2,
    "rmsle": _rmsle,
}
