"""A task as files that trial processes map into memory: written once a job, copied by nobody."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from ..bundle.runtime.schema import Columns, Schema
from ..learners.base import Size
from ..table.load import TypedTable
from ..types import Scheme, Task, TaskKind, Validation
from .splits import Fold, Splits

Array = NDArray[Any]


@dataclass(frozen=True)
class PreparedTask:
    """What a trial needs. Arrays are read-only maps of the files in `folder`."""

    folder: Path
    task: Task
    schema: Schema
    columns: Columns
    y: Array
    weights: NDArray[np.float64] | None  #: of the weights column, mean 1: what a row counts in a score
    fit_weights: NDArray[np.float64] | None  #: times class weight, mean 1: what it counts in training
    splits: Splits

    @property
    def n_classes(self) -> int:
        """0 in regression."""
        return len(self.task.classes)

    @property
    def size(self) -> Size:
        """Of one fold's training part, before encoding."""
        rows = int(np.mean([len(train) for train, _ in self.splits.folds]))
        return Size(rows=rows, columns=len(self.schema.fields), classes=self.n_classes)

    @property
    def search_rows(self) -> NDArray[np.int64]:
        """All rows but the holdout."""
        everything = np.arange(len(self.y))
        return everything if self.splits.holdout is None else np.setdiff1d(everything, self.splits.holdout)

    def rows(self, chosen: Array) -> Columns:
        """Some rows of every column."""
        return {name: values[chosen] for name, values in self.columns.items()}


def prepare(
    folder: Path, table: TypedTable, y: Array, weights: NDArray[np.float64] | None, task: Task, splits: Splits
) -> PreparedTask:
    """Write a task's files into `folder` and open them.

    Args:
        folder: made if it does not exist.
        table: features of the rows that have a target.
        y: (n,) int64 class indices or float64 values.
        weights: (n,) of the weights column, or None.
        task: `class_weight` weighs in training only: scores stay what they are called.
        splits: of the same rows.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _write_columns(folder / "columns.arrow", table)
    np.save(folder / "y.npy", y)
    arrays = {
        "weights": None if weights is None else weights / weights.mean(),
        "fit_weights": fit_weights(task, y, weights),
        "holdout": splits.holdout,
        "groups": splits.groups,
        "times": splits.times,
    }
    for name, values in arrays.items():
        if values is not None:
            np.save(folder / f"{name}.npy", values)
    for number, (train, valid) in enumerate(splits.folds):
        np.save(folder / f"train_{number}.npy", train)
        np.save(folder / f"valid_{number}.npy", valid)
    about = {
        "task": asdict(task),
        "schema": table.schema.to_json(),
        "folds": len(splits.folds),
        "scheme": splits.scheme,
    }
    (folder / "task.json").write_text(json.dumps(about))
    return open_prepared(folder)


def open_prepared(folder: Path) -> PreparedTask:
    """Map the files that `prepare` wrote."""
    about = json.loads((folder / "task.json").read_text())
    raw = about["task"]
    validation = raw.pop("validation")
    validation = Validation(**validation | {"scheme": Scheme(validation["scheme"])})
    task = Task(**raw | {"kind": TaskKind(raw["kind"]), "classes": tuple(raw["classes"]), "validation": validation})
    folds: tuple[Fold, ...] = tuple(
        (_map(folder / f"train_{number}.npy"), _map(folder / f"valid_{number}.npy")) for number in range(about["folds"])
    )
    holdout, groups, times = (_map_if_any(folder / f"{name}.npy") for name in ("holdout", "groups", "times"))
    return PreparedTask(
        folder=folder,
        task=task,
        schema=Schema.from_json(about["schema"]),
        columns=_read_columns(folder / "columns.arrow"),
        y=_map(folder / "y.npy"),
        weights=_map_if_any(folder / "weights.npy"),
        fit_weights=_map_if_any(folder / "fit_weights.npy"),
        splits=Splits(folds, holdout, Scheme(about["scheme"]), groups, times),
    )


def fit_weights(task: Task, y: Array, weights: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
    """Row weights times class weights, scaled to mean 1; None if all rows weigh alike."""
    if task.class_weight is None:
        return None if weights is None else weights / weights.mean()
    if task.class_weight == "balanced":
        counts = np.maximum(np.bincount(y, minlength=len(task.classes)), 1)
        of_class = len(y) / (len(task.classes) * counts)
    else:
        assert not isinstance(task.class_weight, str)
        of_class = np.array([float(task.class_weight.get(label, 1.0)) for label in task.classes])
    total = of_class[y] if weights is None else of_class[y] * weights
    return np.asarray(total / total.mean())


def _map(path: Path) -> Array:
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


def _map_if_any(path: Path) -> Array | None:
    return _map(path) if path.exists() else None


def _write_columns(path: Path, table: TypedTable) -> None:
    names = [field.name for field in table.schema.fields]
    arrays = [
        pa.array(table.columns[field.name], type=pa.large_string() if field.kind == "text" else None)
        for field in table.schema.fields
    ]
    columns = pa.table(arrays, names=names)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, columns.schema) as writer:
        writer.write_table(columns)


def _read_columns(path: Path) -> Columns:
    with pa.memory_map(str(path)) as source:
        table = pa.ipc.open_file(source).read_all()
    columns: Columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        chunk = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
        columns[name] = chunk.to_numpy(zero_copy_only=False)
    return columns
