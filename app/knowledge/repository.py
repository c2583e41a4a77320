"""Knowledge: what finished jobs leave behind, and selects on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.jobs.tables import Job
from app.knowledge.tables import KnowledgeEvaluation, KnowledgeTask
from app.pagination import PageRequest


@dataclass(frozen=True, kw_only=True)
class TaskDescription:
    """A task as knowledge keeps it: no rows, no column names."""

    fingerprint: str  #: SHA-256 over data digest, kind, target's place, validation
    group: str  #: same or overlapping data
    kind: str
    metafeatures: Mapping[str, float]
    sketch: bytes | None = field(default=None, repr=False)  #: MinHash of rows


def record_job(session: Session, job: Job, task: TaskDescription, evaluations: Iterable[Mapping[str, Any]]) -> UUID:
    """Keep a finished job's task and evaluations, in the caller's transaction; the task's id.

    Idempotent: a project has one task a fingerprint, and a job's evaluations replace what it left before.
    """
    values = {
        "project_id": job.project_id,
        "fingerprint": task.fingerprint,
        "group": task.group,
        "kind": task.kind,
        "metafeatures": dict(task.metafeatures),
        "sketch": task.sketch,
    }
    upsert = insert(KnowledgeTask).values(**values)
    upsert = upsert.on_conflict_do_update(
        index_elements=["project_id", "fingerprint"],
        set_={"metafeatures": upsert.excluded.metafeatures, "sketch": upsert.excluded.sketch},
    )
    task_id = session.scalars(upsert.returning(KnowledgeTask.id)).one()
    session.execute(delete(KnowledgeEvaluation).where(KnowledgeEvaluation.job_id == job.id))
    rows = [{"task_id": task_id, "job_id": job.id, "evaluation": dict(evaluation)} for evaluation in evaluations]
    if rows:
        session.execute(insert(KnowledgeEvaluation), rows)
    return task_id


def count(session: Session, project_id: UUID) -> dict[str, tuple[int, int]]:
    """(tasks, evaluations) of the project itself ("own") and of what all share ("shared")."""
    query = (
        select(
            KnowledgeTask.project_id.is_(None),
            func.count(KnowledgeTask.id.distinct()),
            func.count(KnowledgeEvaluation.id),
        )
        .outerjoin(KnowledgeEvaluation, KnowledgeEvaluation.task_id == KnowledgeTask.id)
        .where(or_(KnowledgeTask.project_id == project_id, KnowledgeTask.project_id.is_(None)))
        .group_by(KnowledgeTask.project_id.is_(None))
    )
    counts = {"own": (0, 0), "shared": (0, 0)}
    for is_shared, tasks, evaluations in session.execute(query):
        counts["shared" if is_shared else "own"] = (tasks, evaluations)
    return counts


def list_tasks(session: Session, project_id: UUID, page: PageRequest) -> list[Row[KnowledgeTask, int]]:
    """The project's tasks with their number of evaluations, newest first, one more than the page."""
    evaluations = (
        select(func.count()).where(KnowledgeEvaluation.task_id == KnowledgeTask.id).correlate(KnowledgeTask)
    ).scalar_subquery()
    query = select(KnowledgeTask, evaluations).where(KnowledgeTask.project_id == project_id)
    if (after := page.after_id()) is not None:
        query = query.where(KnowledgeTask.id < after)
    return list(session.execute(query.order_by(KnowledgeTask.id.desc()).limit(page.limit + 1)))
