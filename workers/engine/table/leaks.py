"""Columns that alone predict the target. Cheap: a sample of a few thousand rows, and per column one table of counts."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from ..catalog import infer_task_kind
from ..errors import TaskError
from ..types import ColumnKind, TaskKind
from .alerts import make_alert
from .cast import to_categories, to_numbers
from .load import find_column

_ROWS = (500, 4_000)  # the more columns, the fewer rows
_CELLS_READ = 1_000_000
_MIN_ROWS = 50  # fewer can agree by chance
_GROUPS = 8
_BINS = 64
_BIN_ROWS = 16
_LEAK = 0.98  # of what there is to explain, on rows that the rule did not see
_CELLS = 2_000_000  # bins times classes

Array = NDArray[Any]


def target_alerts(
    parquet: Path,
    columns: Sequence[Mapping[str, Any]],
    target: str,
    *,
    kind: TaskKind | str | None = None,
    ignore: Collection[str | None] = (),
) -> list[dict[str, Any]]:
    """An alert "leaking" for every column that a rule on it alone makes nearly perfect predictions with.

    Args:
        parquet: the stored table.
        columns: the dataset's list.
        target: name of the column.
        kind: of the task; None: inferred.
        ignore: columns that are no features.

    Raises:
        TaskError: the target is no column.
    """
    info = find_column(columns, target, "Target")
    features = [
        entry["name"]
        for entry in columns
        if entry["name"] != target
        and entry["name"] not in ignore
        and entry["kind"] not in (ColumnKind.ID, ColumnKind.CONSTANT, ColumnKind.TEXT)
    ]
    sample = _sample(parquet, [target, *features])
    y = _target_values(sample.column(target), info, TaskKind(kind) if kind else _infer(info, parquet))
    if y is None:
        return []
    rows, answer, is_classes = y
    alerts = []
    for name in features:
        score = _score(sample.column(name), rows, answer, is_classes)
        if score >= _LEAK:
            detail = f"Alone it predicts {target!r} nearly perfectly. Is it known when predictions are made?"
            alerts.append(make_alert("leaking", name, detail, score=round(score, 4)))
    return alerts


def _infer(info: Mapping[str, Any], parquet: Path) -> TaskKind:
    rows = pq.read_metadata(parquet).num_rows
    kind = "number" if info["type"] in ("integer", "number") else info["kind"]
    return infer_task_kind(kind, info["distinct"], rows, info["is_integer"])


def _sample(parquet: Path, names: list[str]) -> pa.Table:
    """Rows from all over the file; one row group at a time is in memory."""
    rng = np.random.default_rng(0)
    limit = int(np.clip(_CELLS_READ // len(names), *_ROWS))
    with pq.ParquetFile(parquet) as file:
        count = file.num_row_groups
        groups = np.unique(np.linspace(0, count - 1, min(count, _GROUPS)).astype(int))
        tables = []
        for group in groups:
            table = file.read_row_group(int(group), columns=names).select(names)
            wanted = min(table.num_rows, limit // len(groups))
            tables.append(table.take(np.sort(rng.choice(table.num_rows, wanted, replace=False))))
    return pa.concat_tables(tables)


def _target_values(
    column: pa.ChunkedArray, info: Mapping[str, Any], kind: TaskKind
) -> tuple[Array, Array, bool] | None:
    """Rows that have a target, what it is there (class indices, or ranks in 0..1), and which of both."""
    if kind.is_classification:
        codes, _ = to_categories(column)
        rows = np.flatnonzero(codes >= 0)
        return (rows, codes[rows].astype(np.int64), True) if len(rows) >= _MIN_ROWS else None
    try:
        numbers = to_numbers(column, info["name"])
    except TaskError:
        return None
    rows = np.flatnonzero(~np.isnan(numbers))
    if len(rows) < _MIN_ROWS:
        return None
    return rows, np.unique(numbers[rows], return_inverse=True)[1] / len(rows), False


def _score(column: pa.ChunkedArray, rows: Array, answer: Array, is_classes: bool) -> float:
    """How much of the answer the column explains: 1 all, 0 nothing."""
    if pa.types.is_string(column.type) or pa.types.is_boolean(column.type):
        return _explained(to_categories(column)[0][rows].astype(np.int64) + 1, answer, is_classes)
    numbers = to_numbers(column, "")[rows]
    binned = max(_explained(bins, answer, is_classes) for bins in (_even_bins(numbers), _wide_bins(numbers)))
    return binned if is_classes else max(binned, _rank_agreement(numbers, answer))


def _even_bins(numbers: Array) -> Array:
    """Ranges with as many rows each; 0 missing."""
    present = numbers[~np.isnan(numbers)]
    count = min(_BINS, len(present) // _BIN_ROWS)
    if count < 2:
        return np.zeros(len(numbers), dtype=np.int64)
    edges = np.unique(np.sort(present)[np.arange(1, count) * len(present) // count])
    return np.where(np.isnan(numbers), 0, np.searchsorted(edges, numbers, side="left") + 1)


def _wide_bins(numbers: Array) -> Array:
    """Ranges as wide as each other; 0 missing. Finds classes between which there are gaps."""
    present = numbers[~np.isnan(numbers)]
    if len(present) == 0:
        return np.zeros(len(numbers), dtype=np.int64)
    part = np.arange(1, _BINS) / _BINS
    edges = present.min() * (1 - part) + present.max() * part
    return np.where(np.isnan(numbers), 0, np.searchsorted(edges, numbers, side="left") + 1)


def _rank_agreement(numbers: Array, answer: Array) -> float:
    """Squared rank correlation; 0 where half of the numbers are missing."""
    present = ~np.isnan(numbers)
    if present.mean() < 0.5 or np.ptp(numbers[present]) == 0 or np.ptp(answer[present]) == 0:
        return 0.0
    ranks = np.stack([np.unique(values[present], return_inverse=True)[1] for values in (numbers, answer)])
    correlation: Array = np.asarray(np.corrcoef(ranks.astype(np.float64)))
    return float(correlation[0, 1] ** 2 * present.mean())


def _explained(bins: Array, y: Array, is_classes: bool) -> float:
    """Share of what a constant gets wrong that a rule by bin gets right, on rows that the rule did not see."""
    half = np.random.default_rng(0).permutation(len(y)) % 2 == 0
    errors, worst = 0.0, 0.0
    for fit, test in ((half, ~half), (~half, half)):
        error, constant = (_class_errors if is_classes else _squared_errors)(bins, y, fit, test)
        errors += error
        worst += constant
    return 1 - errors / worst if worst > 0 else 0.0


def _class_errors(bins: Array, y: Array, fit: Array, test: Array) -> tuple[float, float]:
    classes, count = int(y.max()) + 1, int(bins.max()) + 1
    if classes * count > _CELLS:
        return 1.0, 1.0
    majority = np.bincount(y[fit], minlength=classes).argmax()
    table = np.bincount(bins[fit] * classes + y[fit], minlength=classes * count).reshape(count, classes)
    rule = np.where(table.any(axis=1), table.argmax(axis=1), majority)
    return float((rule[bins[test]] != y[test]).sum()), float((y[test] != majority).sum())


def _squared_errors(bins: Array, y: Array, fit: Array, test: Array) -> tuple[float, float]:
    count, mean = int(bins.max()) + 1, y[fit].mean()
    sums, sizes = np.bincount(bins[fit], weights=y[fit], minlength=count), np.bincount(bins[fit], minlength=count)
    rule = np.where(sizes > 0, sums / np.maximum(sizes, 1), mean)
    return float(((rule[bins[test]] - y[test]) ** 2).sum()), float(((mean - y[test]) ** 2).sum())
