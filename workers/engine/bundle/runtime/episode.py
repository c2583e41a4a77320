"""What a network that learned to learn is told of a table: labelled rows, statistics, and what simple rules say.

A target is one column of numbers with mean 0 and deviation 1; of K classes there are K targets, each a class against
the rest, of two classes one. Whatever is said of a labelled row is said as if its own label were not known (leave one
out), as it is of rows that are asked about: so a network sees in labelled rows how far each rule can be trusted here.

S labelled rows, N others, C columns, M targets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import ndtri

Array = np.ndarray[Any, Any]

CELL = 8  #: numbers of a cell: value, rank, means of the target nearby (coarse, fine); four of its column
ROW = 9  #: numbers of a row: label, whether it is known, what RULES say; of the table the rules' errors and log rows
SAID = slice(2, 5)  #: of a row's numbers: what the rules say
TABLE = 4  #: of a row's numbers, the last: what is said of the table
RULES = 3  #: ridge regression, and kernel ridge regression with a smooth kernel and with one that breaks as trees do

_BINS = (4, 16)
_SHRINK = 2.0  # rows that the mean of all weighs
_CLIP, _LEAST = 4.0, 1e-5
_PENALTIES = np.array([0.003, 0.03, 0.1, 0.3, 1.0, 3.0, 30.0], dtype=np.float32)
_OFTEN = 0.2  # of the distance by columns that tell most, by those that tell nothing
_MOST = (4.0, 12.0)  # deviations that a rule may say: so many, or as many as a label has, but no more than that


def class_targets(y: Array, classes: int) -> tuple[Array, Array]:
    """Targets (S, M) of class indices (S,), and the share of each class among them (M,)."""
    is_class = y[:, None] == (np.arange(classes) if classes > 2 else np.array([1]))
    share = is_class.mean(axis=0)
    deviation = np.maximum(np.sqrt(share * (1 - share)), _LEAST)
    return ((is_class - share) / deviation).astype(np.float32), share.astype(np.float32)


#: (N, C), (S, C), weights (C,) -> (N, S)
Distance = Callable[[Array, Array, Array], Array]


class Episode:
    """Labelled rows that have been looked at.

    Args:
        X: (S, C), finite.
        targets: (S, M).
    """

    def __init__(self, X: Array, targets: Array) -> None:
        X, self.targets = X.astype(np.float64), targets.astype(np.float32)
        self._mean, deviation = X.mean(axis=0), X.std(axis=0)
        varies = deviation > _LEAST * np.abs(X).max(axis=0) * 0.1
        self._scale = np.where(varies, 1 / np.where(varies, deviation, 1.0), 0.0)
        self._sorted = np.sort(X, axis=0)
        values, ranks = self._values(X)
        places = [_bins(ranks, bins) for bins in _BINS]
        self._binned = [_Binned(place, self.targets, bins) for place, bins in zip(places, _BINS, strict=True)]
        near = [binned.without_own(place) for binned, place in zip(self._binned, places, strict=True)]
        total = np.maximum((self.targets**2).sum(axis=0), _LEAST)  # (M,)
        told = [1 - ((self.targets.T[:, :, None] - part) ** 2).sum(axis=1) / total[:, None] for part in near]  # (M, C)
        distinct = 1 + (np.diff(self._sorted, axis=0) > 0).sum(axis=0)
        self._column = np.stack(
            [
                self.targets.T @ values / len(X),
                *(np.clip(part, -1, 1) for part in told),
                np.tile(np.log(distinct) / np.log(len(X) + 1), (self.targets.shape[1], 1)),
            ],
            axis=2,
        ).astype(np.float32)  # (M, C, 4)
        weight = np.maximum(np.maximum(*told), 0).mean(axis=0)
        weight = weight / max(float(weight.max()), 0.05) + _OFTEN
        most = np.clip(np.abs(self.targets).max(axis=0), *_MOST)  # (M,): a rare class is many deviations from its mean
        self._rules: list[_Ridge | _Kernel] = [
            _Ridge(np.concatenate([values, _gauss(ranks)], axis=1), self.targets, most),
            _Kernel(_gauss(ranks), weight / weight.sum(), self.targets, most, _smooth),
            _Kernel(ranks, 2 * weight / weight.sum(), self.targets, most, _breaking),
        ]
        said = np.stack([rule.without_own for rule in self._rules], axis=2)  # (M, S, RULES)
        errors = ((said - self.targets.T[:, :, None]) ** 2).mean(axis=1)
        self._table = np.concatenate([np.minimum(errors, 2), np.full((len(errors), 1), np.log(len(X)) / 5)], axis=1)
        self._told: tuple[Array, Array] | None = (self._cells(values, ranks, near), self._row(said, self.targets.T))

    def told(self) -> tuple[Array, Array]:
        """(M, S, C, CELL) and (M, S, ROW) of the labelled rows; they are kept until this asks for them, once."""
        assert self._told is not None
        told, self._told = self._told, None
        return told

    def ask(self, X: Array) -> tuple[Array, Array]:
        """(M, N, C, CELL) and (M, N, ROW) of rows without labels."""
        values, ranks = self._values(X.astype(np.float64))
        near = [binned.of(_bins(ranks, bins)) for binned, bins in zip(self._binned, _BINS, strict=True)]
        normal = _gauss(ranks)
        both = np.concatenate([values, normal], axis=1)
        said = np.stack([rule.of(part) for rule, part in zip(self._rules, (both, normal, ranks), strict=True)], axis=2)
        return self._cells(values, ranks, near), self._row(said, None)

    def _values(self, X: Array) -> tuple[Array, Array]:
        """Standardised, and as ranks among the labelled rows, 0 to 1; each (N, C)."""
        values = np.clip((X - self._mean) * self._scale, -_CLIP, _CLIP).astype(np.float32)
        ranks = np.empty_like(values)
        for place, known in enumerate(self._sorted.T):
            below, upto = (np.searchsorted(known, X[:, place], side) for side in ("left", "right"))
            ranks[:, place] = (below + upto) / (2 * len(known))
        return values, ranks

    def _cells(self, values: Array, ranks: Array, near: list[Array]) -> Array:
        shape = (len(self._column), *values.shape)
        parts = [np.broadcast_to(part, shape) for part in (values, _gauss(ranks))]
        own = np.stack([*parts, *near], axis=3)
        column = np.broadcast_to(self._column[:, None], (*shape, self._column.shape[2]))
        return np.concatenate([own, column], axis=3, dtype=np.float32)

    def _row(self, said: Array, labels: Array | None) -> Array:
        """(M, N, ROW)."""
        label = np.zeros(said.shape[:2]) if labels is None else np.clip(labels, -_MOST[1], _MOST[1])
        known = np.full(said.shape[:2], 0.0 if labels is None else 1.0)
        table = np.broadcast_to(self._table[:, None], (*said.shape[:2], self._table.shape[1]))
        return np.concatenate([label[:, :, None], known[:, :, None], said, table], axis=2, dtype=np.float32)


class _Binned:
    """Means of the target by a column's quantiles, drawn towards the mean of all, which is 0."""

    def __init__(self, bins: Array, targets: Array, count: int) -> None:
        columns = bins.shape[1]
        flat = (bins + count * np.arange(columns)).ravel()
        self._columns, self._count, self._targets = np.arange(columns), count, targets
        self._rows = np.bincount(flat, minlength=columns * count).reshape(columns, count).astype(np.float32)
        self._sums = np.stack(
            [
                np.bincount(flat, np.repeat(target, columns), columns * count).reshape(columns, count)
                for target in targets.T
            ]
        ).astype(np.float32)  # (M, C, bins)

    def of(self, bins: Array) -> Array:
        """(M, N, C)."""
        return np.asarray((self._sums / (self._rows + _SHRINK))[:, self._columns, bins])

    def without_own(self, bins: Array) -> Array:
        """The same for the labelled rows, whose own target is left out."""
        sums = self._sums[:, self._columns, bins] - self._targets.T[:, :, None]
        return np.asarray(sums / (self._rows[self._columns, bins] - 1 + _SHRINK))


