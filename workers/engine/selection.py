"""Which trials make the model, with what weights, and within which limits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .candidates import Candidates, Store
from .catalog import get_learner
from .ensemble import blend, select
from .evaluation.calibration import Calibration, calibrate
from .stacking import Stacker
from .types import Limits, Scheme, Trial, TrialStatus

Array = NDArray[Any]

_FOLDS_WORTH_KEEPING = 3
_LIMIT_MARGIN = 0.8  # of a limit that selection may use: a refit has more rows, other machines are slower


@dataclass(frozen=True)
class Chosen:
    """An ensemble by trial number, and the stackers above it; all weights together sum to one."""

    weights: dict[int, float]
    loss: float
    calibration: Calibration
    stack: tuple[tuple[float, Stacker], ...] = ()

    @property
    def shares(self) -> dict[int, float]:
        """Of each trial that the model needs: its weight, and its part in those of the stackers that read it."""
        shares = dict(self.weights)
        for weight, stacker in self.stack:
            for number in stacker.inputs:
                shares[number] = shares.get(number, 0.0) + weight / len(stacker.inputs)
        return shares


class Selection:
    """Chooses among what a store holds, by out-of-fold predictions and what a model may cost.

    Args:
        store: of the trials.
        ensemble: whether several may be in one model.
        limits: on the model.
    """

    def __init__(self, store: Store, ensemble: bool, limits: Limits) -> None:
        self.store, self.ensemble = store, ensemble
        self.prepared, self.metric = store.prepared, store.prepared.task.metric
        self.room = np.array([limits.predict_ms_per_row or np.inf, limits.megabytes or np.inf])
        self.is_limited = bool(np.isfinite(self.room).any())

    def select(self, candidates: Candidates, until: float | None, stackers: Sequence[Stacker] = ()) -> Chosen:
        """The ensemble, or the best alone; content with what there is at `until`, of `time.monotonic()`."""
        if not self.ensemble or len(candidates.trials) == 1:
            return self.single(candidates)
        predictions = predictions_of(candidates, stackers)
        allowing = self.allowing(candidates)
        chosen = select(self.metric, candidates.y, predictions, candidates.weights, until=until, is_allowed=allowing)
        return self._chosen(candidates, chosen.weights, chosen.loss, stackers)

    def single(self, candidates: Candidates) -> Chosen:
        """The best of the whole ones that the limits allow; of the rest if there is none."""
        is_allowed = self.allowing(candidates)
        allowed = [place for place in range(len(candidates.trials)) if is_allowed({place})]
        whole = (place for place in allowed if candidates.trials[place].status is TrialStatus.SUCCEEDED)
        best = next(whole, allowed[0])
        loss = candidates.trials[best].loss
        assert loss is not None
        return self._chosen(candidates, {best: 1.0}, loss)

    def allowing(self, candidates: Candidates) -> Callable[[Collection[int]], bool]:
        """Whether members, by place, keep the limits together; if none does alone, the one that comes nearest does."""
        if not self.is_limited:
            return lambda members: True
        used = np.array([self._footprint(trial) for trial in candidates.trials]) / (_LIMIT_MARGIN * self.room)
        nearest = int(np.argmin(used.max(axis=1)))
        return lambda members: set(members) == {nearest} or bool((used[list(members)].sum(axis=0) <= 1).all())

    def cut(self, chosen: Chosen, refitted: Mapping[int, Trial]) -> Chosen:
        """Without the lightest members, if refits turned out slower or larger than the limits allow."""
        kept = dict(sorted(chosen.weights.items(), key=lambda item: (-item[1], item[0])))
        used = {number: np.array(self._footprint(refitted.get(number, self.store.trials[number]))) for number in kept}
        while len(kept) > 1 and (np.sum([used[number] for number in kept], axis=0) > self.room).any():
            kept.popitem()
        total = sum(kept.values())
        return replace(chosen, weights={number: weight / total for number, weight in kept.items()})

    def keeps_folds(self, trial: Trial) -> bool:
        """Whether the average of its fold models is the final model; see docs/decisions/0003-final-model.md."""
        splits = self.prepared.splits
        is_spread = splits.scheme not in (Scheme.HOLDOUT, Scheme.TIME) and splits.holdout is None
        is_many = len(trial.fold_losses) >= _FOLDS_WORTH_KEEPING
        return is_spread and is_many and get_learner(trial.proposal.configuration["learner"]).keeps_folds

    def _footprint(self, trial: Trial) -> tuple[float, float]:
        """Milliseconds a row and megabytes of a member in the final model."""
        copies = len(trial.fold_losses) if self.keeps_folds(trial) else 1
        return copies * trial.predict_ms_per_row, copies * trial.megabytes

    def _chosen(
        self, candidates: Candidates, weights: dict[int, float], loss: float, stackers: Sequence[Stacker] = ()
    ) -> Chosen:
        """Candidates by place, stackers after them, calibrated together."""
        blended = blend(predictions_of(candidates, stackers), weights)
        calibration = calibrate(self.metric, candidates.y, blended, candidates.weights)
        count = len(candidates.trials)
        numbers = {candidates.trials[place].number: weight for place, weight in weights.items() if place < count}
        stack = tuple((weight, stackers[place - count]) for place, weight in weights.items() if place >= count)
        return Chosen(numbers, loss, calibration, stack)


def predictions_of(candidates: Candidates, stackers: Sequence[Stacker]) -> list[Array]:
    """Out-of-fold predictions to choose from: the candidates', then the stackers'."""
    return [*candidates.predictions, *(stacker.prediction for stacker in stackers)]
