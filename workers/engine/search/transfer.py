"""Search among configurations that past tasks have tried, by what those tasks say of this one."""

from __future__ import annotations

import numpy as np

from ..meta.transfer import TransferSurrogate
from ..space import canonical
from ..types import Fidelity, Proposal, Source, Trial
from .base import SearchContext
from .portfolio import Portfolio

_FEW = 9  # observations up to which the portfolio of like tasks has a say
_SAY = 20.0  # of its regret reduction against expected improvement, by the number of observations


class Transfer:
    """A portfolio that adapts: greedy at first, weighed by likeness as losses come in, then expected improvement.

    Where the past has nothing left, random search; without one, what the portfolio does without one.
    """

    def __init__(self, context: SearchContext) -> None:
        self._constant_loss = context.constant_loss
        self._portfolio = Portfolio(context)
        self.seen = self._portfolio.seen
        past = self._portfolio.past
        self.candidates = [] if past is None else list(past.configurations)
        self._places = {canonical(configuration): place for place, configuration in enumerate(self.candidates)}
        self._surrogate = None if past is None else TransferSurrogate(past)
        self._observed: dict[int, float] = {}

    def ask(self) -> Proposal | None:
        """What promises most; the portfolio's next before a loss is known, and where nothing of the past is left."""
        if self.is_ready:
            promising = (self.candidates[place] for place in np.argsort(-self.worth(), kind="stable"))
            if (found := self.seen.first_new(promising)) is not None:
                return Proposal(configuration=found, source=Source.SURROGATE)
        return self._portfolio.ask()

    def tell(self, trial: Trial) -> None:
        """Learn from a trial at full fidelity of a configuration that the past knows."""
        configuration = trial.proposal.configuration
        self.seen.add(configuration)
        place = self._places.get(canonical(configuration))
        if place is not None and trial.loss is not None and trial.proposal.fidelity == Fidelity():
            self._observed[place] = trial.loss / self._constant_loss

    @property
    def is_ready(self) -> bool:
        """Whether a loss is known, of a configuration that the past knows."""
        return bool(self._observed)

    def worth(self) -> np.ndarray:
        """(candidates,) of trying each next."""
        assert self._surrogate is not None
        places, losses = list(self._observed), np.array(list(self._observed.values()))
        guesses = self._surrogate.guesses(places, losses)
        gains = guesses.expected_improvement()
        if len(places) <= _FEW:
            gains = gains + _SAY / len(places) * guesses.regret_reduction()
        return gains
