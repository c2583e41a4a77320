"""The engine as a library on one split of a corpus task: no service, the same road from text to model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.baselines import METRICS, loss
from benchmarks.made import as_rows
from workers.corpus import CorpusTask, Split, read_frame
from workers.engine.bundle import open_bundle
from workers.engine.fit import FitResult, Plan, fit
from workers.engine.journal import FolderJournal
from workers.engine.types import Budget, Task, TaskKind

CORES = 2


@dataclass(frozen=True)
class Run:
    """What a fit came to."""

    loss: float
    seconds: float
    first_model_s: float  #: from the start of the fit to the first bundle
    result: FitResult


class _Watched(FolderJournal):
    """Notes when the first model was there; keeps no trials, which nobody will resume."""

    def __init__(self, folder: Path, budget: Budget) -> None:
        super().__init__(folder, budget)
        self.started, self.first_model_s = time.monotonic(), np.inf

    def told(self, trial: Any, folder: Path | None) -> None:
        """Nothing."""

    def publish(self, path: Path, manifest: Mapping[str, Any], *, final: bool) -> None:
        """Replace `model.zip`."""
        self.first_model_s = min(self.first_model_s, time.monotonic() - self.started)
        super().publish(path, manifest, final=final)


def run(task: CorpusTask, parts: Split, folder: Path, *, seconds: float, seed: int, **plan: Any) -> Run:
    """Fit within so many seconds, score on the test rows; `folder` is scratch, `plan` as `Plan` has it."""
    kind = TaskKind(task.kind)
    table, target, _ = read_frame(parts.train, task.target, kind, folder)
    asked = Task(target=task.target, kind=kind, metric=METRICS[task.kind], classes=target.classes, seed=seed)
    journal = _Watched(folder / "journal", Budget(seconds=seconds))
    result = fit(table, target.y, asked, Plan(cores=CORES, **plan), journal, folder / "scratch")
    took = time.monotonic() - journal.started
    model = open_bundle(folder / "journal" / "model.zip")
    rows, _ = model.schema.rows_to_columns(as_rows(parts.test.drop(columns=task.target)))
    prediction = model.predict_columns(rows)
    if parts.classes:
        prediction = prediction[:, [model.classes.index(label) for label in parts.classes]]
    value = loss(task.kind, parts.test[task.target].to_numpy(), prediction, parts.classes)
    return Run(value, took, journal.first_model_s, result)
