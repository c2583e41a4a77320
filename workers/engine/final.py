"""From trials to a model: select, refit, score, assemble; never later than the budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .bundle.runtime.members import Member, load_member
from .bundle.runtime.model import Stacker as Reader
from .bundle.runtime.model import blended
from .bundle.save import BundleMember, assemble
from .candidates import Candidates, Store
from .errors import NoModelError
from .evaluation.honest import bbc_score, holdout_score
from .evaluation.pool import Finished as Ended
from .evaluation.pool import TrialPool
from .selection import Chosen, Selection, predictions_of
from .space import Space
from .stacking import Stacker, StackPlan
from .types import Configuration, Limits, Score, Trial

if TYPE_CHECKING:
    from .fit import Clock

Array = NDArray[Any]

_SELECT_S, _SCORE_S, _HOLDOUT_S = 0.7, 1.0, 1.0
_ASSEMBLE_S, _ASSEMBLE_BYTES_PER_S = 0.3, 15e6  # of models, compressed, written and published
_REFIT_SHARE = 0.25  # of the budget that refits may take
_STACK_SHARE = 0.08  # of the budget that a second layer may be predicted to take
_STACK_GAIN = 0.002  # of the loss, without which it is not worth its members' time at prediction
_MORE_ROUNDS = 1.05  # a refit sees more rows than the folds that chose its rounds
_REFIT_MARGIN = 1.1  # a refit may take so much longer than predicted; one that is late leaves its fold models
_NO_PATIENCE = 0.8  # of a fold's time, for a refit that need not find out when to stop
_EARLY_BYTES = 20e6  # of fold models in a bundle that is not the last
_LIKELY = 5  # members to reckon with before an ensemble was chosen
_CHUNK = 1000  # rows of the holdout predicted between two looks at the clock


@dataclass(frozen=True)
class Finished:
    """A bundle with what it is."""

    path: Path
    manifest: Mapping[str, Any]
    weights: dict[int, float]  #: by trial number, stackers' weights spread over what they read
    loss: float  #: on the rows that chose it
    score: Score


class Finaliser:
    """Makes bundles of what a store holds."""

    def __init__(
        self, store: Store, space: Space, ensemble: bool, limits: Limits, pool: TrialPool, scratch: Path, clock: Clock
    ) -> None:
        self.store, self.ensemble, self.pool, self.scratch, self.clock = store, ensemble, pool, scratch, clock
        self.selection = Selection(store, ensemble, limits)
        self.stack_plan = StackPlan(store.prepared, space, pool.workers)
        self.prepared = store.prepared
        self.task = store.prepared.task
        self._members: list[Trial] = []  #: of the ensemble last chosen, heaviest first

    def reserve_s(self) -> float:
        """Seconds to keep for `run`."""
        budget = self.clock.budget().seconds
        if budget is None:
            return 0.0
        best = self._likely()
        holdout = 0.0 if self.prepared.splits.holdout is None else _HOLDOUT_S
        size = sum(self._final_bytes(trial.number) for trial in best)
        fixed = _SELECT_S + holdout + 0.3 + _assemble_s(size)
        _, refits = self._refits_within(best, _REFIT_SHARE * budget)
        return min(0.2 * budget, fixed) + refits + self._affordable_stack()[1]

    def _affordable_stack(self) -> tuple[list[Configuration], float]:
        """Stackers to fit, and their predicted seconds. Limits on the model leave no room for twelve members."""
        if not self.ensemble or self.selection.is_limited:
            return [], 0.0
        seconds = self.clock.budget().seconds
        return self.stack_plan.within(None if seconds is None else _STACK_SHARE * seconds)

    def _likely(self) -> list[Trial]:
        """Who would be in the model now: the ensemble last chosen; before there is one, some of the best."""
        return self._members or self.store.scored()[: _LIKELY if self.ensemble else 1]

    def _heaviest_first(self, weights: Mapping[int, float]) -> list[Trial]:
        return [self.store.trials[number] for number in sorted(weights, key=lambda number: (-weights[number], number))]

    def best_so_far(self, better_than: float) -> Finished | None:
        """A bundle of fold models while the search goes on; None if its loss is no better, or nothing is there."""
        candidates = self.store.candidates()
        if candidates is None:
            return None
        chosen = self.selection.select(candidates, self._until(0.2))
        self._members = self._heaviest_first(chosen.weights)
        if sum(self.store.fold_bytes(number) for number in chosen.weights) > _EARLY_BYTES:
            chosen = self.selection.single(candidates)
        if chosen.loss >= better_than:
            return None
        score = self._oof_score(candidates, [], is_ensemble=len(chosen.weights) > 1, seconds=0.1)
        return self._assemble("best.zip", chosen, {}, score, reproducible=False)

    def run(self, reproducible: bool) -> Finished:
        """The final model.

        Raises:
            NoModelError: no artefacts are left of any trial with a score.
        """
        candidates = self.store.candidates()
        if candidates is None:
            raise NoModelError("Trials had scores, but what they stored is gone.")
        chosen, stackers = self._stacked(candidates, self.selection.select(candidates, self._until(_SELECT_S)))
        scores = [] if (holdout := self._holdout_score(chosen)) is None else [holdout]

        def score() -> None:
            if not scores:
                spare = self._spare(chosen.shares, _SCORE_S)
                scores.append(self._oof_score(candidates, stackers, is_ensemble=self.ensemble, seconds=spare))

        refitted = self._refit(chosen.shares, self._plan_refits(chosen.shares), score)
        if self.selection.is_limited:
            chosen = self.selection.cut(chosen, {number: ended.trial for number, ended in refitted.items()})
        folders = {number: ended.folder / "fold_0" for number, ended in refitted.items()}
        return self._assemble("model.zip", chosen, folders, scores[0], reproducible=reproducible)

    def _stacked(self, candidates: Candidates, chosen: Chosen) -> tuple[Chosen, list[Stacker]]:
        """The choice with a second layer to choose from, if that helps; and the stackers that selection saw."""
        configurations, predicted = self._affordable_stack()
        if not configurations:
            return chosen, []
        budget = self.clock.budget()
        stackers = self.stack_plan.fit(
            configurations,
            candidates,
            self.scratch / "stack",
            seconds=None if budget.seconds is None else self._spare(chosen.shares, 2 * predicted),
            memory_mb=budget.trial_memory_mb,
        )
        if not stackers:
            return chosen, []
        stacked = self.selection.select(candidates, self._until(_SELECT_S), stackers)
        is_better = bool(stacked.stack) and stacked.loss < (1 - _STACK_GAIN) * chosen.loss
        return (stacked if is_better else chosen), stackers

    def _until(self, wanted_s: float) -> float | None:
        """When so many seconds are over, or the budget; None without a time limit."""
        left = self.clock.left()
        return None if left is None else time.monotonic() + min(wanted_s, left)

    def _oof_score(
        self, candidates: Candidates, stackers: Sequence[Stacker], *, is_ensemble: bool, seconds: float | None
    ) -> Score:
        return bbc_score(
            self.task.metric,
            candidates.y,
            predictions_of(candidates, stackers),
            candidates.weights,
            ensemble=is_ensemble,
            seed=self.task.seed,
            seconds=seconds,
            is_allowed=self.selection.allowing(candidates),
        )

    def _holdout_score(self, chosen: Chosen) -> Score | None:
        """Of the fold models together, on the holdout, or on as much of it as there is time for."""
        if self.prepared.splits.holdout is None:
            return None
        rows = np.random.default_rng(self.task.seed).permutation(self.prepared.splits.holdout)
        numbers = list(chosen.shares)
        members = [(chosen.weights.get(number, 0.0), _load(self.store.fold_folders(number))) for number in numbers]
        stack = [
            Reader(weight, tuple(map(numbers.index, one.inputs)), _load(one.folders)) for weight, one in chosen.stack
        ]
        until = None if self.clock.left() is None else time.monotonic() + _HOLDOUT_S
        parts: list[Array] = []
        while len(parts) * _CHUNK < len(rows) and (not parts or until is None or time.monotonic() < until):
            columns = self.prepared.rows(rows[len(parts) * _CHUNK :][:_CHUNK])
            parts.append(blended(members, stack, columns))
        prediction = chosen.calibration.apply(self.task.metric, np.concatenate(parts))
        rows = rows[: len(prediction)]
        row_weights = None if self.prepared.weights is None else np.asarray(self.prepared.weights[rows])
        return holdout_score(
            self.task.metric, np.asarray(self.prepared.y[rows]), prediction, row_weights, seed=self.task.seed
        )

    def _plan_refits(self, weights: Mapping[int, float]) -> list[int]:
        """Numbers of the members to refit, heaviest first: those that gain by it, as far as there is time."""
        return self._refits_within(self._heaviest_first(weights), self._spare(weights, None))[0]

    def _refits_within(self, members: Sequence[Trial], seconds: float | None) -> tuple[list[int], float]:
        """Which of these to refit, first come first served, so that all are done in time; and when they are."""
        planned: list[int] = []
        total = done = 0.0
        for trial in members:
            if self.selection.keeps_folds(trial):
                continue
            expected = self._refit_s(trial)
            end = max(done, _REFIT_MARGIN * max(expected, (total + expected) / self.pool.workers))
            if seconds is None or end <= seconds:
                planned.append(trial.number)
                total, done = total + expected, end
        return planned, done

    def _refit(
        self, weights: Mapping[int, float], planned: Sequence[int], meanwhile: Callable[[], None]
    ) -> dict[int, Ended]:
        """Members that were refitted, by trial number. `meanwhile` runs in this process beside the first of them."""
        waiting = list(planned)
        refitted: dict[int, Ended] = {}
        while waiting and self.pool.has_room:
            self._submit_refit(waiting.pop(0))
        meanwhile()
        while waiting or self.pool.running:
            while waiting and self.pool.has_room:
                self._submit_refit(waiting.pop(0))
            left = self._spare(weights, None)
            if left is not None and left <= 0:
                self.pool.kill_all()
                break
            for finished in self.pool.wait(0.5 if left is None else max(0.01, min(0.5, left))):
                if finished.trial.status.has_score:
                    refitted[finished.trial.number] = finished
        return refitted

    def _submit_refit(self, number: int) -> None:
        trial = self.store.trials[number]
        best = trial.best_iterations
        self.pool.submit_refit(
            number,
            trial.proposal,
            iterations=max(1, round(_MORE_ROUNDS * float(np.mean(best)))) if best else None,
            smear=float(np.mean(trial.smears)) if trial.smears else None,
            seconds=None,
            memory_mb=self.clock.budget().trial_memory_mb,
        )

    def _assemble(
        self,
        name: str,
        chosen: Chosen,
        refitted: Mapping[int, Path],
        score: Score,
        *,
        reproducible: bool,
    ) -> Finished:
        folders: dict[int, Sequence[Path]] = {}
        packed = 0.0  # bytes of fold models
        for number in chosen.shares:
            if number in refitted:
                folders[number] = [refitted[number]]
            elif bagged := self._bagged(number, packed, is_input_only=number not in chosen.weights):
                folders[number] = bagged
                packed += self.store.fold_bytes(number)
        if not folders:
            raise NoModelError("What the chosen trials stored is gone.")
        if any(not set(one.inputs) <= set(folders) for _, one in chosen.stack):
            chosen = replace(chosen, weights=chosen.shares, stack=())  # what a stacker reads is gone
        places = list(folders)
        members: list[BundleMember] = [
            (chosen.weights.get(number, 0.0), folders[number], _about(self.store.trials[number]) | {"share": share})
            for number, share in chosen.shares.items()
            if number in folders
        ]
        stack: list[BundleMember] = [
            (weight, one.folders, _about_stacker(one) | {"inputs": [places.index(number) for number in one.inputs]})
            for weight, one in chosen.stack
        ]
        path = self.scratch / name
        extra = {
            "rows": len(self.prepared.y),
            "validation": str(self.prepared.splits.scheme),
            "folds": len(self.prepared.splits.folds),
            "trials": len(self.store.trials),
            "seed": self.task.seed,
            "reproducible": reproducible,
            "temperature": chosen.calibration.temperature,
            "threshold": chosen.calibration.threshold,
        }
        manifest = assemble(
            path, task=self.task, schema=self.prepared.schema, members=members, stack=stack, score=score, extra=extra
        )
        kept = {number: share for number, share in chosen.shares.items() if number in folders}
        return Finished(path, manifest, kept, chosen.loss, score)

    def _bagged(self, number: int, packed: float, *, is_input_only: bool) -> list[Path]:
        """A member's fold models; one if no time is left to pack all of them, if limits ask, or if it is only read by
        stackers, which have learned from single fold models."""
        folders, left = self.store.fold_folders(number), self.clock.left()
        if is_input_only or (self.selection.is_limited and not self.selection.keeps_folds(self.store.trials[number])):
            return folders[:1]
        is_late = left is not None and _assemble_s(packed + self.store.fold_bytes(number)) > left
        return folders[:1] if is_late else folders

    def _refit_s(self, trial: Trial) -> float:
        """Predicted seconds: a fold's, scaled to all rows."""
        folds = max(1, len(trial.fold_losses))
        fold = self.prepared.splits.folds[0][0]
        share = _NO_PATIENCE if trial.best_iterations else 1.0
        return share * trial.seconds / folds * len(self.prepared.y) / max(1, len(fold))

    def _final_bytes(self, number: int) -> float:
        """Predicted bytes of a member in the final bundle."""
        trial = self.store.trials[number]
        share = 1 if self.selection.keeps_folds(trial) else max(1, len(trial.fold_losses))
        return self.store.fold_bytes(number) / share

    def _spare(self, weights: Mapping[int, float], wanted: float | None) -> float | None:
        """Seconds before assembling must begin, at most `wanted`; None without a time limit."""
        left = self.clock.left()
        if left is None:
            return None
        left -= _assemble_s(sum(self._final_bytes(number) for number in weights))
        return max(0.0, left if wanted is None else min(wanted, left))


def _assemble_s(size: float) -> float:
    """Predicted seconds to make and publish a bundle of so many bytes of models."""
    return _ASSEMBLE_S + size / _ASSEMBLE_BYTES_PER_S


def _load(folders: Sequence[Path]) -> list[Member]:
    return [load_member(folder) for folder in folders]


def _about_stacker(stacker: Stacker) -> dict[str, Any]:
    return {"learner": stacker.configuration["learner"], "configuration": dict(stacker.configuration)}


def _about(trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "learner": trial.proposal.configuration["learner"],
        "configuration": dict(trial.proposal.configuration),
        "loss": trial.loss,
    }
