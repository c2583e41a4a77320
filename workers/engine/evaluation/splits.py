"""Which rows train and which validate. Deterministic by the task's seed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import TaskError
from ..types import Scheme, Task, Validation

Array = NDArray[Any]
Fold = tuple[NDArray[np.int64], NDArray[np.int64]]

#: `auto`: twice five folds below the first number of rows, five folds below the second, three below the third,
#: beyond it one holdout: there a fold costs seconds, and its validation part is large enough to trust.
_REPEATED_BELOW, _FIVE_BELOW, _THREE_BELOW = 500, 8_000, 16_000
_HOLDOUT_SHARE, _HOLDOUT_MOST = 0.2, 10_000


@dataclass(frozen=True)
class Splits:
    """Folds as (training rows, validation rows), and the rows that neither may touch."""

    folds: tuple[Fold, ...]
    holdout: NDArray[np.int64] | None
    scheme: Scheme  #: what `auto` became


def make_splits(task: Task, y: Array, groups: Array | None = None, times: Array | None = None) -> Splits:
    """The splits of a task.

    Args:
        task: its validation part, kind and seed decide.
        y: (n,) class indices or values.
        groups: (n,) group indices; needed by scheme group, kept whole by every scheme if given.
        times: (n,) numbers that grow with time; needed by scheme time.

    Raises:
        TaskError: the table can't be split like that; says what to change.
    """
    if task.metric == "rmsle" and (y <= -1).any():
        raise TaskError("Metric rmsle needs targets above -1; choose rmse or mae.")
    rng = np.random.default_rng(task.seed)
    rows, holdout = _set_aside(task, y, groups, times, rng)
    wanted = _resolve(task.validation, len(rows), groups is not None, times is not None)
    labels = y if task.kind.is_classification else None
    pick = _Picker(
        labels=None if labels is None else labels[rows],
        groups=None if groups is None else groups[rows],
        times=None if times is None else times[rows],
    )
    folds = [(np.sort(rows[train]), np.sort(rows[valid])) for train, valid in pick.folds(wanted, len(rows), rng)]
    folds = [(train, valid) for train, valid in folds if len(train) and len(valid)]
    if not folds:
        raise TaskError("No fold has rows on both sides: use fewer folds or more rows.")
    return Splits(tuple(folds), holdout, wanted.scheme)


def _set_aside(
    task: Task, y: Array, groups: Array | None, times: Array | None, rng: np.random.Generator
) -> tuple[Array, Array | None]:
    """Rows to search on, and the holdout."""
    share, n = task.validation.holdout, len(y)
    if not share:
        return np.arange(n), None
    if times is not None and task.validation.scheme is Scheme.TIME:
        order = np.argsort(times, kind="stable")
        cut = n - max(1, round(share * n))
        return np.sort(order[:cut]), np.sort(order[cut:])
    train, valid = _share(share, y if task.kind.is_classification else None, groups, n, rng)
    if not len(train):
        raise TaskError("The holdout leaves no rows to learn from: make it smaller.")
    return train, valid


def _resolve(validation: Validation, n: int, has_groups: bool, has_times: bool) -> Validation:
    """`auto` as a scheme with folds."""
    scheme, folds = validation.scheme, validation.folds
    if scheme is Scheme.GROUP and not has_groups:
        raise TaskError("Validation scheme group needs group_column.")
    if scheme is Scheme.TIME and not has_times:
        raise TaskError("Validation scheme time needs time_column.")
    if scheme is Scheme.AUTO:
        if has_groups:
            scheme = Scheme.GROUP
        elif has_times:
            scheme = Scheme.TIME
        elif folds is not None:
            scheme = Scheme.KFOLD
        else:
            scheme = Scheme.REPEATED if n < _REPEATED_BELOW else Scheme.KFOLD if n < _THREE_BELOW else Scheme.HOLDOUT
    count = folds or (3 if _FIVE_BELOW <= n < _THREE_BELOW else 5)
    return replace(validation, scheme=scheme, folds=min(count, n))


@dataclass(frozen=True)
class _Picker:
    """Folds as places among the rows to search on."""

    labels: Array | None
    groups: Array | None
    times: Array | None

    def folds(self, wanted: Validation, n: int, rng: np.random.Generator) -> Iterator[Fold]:
        count = wanted.folds or 5
        if wanted.scheme is Scheme.HOLDOUT:
            share = min(_HOLDOUT_SHARE, _HOLDOUT_MOST / n)
            yield _share(share, self.labels, self.groups, n, rng)
        elif wanted.scheme is Scheme.TIME:
            yield from self._forward(count, n)
        else:
            for _ in range(2 if wanted.scheme is Scheme.REPEATED else 1):
                yield from self._kfold(count, n, rng)

    def _kfold(self, count: int, n: int, rng: np.random.Generator) -> Iterator[Fold]:
        if self.groups is None:
            fold_of = _stratified(self.labels, n, count, rng)
        else:
            fold_of = _by_group(self.labels, self.groups, count, rng)
        for fold in range(count):
            yield np.flatnonzero(fold_of != fold), np.flatnonzero(fold_of == fold)

    def _forward(self, count: int, n: int) -> Iterator[Fold]:
        """Blocks in time: fold i trains on the first i + 1 blocks, validates on the next. Equal times stay together."""
        assert self.times is not None
        instants, place = np.unique(self.times, return_inverse=True)
        if len(instants) < 2:
            raise TaskError("Every row has the same time: nothing is later. Choose another scheme.")
        count = min(count, len(instants) - 1)
        cumulated = np.cumsum(np.bincount(place))
        block_of = np.minimum(cumulated[place] * (count + 1) // (n + 1), count)
        for block in range(1, count + 1):
            yield np.flatnonzero(block_of < block), np.flatnonzero(block_of == block)


def _stratified(labels: Array | None, n: int, count: int, rng: np.random.Generator) -> Array:
    """Fold of each row: shuffled, each class dealt out in turn, so that no fold validates all rows of a rare one."""
    order = rng.permutation(n)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    fold_of = np.empty(n, dtype=np.int64)
    fold_of[order] = np.arange(n) % count
    return fold_of


def _by_group(labels: Array | None, groups: Array, count: int, rng: np.random.Generator) -> Array:
    """Fold of each row: whole groups, largest first into the fold that stays nearest to the overall mix of classes."""
    names, place = np.unique(groups, return_inverse=True)
    if len(names) < 2:
        raise TaskError("There is one group only; group validation needs at least two.")
    count = min(count, len(names))
    marks = np.zeros(len(groups), dtype=np.int64) if labels is None else labels
    mix = np.zeros((len(names), int(marks.max()) + 1))
    np.add.at(mix, (place, marks), 1.0)
    order = rng.permutation(len(names))
    order = order[np.argsort(-mix[order].sum(axis=1), kind="stable")]
    target = mix.sum(axis=0) / count
    filled = np.zeros((count, mix.shape[1]))
    fold_of_group = np.empty(len(names), dtype=np.int64)
    for group in order:
        scaled = (filled + mix[group]) / np.maximum(target, 1.0)
        fold = int(np.argmin((scaled**2).sum(axis=1) - ((filled / np.maximum(target, 1.0)) ** 2).sum(axis=1)))
        fold_of_group[group] = fold
        filled[fold] += mix[group]
    return np.asarray(fold_of_group[place])


def _share(share: float, labels: Array | None, groups: Array | None, n: int, rng: np.random.Generator) -> Fold:
    """(the rest, about `share` of the rows): stratified, or whole groups."""
    if groups is not None:
        names, place = np.unique(groups, return_inverse=True)
        order = rng.permutation(len(names))
        upto = np.cumsum(np.bincount(place)[order])
        chosen = order[: max(1, int(np.searchsorted(upto, share * n)))]
        is_valid = np.isin(place, chosen)
        return np.flatnonzero(~is_valid), np.flatnonzero(is_valid)
    order = rng.permutation(n)
    if labels is not None:
        order = order[np.argsort(labels[order], kind="stable")]
    points = np.floor((np.arange(n) + 1) * share + 1e-9)
    is_valid = np.zeros(n, dtype=bool)
    is_valid[order] = np.diff(points, prepend=0.0) > 0
    return np.flatnonzero(~is_valid), np.flatnonzero(is_valid)
