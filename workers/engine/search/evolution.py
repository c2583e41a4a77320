"""Regularised evolution (Real et al. 2019): the best of a few becomes a parent, the oldest are forgotten."""

from __future__ import annotations

from collections import deque

import numpy as np

from ..types import Configuration, Fidelity, Proposal, Source, Trial
from .base import SearchContext, Seen

_POPULATION, _TOURNAMENT = 24, 6


class Evolution:
    """Hand-written defaults are the first generation; children are neighbours of tournament winners."""

    def __init__(self, context: SearchContext) -> None:
        self._space = context.space
        self._rng = np.random.default_rng(context.seed)
        self._first = iter(self._space.defaults()[:_POPULATION])
        self._population: deque[tuple[float, Configuration]] = deque(maxlen=_POPULATION)
        self._seen = Seen()

    def ask(self) -> Proposal | None:
        """A default, a child, or a stranger; None if nothing new can be found."""
        if (default := self._seen.first_new(self._first)) is not None:
            return Proposal(configuration=default, source=Source.DEFAULT)
        born = self._seen.draw(self._child)
        return None if born is None else Proposal(configuration=born, source=Source.OPTIMISER)

    def tell(self, trial: Trial) -> None:
        """A trial at full fidelity joins the population."""
        configuration = trial.proposal.configuration
        self._seen.add(configuration)
        is_known = configuration["learner"] in self._space.learners
        if is_known and trial.loss is not None and trial.proposal.fidelity == Fidelity():
            self._population.append((trial.loss, configuration))

    def _child(self) -> Configuration:
        if len(self._population) < _TOURNAMENT:
            return self._space.sample(self._rng)
        rivals = self._rng.choice(len(self._population), _TOURNAMENT, replace=False)
        parent = min((self._population[place] for place in rivals), key=lambda pair: pair[0])[1]
        return self._space.mutated(parent, self._rng)
