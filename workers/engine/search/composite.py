"""Two minds about past tasks, of which neither is trusted alone."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..space import canonical
from ..types import Configuration, Proposal, Source, Trial
from .base import SearchContext
from .learned import MannSearch
from .transfer import Transfer

_SOFT = 1.0  # added to ranks: being first with one is not everything


class Composite:
    """What `transfer` and the memory-augmented surrogate rank highest together.

    Ranks, since their gains are not on one scale; a product of them, since to be high with either counts more than to
    be middling with both. Until both have something to say, and where nothing of the past is left, `transfer` alone.
    """

    needs = MannSearch.needs

    def __init__(self, context: SearchContext) -> None:
        self._transfer, self._mann = Transfer(context), MannSearch(context)
        self._seen = self._transfer.seen
        places = {canonical(one): place for place, one in enumerate(self._transfer.candidates)}
        self._places = [places[canonical(one)] for one in self._mann.candidates]

    def ask(self) -> Proposal | None:
        """What both rank high."""
        is_ready = self._transfer.is_ready and self._mann.is_ready
        if is_ready and (found := self._seen.first_new(self._agreed())) is not None:
            return Proposal(configuration=found, source=Source.SURROGATE)
        return self._transfer.ask()

    def tell(self, trial: Trial) -> None:
        """Both learn from it."""
        self._transfer.tell(trial)
        self._mann.tell(trial)

    def _agreed(self) -> Iterator[Configuration]:
        candidates = self._mann.candidates
        free = [place for place, one in enumerate(candidates) if not self._seen.has(one)]
        both = self._mann.worth()[free], self._transfer.worth()[self._places][free]
        ranks = [np.argsort(np.argsort(-worth, kind="stable"), kind="stable") + 1 for worth in both]
        order = np.argsort((ranks[0] + _SOFT) * (ranks[1] + _SOFT), kind="stable")
        return (candidates[free[place]] for place in order)
