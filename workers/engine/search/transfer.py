"""Search among configurations that past tasks have tried, by what those tasks say of this one."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from ..meta.past import WORST
from ..meta.transfer import TransferSurrogate
from ..space import canonical
from ..types import Configuration, Fidelity, Proposal, Source, Trial
from .base import SearchContext
from .portfolio import Portfolio

Array = NDArray[np.float64]

_FEW = 9  # observations up to which the portfolio of like tasks has a say
_SAY = 20.0  # of its regret reduction against expected improvement, by the number of observations


class Transfer:
    """A portfolio that adapts: greedy at first, weighed by likeness as losses come in, then expected improvement.

    Where the past has nothing left, random search; without one, what the portfolio does without one.
    """

    def __init__(self, context: SearchContext) -> None:
        self._portfolio = Portfolio(context)
        self.seen = self._portfolio.seen
        self._advice = None if self._portfolio.past is None else Advice(context)
        self.candidates = [] if self._advice is None else self._advice.configurations

    def ask(self) -> Proposal | None:
        """What promises most; the portfolio's next before a loss is known, and where nothing of the past is left."""
        if self.is_ready:
            promising = (self.candidates[place] for place in np.argsort(-self.worth(), kind="stable"))
            if (found := self.seen.first_new(promising)) is not None:
                return Proposal(configuration=found, source=Source.SURROGATE)
        return self._portfolio.ask()

    def tell(self, trial: Trial) -> None:
        """Learn from a trial at full fidelity of a configuration that the past knows."""
        self.seen.add(trial.proposal.configuration)
        if self._advice is not None:
            self._advice.tell(trial)

    @property
    def is_ready(self) -> bool:
        """Whether a loss is known, of a configuration that the past knows."""
        return self._advice is not None and self._advice.is_informed

    def worth(self) -> Array:
        """(candidates,) of trying each next."""
        assert self._advice is not None
        return self._advice.gains()


class Advice:
    """What the past says of each of its configurations, given what this task's trials have shown.

    Args:
        context: with a past that has something in this space.
    """

    def __init__(self, context: SearchContext) -> None:
        past = None if context.past is None else context.past.within(context.space)
        assert past is not None
        self.configurations: list[Configuration] = list(past.configurations)
        self._places = {canonical(configuration): place for place, configuration in enumerate(self.configurations)}
        self._constant_loss = context.constant_loss
        self._surrogate = TransferSurrogate(past)
        self._observed: dict[int, float] = {}
        self._failed: set[int] = set()

    @property
    def is_informed(self) -> bool:
        """Whether a loss is known here."""
        return bool(self._observed)

    def tell(self, trial: Trial) -> None:
        """Learn from a trial at full fidelity of a configuration that the past knows."""
        place = self._places.get(canonical(trial.proposal.configuration))
        if place is None or trial.proposal.fidelity != Fidelity():
            return
        if trial.loss is not None:
            self._observed[place] = min(trial.loss / self._constant_loss, WORST)
        else:
            self._failed.add(place)

    def gains(self, begun: Collection[str] = ()) -> Array:
        """(configurations,) what each promises, as shares of a task's range of losses.

        Args:
            begun: canonical texts of what was asked for, of which some run still.
        """
        places = list(self._observed)
        running = {self._places[text] for text in begun if text in self._places}
        pending = sorted(running - self._observed.keys() - self._failed)
        guesses = self._surrogate.guesses(places, np.array(list(self._observed.values())), pending)
        gains = guesses.expected_improvement()
        if len(places) <= _FEW:
            gains = gains + _SAY / max(1, len(places)) * guesses.regret_reduction()
        return gains
