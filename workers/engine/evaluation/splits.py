"""Which rows train and which validate. Deterministic by the task's seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TaskError
from ..types import Scheme, Task, Validation
from .metrics import undefined

Array = NDArray[Any]
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]

#: `auto`: twice five folds below the first number of rows, five folds below the second, three below the third,
#: beyond it one holdout: there a fold costs seconds, and its validation part is large enough to trust.
_REPEATED_BELOW, _FIVE_BELOW, _THREE_BELOW = 500, 8_000, 16_000
_ONE_FROM = 2_000  # rows from which one holdout will do when time is short
_HOLDOUT_SHARE, _HOLDOUT_MOST = 0.2, 10_000
_REPEATS = 2
_WEIGHED_GROUPS = 2_000  # that are placed one by one
_FEWEST_ROWS = 10


@dataclass(frozen=True)
class Splits:
    """Folds as (training rows, validation rows), and the rows that neither may touch."""

    folds: tuple[Fold, ...]
    holdout: NDArray[np.int64] | None
    scheme: Scheme  #: what `auto` became
    groups: Array | None = None  #: (n,) of all rows, where they decide who may meet whom
    times: Array | None = None  #: (n,) of all rows, where validation is later than training


def make_splits(
    task: Task, y: Array, groups: Array | None = None, times: Array | None = None, *, is_short: bool = False
) -> Splits:
    """The splits of a task.

    Args:
        task: its validation part, kind and seed decide.
        y: (n,) class indices or values.
        groups: (n,) group indices; needed by scheme group; kept whole by every scheme but time if given.
        times: (n,) numbers that grow with time; needed by scheme time.
        is_short: there is no time for several folds: `auto` becomes one holdout, if it is large enough to trust.

    Raises:
        TaskError: the table can't be split like that; says what to change.
    """
    _check(task, y)
    if times is not None and (missing := int(np.isnan(times).sum())):
        raise TaskError(f"The time column is empty in {missing} rows: fill it in, or leave those rows out.")
    rng = np.random.default_rng(task.seed)
    scheme = _scheme(task.validation, groups is not None, times is not None)
    times = times if scheme is Scheme.TIME else None
    everything = _Picker(len(y), y if task.kind.is_classification else None, groups, times)
    rows, holdout = np.arange(len(y)), None
    if task.validation.holdout:
        rows, holdout = everything.share(task.validation.holdout, rng)
        if not len(rows) or not len(holdout):
            raise TaskError("The holdout leaves no rows to learn from, or none to score: choose another fraction.")
        _check(task, y[rows])
    pick = everything.of(rows)
    scheme, count = _resolve(scheme, task.validation.folds, pick, is_short)
    folds = [(rows[train], rows[valid]) for train, valid in pick.folds(scheme, count, rng)]
    folds = [(train, valid) for train, valid in folds if len(train) and len(valid)]
    if not folds:
        raise TaskError("No fold has rows on both sides: use at least two folds, or more rows.")
    return Splits(tuple(folds), holdout, scheme, groups, times)


def split_training(splits: Splits, labels: Array | None, rows: Array, share: float, seed: int) -> Fold:
    """Training rows once more, as places among them: (to fit on, about `share` to watch), by the same rules.

    Args:
        splits: of the task.
        labels: (len(rows),) classes; None in regression.
        rows: training rows of a fold.
        share: to watch, in (0, 1); none where groups or times leave no choice.
        seed: of the shuffle.
    """
    groups, times = (None if part is None else np.asarray(part[rows]) for part in (splits.groups, splits.times))
    fit, watch = _Picker(len(rows), labels, groups, times).share(share, np.random.default_rng(seed))
    return (fit, watch) if len(fit) else (watch, fit)


def _check(task: Task, y: Array) -> None:
    """Whether there is something to learn and to score.

    Raises:
        TaskError: there is not.
    """
    if len(y) < _FEWEST_ROWS:
        raise TaskError(f"{len(y)} rows to learn from; at least {_FEWEST_ROWS} are needed.")
    values, counts = np.unique(y, return_counts=True)
    if len(values) < 2:
        raise TaskError(f"The target {task.target!r} has one value only: there is nothing to predict.")
    if task.kind.is_classification and (counts >= 2).sum() < 2:
        raise TaskError(f"Fewer than two classes of {task.target!r} have two rows: nothing can be validated.")
    if problem := undefined(task.metric, y):
        raise TaskError(problem)


def _scheme(validation: Validation, has_groups: bool, has_times: bool) -> Scheme:
    """The scheme that the columns given ask for, if the spec leaves it open."""
    scheme = validation.scheme
    if scheme is Scheme.GROUP and not has_groups:
        raise TaskError("Validation scheme group needs group_column.")
    if scheme is Scheme.TIME and not has_times:
        raise TaskError("Validation scheme time needs time_column.")
    if scheme is Scheme.AUTO and has_groups:
        return Scheme.GROUP
    if scheme is Scheme.AUTO and has_times:
        return Scheme.TIME
    return scheme


def _resolve(scheme: Scheme, folds: int | None, pick: _Picker, is_short: bool) -> tuple[Scheme, int]:
    """`auto` as a scheme, and how many folds."""
    n = pick.n
    if scheme is Scheme.AUTO and folds is not None:
        scheme = Scheme.KFOLD
    elif scheme is Scheme.AUTO:
        one_from = _ONE_FROM if is_short else _THREE_BELOW
        scheme = Scheme.REPEATED if n < _REPEATED_BELOW else Scheme.KFOLD if n < one_from else Scheme.HOLDOUT
    most, of_what = pick.most_folds()
    if folds is not None and folds > most:
        raise TaskError(f"{folds} folds are too many for {of_what}: use at most {most}.")
    return scheme, folds or min(most, 3 if n >= _FIVE_BELOW else 5)


@dataclass(frozen=True)
class _Picker:
    """Splits of `n` rows, as sorted places among them."""

    n: int
    labels: Array | None  #: classes, to be dealt out evenly
    groups: Array | None  #: kept whole
    times: Array | None  #: given only if validation must be later than training

    def of(self, rows: Array) -> _Picker:
        """The same for some of the rows."""
        return _Picker(
            len(rows), *(None if part is None else part[rows] for part in (self.labels, self.groups, self.times))
        )

    def most_folds(self) -> tuple[int, str]:
        """How many folds there can be, and of what."""
        if self.times is not None:
            instants = len(np.unique(self.times))
            if instants < 2:
                raise TaskError("Every row has the same time: nothing is later. Choose another scheme.")
            return instants - 1, f"{instants} different times"
        if self.groups is not None:
            groups = len(np.unique(self.groups))
            if groups < 2:
                raise TaskError("There is one group only; at least two are needed to keep groups apart.")
            return groups, f"{groups} groups"
        return self.n, f"{self.n} rows"

    def folds(self, scheme: Scheme, count: int, rng: np.random.Generator) -> Iterator[Fold]:
        """Training and validation places of each fold."""
        if scheme is Scheme.HOLDOUT:
            yield self.share(min(_HOLDOUT_SHARE, _HOLDOUT_MOST / self.n), rng)
        elif scheme is Scheme.TIME:
            yield from self._forward(count)
        else:
            for _ in range(_REPEATS if scheme is Scheme.REPEATED else 1):
                fold_of = self._dealt(count, rng) if self.groups is None else self._dealt_groups(count, rng)
                for fold in range(count):
                    yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)

    def share(self, share: float, rng: np.random.Generator) -> Fold:
        """(the rest, about `share` of the rows): the latest, or whole groups, or each class in proportion."""
        if self.times is not None:
            chosen = self._position() >= min(round((1 - share) * self.n), self._position().max())
        elif self.groups is not None:
            names, place, sizes = np.unique(np.asarray(self.groups), return_inverse=True, return_counts=True)
            order = rng.permutation(len(names))
            order = order[np.argsort(sizes[order] > share * self.n, kind="stable")]  # those too large come last
            upto = np.cumsum(sizes[order])
            chosen = np.isin(place, order[: max(1, int(np.searchsorted(upto, share * self.n, "right")))])
        else:
            points = np.floor((np.arange(self.n) + 1) * share + 1e-9)
            chosen = np.zeros(self.n, dtype=bool)
            chosen[self._by_class(rng)] = np.diff(points, prepend=0.0) > 0
            chosen &= ~self._alone()
        return np.flatnonzero(~chosen), np.flatnonzero(chosen)

    def _forward(self, count: int) -> Iterator[Fold]:
        """Blocks in time: fold i trains on the first i + 1 blocks, validates on the next. Equal times stay together."""
        position = self._position()
        block = position * (count + 1) // self.n
        if not block.any():  # nearly all rows share the last time
            block = (position > 0).astype(np.int64)
        for last in np.unique(block)[1:]:
            yield np.flatnonzero(block < last), np.flatnonzero(block == last)

    def _position(self) -> Array:
        """How many rows are earlier than each."""
        _, place, sizes = np.unique(np.asarray(self.times), return_inverse=True, return_counts=True)
        return np.asarray((np.cumsum(sizes) - sizes)[place])

    def _dealt(self, count: int, rng: np.random.Generator) -> Array:
        """Fold of each row: each class dealt out in turn, so that two rows of a rare one are in two folds.

        The only row of a class is in none (-1): it can be learned from, but not be scored.
        """
        fold_of = np.empty(self.n, dtype=np.int64)
        fold_of[self._by_class(rng)] = np.arange(self.n) % count
        return np.where(self._alone(), -1, fold_of)

    def _by_class(self, rng: np.random.Generator) -> Array:
        order = rng.permutation(self.n)
        return order if self.labels is None else order[np.argsort(self.labels[order], kind="stable")]

    def _alone(self) -> Array:
        """Whether a row is the only one of its class."""
        if self.labels is None:
            return np.zeros(self.n, dtype=bool)
        return np.asarray(np.bincount(self.labels)[self.labels] == 1)

    def _dealt_groups(self, count: int, rng: np.random.Generator) -> Array:
        """Fold of each row: whole groups, largest first into the fold that stays nearest to the overall mix."""
        names, place = np.unique(np.asarray(self.groups), return_inverse=True)
        marks = np.zeros(self.n, dtype=np.int64) if self.labels is None else self.labels
        mix = np.zeros((len(names), int(marks.max()) + 1))
        np.add.at(mix, (place, marks), 1.0)
        order = rng.permutation(len(names))
        order = order[np.argsort(-mix[order].sum(axis=1), kind="stable")]
        fold_of_group = np.empty(len(names), dtype=np.int64)
        weighed = order[:_WEIGHED_GROUPS]
        mix /= np.maximum(mix.sum(axis=0), 1.0)
        filled = np.zeros((count, mix.shape[1]))
        for group in weighed:
            fold = int(np.argmin((2 * filled + mix[group]) @ mix[group]))  # least growth of the sum of squares
            fold_of_group[group] = fold
            filled[fold] += mix[group]
        rest = order[_WEIGHED_GROUPS:]
        fold_of_group[rest] = np.arange(len(rest)) % count  # the small ones: chance is even enough
        return np.asarray(fold_of_group[place])
