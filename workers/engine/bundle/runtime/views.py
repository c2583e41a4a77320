"""A network that reads labelled rows answers for several views of them: other columns, another order, other rows.

Networks read so many columns and rows as they practised on; a view takes no more.

S labelled rows, N rows to predict, C columns, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

import numpy as np

Array = np.ndarray[Any, Any]

NETWORK = "network."  #: before the names of the network's own weights, which lie beside the views


class Reader(Protocol):
    """What has read labelled rows."""

    def predict(self, X: Array) -> Array:
        """(N, classes) probabilities, or (N, buckets) of a standard normal target's buckets."""


#: of labelled rows (S, C), their classes or values (S,), K (0: values), and the view's random numbers
Read = Callable[[Array, Array, int, Array], Reader]


@dataclass(frozen=True)
class View:
    """What a network sees of a table."""

    rows: Array  #: places among the labelled rows
    columns: Array  #: places among the columns, in the order in which they are read
    noise: Array  #: random numbers of the network's own


class Views:
    """The mean of what a network says of each view. Labelled rows are read when the first question comes.

    Args:
        read: of one view.
        X: (S, C) of the labelled rows.
        y: (S,) class indices 0..K-1, or values with mean 0 and deviation 1.
        classes: K; 0 in regression.
        views: at least one.
        centres: (buckets,) values that they stand for; of regression.
        prior: (K,) by which chances are multiplied, before they sum to 1 again: classes weigh so much.
        absolute: the median is asked for, not the mean.
    """

    def __init__(
        self,
        read: Read,
        X: Array,
        y: Array,
        classes: int,
        views: Sequence[View],
        *,
        centres: Array | None = None,
        prior: Array | None = None,
        absolute: bool = False,
    ) -> None:
        self._classes, self._views, self._absolute = classes, views, absolute
        self._centres = None if centres is None else _stretched(centres, y)
        self._read, self._X, self._y, self._prior = read, X, y, prior
        self._lock = Lock()
        self._readers: list[Reader] = []

    def predict(self, X: Array) -> Array:
        """(N, K) probabilities, or (N,) values."""
        with self._lock:
            if not self._readers:
                self._readers = [self._reader(view) for view in self._views]
        pairs = zip(self._readers, self._views, strict=True)
        said = np.mean([reader.predict(X[:, view.columns]) for reader, view in pairs], axis=0)
        if not self._classes:
            return self._value(said)
        weighed = said if self._prior is None else said * self._prior
        return np.asarray(weighed / weighed.sum(axis=1, keepdims=True))

    def _reader(self, view: View) -> Reader:
        X = self._X[np.ix_(view.rows, view.columns)]
        return self._read(X, self._y[view.rows], self._classes, view.noise)

    def _value(self, chances: Array) -> Array:
        """(N,) of (N, buckets)."""
        assert self._centres is not None
        if not self._absolute:
            return np.asarray(chances @ self._centres)
        middle = (np.cumsum(chances, axis=1) < 0.5).sum(axis=1)  # as many buckets lie wholly below the median
        return np.asarray(self._centres[np.minimum(middle, len(self._centres) - 1)])


def _stretched(centres: Array, y: Array) -> Array:
    """The outermost buckets, which have no end, stand for what lies in them here."""
    centres = centres.astype(np.float64)
    lower, upper = centres[:2].mean(), centres[-2:].mean()
    for place, beyond in ((0, y < lower), (-1, y > upper)):
        if beyond.any():
            centres[place] = y[beyond].mean()
    return centres


def pack(X: Array, y: Array, views: Sequence[View]) -> dict[str, Array]:
    """As named arrays, for a file."""
    arrays = {"X": X.astype(np.float32), "y": y}
    for place, view in enumerate(views):
        arrays |= {f"view.{place}.{name}": value for name, value in vars(view).items()}
    return arrays


def unpack(arrays: Mapping[str, Array]) -> tuple[Array, Array, list[View]]:
    """What `pack` was given.

    Raises:
        ValueError: a view is of rows or columns that are not there.
    """
    parts = ("rows", "columns", "noise")
    count = sum(name.endswith(".rows") for name in arrays)
    views = [View(*(arrays[f"view.{place}.{part}"] for part in parts)) for place in range(count)]
    X, y = arrays["X"], arrays["y"]
    for view in views:
        for chosen, count in ((view.rows, min(len(X), len(y))), (view.columns, X.shape[1])):
            if not len(chosen) or chosen.min() < 0 or chosen.max() >= count:
                raise ValueError("a view of what is not there")
    return X, y, views
