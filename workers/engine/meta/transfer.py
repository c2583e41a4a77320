"""A surrogate made of past tasks: each becomes a guess at this task, and the guesses that fit best count most.

The past tasks' losses are samples of a Gaussian process over configurations, with the covariance that they show. What
is observed here conditions every sample on its own, by Matheron's rule (Wilson et al., "Efficiently sampling functions
from Gaussian process posteriors", 2020): a past task keeps its shape where nothing is known and passes through what is.
Its weight is its likelihood under that process. So the posterior has the tails and modes that real tasks have.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .past import Past

Array = NDArray[np.float64]

_OFFSET = 0.05  # added to relative losses before the logarithm: below, differences do not matter
_NOISE = 0.02  # of a configuration's variance: of an observation
_LEAST = 1e-9


class TransferSurrogate:
    """Expected improvement of any configuration of the past, given losses of some of them on a new task."""

    def __init__(self, past: Past) -> None:
        self._regrets = past.regrets
        self._logs = np.log(past.losses + _OFFSET)
        centred = self._logs - self._logs.mean(axis=0)
        self._covariance = centred.T @ centred / max(1, len(centred) - 1)
        self._variance = np.maximum(np.diag(self._covariance), _LEAST)

    def expected_improvement(self, places: list[int], losses: Array) -> Array:
        """(configurations,) by how much each is expected to lower the best loss here, as a share of this task's range.

        Args:
            places: of the configurations observed, at least one.
            losses: (observed,) relative losses of these.
        """
        observed = np.log(losses + _OFFSET)
        guesses, weights = self._guesses(places, observed)
        best = float(observed.min())
        spread = guesses.max(axis=1) - np.minimum(guesses.min(axis=1), best)
        gains = np.maximum(best - guesses, 0.0) / np.maximum(spread, _LEAST)[:, None]
        return np.asarray(weights @ gains - _LEAST * (weights @ guesses))

    def regret_reduction(self, places: list[int], losses: Array) -> Array:
        """(configurations,) by how much each lowers the regret of the best so far, on past tasks weighed by likeness.

        What the greedy portfolio maximises, on the tasks that are like this one: it takes no loss of here at its word,
        and is the better guide while few are known.
        """
        _, weights = self._guesses(places, np.log(losses + _OFFSET))
        best = self._regrets[:, places].min(axis=1)
        return np.asarray(weights @ np.maximum(best[:, None] - self._regrets, 0.0))

    def _guesses(self, places: list[int], observed: Array) -> tuple[Array, Array]:
        """(tasks, configurations) log losses here, one guess a past task, and (tasks,) weights that sum to one."""
        differences = observed - self._logs[:, places]
        among = self._covariance[np.ix_(places, places)] + _NOISE * np.diag(self._variance[places])
        solved = np.linalg.solve(among, differences.T)
        distances = (differences.T * solved).sum(axis=0)
        weights = np.exp(-0.5 * (distances - distances.min()))
        return self._logs + solved.T @ self._covariance[places], weights / weights.sum()
