"""Fits the categorical block: a lookup table for every category column, target encodings cross-fitted in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..bundle.runtime.schema import Field, Schema
from ..bundle.runtime.tables import TablePart
from .options import EncoderOptions
from .texts import spelling_table

Array = np.ndarray[Any, Any]

_FOLDS = 5
_MANY = 32  # categories from which native_target adds a target encoding
_MAX_TARGETS = 10  # classes that get a target encoding each
_MAX_ONE_HOT = 4096  # one-hot columns of the whole table
_MAX_SPELLED = 5  # category columns whose spelling is read


@dataclass(frozen=True)
class Column:
    """One category column in training. Everything is indexed by row of its table: code + 1."""

    field: Field
    rows: Array  #: (n,) row of the table of each training row
    counts: Array  #: (len(vocabulary) + 2,)
    rank: Array  #: 0, 1, … by falling frequency; `kept` for rare and unseen ones, `kept` + 1 for missing
    kept: int

    @classmethod
    def read(cls, field: Field, codes: Array, min_frequency: int) -> Column:
        """Count and rank."""
        rows = codes.astype(np.int64) + 1
        counts = np.bincount(rows, minlength=len(field.vocabulary) + 2)
        order = np.argsort(-counts[1:-1], kind="stable") + 1
        order = order[counts[order] >= max(1, min_frequency)]
        rank = np.full(len(counts), len(order))
        rank[order] = np.arange(len(order))
        rank[0] = len(order) + 1
        return cls(field, rows, counts, rank, len(order))

    @property
    def seen(self) -> int:
        """Distinct categories in training."""
        return int(np.count_nonzero(self.counts[1:-1]))


@dataclass(frozen=True)
class Block:
    """Output columns of one category column."""

    table: Array  #: (len(vocabulary) + 2, w)
    training: Array | None = None  #: (n, w) where the training rows must not see the table (cross-fitting)
    is_native: bool = False
    is_metric: bool = True  #: whether scaled learners need it scaled


class CategoryFitter:
    """Makes the blocks of each column as the options say."""

    def __init__(self, options: EncoderOptions, targets: Array | None, folds: Array) -> None:
        self.options = options
        self.targets = targets  #: (n, outputs) what target encodings average; None: too many classes
        self.folds = folds  #: (n,) cross-fitting fold of each row

    def blocks(self, column: Column, one_hot_limit: int) -> list[Block]:
        """All blocks of one column."""
        option = self.options.category
        if option == "native":
            return [Block(column.rank[:, None], is_native=True)]
        if option == "native_target":
            native = Block(column.rank[:, None], is_native=True)
            return [native, *self.target(column)] if column.seen > _MANY else [native]
        if option == "onehot":
            limit = min(self.options.max_categories, one_hot_limit)
            return [*one_hot(column, limit), *(self.target(column) if column.kept > limit else [])]
        return self.target(column) if option == "target" else [ordinal(column)]

    def target(self, column: Column) -> list[Block]:
        """Smoothed means of the target; frequency and order where there are too many classes for that."""
        if self.targets is None:
            return [ordinal(column), frequency(column)]
        return [target_means(column, self.targets, self.folds, self.options.smoothing)]


def fit_categories(
    options: EncoderOptions,
    schema: Schema,
    columns: Mapping[str, Array],
    targets: Array | None,
    rng: np.random.Generator,
) -> tuple[TablePart, Array, list[int]] | None:
    """The categorical block, the training rows' values in it (float32), and which of its columns are native codes."""
    found = [
        Column.read(field, columns[field.name], options.min_frequency)
        for field in schema.fields
        if field.kind == "category"
    ]
    if not found:
        return None
    n = len(found[0].rows)
    fitter = CategoryFitter(options, targets, rng.permutation(n) % min(_FOLDS, max(n, 1)))
    limit = _one_hot_limit(found, options)
    spelled = _spelled(options, found)
    names: list[str] = []
    tables: list[Array] = []
    training: list[Array] = []
    native: list[int] = []
    width = 0
    for column in found:
        blocks = fitter.blocks(column, limit)
        if column.field.name in spelled:
            blocks.append(Block(spelling_table(options, column.field, column.counts)))
        for block in blocks:
            table, values = _finished(block, column, options.is_scaled)
            native += range(width, width + table.shape[1]) if block.is_native else ()
            width += table.shape[1]
            names.append(column.field.name)
            tables.append(table)
            training.append(values)
    if not names:
        return None
    return TablePart(tuple(names), tuple(tables)), np.concatenate(training, axis=1), native


