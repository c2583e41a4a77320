"""Real tables to practise on: parts of their rows and columns, and any of their columns as what is to be predicted.

A file of them is safetensors: of each table its columns as learners see them, categories one-hot and as numbers, and
its target. Who practises on which is decided by whoever makes the file (`workers/practice_tables.py`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from .prior import SyntheticTask

Array = NDArray[Any]

ENCODINGS = ("onehot", "ordinal")  #: of categories
_OWN = 0.6  # of tasks predict the table's target, others one of its columns
_FEW = 10  # values of a column that are classes as they are
_MANY = 15  # values of a column that is a number
_ATTEMPTS = 12
_SAME = 0.999  # correlation of a column that is the target in other words
_CONSTANT = 1e-6  # deviation within each class, of a column that is


@dataclass(frozen=True)
class RealTable:
    """A table to practise on."""

    columns: Mapping[str, Array]  #: by encoding (rows, columns) float32, finite
    y: Array  #: (rows,) class indices, or values
    classes: int  #: 0: values


def write_tables(path: Path, tables: Mapping[str, RealTable]) -> None:
    """As a file."""
    tensors = {
        f"{name}/{encoding}": table.columns[encoding] for name, table in tables.items() for encoding in ENCODINGS
    }
    tensors |= {f"{name}/y": table.y for name, table in tables.items()}
    save_file(tensors, path, {"classes": json.dumps({name: table.classes for name, table in tables.items()})})


def read_tables(path: Path) -> list[RealTable]:
    """What `write_tables` was given, by name."""
    with safe_open(path, framework="numpy") as file:
        classes: dict[str, int] = json.loads(file.metadata()["classes"])
        return [
            RealTable(
                {encoding: file.get_tensor(f"{name}/{encoding}") for encoding in ENCODINGS},
                file.get_tensor(f"{name}/y"),
                count,
            )
            for name, count in sorted(classes.items())
        ]


def real_task(
    rng: np.random.Generator, tables: Sequence[RealTable], rows: int, columns: int, classes: int
) -> SyntheticTask | None:
    """Part of a table.

    Args:
        rng: decides everything.
        tables: at least one.
        rows: of the task.
        columns: of the task.
        classes: of the task; 0: regression.

    Returns:
        None where no table was found that has so many.
    """
    for _ in range(_ATTEMPTS):
        table = tables[int(rng.integers(len(tables)))]
        if rng.random() < _OWN:
            X, y = table.columns[ENCODINGS[int(rng.integers(len(ENCODINGS)))]], _own(rng, table, classes)
        else:
            X, y = _column(rng, table.columns["ordinal"], classes)
        if y is None:
            continue
        known = np.flatnonzero(y >= 0) if classes else np.arange(len(y))
        if len(known) < rows or X.shape[1] < columns:
            continue
        chosen = rng.choice(known, rows, replace=False)
        if (task := _task(rng, X[chosen], y[chosen], columns, classes)) is not None:
            return task
    return None


def _own(rng: np.random.Generator, table: RealTable, classes: int) -> Array | None:
    """Its target: so many of its classes (others are -1), or one against the rest; None where it is of another sort."""
    if not table.classes:
        return _levels(rng, table.y, classes)
    if not classes or table.classes < classes:
        return None
    chosen = rng.permutation(table.classes)[:classes]
    if classes == 2 and table.classes > 2 and rng.random() < 0.5:
        return np.asarray(table.y == chosen[0], dtype=np.int64)
    out = np.full(table.classes, -1)
    out[chosen] = np.arange(classes)
    return np.asarray(out[table.y])


def _column(rng: np.random.Generator, X: Array, classes: int) -> tuple[Array, Array | None]:
    """The other columns, and one as a target; None where it does not lend itself to that."""
    place = int(rng.integers(X.shape[1]))
    return np.delete(X, place, axis=1), _levels(rng, X[:, place], classes)


def _levels(rng: np.random.Generator, values: Array, classes: int) -> Array | None:
    """Values as they are, or as classes: each a class if they are few (others are -1), else cut at random places."""
    found, counts = np.unique(values, return_counts=True)
    if not classes:
        return values if len(found) >= _MANY else None
    if len(found) < classes:
        return None
    if len(found) <= _FEW:
        often = found[np.argsort(-counts, kind="stable")[:classes]]
        return np.where(np.isin(values, often), np.searchsorted(np.sort(often), values), -1)
    shares = np.cumsum(rng.dirichlet(np.full(classes, rng.uniform(1, 8))))[:-1]
    return np.searchsorted(np.quantile(values, shares), values).astype(np.int64)


def _task(rng: np.random.Generator, X: Array, y: Array, columns: int, classes: int) -> SyntheticTask | None:
    """Columns that vary and are not the target itself, standardised; None where there is too little."""
    if classes:
        if np.bincount(y, minlength=classes).min() < 2:
            return None
        y = y.astype(np.int64)
    else:
        deviation = float(y.std())
        if deviation <= 1e-6 * max(1.0, float(np.abs(y).max())):
            return None
        y = ((y - y.mean()) / deviation).astype(np.float32)
    X = X.astype(np.float64)
    deviations = X.std(axis=0)
    varies = deviations > 1e-6 * np.maximum(np.abs(X).max(axis=0), 1e-6)
    X = (X[:, varies] - X[:, varies].mean(axis=0)) / deviations[varies]
    if classes:
        X = X[:, np.max([X[y == label].std(axis=0) for label in range(classes)], axis=0) > _CONSTANT]
    else:
        X = X[:, np.abs(y @ X / len(y)) < _SAME]
    if X.shape[1] < columns:
        return None
    return SyntheticTask(X[:, rng.choice(X.shape[1], columns, replace=False)].astype(np.float32), y)
