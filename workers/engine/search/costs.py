"""What a trial will cost here: rough hints, corrected by what the trials so far have taken.

Bayesian linear regression on the logarithm of seconds, and of megabytes. The hint enters with slope one; learned are by
how much it is wrong for all on this machine and table, how much more so for each learner, and how each learner's cost
grows with its hint. Priors are narrow, so that a first trial says much about the machine and little about another
learner's slope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ..learners.base import COLUMNS_PER_FEATURE, TRIAL_START_S, Size
from ..types import Proposal, Trial, TrialStatus
from .base import SearchContext

_PROCESS_MB = 15.0  # of a trial, whatever it fits
_COPIES = 5.0  # of the encoded table, its predictions included, that a trial holds at once
_CELL_MB = 8 / 2**20


@dataclass(frozen=True)
class _Prior:
    """Standard deviations of logarithms."""

    shared: float  #: of what all learners have in common
    own: float  #: of a learner
    slope: float  #: of how its cost grows with the hint
    noise: float  #: of a trial about all that


_SECONDS: Final = _Prior(shared=0.7, own=0.5, slope=0.15, noise=0.35)
_MEGABYTES: Final = _Prior(shared=0.3, own=0.6, slope=0.3, noise=0.25)


class CostModel:
    """Predicted seconds and megabytes of proposals. A function of the trials told; nothing else depends on it."""

    def __init__(self, context: SearchContext) -> None:
        self._context = context
        names = list(context.space.learners)
        self._seconds, self._megabytes = _Regression(names, _SECONDS), _Regression(names, _MEGABYTES)
        self._too_large: dict[str, float] = {}  #: fewest rows, as a share, with which a learner ran out of memory

    def tell(self, trial: Trial) -> None:
        """Learn from what a trial took; one that time ended took at least so long."""
        proposal = trial.proposal
        name = proposal.configuration["learner"]
        if name not in self._context.space.learners:
            return
        if trial.status is TrialStatus.OUT_OF_MEMORY:
            self._too_large[name] = min(proposal.fidelity.rows, self._too_large.get(name, 1.0))
            return
        is_cut = trial.timed or trial.status is TrialStatus.TIMED_OUT
        if trial.seconds > 0 and (trial.status.has_score or is_cut):
            self._seconds.tell(name, self._seconds_hint(proposal), trial.seconds, is_least=is_cut)
        if trial.memory_mb > 0 and trial.status.has_score:
            self._megabytes.tell(name, self._megabytes_hint(proposal), trial.memory_mb, is_least=is_cut)

    def seconds(self, proposal: Proposal) -> float:
        """Of a trial, on one thread."""
        return self._seconds.predict(proposal.configuration["learner"], self._seconds_hint(proposal))

    def megabytes(self, proposal: Proposal) -> float:
        """Private memory of a trial at its peak."""
        return self._megabytes.predict(proposal.configuration["learner"], self._megabytes_hint(proposal))

    def fits(self, proposal: Proposal) -> bool:
        """Whether its memory is within the limit of a trial; not if its learner ran out of it on no more rows."""
        if proposal.fidelity.rows >= self._too_large.get(proposal.configuration["learner"], np.inf):
            return False
        limit = self._context.trial_memory_mb
        return limit is None or self.megabytes(proposal) <= limit

    def _seconds_hint(self, proposal: Proposal) -> float:
        folds, fidelity = self._context.n_folds, proposal.fidelity
        count = folds if fidelity.folds is None else min(fidelity.folds, folds)
        return TRIAL_START_S + count * self._context.space.cost(proposal.configuration, self._encoded(proposal))

    def _megabytes_hint(self, proposal: Proposal) -> float:
        size = self._encoded(proposal)
        return _PROCESS_MB + _COPIES * _CELL_MB * size.rows * (size.columns + size.classes)

    def _encoded(self, proposal: Proposal) -> Size:
        size = self._context.size
        rows = round(size.rows * proposal.fidelity.rows)
        return Size(rows=rows, columns=COLUMNS_PER_FEATURE * size.columns, classes=size.classes)


class _Regression:
    """Of the logarithm of a cost on that of its hint."""

    def __init__(self, learners: Sequence[str], prior: _Prior) -> None:
        self._places = {name: place for place, name in enumerate(learners)}
        deviations = np.r_[prior.shared, np.tile([prior.own, prior.slope], len(learners))]
        self._noise = prior.noise
        self._precision = np.diag(deviations**-2.0)
        self._moment = np.zeros(len(deviations))
        self._mean: NDArray[Any] = np.zeros(len(deviations))

    def tell(self, name: str, hint: float, cost: float, *, is_least: bool) -> None:
        """Learn from a cost, which may have been cut short: then one that is below what is predicted says nothing."""
        if is_least and cost <= self.predict(name, hint):
            return
        row = self._row(name, hint)
        self._precision += np.outer(row, row) / self._noise**2
        self._moment += row * (np.log(cost) - np.log(hint)) / self._noise**2
        self._mean = np.asarray(np.linalg.solve(self._precision, self._moment))

    def predict(self, name: str, hint: float) -> float:
        """The median of the cost."""
        return float(hint * np.exp(self._row(name, hint) @ self._mean))

    def _row(self, name: str, hint: float) -> NDArray[np.float64]:
        row = np.zeros(len(self._mean))
        row[0] = 1.0
        place = 1 + 2 * self._places[name]
        row[place : place + 2] = 1.0, np.log(hint)
        return row
