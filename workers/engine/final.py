"""From trials to a model: select, refit, score, assemble; never later than the budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .bundle.runtime.members import load_member
from .bundle.save import BundleMember, assemble
from .candidates import Candidates, Store
from .ensemble import select
from .errors import NoModelError
from .evaluation.honest import bbc_score, holdout_score
from .evaluation.pool import TrialPool
from .types import Score, Trial

if TYPE_CHECKING:
    from .fit import Clock

Array = NDArray[Any]

_SELECT_S, _SCORE_S, _ASSEMBLE_S = 0.7, 1.0, 0.6
_REFIT_SHARE = 0.25  # of the budget that refits may take
_MORE_ROUNDS = 1.05  # a refit sees more rows than the folds that chose its rounds
_REFIT_MARGIN = 1.3  # a refit may take so much longer than predicted


@dataclass(frozen=True)
class Finished:
    """A bundle with what it is."""

    path: Path
    manifest: Mapping[str, Any]
    weights: dict[int, float]  #: by trial number
    score: Score


class Finaliser:
    """Makes bundles of what a store holds."""

    def __init__(self, store: Store, ensemble: bool, pool: TrialPool, scratch: Path, clock: Clock) -> None:
        self.store, self.ensemble, self.pool, self.scratch, self.clock = store, ensemble, pool, scratch, clock
        self.prepared = store.prepared
        self.task = store.prepared.task

    def reserve_s(self) -> float:
        """Seconds to keep for `run`."""
        budget = self.clock.budget().seconds
        if budget is None:
            return 0.0
        fixed = min(0.2 * budget, _SELECT_S + _ASSEMBLE_S + 0.3)
        best = self.store.scored()[: 5 if self.ensemble else 1]
        refits = sum(self._refit_s(trial) for trial in best) / self.pool.workers
        return fixed + min(_REFIT_SHARE * budget, refits)

    def best_so_far(self) -> Finished | None:
        """The best single trial, its fold models averaged; None if its artefacts are gone."""
        candidates = self.store.candidates()
        if candidates is None:
            return None
        weights = {candidates.trials[0].number: 1.0}
        score = self._oof_score(candidates, is_ensemble=False, seconds=0.1)
        return self._assemble("best.zip", weights, {}, score, reproducible=False)

    def run(self, reproducible: bool) -> Finished:
        """The final model.

        Raises:
            NoModelError: no artefacts are left of any trial with a score.
        """
        candidates = self.store.candidates()
        if candidates is None:
            raise NoModelError("Trials had scores, but what they stored is gone.")
        weights = self._select(candidates)
        scores = [] if (holdout := self._holdout_score(weights)) is None else [holdout]

        def score() -> None:
            if not scores:
                seconds = self._spare(_SCORE_S)
                scores.append(self._oof_score(candidates, is_ensemble=self.ensemble, seconds=seconds))

        refitted = self._refit(self._plan_refits(weights), score)
        return self._assemble("model.zip", weights, refitted, scores[0], reproducible=reproducible)

    def _select(self, candidates: Candidates) -> dict[int, float]:
        if not self.ensemble or len(candidates.trials) == 1:
            return {candidates.trials[0].number: 1.0}
        seconds = self._spare(_SELECT_S)
        until = None if seconds is None else time.monotonic() + seconds
        chosen = select(self.task.metric, candidates.y, candidates.predictions, candidates.weights, until=until)
        return {candidates.trials[place].number: weight for place, weight in chosen.weights.items()}

    def _oof_score(self, candidates: Candidates, *, is_ensemble: bool, seconds: float | None) -> Score:
        return bbc_score(
            self.task.metric,
            candidates.y,
            candidates.predictions,
            candidates.weights,
            ensemble=is_ensemble,
            seed=self.task.seed,
            seconds=seconds,
        )

    def _holdout_score(self, weights: Mapping[int, float]) -> Score | None:
        rows = self.prepared.splits.holdout
        if rows is None:
            return None
        columns = self.prepared.rows(rows)
        total: Any = 0.0
        for number, weight in weights.items():
            folders = self.store.fold_folders(number)
            total = total + weight * np.mean(
                [load_member(folder).predict_columns(columns) for folder in folders], axis=0
            )
        row_weights = None if self.prepared.weights is None else np.asarray(self.prepared.weights[rows])
        return holdout_score(
            self.task.metric, np.asarray(self.prepared.y[rows]), total, row_weights, seed=self.task.seed
        )

    def _plan_refits(self, weights: Mapping[int, float]) -> list[int]:
        """Numbers of the members that can be refitted in time, heaviest first."""
        left = self._spare(None)
        planned: list[int] = []
        used = 0.0
        for number in sorted(weights, key=lambda number: (-weights[number], number)):
            expected = self._refit_s(self.store.trials[number])
            if (
                left is None
                or _REFIT_MARGIN * max(expected, (used + expected) / self.pool.workers) <= left - _ASSEMBLE_S
            ):
                planned.append(number)
                used += expected
        return planned

    def _refit(self, planned: Sequence[int], meanwhile: Callable[[], None]) -> dict[int, Path]:
        """Members that were refitted, by trial number. `meanwhile` runs in this process beside the first of them."""
        waiting = list(planned)
        refitted: dict[int, Path] = {}
        while waiting and self.pool.has_room:
            self._submit_refit(waiting.pop(0))
        meanwhile()
        while waiting or self.pool.running:
            while waiting and self.pool.has_room:
                self._submit_refit(waiting.pop(0))
            left = self._spare(None)
            if left is not None and left < _ASSEMBLE_S:
                self.pool.kill_all()
                break
            for finished in self.pool.wait(0.5 if left is None else max(0.01, min(0.5, left - _ASSEMBLE_S))):
                if finished.trial.status.has_score:
                    refitted[finished.trial.number] = finished.folder / "fold_0"
        return refitted

    def _submit_refit(self, number: int) -> None:
        trial = self.store.trials[number]
        best = trial.best_iterations
        self.pool.submit_refit(
            number,
            trial.proposal,
            iterations=max(1, round(_MORE_ROUNDS * float(np.mean(best)))) if best else None,
            seconds=None,
            memory_mb=self.clock.budget().trial_memory_mb,
        )

    def _assemble(
        self,
        name: str,
        weights: Mapping[int, float],
        refitted: Mapping[int, Path],
        score: Score,
        *,
        reproducible: bool,
    ) -> Finished:
        members: list[BundleMember] = []
        kept: dict[int, float] = {}
        for number, weight in weights.items():
            folders = [refitted[number]] if number in refitted else self.store.fold_folders(number)
            if folders:
                members.append((weight, folders, _about(self.store.trials[number])))
                kept[number] = weight
        if not members:
            raise NoModelError("What the chosen trials stored is gone.")
        path = self.scratch / name
        extra = {
            "rows": len(self.prepared.y),
            "validation": str(self.prepared.splits.scheme),
            "folds": len(self.prepared.splits.folds),
            "trials": len(self.store.trials),
            "seed": self.task.seed,
            "reproducible": reproducible,
        }
        manifest = assemble(
            path, task=self.task, schema=self.prepared.schema, members=members, score=score, extra=extra
        )
        return Finished(path, manifest, kept, score)

    def _refit_s(self, trial: Trial) -> float:
        """Predicted seconds: a fold's, scaled to all rows."""
        folds = max(1, len(trial.fold_losses))
        fold = self.prepared.splits.folds[0][0]
        return trial.seconds / folds * len(self.prepared.y) / max(1, len(fold))

    def _spare(self, wanted: float | None) -> float | None:
        """Seconds for a step: what it wants, or what is left; None without a time limit."""
        left = self.clock.left()
        if left is None:
            return None
        return max(0.0, left if wanted is None else min(wanted, left - _ASSEMBLE_S))


def _about(trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "learner": trial.proposal.configuration["learner"],
        "configuration": dict(trial.proposal.configuration),
        "loss": trial.loss,
    }