class _Ridge:
    """Ridge regression (S, F) -> (S, M), the penalty of each target by its error without the own label."""

    def __init__(self, X: Array, targets: Array, most: Array) -> None:
        X, self._most = X / np.sqrt(X.shape[1]), most[:, None]
        left, size, right = np.linalg.svd(X, full_matrices=False)
        penalties = _PENALTIES[:, None] * max(1.0, len(X) / 20)
        share = size**2 / (size**2 + penalties)  # (L, rank)
        best, self.without_own = _leave_one_out(left, share, targets, most)
        inverse = (size / (size**2 + penalties))[best]  # (M, rank)
        self._weights = right.T @ (inverse * (left.T @ targets).T).T  # (F, M)

    def of(self, X: Array) -> Array:
        """(M, N)."""
        return np.asarray(np.clip((X / np.sqrt(X.shape[1]) @ self._weights).T, -self._most, self._most))


class _Kernel:
    """Kernel ridge regression, its columns weighted."""

    def __init__(self, X: Array, weight: Array, targets: Array, most: Array, distance: Distance) -> None:
        self._X, self._weight, self._most, self._distance = X, weight.astype(np.float32), most[:, None], distance
        value, vector = np.linalg.eigh(self._similarity(X))
        value = np.maximum(value, 0)
        share = value / (value + _PENALTIES[:, None])  # (L, S)
        best, self.without_own = _leave_one_out(vector, share, targets, most)
        inverse = (1 / (value + _PENALTIES[:, None]))[best]  # (M, S)
        self._weights = vector @ (inverse * (vector.T @ targets).T).T  # (S, M)

    def of(self, X: Array) -> Array:
        """(M, N)."""
        return np.asarray(np.clip((self._similarity(X) @ self._weights).T, -self._most, self._most))

    def _similarity(self, X: Array) -> Array:
        """(N, S)."""
        distance = self._distance(X, self._X, self._weight)
        return np.asarray(np.exp(-distance))


