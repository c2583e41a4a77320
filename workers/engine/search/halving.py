"""Asynchronous successive halving (ASHA, Li et al. 2020): many configurations a little, the best of them more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..space import canonical
from ..types import Configuration, Fidelity, Proposal, Source, Trial
from .base import SearchContext, Seen

_ETA = 3  # one in so many is promoted
_FEW_ROWS = 2_000  # below, less than all rows says little: folds are the fidelity
_TOO_FEW_ROWS = 1_000  # below, one fold says little too


def ladder(context: SearchContext) -> tuple[Fidelity, ...]:
    """Fidelities from cheap to full. Rows where they are many, then one fold, then all; small tables: only all."""
    rungs: list[Fidelity] = []
    rows = context.size.rows
    if rows >= _FEW_ROWS * _ETA**2:
        rungs.append(Fidelity(rows=round(1 / _ETA**2, 4), folds=1))
    if rows >= _FEW_ROWS * _ETA:
        rungs.append(Fidelity(rows=round(1 / _ETA, 4), folds=1))
    if context.n_folds > 1 and rows >= _TOO_FEW_ROWS:
        rungs.append(Fidelity(folds=1))
    return (*rungs, Fidelity())


@dataclass
class _Rung:
    """Losses seen at one fidelity, and who has been promoted from it."""

    losses: dict[str, float] = field(default_factory=dict)
    configurations: dict[str, Configuration] = field(default_factory=dict)
    promoted: set[str] = field(default_factory=set)

    def candidates(self) -> list[str]:
        """Those of the top third that have not been promoted, best first."""
        best = sorted(self.losses, key=lambda text: (self.losses[text], text))[: len(self.losses) // _ETA]
        return [text for text in best if text not in self.promoted]


class AsynchronousHalving:
    """Promotes whenever a rung has someone to promote, else starts a random configuration at the bottom."""

    def __init__(self, context: SearchContext) -> None:
        self._space = context.space
        self._rng = np.random.default_rng(context.seed)
        self.fidelities = ladder(context)
        self._rungs = {fidelity: _Rung() for fidelity in self.fidelities}
        self._seen = Seen()

    def ask(self) -> Proposal | None:
        """A promotion, highest rung first, or something new; None if nothing new can be found."""
        return self.promotion() or self.newcomer()

    def promotion(self, affordable: Callable[[Proposal], bool] = lambda proposal: True) -> Proposal | None:
        """A configuration that has earned a higher fidelity, if there is one that the caller can afford."""
        for low, high in reversed(list(zip(self.fidelities, self.fidelities[1:], strict=False))):
            rung = self._rungs[low]
            for text in rung.candidates():
                proposal = Proposal(configuration=rung.configurations[text], fidelity=high, source=Source.HALVING)
                if affordable(proposal):
                    rung.promoted.add(text)
                    return proposal
        return None

    def newcomer(self, draw: Callable[[], Configuration] | None = None) -> Proposal | None:
        """A configuration not seen before, drawn from all of the space if no `draw` is given, where newcomers start."""
        drawn = self._seen.draw(draw if draw is not None else lambda: self._space.sample(self._rng))
        return None if drawn is None else Proposal(configuration=drawn, fidelity=self._start(), source=Source.RANDOM)

    def _start(self) -> Fidelity:
        return self.fidelities[0]

    def tell(self, trial: Trial) -> None:
        """Place its loss on its rung; another fidelity than ours, or a trial without a score, is only remembered."""
        configuration = trial.proposal.configuration
        text = canonical(configuration)
        self._seen.add(configuration)
        if trial.proposal.fidelity in self._rungs:  # whoever asked for it, it need not be promoted to here again
            for lower in self.fidelities[: self.fidelities.index(trial.proposal.fidelity)]:
                self._rungs[lower].promoted.add(text)
        rung = self._rungs.get(trial.proposal.fidelity)
        if rung is not None and trial.loss is not None:
            rung.losses[text] = trial.loss
            rung.configurations[text] = configuration


class Hyperband(AsynchronousHalving):
    """Brackets that start higher, each a third as often: for when low fidelities mislead (Li et al. 2018)."""

    def _start(self) -> Fidelity:
        chances = _ETA ** -np.arange(len(self.fidelities), dtype=np.float64)
        return self.fidelities[int(self._rng.choice(len(chances), p=chances / chances.sum()))]
