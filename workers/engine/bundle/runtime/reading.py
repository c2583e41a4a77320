"""Networks that read labelled rows, in NumPy, float32: no torch is needed to predict.

What they have in common; the letters for shapes are those of `meta/reading/network.py`, without B: one target at a
time. What labelled rows say of themselves is the same whatever is asked, so it is worked out once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from scipy.special import erf

from .episode import Episode, class_targets

Array = np.ndarray[Any, Any]
Weights = Mapping[str, Array]

_ASKED = 512  # rows at once
FAR = 20.0  #: below it, softplus is as good as the exponential
LEAST_SHARE = 1e-4  #: of a class
SOFT = 0.1  #: chances nearer to 0 or 1 than this, or than the class is frequent, are bent away from it


class ReadTarget(Protocol):
    """One target of a table whose labelled rows have been read."""

    def ask(self, cells: Array, rows: Array) -> tuple[Array, Array]:
        """(N, D) and the mean that is expected (N,), of (N, C, CELL) and (N, ROW)."""


class ReadTable:
    """A table that has been read.

    Args:
        weights: of the network.
        read: of a target, from the cells (S, C, CELL) and rows (S, ROW) that have labels.
        X: (S, C) of the labelled rows.
        y: (S,) class indices, or values with mean 0 and deviation 1.
        classes: K; 0: values.
    """

    def __init__(
        self, weights: Weights, read: Callable[[Array, Array], ReadTarget], X: Array, y: Array, classes: int
    ) -> None:
        targets, share = class_targets(y, classes) if classes else (y[:, None], np.ones(1))
        self._episode, self._share, self._weights, self._classes = Episode(X, targets), share, weights, classes
        self._targets = [read(cells, rows) for cells, rows in zip(*self._episode.told(), strict=True)]

    def predict(self, X: Array) -> Array:
        """(N, K) probabilities, or (N, BUCKETS) of a standard normal target's buckets."""
        return np.concatenate([self._answer(X[start : start + _ASKED]) for start in range(0, len(X), _ASKED)])

    def _answer(self, X: Array) -> Array:
        parts = zip(self._targets, *self._episode.ask(X), strict=True)
        said = [target.ask(cells, rows) for target, cells, rows in parts]
        if self._classes:
            return self._chances(said)
        asked, mean = said[0]
        narrow = np.exp(linear(self._weights, asked, "bend")[:, :1])
        distance = (self._weights["centres"] - mean[:, None]) ** 2
        return softmax(linear(self._weights, asked, "buckets") - 0.5 * narrow * distance)

    def _chances(self, said: Sequence[tuple[Array, Array]]) -> Array:
        logits = []
        for (asked, mean), share in zip(said, self._share, strict=True):
            chance = share + np.sqrt(share * (1 - share)) * mean
            soft = float(np.clip(min(share, 1 - share), LEAST_SHARE, SOFT))
            sharp, shift = linear(self._weights, asked, "bend").T
            odds = log_chance(chance, soft) - (log_chance(1 - chance, soft) if len(said) == 1 else 0)
            logits.append(np.exp(sharp) * odds + shift)
        return softmax(np.stack(logits if len(said) > 1 else [np.zeros_like(logits[0]), *logits], axis=1))


def log_chance(chance: Array, soft: float) -> Array:
    """The logarithm of a chance that a mean gives, which may be 0 or less: linear there, and everywhere rising."""
    return np.asarray(np.log(soft) + _log_softplus(np.asarray(chance, dtype=np.float64) / soft))


def _log_softplus(x: Array) -> Array:
    return np.asarray(np.where(x < -FAR, x, np.log(np.logaddexp(0, np.maximum(x, -FAR)))))


def linear(weights: Weights, x: Array, name: str) -> Array:
    """A layer's `weight` (out, in) and `bias` (out,)."""
    return np.asarray(x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"])


def gelu(x: Array) -> Array:
    """Exact."""
    return np.asarray(x * 0.5 * (1 + erf(x / math.sqrt(2))))


def softmax(logits: Array) -> Array:
    """Along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum(axis=-1, keepdims=True)
    return np.asarray(shifted)
