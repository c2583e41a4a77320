"""The loop that joins strategy, trials and journal: a table and a budget in, a published model out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .candidates import Store
from .catalog import LEARNERS, get_strategy
from .errors import NoModelError
from .evaluation.metrics import to_loss, to_score
from .evaluation.pool import Finished, TrialPool
from .evaluation.prepare import PreparedTask, prepare
from .evaluation.splits import make_splits
from .final import Finaliser
from .journal import Journal, LogEntry
from .learners.base import COLUMNS_PER_FEATURE, LOGARITHMIC, Size
from .meta.constants import LEAST, constant_scores
from .meta.past import Past
from .search.base import SKEWED, SearchContext, Strategy
from .space import Space, canonical
from .table.load import TypedTable
from .types import Budget, Limits, Proposal, Score, Source, Task, Trial, TrialStatus

if TYPE_CHECKING:
    from .meta.metamodel import Metamodel

Array = NDArray[Any]
log = logging.getLogger(__name__)

_TRIAL_SHARE = 0.5  # of the budget that one trial may take when the spec does not say
_LEAST_TRIAL_S = 0.3  # with less left no trial is started
_YARDSTICK = "lightgbm"  # what several folds of it take tells whether there is time for folds at all
_FOLDS, _FOLDS_SHARE = 4, 0.2  # about as many folds, in so much of the budget
_DUMMY = Proposal(configuration={"learner": "dummy"}, source=Source.DEFAULT)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How to search; everything of a job spec that is neither task nor budget."""

    strategy: str = "auto"
    algorithms: Sequence[str] = tuple(LEARNERS)
    ensemble: bool = True
    limits: Limits = field(default_factory=Limits)
    cores: int = 1  #: trials side by side, one thread each
    publish_every_s: float = 5.0


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """What a fit ends with; the model itself went to the journal."""

    trials: Sequence[Trial]  #: in order of number
    weights: dict[int, float]  #: of the ensemble, by trial number
    score: Score
    reproducible: bool


def fit(
    table: TypedTable,
    y: Array,
    task: Task,
    plan: Plan,
    journal: Journal,
    folder: Path,
    *,
    weights: NDArray[np.float64] | None = None,
    groups: Array | None = None,
    times: Array | None = None,
    used_s: float = 0.0,
    started: float | None = None,
    past: Past | None = None,
    metamodels: Mapping[str, Metamodel] | None = None,
) -> FitResult:
    """Search, select, refit, score, publish; in all no longer than the journal's budget.

    Args:
        table: features of the rows that have a target.
        y: (n,) int64 class indices or float64 values.
        task: the question.
        plan: how to search.
        journal: log of this and earlier attempts.
        folder: scratch; what lies in it may be deleted afterwards.
        weights: (n,) of the weights column.
        groups: (n,) group indices, if rows of one group must stay together.
        times: (n,), if validation must be later than training.
        used_s: budget used by earlier attempts.
        started: `time.monotonic()` of this attempt's start; None: now.
        past: what past tasks scored; None: the search is a cold one.
        metamodels: what the strategy needs, by name.

    Raises:
        TaskError: the table can't be split as the task asks.
        SpaceError: no algorithm is left.
        NoModelError: not one trial had a score.
    """
    clock = Clock(journal.budget, used_s, started)
    history = journal.history()
    is_short = _is_short(table, y, task, plan, clock.budget().seconds, history)
    splits = make_splits(task, y, groups, times, is_short=is_short)
    prepared = prepare(folder / "task", table, y, weights, task, splits)
    pool = TrialPool(prepared, folder, workers=plan.cores)
    try:
        return _Fit(prepared, plan, journal, pool, folder, clock, past, metamodels or {}).run(history)
    finally:
        pool.close()


def _is_short(
    table: TypedTable, y: Array, task: Task, plan: Plan, seconds: float | None, history: list[LogEntry]
) -> bool:
    """Whether folds of one usual configuration take too much of the budget; as before, if trials were told."""
    folds_before = {
        len(entry.trial.fold_losses)
        for entry in history
        if entry.trial is not None and entry.trial.status is TrialStatus.SUCCEEDED and entry.proposal.fidelity.is_full
    }
    if folds_before:
        return folds_before == {1}
    if seconds is None or _YARDSTICK not in plan.algorithms:
        return False
    columns = len(table.schema.fields)
    encoded = Size(rows=len(y), columns=COLUMNS_PER_FEATURE * columns, classes=len(task.classes))
    space = Space([_YARDSTICK], task.kind)
    cost = space.cost(space.defaults()[0], encoded)
    return _FOLDS * cost > _FOLDS_SHARE * seconds * plan.cores


def is_skewed(prepared: PreparedTask) -> bool:
    """Whether a regression target is nowhere negative, has a long tail, and is not learned as its logarithm anyway."""
    if prepared.n_classes or prepared.task.metric in LOGARITHMIC:
        return False
    y = np.asarray(prepared.y[prepared.search_rows])
    spread = float(y.std())
    return bool(spread > 0 and y.min() >= 0 and (((y - y.mean()) / spread) ** 3).mean() > SKEWED)


