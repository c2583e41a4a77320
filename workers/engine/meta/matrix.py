"""Evaluations of many tasks, each with gaps, as one matrix without any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..types import Configuration
from .past import OFFSET, WORST, Past

Array = NDArray[np.float64]

FEWEST_TASKS = 3  #: that tried a configuration, for it to become a column
_LEAST_SHARE = 0.05  # of the tasks, the same
_FEWEST_OF_TASK = 3  # configurations that a task tried, for it to become a row
_MOST_COLUMNS = 128  # the rest was tried by fewer: filling takes as long as the cube of their number
_ROUNDS = 8  # of expectation and maximisation, at most
_STILL = 0.005  # mean change of a gap in a round, by the losses' deviation, below which they are filled
_RIDGE = 0.05  # of the variance: what a configuration does by itself
_ELSEWHERE = 0.03  # log loss by which a random configuration that won somewhere is worse than a default elsewhere


@dataclass(frozen=True)
class Attempts:
    """What was tried where: parallel lists, one entry an evaluation.

    Losses are relative to the best constant prediction's; NaN: tried, and failed.
    """

    tasks: Sequence[int]  #: place of the task
    keys: Sequence[str]  #: of the configuration
    losses: Sequence[float]
    seconds: Sequence[float]

    def to_past(
        self, configurations: Mapping[str, Configuration], likeness: Array, *, winners: int = 0
    ) -> tuple[Past, NDArray[np.intp]] | None:
        """The matrix, and the places of the tasks that became its rows; None if too little is known.

        Args:
            configurations: by key; others are left out.
            likeness: (tasks,), at least 0; the most alike come first.
            winners: so many first tasks whose best configuration becomes a column, though few have tried it.
        """
        order = {key: place for place, key in enumerate(sorted(configurations))}
        matrix, seconds = np.full((2, len(likeness), len(order)), np.nan)
        for task, key, loss, took in zip(self.tasks, self.keys, self.losses, self.seconds, strict=True):
            if key in order:
                matrix[task, order[key]] = WORST if np.isnan(loss) else min(max(loss, 0.0), WORST)
                seconds[task, order[key]] = took
        tried = ~np.isnan(matrix)
        fewest = max(FEWEST_TASKS, _LEAST_SHARE * tried.any(axis=1).sum())
        most = np.sort(np.argsort(-tried.sum(axis=0), kind="stable")[:_MOST_COLUMNS])
        rows, columns = _dense(tried, most, fewest)
        if len(columns) < 2 or len(rows) < FEWEST_TASKS:
            return None
        names = list(order)
        weights = likeness[rows]
        observed = np.log(matrix[rows] + OFFSET)
        filled = fill(observed[:, columns])
        learners = [str(configurations[name]["learner"]) for name in names]
        for column in _winners(observed, int((rows < winners).sum()), columns, learners):
            same = [place for place, other in enumerate(columns) if learners[other] == learners[column]]
            elsewhere = filled[:, same].min(axis=1) + _ELSEWHERE
            own = observed[:, column]
            filled = np.column_stack([filled, np.where(np.isnan(own), elsewhere, own)])
            columns = np.append(columns, column)
        filled = np.exp(filled) - OFFSET
        past = Past(
            [configurations[names[column]] for column in columns],
            np.maximum(filled, 0.0),
            weights / weights.sum() if weights.sum() > 0 else None,
            seconds[np.ix_(rows, columns)],
        )
        return past, rows


def _winners(observed: Array, first: int, columns: NDArray[np.intp], learners: Sequence[str]) -> list[int]:
    """Columns that few tried and that are the best of one of the first rows; of learners of which something is common.

    Args:
        observed: (tasks, configurations) log losses, NaN where nobody tried.
        first: rows.
        columns: that are common.
        learners: of every configuration.
    """
    common, known = set(columns.tolist()), {learners[column] for column in columns}
    best = dict.fromkeys(int(np.nanargmin(row)) for row in observed[:first])
    return [column for column in best if column not in common and learners[column] in known]


def _dense(
    tried: NDArray[np.bool_], columns: NDArray[np.intp], fewest: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and some of these columns, so that each has enough of the others; fewer columns leave fewer rows, and so
    on."""
    rows = np.arange(tried.shape[0])
    while True:
        kept = columns[tried[np.ix_(rows, columns)].sum(axis=0) >= fewest]
        told = rows[tried[np.ix_(rows, kept)].sum(axis=1) >= _FEWEST_OF_TASK]
        if len(kept) == len(columns) and len(told) == len(rows):
            return rows, columns
        rows, columns = told, kept


def fill(matrix: Array) -> Array:
    """Gaps filled with what a Gaussian over rows expects, given the rest of the row (EM: Little & Rubin 2002, 11.2).

    Args:
        matrix: (tasks, configurations), NaN where nothing is known; every row and column holds something.
    """
    gaps = np.isnan(matrix)
    if not gaps.any():
        return matrix
    column = np.nanmean(matrix, axis=0)
    filled = np.where(gaps, column + np.nanmean(matrix - column, axis=1, keepdims=True), matrix)
    patterns: dict[bytes, list[int]] = {}
    for row in np.flatnonzero(gaps.any(axis=1)):
        patterns.setdefault(gaps[row].tobytes(), []).append(int(row))
    for _ in range(_ROUNDS):
        before, mean = filled[gaps], filled.mean(axis=0)
        centred = filled - mean
        covariance = centred.T @ centred / len(filled)
        covariance += _RIDGE * np.diag(np.diag(covariance)) + 1e-6 * np.eye(len(covariance))
        precision = np.linalg.inv(covariance)
        for rows in patterns.values():
            missing, there = np.flatnonzero(gaps[rows[0]]), np.flatnonzero(~gaps[rows[0]])
            known = filled[rows][:, there] - mean[there]
            if len(missing) < len(there):  # the same by either, and the fewer the faster
                among = precision[np.ix_(missing, missing)]
                expected = -np.linalg.solve(among, precision[np.ix_(missing, there)] @ known.T)
            else:
                among = covariance[np.ix_(there, there)]
                expected = covariance[np.ix_(missing, there)] @ np.linalg.solve(among, known.T)
            filled[np.ix_(np.array(rows), missing)] = mean[missing] + expected.T
        if np.abs(filled[gaps] - before).mean() < _STILL * filled.std():
            break
    return np.asarray(filled)