def _smooth(X: Array, other: Array, weight: Array) -> Array:
    """(N, S) squared distances: a Gaussian process."""
    X, other = X * np.sqrt(weight), other * np.sqrt(weight)
    squares = (X**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * X @ other.T
    return np.asarray(np.maximum(squares, 0))


def _breaking(X: Array, other: Array, weight: Array) -> Array:
    """(N, S) city-block distances of ranks: the kernel of random trees (Balog et al., "The Mondrian kernel", 2016)."""
    total = np.zeros((len(X), len(other)), dtype=np.float32)
    for column, known, share in zip(X.T, other.T, weight, strict=True):
        total += np.abs(np.subtract.outer(column * share, known * share))
    return total


def _leave_one_out(vectors: Array, share: Array, targets: Array, most: Array) -> tuple[Array, Array]:
    """The best penalty's place for each target (M,), and what it says of each row without that row's label (M, S).

    Args:
        vectors: (S, R) orthonormal.
        share: (L, R) of each vector that a penalty lets through.
        targets: (S, M).
        most: (M,) that may be said.
    """
    along = vectors.T @ targets  # (R, M)
    fitted = np.einsum("sr,lr,rm->lsm", vectors, share, along, optimize=True)
    own = np.minimum((vectors**2) @ share.T, 0.99).T[:, :, None]  # (L, S, 1)
    said = np.clip((fitted - own * targets) / (1 - own), -most, most)
    best = ((said - targets) ** 2).sum(axis=1).argmin(axis=0)  # (M,)
    return best, said[best, :, np.arange(targets.shape[1])]


def _bins(ranks: Array, count: int) -> Array:
    return np.minimum((ranks * count).astype(np.int64), count - 1)


def _gauss(ranks: Array) -> Array:
    """Ranks as a normal distribution has them."""
    return np.asarray(ndtri(np.clip(ranks, 0.005, 0.995)), dtype=np.float32)
