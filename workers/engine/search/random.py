"""Random search: the plain method that every other must beat."""

from __future__ import annotations

import numpy as np

from ..types import Proposal, Source, Trial
from .base import SearchContext, Seen


class RandomSearch:
    """Configurations drawn one by one, none twice."""

    def __init__(self, context: SearchContext) -> None:
        self._space = context.space
        self._rng = np.random.default_rng(context.seed)
        self._seen = Seen()

    def ask(self) -> Proposal | None:
        """A configuration not proposed or told before; None if none can be found."""
        drawn = self._seen.draw(lambda: self._space.sample(self._rng))
        return None if drawn is None else Proposal(configuration=drawn, source=Source.RANDOM)

    def tell(self, trial: Trial) -> None:
        """Remember it, so that it is not proposed again."""
        self._seen.add(trial.proposal.configuration)