def _finished(block: Block, column: Column, scaled: bool) -> tuple[Array, Array]:
    """Table and training values as float32, standardised over the training rows for learners that mind."""
    table = block.table.astype(np.float64 if scaled and block.is_metric else np.float32)
    values = table[column.rows] if block.training is None else block.training
    if scaled and block.is_metric:
        mean, std = values.mean(axis=0), values.std(axis=0)
        std = np.where(std > 1e-12, std, 1.0)
        table, values = (table - mean) / std, (values - mean) / std
    return table.astype(np.float32), values.astype(np.float32)


def ordinal(column: Column) -> Block:
    """Rank by frequency, rare and unseen last, missing -1."""
    rank = column.rank.copy()
    rank[0] = -1
    return Block(rank[:, None])


def frequency(column: Column) -> Block:
    """Share of training rows."""
    return Block((column.counts / max(1, len(column.rows)))[:, None])


def one_hot(column: Column, limit: int) -> list[Block]:
    """A column for each of the most frequent categories, for all others, and for missing, where they occur.

    Two groups need one column. A single group needs none.
    """
    rank = np.minimum(column.rank, limit)
    others = min(column.kept, limit)
    rank[rank >= others] = others
    rank[0] = others + 1
    groups = np.flatnonzero(np.bincount(rank, weights=column.counts, minlength=others + 2))
    if len(groups) < 2:
        return []
    groups = groups[1:] if len(groups) == 2 else groups
    return [Block(rank[:, None] == groups[None, :], is_metric=False)]


def target_means(column: Column, targets: Array, folds: Array, smoothing: float) -> Block:
    """Mean target of each category, pulled to the overall mean by `smoothing` rows; out-of-fold for training rows."""
    rows, size, n_folds = column.rows, len(column.counts), int(folds.max(initial=0)) + 1
    cells = folds * size + rows
    counts = np.bincount(cells, minlength=n_folds * size).reshape(n_folds, size).astype(np.float64)
    fold_rows = counts.sum(axis=1)
    table = np.empty((size, targets.shape[1]))
    training = np.empty((len(rows), targets.shape[1]))
    for place, target in enumerate(targets.T):
        sums = np.bincount(cells, weights=target, minlength=n_folds * size).reshape(n_folds, size)
        totals, prior = sums.sum(axis=0), target.mean()
        table[:, place] = (totals + smoothing * prior) / (counts.sum(axis=0) + smoothing)
        others = np.maximum(1.0, fold_rows.sum() - fold_rows)
        priors = (totals.sum() - sums.sum(axis=1)) / others
        away = (totals - sums + smoothing * priors[:, None]) / (counts.sum(axis=0) - counts + smoothing)
        training[:, place] = away[folds, rows]
    return Block(table, training)


def target_outputs(y: Array, n_classes: int) -> Array | None:
    """What target encodings average, (n, outputs): the target, the positive class, or each class; None: too many."""
    if n_classes == 0:
        return np.asarray(y, dtype=np.float64)[:, None]
    y = np.asarray(y)
    if n_classes == 2:
        positive: Array = (y == 1).astype(np.float64)
        return positive[:, None]
    if n_classes > _MAX_TARGETS:
        return None
    outputs: Array = (y[:, None] == np.arange(n_classes)).astype(np.float64)
    return outputs


def _one_hot_limit(found: list[Column], options: EncoderOptions) -> int:
    """Categories a column that keep the whole table within _MAX_ONE_HOT columns."""
    limit = options.max_categories
    while limit > 2 and sum(min(column.kept, limit) for column in found) > _MAX_ONE_HOT:
        limit //= 2
    return limit


def _spelled(options: EncoderOptions, found: list[Column]) -> frozenset[str]:
    """Columns with so many worded categories that their spelling says something."""
    if options.text == "length":
        return frozenset()
    worded = [column for column in found if column.seen > 100 and _is_worded(column.field.vocabulary)]
    worded.sort(key=lambda column: -column.seen)
    return frozenset(column.field.name for column in worded[:_MAX_SPELLED])


def _is_worded(vocabulary: tuple[str, ...]) -> bool:
    sample = vocabulary[:: max(1, len(vocabulary) // 200)]
    letters = sum(sum(character.isalpha() for character in text) for text in sample)
    characters = sum(map(len, sample))
    return characters >= 6 * len(sample) and letters > 0.5 * characters
