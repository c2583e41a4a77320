"""The greedy portfolio of past tasks, the like ones first where likeness is known."""

from __future__ import annotations

import numpy as np

from ..meta.portfolio import greedy_portfolio
from ..types import Proposal, Source, Trial
from .base import SearchContext, Seen

_SIZE = 50


class Portfolio:
    """The portfolio in its order, then random search; without a past, hand-written defaults take its place."""

    def __init__(self, context: SearchContext) -> None:
        self._space = context.space
        self._rng = np.random.default_rng(context.seed)
        self.seen = Seen()
        self._source, self._first = Source.DEFAULT, iter(self._space.defaults())
        self.past = None if context.past is None else context.past.within(self._space)
        if (past := self.past) is not None:
            order = greedy_portfolio(past.regrets, _SIZE, past.weights)
            self._source, self._first = Source.PORTFOLIO, iter([past.configurations[place] for place in order])

    def ask(self) -> Proposal | None:
        """The next of the list, or a random configuration; None if nothing new can be found."""
        if (listed := self.seen.first_new(self._first)) is not None:
            return Proposal(configuration=listed, source=self._source)
        drawn = self.seen.draw(lambda: self._space.sample(self._rng))
        return None if drawn is None else Proposal(configuration=drawn, source=Source.RANDOM)

    def tell(self, trial: Trial) -> None:
        """Remember it, so that it is not proposed again."""
        self.seen.add(trial.proposal.configuration)
