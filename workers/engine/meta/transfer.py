"""A surrogate made of past tasks: each becomes a guess at this task, and the guesses that fit best count most.

The past tasks' losses are samples of a Gaussian process over configurations, with the covariance that they show. What
is observed here conditions every sample on its own, by Matheron's rule (Wilson et al., "Efficiently sampling functions
from Gaussian process posteriors", 2020): a past task keeps its shape where nothing is known and passes through what is.
Its weight is its likelihood under that process, times how alike it seemed before. So the posterior has the tails and
modes that real tasks have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .past import OFFSET, Past

Array = NDArray[np.float64]

_NOISE = 0.02  # of a configuration's variance: of an observation
_LEAST = 1e-9


@dataclass(frozen=True)
class Guesses:
    """What each past task makes of this one."""

    logs: Array  #: (tasks, configurations) log losses here
    weights: Array  #: (tasks,), sum to one
    best: float  #: log loss, of those observed; -inf: none
    regrets: Array  #: (tasks, configurations) on the past tasks themselves
    best_regrets: Array  #: (tasks,) there, of the configurations tried here

    def expected_improvement(self) -> Array:
        """(configurations,) how much each is expected to lower the best loss here, by the range of each guess."""
        if np.isneginf(self.best):
            return np.zeros(self.logs.shape[1])
        spread = self.logs.max(axis=1) - np.minimum(self.logs.min(axis=1), self.best)
        gains = np.maximum(self.best - self.logs, 0.0) / np.maximum(spread, _LEAST)[:, None]
        return np.asarray(self.weights @ gains - _LEAST * (self.weights @ self.logs))

    def regret_reduction(self) -> Array:
        """(configurations,) by how much each lowers the regret of the best so far, on past tasks weighed by likeness.

        What the greedy portfolio maximises, on the tasks that are like this one: it takes no loss of here at its word,
        and is the better guide while few are known.
        """
        return np.asarray(self.weights @ np.maximum(self.best_regrets[:, None] - self.regrets, 0.0))


class TransferSurrogate:
    """Guesses at a new task, given losses of some of the configurations that the past knows."""

    def __init__(self, past: Past) -> None:
        self._regrets, self._likeness = past.regrets, past.weights
        self._logs = np.log(past.losses + OFFSET)
        centred = self._logs - self._logs.mean(axis=0)
        self._covariance = centred.T @ centred / max(1, len(centred) - 1)
        self._variance = np.maximum(np.diag(self._covariance), _LEAST)

    def guesses(self, places: list[int], losses: Array, pending: Sequence[int] = ()) -> Guesses:
        """Conditioned on relative losses (observed,) of the configurations at these places; `pending` ones run now."""
        begun = [*places, *pending]
        best_regrets = self._regrets[:, begun].min(axis=1) if begun else np.ones(len(self._regrets))
        if not places:
            return Guesses(
                logs=self._logs,
                weights=self._likeness,
                best=-np.inf,
                regrets=self._regrets,
                best_regrets=best_regrets,
            )
        observed = np.log(losses + OFFSET)
        differences = observed - self._logs[:, places]
        among = self._covariance[np.ix_(places, places)] + _NOISE * np.diag(self._variance[places])
        solved = np.linalg.solve(among, differences.T)
        distances = (differences.T * solved).sum(axis=0)
        weights = self._likeness * np.exp(-0.5 * (distances - distances.min()))
        return Guesses(
            logs=self._logs + solved.T @ self._covariance[places],
            weights=weights / weights.sum(),
            best=float(observed.min()),
            regrets=self._regrets,
            best_regrets=best_regrets,
        )
