"""Bayesian optimisation: the next configuration is where a surrogate expects to improve most."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ..space import SearchSpace, canonical
from ..types import Configuration, Fidelity, Proposal, Source, Trial
from .base import SearchContext, Seen
from .surrogates import Forest, GaussianProcess, Surrogate

Array = NDArray[np.float64]

_FEWEST = 6  # trials that a surrogate can learn from
_MOST = 200  # trials that it learns from: the best half and the last half of more
_RANDOM, _PARENTS, _CHILDREN = 120, 5, 16  # candidates: random ones, and mutants of the best


class BayesianOptimisation:
    """Hand-written defaults, then what a Gaussian process over the space proposes; all at full fidelity."""

    surrogate: Callable[[], Surrogate] = GaussianProcess

    def __init__(self, context: SearchContext) -> None:
        self._space = context.space
        self._rng = np.random.default_rng(context.seed)
        self._first = iter(self._space.defaults())
        self._seen = Seen()
        self._losses: dict[str, tuple[float, Configuration]] = {}  #: by canonical text, in order of telling

    def ask(self) -> Proposal | None:
        """The next default, or the most promising configuration; None if nothing new can be found."""
        if (default := self._seen.first_new(self._first)) is not None:
            return Proposal(configuration=default, source=Source.DEFAULT)
        if len(self._losses) >= _FEWEST and (found := self._seen.first_new(self._promising())) is not None:
            return Proposal(configuration=found, source=Source.SURROGATE)
        drawn = self._seen.draw(self._draw)
        return None if drawn is None else Proposal(configuration=drawn, source=Source.RANDOM)

    def tell(self, trial: Trial) -> None:
        """Learn from a trial at full fidelity."""
        configuration = trial.proposal.configuration
        self._seen.add(configuration)
        is_known = configuration["learner"] in self._space.learners
        if is_known and trial.loss is not None and trial.proposal.fidelity == Fidelity():
            self._losses[canonical(configuration)] = trial.loss, configuration

    def _promising(self) -> Iterator[Configuration]:
        """Candidates, those with most expected improvement first."""
        ranked = sorted(self._losses.items(), key=lambda item: (item[1][0], item[0]))
        known = [pair for _, pair in ranked]
        if len(ranked) > _MOST:
            latest = list(self._losses.items())[-_MOST // 2 :]
            known = [pair for _, pair in dict(ranked[: _MOST // 2] + latest).items()]
        parents = [configuration for _, (_, configuration) in ranked[:_PARENTS]]
        candidates = [self._draw() for _ in range(_RANDOM)]
        candidates += [self._space.mutated(parent, self._rng) for parent in parents for _ in range(_CHILDREN)]
        X = _matrix(self._space, [*(configuration for _, configuration in known), *candidates])
        y = normal_scores(np.array([loss for loss, _ in known]))
        surrogate = type(self).surrogate()
        surrogate.fit(X[: len(known)], y)
        gain = expected_improvement(*surrogate.predict(X[len(known) :]), float(y.min()))
        return (candidates[place] for place in np.argsort(-gain, kind="stable"))

    def _draw(self) -> Configuration:
        return self._space.sample(self._rng)


class ForestOptimisation(BayesianOptimisation):
    """The same with a forest, which minds neither conditions nor cliffs."""

    surrogate = Forest


def normal_scores(losses: Array) -> Array:
    """(n,) standard normal by rank, so that outliers do not matter (Salinas et al. 2020)."""
    order = np.argsort(np.argsort(losses, kind="stable"), kind="stable")
    return np.asarray(ndtri((order + 0.5) / len(losses)))


def expected_improvement(mean: Array, std: Array, best: float) -> Array:
    """Of a loss over the best so far (Jones et al. 1998)."""
    z = (best - mean) / std
    return np.asarray(std * (z * ndtr(z) + np.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)))


def _matrix(space: SearchSpace, configurations: list[Configuration]) -> Array:
    """(n, slots): a slot that a configuration lacks is 0; choices and learners count half."""
    rows = [space.encode(configuration) for configuration in configurations]
    places = {slot: place for place, slot in enumerate(dict.fromkeys(slot for row in rows for slot in row))}
    matrix = np.zeros((len(rows), len(places)))
    for number, row in enumerate(rows):
        for slot, value in row.items():
            matrix[number, places[slot]] = 0.5 * value if "=" in slot else value
    return matrix