def constant_loss(prepared: PreparedTask) -> float:
    """Of the best constant prediction."""
    task = prepared.task
    scores = constant_scores(np.asarray(prepared.y[prepared.search_rows]), task.kind, len(task.classes))
    return max(to_loss(task.metric, scores[task.metric]), LEAST) if task.metric in scores else 1.0


class Clock:
    """Budget left, in seconds since the first claim, without the time between attempts."""

    def __init__(self, budget: Callable[[], Budget], used_s: float, started: float | None) -> None:
        self.budget = budget
        self._zero = (time.monotonic() if started is None else started) - used_s

    def elapsed(self) -> float:
        """Seconds used."""
        return time.monotonic() - self._zero

    def left(self) -> float | None:
        """Seconds left; None without a time limit."""
        seconds = self.budget().seconds
        return None if seconds is None else seconds - self.elapsed()


class _Fit:
    def __init__(
        self,
        prepared: PreparedTask,
        plan: Plan,
        journal: Journal,
        pool: TrialPool,
        scratch: Path,
        clock: Clock,
        past: Past | None,
        metamodels: Mapping[str, Metamodel],
    ) -> None:
        self.prepared, self.plan, self.journal, self.pool, self.clock = prepared, plan, journal, pool, clock
        self.store = Store(prepared, journal, scratch)
        space = Space(plan.algorithms, prepared.task.kind, prepared.size)
        self.final = Finaliser(self.store, space, plan.ensemble, plan.limits, pool, scratch, clock)
        budget = journal.budget()
        self.is_ordered = budget.seconds is None  #: tells in order of asking, so that the seed decides everything
        context = SearchContext(
            space=space,
            size=prepared.size,
            seed=prepared.task.seed,
            workers=plan.cores,
            seconds=budget.seconds,
            trials=budget.trials,
            n_folds=len(prepared.splits.folds),
            trial_memory_mb=budget.trial_memory_mb,
            is_skewed=is_skewed(prepared),
            past=None if past is None else past.within(space),
            metamodels=metamodels,
            constant_loss=constant_loss(prepared),
        )
        self.strategy: Strategy = get_strategy(plan.strategy)(context)
        self.asked: dict[int, Proposal] = {}
        self.told_upto = 0  #: ordered mode: the strategy knows trials below this number
        self.again: list[int] = []  #: in flight when an earlier attempt ended
        self.is_exhausted = False
        self._published_at = -1e9
        self._publish_took = 0.0
        self._published_loss = np.inf
        self._looked_at = 0  #: trials with a score when a bundle was last made

    def run(self, history: list[LogEntry]) -> FitResult:
        """Everything that comes after `history`."""
        self._replay(history)
        self._search()
        if not self.store.scored():
            self._last_resort()
        if not self.store.scored():
            raise NoModelError(self._why_no_model())
        self._progress("finalising")
        finished = self.final.run(self.reproducible)
        self.journal.publish(finished.path, finished.manifest, final=True)
        return FitResult(
            trials=[self.store.trials[number] for number in sorted(self.store.trials)],
            weights=finished.weights,
            score=finished.score,
            reproducible=self.reproducible,
        )

    @property
    def reproducible(self) -> bool:
        """Whether the seed decided everything so far."""
        return self.is_ordered and not any(trial.timed for trial in self.store.trials.values())

    def _replay(self, history: list[LogEntry]) -> None:
        """Bring the strategy to where the log ends.

        Where the seed decides, by asking it for the same proposals again. Else it would ask for others, and hold them
        for tried: it is only told of what was.
        """
        for entry in history:
            if entry.trial is None:
                if self.is_ordered:
                    self._tell_upto(entry.number - self.plan.cores)
                    self.strategy.ask()
                self.asked[entry.number] = entry.proposal
            else:
                self.asked.setdefault(entry.number, entry.proposal)
                self.store.add(entry.trial)
                if not self.is_ordered:
                    self.strategy.tell(entry.trial)
        self.again = sorted(set(self.asked) - set(self.store.trials))

    def _search(self) -> None:
        while True:
            while self.pool.has_room and self._start_one():
                pass
            if not self.pool.running:
                return
            left = self.clock.left()
            reserve = self.final.reserve_s()
            if left is not None and left <= reserve:
                self._abandon()
                return
            wait_s = 1.0 if left is None else max(0.01, min(1.0, left - reserve))
            for finished in self.pool.wait(wait_s):
                self._take(finished)
            self._publish_best()

    def _start_one(self) -> bool:
        """Submit the next proposal, if there is one and time for it."""
        left = self._search_left()
        if left is not None and left < _LEAST_TRIAL_S:
            return False
        if self.again:
            number = self.again.pop(0)
            self._submit(number, self.asked[number], left)
            return True
        number = len(self.asked)
        trials = self.clock.budget().trials
        if self.is_exhausted or (trials is not None and number >= trials):
            return False
        if self.is_ordered and not self._is_told(number - self.plan.cores):
            return False
        self._tell_upto(number - self.plan.cores)
        proposal = self._ask()
        if proposal is None:
            self.is_exhausted = True
            return False
        self.asked[number] = proposal
        self.journal.asked(number, proposal)
        self._submit(number, proposal, left)
        return True

    def _ask(self) -> Proposal | None:
        """What the strategy proposes, but nothing that is under way from an attempt of which it was only told."""
        under_way = [self.asked[number] for number in self.asked.keys() - self.store.trials.keys()]
        keys = {(canonical(one.configuration), one.fidelity) for one in under_way}
        for _ in under_way:
            proposal = self.strategy.ask()
            if proposal is None or (canonical(proposal.configuration), proposal.fidelity) not in keys:
                return proposal
        return self.strategy.ask()

    def _submit(self, number: int, proposal: Proposal, left: float | None) -> None:
        budget = self.clock.budget()
        limits = [seconds for seconds in (budget.trial_seconds, left) if seconds is not None]
        if budget.trial_seconds is None and budget.seconds is not None:
            limits.append(max(1.0, _TRIAL_SHARE * budget.seconds))
        seconds = min(limits) if limits else None
        self.pool.submit(number, proposal, seconds=seconds, memory_mb=budget.trial_memory_mb)

    def _search_left(self) -> float | None:
        left = self.clock.left()
        return None if left is None else left - self.final.reserve_s()

    def _is_told(self, upto: int) -> bool:
        return all(number in self.store.trials for number in range(self.told_upto, upto + 1))

    def _tell_upto(self, upto: int) -> None:
        """Ordered mode: the strategy learns of trials in the order in which they were asked for."""
        if self.is_ordered:
            for number in range(self.told_upto, upto + 1):
                if number in self.store.trials:
                    self.strategy.tell(self.store.trials[number])
            self.told_upto = max(self.told_upto, upto + 1)

    def _take(self, finished: Finished) -> None:
        trial = finished.trial
        has_score = trial.status.has_score and trial.loss is not None
        self.journal.told(trial, finished.folder if has_score else None)
        self.store.add(trial)
        if not self.is_ordered:
            self.strategy.tell(trial)
        if not trial.status.has_score:
            log.info("trial %d %s: %s", trial.number, trial.status, trial.reason)
        self._progress("searching")

    def _abandon(self) -> None:
        """Time is over: what still runs ends with the folds that it has done."""
        for finished in self.pool.stop_all("the job's time was over"):
            self._take(finished)

    def _last_resort(self) -> None:
        """Nothing had a score: class frequencies or the mean, which take no time, are a model too."""
        if "dummy" in self.plan.algorithms:
            number = len(self.asked)
            self.asked[number] = _DUMMY
            self.journal.asked(number, _DUMMY)
            self.pool.submit(number, _DUMMY, seconds=5.0, memory_mb=self.clock.budget().trial_memory_mb)
            for finished in self.pool.wait(6.0):
                self._take(finished)

    def _why_no_model(self) -> str:
        reasons = sorted({trial.reason for trial in self.store.trials.values() if trial.reason})
        if not reasons:
            return "The budget ended before the first trial: give more seconds or trials."
        return f"No trial had a score. Reasons: {'; '.join(reasons[:5])}"

    def _publish_best(self) -> None:
        """Publish the best model so far when it has improved: the first at once, others not too often."""
        scored = len(self.store.scored())
        pause = max(self.plan.publish_every_s, 10 * self._publish_took)
        if scored == self._looked_at or time.monotonic() - self._published_at < pause:
            return
        started, self._looked_at = time.monotonic(), scored
        if (finished := self.final.best_so_far(self._published_loss)) is not None:
            self.journal.publish(finished.path, finished.manifest, final=False)
            self._published_loss = finished.loss
        self._published_at = time.monotonic()
        self._publish_took = self._published_at - started

    def _progress(self, phase: str) -> None:
        budget, trials, scored = self.clock.budget(), self.store.trials, self.store.scored()
        best = None
        if scored and scored[0].loss is not None:
            metric = self.prepared.task.metric
            best = {
                "metric": metric,
                "score": to_score(metric, scored[0].loss),
                "learner": scored[0].proposal.configuration["learner"],
                "trial": scored[0].number,
            }
        self.journal.progress(
            {
                "phase": phase,
                "trials": len(trials),
                "failed": sum(not trial.status.has_score for trial in trials.values()),
                "running": self.pool.running,
                "elapsed_s": round(self.clock.elapsed(), 2),
                "budget_s": budget.seconds,
                "budget_trials": budget.trials,
                "best": best,
            }
        )
