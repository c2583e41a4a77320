"""A table as the set encoder sees it: pairs of a cell and its row's target, standardised. No names, any size."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle.runtime.schema import Columns, Schema
from ..types import TaskKind

Array = NDArray[np.float64]

ROWS, COLUMNS = 200, 32  #: at most
FEATURES = 10  #: of a pair
_CLASSES = 3  # the most frequent ones, each against the rest
_CLIP = 3.0  # robust deviations
_PRIOR = 3.0  # rows that a mean over equal values is shrunk by


def read_sample(columns: Columns, schema: Schema, y: NDArray[Any], kind: TaskKind | str) -> Array:
    """(units, rows, FEATURES) of at most so many rows and columns: a unit is a column with one target."""
    rng = np.random.default_rng(0)
    rows = rng.choice(len(y), min(len(y), ROWS), replace=False)
    fields = [schema.fields[place] for place in sorted(rng.permutation(len(schema.fields))[:COLUMNS])]
    cells = np.stack([to_numbers(columns[field.name][rows], field.kind) for field in fields])
    is_category = np.array([field.kind == "category" for field in fields])
    return pair_up(cells, is_category, np.asarray(y, dtype=np.float64)[rows], TaskKind(kind).is_classification)


def to_numbers(values: NDArray[Any], kind: str) -> Array:
    """(rows,) with NaN for missing: codes of categories, lengths of text."""
    if kind == "text":
        return np.array([float(len(text)) if text else np.nan for text in values])
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(numbers < 0, np.nan, numbers) if kind == "category" else numbers


def pair_up(cells: Array, is_category: NDArray[np.bool_], y: Array, is_classes: bool) -> Array:
    """(columns x targets, rows, FEATURES) from cells (columns, rows), NaN missing, and targets (rows,)."""
    targets = _class_targets(y) if is_classes else _number_target(y)
    whole = np.zeros((len(cells), len(targets), len(y), FEATURES))
    for place, (values, category) in enumerate(zip(cells, is_category, strict=True)):
        missing = np.isnan(values)
        level, inverse, counts = np.unique(np.where(missing, np.inf, values), return_inverse=True, return_counts=True)
        if not category:
            whole[place, :, :, 0] = np.where(missing, 0.0, _ranks(counts)[inverse])
            whole[place, :, :, 1] = _robust(values)
        for number, target in enumerate(targets):
            sums = np.bincount(inverse, target[:, 0], len(level))[inverse] - target[:, 0]
            whole[place, number, :, 2] = sums / (counts[inverse] - 1 + _PRIOR)  # mean of the others of this value
        whole[place, :, :, 3] = counts[inverse] / len(y)
        whole[place, :, :, 4] = missing
        whole[place, :, :, 5] = category
    whole[..., 6:] = targets[None]
    return np.asarray(whole.reshape(-1, len(y), FEATURES))


def _class_targets(y: Array) -> Array:
    """(targets, rows, 4): 1 or -1 less the mean, twice; the class's share; 0. Two classes are one target."""
    labels, counts = np.unique(y, return_counts=True)
    order = np.argsort(-counts, kind="stable")[: 1 if len(labels) <= 2 else _CLASSES]
    is_class = (y[None] == labels[order, None]).astype(np.float64)
    share = is_class.mean(axis=1, keepdims=True)
    sign = is_class - share
    return np.stack([sign * 2, sign * 2, np.broadcast_to(share, sign.shape), np.zeros_like(sign)], axis=2)


def _number_target(y: Array) -> Array:
    """(1, rows, 4): rank, robust value, 0, 1."""
    _, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    ones = np.ones(len(y))
    return np.stack([_ranks(counts)[inverse], _robust(y), 0 * ones, ones], axis=1)[None]


def _ranks(counts: NDArray[np.intp]) -> Array:
    """(values,) middle rank of each value in order, from -1 to 1."""
    after = np.cumsum(counts)
    return np.asarray((2 * after - counts) / after[-1] - 1.0)


def _robust(values: Array) -> Array:
    """By median and quartiles, clipped to -1..1; missing 0."""
    if np.isnan(values).all():
        return np.zeros(len(values))
    low, middle, high = np.nanquantile(values, [0.25, 0.5, 0.75])
    spread = (high - low) / 1.35 or float(np.nanstd(values)) or 1.0
    return np.asarray(np.nan_to_num(np.clip((values - middle) / spread / _CLIP, -1, 1)))
