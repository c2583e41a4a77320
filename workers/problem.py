"""A job row and its dataset as the engine takes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from app.datasets.tables import Dataset
from app.jobs.tables import Job
from app.settings import Settings
from workers.engine.catalog import LEARNERS
from workers.engine.errors import TaskError
from workers.engine.fit import Plan
from workers.engine.table.load import (
    Target,
    TypedTable,
    load_groups,
    load_table,
    load_target,
    load_times,
    load_weights,
)
from workers.engine.types import Budget, Limits, Scheme, Task, TaskKind, Validation
from workers.journal import DatabaseJournal
from workers.resources import slot_cores, slot_memory_mb

_MOST_SIDE_BY_SIDE = 16  # trials; beyond, their processes cost more than they bring


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Everything that `fit` needs, and what knowledge wants to know of the data."""

    table: TypedTable
    y: NDArray[Any]
    task: Task
    plan: Plan
    weights: NDArray[np.float64] | None
    groups: NDArray[np.int64] | None
    times: NDArray[np.float64] | None
    dataset_sha256: str
    target_place: int
    knowledge: str  #: off, own, shared: what the search may learn from
    contribute: str  #: none, own, shared: who may learn from it


def load_problem(settings: Settings, journal: DatabaseJournal) -> Problem:
    """Read the job, its dataset's row and the stored table; the journal learns the budget.

    Raises:
        TaskError: the table can't answer the question.
    """
    with journal.database.transaction() as session:
        job = session.execute(select(Job).where(Job.id == journal.lease.job_id)).scalar_one()
        dataset = session.execute(select(Dataset).where(Dataset.id == job.dataset_id)).scalar_one()
    spec = job.spec
    cores = min(slot_cores(settings), _MOST_SIDE_BY_SIDE)
    journal.begin(job, read_budget(spec, settings, slot_memory_mb(settings) // cores))
    path = journal.blobs.path(dataset.blob_key)
    if not path.exists():
        raise TaskError("The dataset of this job has been deleted.")
    columns = dataset.columns
    table, read = read_question(spec, columns, path)
    weights, groups, times = _reserved(spec)
    return Problem(
        table=table,
        y=read.y,
        task=read_task(spec, read.classes),
        plan=read_plan(spec, settings, cores),
        weights=None if weights is None else load_weights(path, columns, weights, read.mask),
        groups=None if groups is None else load_groups(path, columns, groups, read.mask),
        times=None if times is None else load_times(path, columns, times, read.mask),
        dataset_sha256=dataset.sha256,
        target_place=[info["name"] for info in columns].index(spec["target"]),
        knowledge=spec.get("knowledge", "shared"),
        contribute=spec.get("contribute", "own"),
    )


def read_question(
    spec: Mapping[str, Any], columns: Sequence[Mapping[str, Any]], path: Path, rows: int | None = None
) -> tuple[TypedTable, Target]:
    """Features and target of a resolved spec.

    Args:
        spec: what is asked.
        columns: the dataset's list.
        path: the stored table.
        rows: a random sample of so many at most.

    Raises:
        TaskError: the table can't answer the question.
    """
    target, features = spec["target"], spec["features"]
    read = load_target(path, columns, target, TaskKind(spec["kind"]), positive_class=spec.get("positive_class"))
    if rows is not None and len(read.y) > rows:
        kept = np.zeros(len(read.y), dtype=np.bool_)
        kept[np.random.default_rng(0).choice(len(read.y), rows, replace=False)] = True
        mask = read.mask.copy()
        mask[np.flatnonzero(mask)[~kept]] = False
        read = read._replace(y=read.y[kept], mask=mask)
    table = load_table(
        path,
        columns,
        include=features["include"],
        exclude=features["exclude"],
        kinds=features["kinds"],
        reserved=(target, *_reserved(spec)),
        mask=read.mask,
    )
    return table, read


def _reserved(spec: Mapping[str, Any]) -> tuple[str | None, str | None, str | None]:
    """Columns of weights, groups and times."""
    validation = spec["validation"]
    return spec["weights_column"], validation["group_column"], validation["time_column"]


def read_task(spec: Mapping[str, Any], classes: tuple[str, ...]) -> Task:
    """The task of a resolved spec."""
    validation = spec["validation"]
    return Task(
        target=spec["target"],
        kind=TaskKind(spec["kind"]),
        metric=spec["metric"],
        classes=classes,
        validation=Validation(**{**validation, "scheme": Scheme(validation["scheme"])}),
        weights_column=spec["weights_column"],
        class_weight=spec["class_weight"],
        seed=spec["seed"],
    )


def read_plan(spec: Mapping[str, Any], settings: Settings, cores: int) -> Plan:
    """How the spec wants to search."""
    algorithms = spec["algorithms"]
    included = algorithms["include"] or list(LEARNERS)
    return Plan(
        strategy=spec["strategy"],
        algorithms=tuple(name for name in included if name not in algorithms["exclude"]),
        ensemble=spec["ensemble"],
        limits=Limits(**spec.get("limits", {})),
        cores=cores,
        publish_every_s=settings.interval(settings.publish_every_s),
    )


def read_budget(spec: Mapping[str, Any], settings: Settings, memory_mb: int) -> Budget:
    """The budget of a resolved spec; a trial gets no more memory than its share of the slot."""
    wanted = spec["trial"]["memory_mb"] or settings.trial_memory_mb
    return Budget(
        seconds=spec["budget"]["seconds"],
        trials=spec["budget"]["trials"],
        trial_seconds=spec["trial"]["seconds"],
        trial_memory_mb=min(wanted, max(256, memory_mb)),
    )
