"""One layer above the members: models that learn from out-of-fold predictions which member to trust where.

Wolpert 1992. A stacker is a configuration of one of our learners, fitted on a table whose columns are the members'
predictions: encoders, early stopping, limits and bundles are those of every trial. Its own predictions are out of fold
too, so that ensemble selection takes it or leaves it like any candidate.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle.runtime.schema import Field, Schema
from .bundle.runtime.stack import stack_columns
from .candidates import Candidates
from .errors import TaskError
from .evaluation.pool import TrialPool
from .evaluation.prepare import PreparedTask, prepare
from .evaluation.splits import make_splits
from .learners.base import TRIAL_START_S, Size
from .space import Space
from .table.load import TypedTable
from .types import Configuration, Proposal, Scheme, Trial, TrialStatus, Validation

Array = NDArray[Any]

_INPUTS = 12  # the best trials, whose predictions are the columns
_FEWEST_INPUTS = 3
_SLOW_MS = 0.2  # a row, beyond which a member is no input: kernels and neighbours, that others make up for
_FEWEST_ROWS = 1_000  # below, a second layer learned nothing that held on other rows
_FOLDS = 5
_MOST_S = 60.0  # predicted, where there is no time limit


@dataclass(frozen=True)
class Stacker:
    """A fitted second-layer model."""

    configuration: Configuration
    inputs: tuple[int, ...]  #: numbers of trials, in order of the columns
    prediction: Array  #: out of fold, (rows, n_classes) or (rows,), of the candidates' rows
    folders: tuple[Path, ...]  #: its fold models


class StackPlan:
    """Which stackers suit a task, and what they take.

    Args:
        prepared: the task.
        space: stackers are of learners in it only.
        workers: trials side by side.
    """

    def __init__(self, prepared: PreparedTask, space: Space, workers: int) -> None:
        self.prepared, self.workers = prepared, workers
        smooth = {"learner": "linear", "C": 0.01 if prepared.n_classes else 0.1, "prep_clip": 10.0}
        trees = {"learner": "lightgbm", "num_leaves": 15, "feature_fraction": 0.5, "lambda_l2": 5.0}
        given = [part for part in (smooth, trees) if part["learner"] in space.learners]
        splits = prepared.splits
        rows = len(prepared.search_rows) if len(splits.folds) > 1 else len(splits.folds[0][1])
        columns = _INPUTS * (prepared.n_classes if prepared.n_classes > 2 else 1)
        size = Size(rows=rows, columns=columns, classes=prepared.n_classes)
        self._costs: list[tuple[Configuration, float]] = []  #: stackers, and their predicted seconds
        if splits.scheme is not Scheme.TIME and rows >= _FEWEST_ROWS:
            for part in given:
                own = {name: value for name, value in part.items() if name != "learner"}
                configuration = space.complete(str(part["learner"]), own)
                self._costs.append((configuration, TRIAL_START_S + _FOLDS * space.cost(configuration, size)))

    def within(self, seconds: float | None) -> tuple[list[Configuration], float]:
        """Stackers that are predicted to take no longer, and how long they take side by side."""
        most = _MOST_S if seconds is None else seconds
        chosen = [(configuration, cost) for configuration, cost in self._costs if cost <= most]
        costs = [cost for _, cost in chosen]
        return [configuration for configuration, _ in chosen], max([0.0, *costs, sum(costs) / self.workers])

    def fit(
        self,
        configurations: Sequence[Configuration],
        candidates: Candidates,
        folder: Path,
        *,
        seconds: float | None,
        memory_mb: int,
    ) -> list[Stacker]:
        """Those that were done in time; none if there are too few whole trials."""
        whole = [place for place, trial in enumerate(candidates.trials) if _is_input(trial)][:_INPUTS]
        if len(whole) < _FEWEST_INPUTS:
            return []
        try:
            prepared = self._table(candidates, whole, folder / "task")
        except TaskError:  # the rows that all predicted can't be split again: there is no second layer then
            return []
        pool = TrialPool(prepared, folder, workers=self.workers)
        until = None if seconds is None else time.monotonic() + seconds
        done: dict[int, Trial] = {}
        try:
            waiting = list(enumerate(configurations))
            while waiting or pool.running:
                while waiting and pool.has_room:
                    number, configuration = waiting.pop(0)
                    pool.submit(number, Proposal(configuration=configuration), seconds=seconds, memory_mb=memory_mb)
                left = None if until is None else until - time.monotonic()
                if left is not None and left <= 0:
                    break
                done |= {ended.trial.number: ended.trial for ended in pool.wait(left)}
        finally:
            pool.close()
        inputs = tuple(candidates.trials[place].number for place in whole)
        return [
            self._stacker(folder / f"trial_{number}", trial, inputs)
            for number, trial in sorted(done.items())
            if trial.status is TrialStatus.SUCCEEDED
        ]

    def _table(self, candidates: Candidates, places: Sequence[int], folder: Path) -> PreparedTask:
        columns = stack_columns([candidates.predictions[place] for place in places])
        schema = Schema(tuple(Field(name, "number", nullable=False) for name in columns))
        groups = self.prepared.splits.groups
        own_groups = None if groups is None else np.unique(groups[candidates.rows], return_inverse=True)[1]
        scheme = Scheme.KFOLD if own_groups is None else Scheme.GROUP
        count = _FOLDS if own_groups is None else min(_FOLDS, int(own_groups.max()) + 1)
        task = replace(self.prepared.task, validation=Validation(scheme=scheme, folds=count))
        splits = make_splits(task, candidates.y, own_groups)
        table = TypedTable(schema, columns, len(candidates.y))
        return prepare(folder, table, candidates.y, candidates.weights, task, splits)

    def _stacker(self, folder: Path, trial: Trial, inputs: tuple[int, ...]) -> Stacker:
        oof = np.load(folder / "oof.npy", allow_pickle=False).astype(np.float64)
        folders = tuple(folder / f"fold_{fold}" for fold in range(len(trial.fold_losses)))
        prediction = oof if self.prepared.n_classes else oof[:, 0]
        return Stacker(trial.proposal.configuration, inputs, prediction, folders)


def _is_input(trial: Trial) -> bool:
    is_whole = trial.status is TrialStatus.SUCCEEDED and trial.proposal.configuration["learner"] != "dummy"
    return is_whole and trial.predict_ms_per_row <= _SLOW_MS
