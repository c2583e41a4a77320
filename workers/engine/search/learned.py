"""Search by metamodels, networks that have practised on past tasks."""

from __future__ import annotations

from functools import cached_property
from typing import ClassVar

import numpy as np

from ..meta.metamodel import Array
from ..meta.past import WORST, Past
from ..meta.vocabulary import Encoded
from ..space import canonical
from ..types import Configuration, Fidelity, Proposal, Source, Trial
from .base import SearchContext
from .portfolio import Portfolio

_OPENING = 3  # trials that the portfolio proposes


class Learned:
    """The portfolio's first few, then whatever of the past's configurations its metamodel thinks worth most.

    Without a past or the metamodel, and where nothing is left, what the portfolio does.
    """

    needs: ClassVar[tuple[str]]  #: the metamodel
    source: ClassVar[Source]

    def __init__(self, context: SearchContext) -> None:
        self._space, self._constant_loss = context.space, context.constant_loss
        self._portfolio = Portfolio(context)
        self._seen = self._portfolio.seen
        self._model = context.metamodels.get(self.needs[0])
        self._trials: dict[str, tuple[Configuration, float]] = {}  #: by canonical text, in order of telling
        self.candidates = self._known_of(self._portfolio.past)

    def ask(self) -> Proposal | None:
        """What is worth most; the portfolio's next in the opening, and where nothing of the past is left."""
        if self.is_ready:
            worthy = (self.candidates[place] for place in np.argsort(-self.worth(), kind="stable"))
            if (found := self._seen.first_new(worthy)) is not None:
                return Proposal(configuration=found, source=self.source)
        return self._portfolio.ask()

    def tell(self, trial: Trial) -> None:
        """Learn from a trial at full fidelity, of a learner that the metamodel knows."""
        configuration = trial.proposal.configuration
        self._seen.add(configuration)
        if self._model is None or not self._model.vocabulary.knows(configuration):
            return
        if trial.loss is not None and trial.proposal.fidelity == Fidelity():
            self._trials[canonical(configuration)] = configuration, min(trial.loss / self._constant_loss, WORST)

    @property
    def is_ready(self) -> bool:
        """Whether the opening is over, and there are candidates."""
        return len(self._trials) >= _OPENING and bool(self.candidates)

    def worth(self) -> Array:
        """(candidates,) of trying each next; dividing it by predicted seconds makes it a rate."""
        assert self._model is not None
        trials = self._model.encode([configuration for configuration, _ in self._trials.values()], self._space)
        losses = np.array([loss for _, loss in self._trials.values()])
        return self._model.gains(trials, losses, self._encoded)

    @cached_property
    def _encoded(self) -> Encoded:
        assert self._model is not None
        return self._model.encode(self.candidates, self._space)

    def _known_of(self, past: Past | None) -> list[Configuration]:
        if self._model is None or past is None:
            return []
        return [configuration for configuration in past.configurations if self._model.vocabulary.knows(configuration)]


class RnnSearch(Learned):
    """By the recurrent surrogate."""

    needs, source = ("rnn",), Source.SURROGATE


class MannSearch(Learned):
    """By the memory-augmented surrogate."""

    needs, source = ("mann",), Source.SURROGATE


class LstmSearch(Learned):
    """By the learned optimiser."""

    needs, source = ("lstm_optimiser",), Source.OPTIMISER
