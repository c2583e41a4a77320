"""How long a trial will take here: each learner's hint, corrected by what the trials so far have taken.

Bayesian linear regression on log seconds. The hint enters with slope one; learned are how slow this machine and table
are for all, how much more so for each learner, and how each learner's time grows with its hint. Priors are narrow, so
that a first trial says much about the machine and little about another learner's slope.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..learners.base import COLUMNS_PER_FEATURE, TRIAL_START_S, Size
from ..types import Proposal, Trial, TrialStatus
from .base import SearchContext

_SHARED, _OWN, _SLOPE = 0.7, 0.5, 0.15  # prior deviations: of all, of a learner, of its growth
_NOISE = 0.35  # of a trial's log seconds about what the model says


class CostModel:
    """Predicted seconds of proposals. A function of the trials told; nothing but the budget's use depends on it."""

    def __init__(self, context: SearchContext) -> None:
        self._context = context
        self._places = {name: place for place, name in enumerate(context.space.learners)}
        width = 1 + 2 * len(self._places)
        prior = np.r_[_SHARED, np.tile([_OWN, _SLOPE], len(self._places))]
        self._precision = np.diag(prior**-2.0)
        self._moment = np.zeros(width)
        self._mean: NDArray[Any] = np.zeros(width)
        self._too_large: dict[str, float] = {}  #: fewest rows, as a share, with which a learner ran out of memory

    def tell(self, trial: Trial) -> None:
        """Learn from what a trial took; one that time ended took at least so long."""
        proposal = trial.proposal
        name = proposal.configuration["learner"]
        if name not in self._places:
            return
        if trial.status is TrialStatus.OUT_OF_MEMORY:
            self._too_large[name] = min(proposal.fidelity.rows, self._too_large.get(name, 1.0))
            return
        is_cut = trial.timed or trial.status is TrialStatus.TIMED_OUT
        if trial.seconds <= 0 or not (trial.status.has_score or is_cut):
            return
        hint = self._hint(proposal)
        if is_cut and trial.seconds <= self._predict(name, hint):
            return
        row = self._row(name, hint)
        self._precision += np.outer(row, row) / _NOISE**2
        self._moment += row * (np.log(trial.seconds) - np.log(hint)) / _NOISE**2
        self._mean = np.asarray(np.linalg.solve(self._precision, self._moment))

    def seconds(self, proposal: Proposal) -> float:
        """Of a trial, on one thread."""
        return self._predict(proposal.configuration["learner"], self._hint(proposal))

    def fits(self, proposal: Proposal) -> bool:
        """False if its learner ran out of memory on no more rows."""
        return proposal.fidelity.rows < self._too_large.get(proposal.configuration["learner"], np.inf)

    def _predict(self, name: str, hint: float) -> float:
        return float(hint * np.exp(self._row(name, hint) @ self._mean))

    def _row(self, name: str, hint: float) -> NDArray[np.float64]:
        row = np.zeros(len(self._mean))
        row[0] = 1.0
        place = 1 + 2 * self._places[name]
        row[place : place + 2] = 1.0, np.log(hint)
        return row

    def _hint(self, proposal: Proposal) -> float:
        size, fidelity, folds = self._context.size, proposal.fidelity, self._context.n_folds
        encoded = Size(
            rows=round(size.rows * fidelity.rows), columns=COLUMNS_PER_FEATURE * size.columns, classes=size.classes
        )
        count = folds if fidelity.folds is None else min(fidelity.folds, folds)
        return TRIAL_START_S + count * self._context.space.cost(proposal.configuration, encoded)
