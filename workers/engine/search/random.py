"""Random search: the plain method that every other must beat."""

from __future__ import annotations

import numpy as np

from ..space import canonical
from ..types import Proposal, Source, Trial
from .base import SearchContext

_PATIENCE = 100  # draws that found nothing new before the space counts as exhausted


class RandomSearch:
    """Configurations drawn one by one, none twice."""

    def __init__(self, context: SearchContext) -> None:
        self._space = context.space
        self._rng = np.random.default_rng(context.seed)
        self._seen: set[str] = set()

    def ask(self) -> Proposal | None:
        """A configuration not proposed or told before; None if none can be found."""
        for _ in range(_PATIENCE):
            configuration = self._space.sample(self._rng)
            text = canonical(configuration)
            if text not in self._seen:
                self._seen.add(text)
                return Proposal(configuration=configuration, source=Source.RANDOM)
        return None

    def tell(self, trial: Trial) -> None:
        """Remember it, so that it is not proposed again."""
        self._seen.add(canonical(trial.proposal.configuration))
