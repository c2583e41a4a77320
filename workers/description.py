"""A task as knowledge keeps it: no rows and no names of columns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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

_ROWS = 20_000  # of a table that are read before a job runs: while it does, all are


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
    spec: Mapping[str, Any], columns: Sequence[Mapping[str, Any]], path: Path, embedding: TaskEmbedding
) -> dict[str, Any]:
    """What is known of a resolved spec's task before a job runs: metafeatures, constants, and where it lies.

    Raises:
        TaskError: the table can't answer the question.
    """
    kind = TaskKind(spec["kind"])
    table, read = read_question(spec, columns, path, rows=_ROWS)
    task = describe_task(table, read.y, kind, read.classes, fingerprint="", group="")
    place = [float(number) for number in embedding.embed(task.metafeatures)]
    return {"metafeatures": dict(task.metafeatures), "constants": dict(task.constants), "embedding": place}


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
    encoder = shipped_encoder()
    numbers = {} if encoder is None else encoder.encode(read_sample(table.columns, table.schema, y, kind))
    return TaskDescription(
        fingerprint=fingerprint,
        group=group,
        kind=kind,
        metafeatures=metafeatures(table.columns, table.schema, y, kind) | numbers,
        constants=constant_scores(y, kind, len(classes)),
        sketch=sketch(table.columns, table.schema, y, classes),
    )
