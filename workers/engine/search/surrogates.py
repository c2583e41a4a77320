"""Surrogates: from the configurations tried so far to a guess, and its uncertainty, for any other."""

from __future__ import annotations

from itertools import product
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Surrogate(Protocol):
    """Learns from (n, slots) in [0, 1] and (n,) standardised losses; predicts mean and standard deviation, (m,) each.

    Deterministic: the same data give the same predictions.
    """

    def fit(self, X: Array, y: Array) -> None: ...
    def predict(self, X: Array) -> tuple[Array, Array]: ...


class GaussianProcess:
    """Matern 5/2 on the slots, length and noise by marginal likelihood (Rasmussen & Williams 2006, 2.2 and 5.4)."""

    _LENGTHS = (0.25, 0.5, 1.0, 2.0)
    _NOISES = (0.01, 0.1, 0.4)  # of the variance of the losses

    def fit(self, X: Array, y: Array) -> None:
        """Choose length and noise, factorise."""
        self._X = X
        distances = _distances(X, X)
        best = -np.inf
        for length, noise in product(self._LENGTHS, self._NOISES):
            factor = np.linalg.cholesky(_matern(distances / length) + noise * np.eye(len(X)))
            half = np.linalg.solve(factor, y)
            likelihood = -0.5 * float(half @ half) - float(np.log(np.diag(factor)).sum())
            if likelihood > best:
                best, self._length, self._factor, self._half = likelihood, length, factor, half

    def predict(self, X: Array) -> tuple[Array, Array]:
        """Of the loss without its noise."""
        across = np.linalg.solve(self._factor, _matern(_distances(self._X, X) / self._length))
        variance = 1.0 - (across**2).sum(axis=0)
        return across.T @ self._half, np.sqrt(np.maximum(variance, 1e-10))


class Forest:
    """Extremely randomised trees; trees that disagree are uncertain (SMAC: Hutter et al. 2011)."""

    _TREES = 24

    def fit(self, X: Array, y: Array) -> None:
        """Grow the trees."""
        from sklearn.ensemble import ExtraTreesRegressor

        self._forest = ExtraTreesRegressor(self._TREES, min_samples_leaf=2, max_features=0.7, random_state=0)
        self._forest.fit(X, y)

    def predict(self, X: Array) -> tuple[Array, Array]:
        """Mean and spread of the trees."""
        each: Any = np.array([tree.predict(X) for tree in self._forest.estimators_])
        return each.mean(axis=0), np.maximum(each.std(axis=0), 1e-5)


def _distances(A: Array, B: Array) -> Array:
    squared = (A**2).sum(axis=1)[:, None] + (B**2).sum(axis=1)[None, :] - 2 * A @ B.T
    return np.asarray(np.sqrt(np.maximum(squared, 0.0)))


def _matern(r: Array) -> Array:
    scaled = np.sqrt(5.0) * r
    return np.asarray((1.0 + scaled + scaled**2 / 3.0) * np.exp(-scaled))
