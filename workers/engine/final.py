"""From trials to a model: select, refit, score, assemble; never later than the budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .bundle.runtime.members import Member, load_member
from .bundle.runtime.schema import Columns
from .bundle.runtime.stack import stack_columns
from .bundle.save import BundleMember, assemble
from .candidates import Candidates, Store
from .catalog import get_learner
from .ensemble import blend, select
from .errors import NoModelError
from .evaluation.calibration import Calibration, calibrate
from .evaluation.honest import bbc_score, holdout_score
from .evaluation.pool import Finished as Ended
from .evaluation.pool import TrialPool
from .space import Space
from .stacking import Stacker, StackPlan
from .types import Configuration, Limits, Scheme, Score, Trial, TrialStatus

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
_FOLDS_WORTH_KEEPING = 3
_EARLY_BYTES = 20e6  # of fold models in a bundle that is not the last
_LIMIT_MARGIN = 0.8  # of a limit that selection may use: a refit has more rows, other machines are slower
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


@dataclass(frozen=True)
class _Chosen:
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


class Finaliser:
    """Makes bundles of what a store holds."""

    def __init__(
        self, store: Store, space: Space, ensemble: bool, limits: Limits, pool: TrialPool, scratch: Path, clock: Clock
    ) -> None:
        self.store, self.ensemble, self.pool, self.scratch, self.clock = store, ensemble, pool, scratch, clock
        self.stack_plan = StackPlan(store.prepared, space, pool.workers)
        self.room = np.array([limits.predict_ms_per_row or np.inf, limits.megabytes or np.inf])
        self.is_limited = bool(np.isfinite(self.room).any())
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
        if not self.ensemble or self.is_limited:
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
        chosen = self._select(candidates, 0.2)
        self._members = self._heaviest_first(chosen.weights)
        if sum(self.store.fold_bytes(number) for number in chosen.weights) > _EARLY_BYTES:
            chosen = self._single(candidates)
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
        chosen, stackers = self._stacked(candidates, self._select(candidates, _SELECT_S))
        scores = [] if (holdout := self._holdout_score(chosen)) is None else [holdout]

        def score() -> None:
            if not scores:
                seconds = self._spare(chosen.shares, _SCORE_S)
                is_ensemble = self.ensemble
                scores.append(self._oof_score(candidates, stackers, is_ensemble=is_ensemble, seconds=seconds))

        refitted = self._refit(chosen.shares, self._plan_refits(chosen.shares), score)
        if self.is_limited:
            chosen = self._cut(chosen, {number: ended.trial for number, ended in refitted.items()})
        folders = {number: ended.folder / "fold_0" for number, ended in refitted.items()}
        return self._assemble("model.zip", chosen, folders, scores[0], reproducible=reproducible)

    def _cut(self, chosen: _Chosen, refitted: Mapping[int, Trial]) -> _Chosen:
        """Without the lightest members, if refits turned out slower or larger than the limits allow."""
        kept = dict(sorted(chosen.weights.items(), key=lambda item: (-item[1], item[0])))
        used = {number: np.array(self._footprint(refitted.get(number, self.store.trials[number]))) for number in kept}
        while len(kept) > 1 and (np.sum([used[number] for number in kept], axis=0) > self.room).any():
            kept.popitem()
        total = sum(kept.values())
        return replace(chosen, weights={number: weight / total for number, weight in kept.items()})

    def _stacked(self, candidates: Candidates, chosen: _Chosen) -> tuple[_Chosen, list[Stacker]]:
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
        stacked = self._select(candidates, _SELECT_S, stackers)
        is_better = bool(stacked.stack) and stacked.loss < (1 - _STACK_GAIN) * chosen.loss
        return (stacked if is_better else chosen), stackers

    def _select(self, candidates: Candidates, wanted_s: float, stackers: Sequence[Stacker] = ()) -> _Chosen:
        if not self.ensemble or len(candidates.trials) == 1:
            return self._single(candidates)
        left = self.clock.left()
        until = None if left is None else time.monotonic() + min(wanted_s, left)
        chosen = select(
            self.task.metric,
            candidates.y,
            _predictions(candidates, stackers),
            candidates.weights,
            until=until,
            is_allowed=self._allowing(candidates),
        )
        return self._chosen(candidates, chosen.weights, chosen.loss, stackers)

    def _chosen(
        self, candidates: Candidates, weights: dict[int, float], loss: float, stackers: Sequence[Stacker] = ()
    ) -> _Chosen:
        """Candidates by place, stackers after them, calibrated together."""
        blended = blend(_predictions(candidates, stackers), weights)
        calibration = calibrate(self.task.metric, candidates.y, blended, candidates.weights)
        count = len(candidates.trials)
        numbers = {candidates.trials[place].number: weight for place, weight in weights.items() if place < count}
        stack = tuple((weight, stackers[place - count]) for place, weight in weights.items() if place >= count)
        return _Chosen(numbers, loss, calibration, stack)

    def _oof_score(
        self, candidates: Candidates, stackers: Sequence[Stacker], *, is_ensemble: bool, seconds: float | None
    ) -> Score:
        return bbc_score(
            self.task.metric,
            candidates.y,
            _predictions(candidates, stackers),
            candidates.weights,
            ensemble=is_ensemble,
            seed=self.task.seed,
            seconds=seconds,
            is_allowed=self._allowing(candidates),
        )

    def _single(self, candidates: Candidates) -> _Chosen:
        """The best of the whole ones that the limits allow; of the rest if there is none."""
        is_allowed = self._allowing(candidates)
        allowed = [place for place in range(len(candidates.trials)) if is_allowed({place})]
        whole = (place for place in allowed if candidates.trials[place].status is TrialStatus.SUCCEEDED)
        best = next(whole, allowed[0])
        loss = candidates.trials[best].loss
        assert loss is not None
        return self._chosen(candidates, {best: 1.0}, loss)

    def _allowing(self, candidates: Candidates) -> Callable[[Collection[int]], bool]:
        """Whether members, by place, keep the limits together; if none does alone, the one that comes nearest does."""
        if not self.is_limited:
            return lambda members: True
        used = np.array([self._footprint(trial) for trial in candidates.trials]) / (_LIMIT_MARGIN * self.room)
        nearest = int(np.argmin(used.max(axis=1)))
        return lambda members: set(members) == {nearest} or bool((used[list(members)].sum(axis=0) <= 1).all())

    def _footprint(self, trial: Trial) -> tuple[float, float]:
        """Milliseconds a row and megabytes of a member in the final model."""
        copies = len(trial.fold_losses) if self._keeps_folds(trial) else 1
        return copies * trial.predict_ms_per_row, copies * trial.megabytes

    def _holdout_score(self, chosen: _Chosen) -> Score | None:
        """Of the fold models together, on the holdout, or on as much of it as there is time for."""
        if self.prepared.splits.holdout is None:
            return None
        rows = np.random.default_rng(self.task.seed).permutation(self.prepared.splits.holdout)
        members = {n: [load_member(folder) for folder in self.store.fold_folders(n)] for n in chosen.shares}
        stack = [(weight, one.inputs, [load_member(folder) for folder in one.folders]) for weight, one in chosen.stack]
        until = None if self.clock.left() is None else time.monotonic() + _HOLDOUT_S
        parts: list[Array] = []
        while len(parts) * _CHUNK < len(rows) and (not parts or until is None or time.monotonic() < until):
            columns = self.prepared.rows(rows[len(parts) * _CHUNK :][:_CHUNK])
            each = {number: _mean_of(models, columns) for number, models in members.items()}
            total = np.sum([weight * each[number] for number, weight in chosen.weights.items()], axis=0)
            for weight, inputs, models in stack:
                total = total + weight * _mean_of(models, stack_columns([each[number] for number in inputs]))
            parts.append(total)
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
            if self._keeps_folds(trial):
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
            seconds=None,
            memory_mb=self.clock.budget().trial_memory_mb,
        )

    def _assemble(
        self,
        name: str,
        chosen: _Chosen,
        refitted: Mapping[int, Path],
        score: Score,
        *,
        reproducible: bool,
    ) -> Finished:
        members: list[BundleMember] = []
        places: dict[int, int] = {}
        packed = 0.0  # bytes of fold models
        for number, share in chosen.shares.items():
            is_input_only = (
                number not in chosen.weights
            )  # fold models are what its stackers have learned from: one will do
            if folders := [refitted[number]] if number in refitted else self._bagged(number, is_input_only, packed):
                packed += 0.0 if number in refitted else self.store.fold_bytes(number)
                places[number] = len(members)
                about = _about(self.store.trials[number]) | {"share": share}
                members.append((chosen.weights.get(number, 0.0), folders, about))
        stack: list[BundleMember] = [
            (weight, one.folders, _about_stacker(one) | {"inputs": [places[number] for number in one.inputs]})
            for weight, one in chosen.stack
            if set(one.inputs) <= set(places)
        ]
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
            "temperature": chosen.calibration.temperature,
            "threshold": chosen.calibration.threshold,
        }
        manifest = assemble(
            path, task=self.task, schema=self.prepared.schema, members=members, stack=stack, score=score, extra=extra
        )
        kept = {number: share for number, share in chosen.shares.items() if number in places}
        return Finished(path, manifest, kept, chosen.loss, score)

    def _keeps_folds(self, trial: Trial) -> bool:
        """Whether the average of its fold models is the final model; see docs/decisions/0003-final-model.md."""
        splits = self.prepared.splits
        is_spread = splits.scheme not in (Scheme.HOLDOUT, Scheme.TIME) and splits.holdout is None
        is_many = len(trial.fold_losses) >= _FOLDS_WORTH_KEEPING
        return is_spread and is_many and get_learner(trial.proposal.configuration["learner"]).keeps_folds

    def _bagged(self, number: int, is_input_only: bool, packed: float) -> list[Path]:
        """A member's fold models; one if that will do, if no time is left to pack all of them, or if limits ask."""
        folders, left = self.store.fold_folders(number), self.clock.left()
        if is_input_only or (self.is_limited and not self._keeps_folds(self.store.trials[number])):
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
        share = 1 if self._keeps_folds(trial) else max(1, len(trial.fold_losses))
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


def _predictions(candidates: Candidates, stackers: Sequence[Stacker]) -> list[Array]:
    return [*candidates.predictions, *(stacker.prediction for stacker in stackers)]


def _mean_of(models: Sequence[Member], columns: Columns) -> Array:
    return np.asarray(np.mean([model.predict_columns(columns) for model in models], axis=0))


def _about_stacker(stacker: Stacker) -> dict[str, Any]:
    return {"learner": stacker.configuration["learner"], "configuration": dict(stacker.configuration)}


def _about(trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "learner": trial.proposal.configuration["learner"],
        "configuration": dict(trial.proposal.configuration),
        "loss": trial.loss,
    }
