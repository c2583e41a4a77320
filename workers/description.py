"""A task as knowledge keeps it: no rows and no names of columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.knowledge.repository import TaskDescription
from workers.engine.meta.constants import constant_scores
from workers.engine.meta.embeddings import TaskEmbedding
from workers.engine.meta.metafeatures import metafeatures
from workers.engine.meta.set_encoder import shipped_encoder
from workers.engine.meta.sketch import sketch
from workers.engine.meta.table_sample import read_sample
from workers.engine.table.load import TypedTable
from workers.engine.types import TaskKind
from workers.problem import Problem, read_question

#: Of a table that is looked at before a job runs; a job looks at all of it.
_ROWS, _CELLS = (1_000, 20_000), 4_000_000


def describe(problem: Problem) -> TaskDescription:
    """The task of a job."""
    task = problem.task
    features = [(field.name, field.kind) for field in problem.table.schema.fields]
    question = [problem.target_place, task.metric, task.classes, str(task.validation), task.weights_column]
    parts = [problem.dataset_sha256, task.kind, *question, task.class_weight, features]
    return describe_task(
        problem.table,
        problem.y,
        task.kind,
        task.classes,
        fingerprint=hashlib.sha256(json.dumps(parts).encode()).hexdigest(),
        group=problem.dataset_sha256,
    )


def foresee(
    spec: Mapping[str, Any], columns: Sequence[Mapping[str, Any]], path: Path, n_rows: int, embedding: TaskEmbedding
) -> dict[str, Any]:
    """What is known of a resolved spec's task before a job runs: metafeatures, constants, and where it lies.

    Large tables are sampled, so that the numbers are near those that a job would find.

    Args:
        spec: what is asked.
        columns: the dataset's list.
        path: the stored table.
        n_rows: that have a target.
        embedding: places the task.

    Raises:
        TaskError: the table can't answer the question.
    """
    kind, most = TaskKind(spec["kind"]), int(np.clip(_CELLS // len(columns), *_ROWS))
    table, read = read_question(spec, columns, path, rows=most)
    seen, constants = _look(table, read.y, kind, read.classes, n_rows)
    return {"metafeatures": seen, "constants": constants, "embedding": embedding.embed(seen).tolist()}


def describe_task(
    table: TypedTable,
    y: NDArray[Any],
    kind: TaskKind,
    classes: tuple[str, ...],
    *,
    fingerprint: str,
    group: str,
) -> TaskDescription:
    """A table with its target, as knowledge keeps it."""
    seen, constants = _look(table, y, kind, classes)
    return TaskDescription(
        fingerprint=fingerprint,
        group=group,
        kind=kind,
        metafeatures=seen,
        constants=constants,
        sketch=sketch(table.columns, table.schema, y, classes),
    )


def _look(
    table: TypedTable, y: NDArray[Any], kind: TaskKind, classes: tuple[str, ...], n_rows: int | None = None
) -> tuple[dict[str, float], dict[str, float]]:
    """Metafeatures, the set encoder's numbers among them, and what constants score."""
    encoder = shipped_encoder()
    numbers = {} if encoder is None else encoder.encode(read_sample(table.columns, table.schema, y, kind))
    seen = metafeatures(table.columns, table.schema, y, kind, n_rows=n_rows) | numbers
    return seen, constant_scores(y, kind, len(classes))
