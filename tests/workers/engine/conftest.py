"""Small tables with a signal, and the task they pose."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from workers.engine.bundle.runtime.schema import Field, Schema
from workers.engine.table.load import TypedTable
from workers.engine.types import Task, TaskKind, Validation

_N_CLASSES = {TaskKind.BINARY: 2, TaskKind.MULTICLASS: 3, TaskKind.REGRESSION: 0}
_METRIC = {TaskKind.BINARY: "roc_auc", TaskKind.MULTICLASS: "log_loss", TaskKind.REGRESSION: "rmse"}


@dataclass(frozen=True)
class Problem:
    """A typed table, its target and the task."""

    table: TypedTable
    y: np.ndarray[Any, Any]
    task: Task

    @property
    def n_classes(self) -> int:
        return len(self.task.classes)


@pytest.fixture(scope="session")
def make_problem() -> Callable[..., Problem]:
    """Mixed columns, some cells missing, a signal that every learner can find."""

    def make(kind: TaskKind, rows: int = 120, seed: int = 0, **validation: Any) -> Problem:
        rng = np.random.default_rng(seed)
        fields = (
            Field("size", "number"),
            Field("noise", "number"),
            Field("colour", "category", ("blue", "green", "red")),
        )
        size, colour = rng.normal(size=rows), rng.integers(-1, 3, rows).astype(np.int32)
        noise = np.where(rng.random(rows) < 0.1, np.nan, rng.normal(size=rows))
        signal = 2 * size + (colour == 2) + 0.3 * rng.normal(size=rows)
        n_classes = _N_CLASSES[kind]
        y = (
            signal
            if not n_classes
            else np.searchsorted(np.quantile(signal, np.arange(1, n_classes) / n_classes), signal)
        )
        task = Task(
            target="y",
            kind=kind,
            metric=_METRIC[kind],
            classes=tuple(f"class {i}" for i in range(n_classes)),
            validation=Validation(**validation),
        )
        columns = {"size": size, "noise": noise, "colour": colour}
        return Problem(TypedTable(Schema(fields), columns, rows), y, task)

    return make
