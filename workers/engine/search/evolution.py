"""Regularised evolution (Real et al. 2019): the best of a few becomes a parent, the oldest are forgotten."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..space import canonical
from ..types import Configuration, Fidelity, Proposal, Source, Trial
from .base import SearchContext
from .bayesian import mutated

_POPULATION, _TOURNAMENT = 24, 6
_PATIENCE = 100


class Evolution:
    """Hand-written defaults are the first generation; children are neighbours of tournament winners."""

    def __init__(self, context: SearchContext) -> None:
        self._space = context.space
        self._rng = np.random.default_rng(context.seed)
        self._first = self._space.defaults()[:_POPULATION]
        self._population: deque[tuple[float, Configuration]] = deque(maxlen=_POPULATION)
        self._seen: set[str] = set()

    def ask(self) -> Proposal | None:
        """A default, a child, or a stranger; None if nothing new can be found."""
        while self._first:
            configuration = self._first.pop(0)
            if self._is_new(configuration):
                return Proposal(configuration=configuration, source=Source.DEFAULT)
        for _ in range(_PATIENCE):
            configuration = self._child() if len(self._population) >= _TOURNAMENT else self._space.sample(self._rng)
            if self._is_new(configuration):
                return Proposal(configuration=configuration, source=Source.OPTIMISER)
        return None

    def tell(self, trial: Trial) -> None:
        """A trial at full fidelity joins the population."""
        configuration = trial.proposal.configuration
        self._seen.add(canonical(configuration))
        if trial.loss is not None and trial.proposal.fidelity == Fidelity():
            self._population.append((trial.loss, configuration))

    def _child(self) -> Configuration:
        rivals = self._rng.choice(len(self._population), _TOURNAMENT, replace=False)
        return mutated(min((self._population[place] for place in rivals), key=lambda pair: pair[0])[1], self._rng)

    def _is_new(self, configuration: Configuration) -> bool:
        text = canonical(configuration)
        is_new = text not in self._seen
        self._seen.add(text)
        return is_new
