"""What clients ask of knowledge."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from app.errors import NotFound
from app.jobs import repository as jobs
from app.jobs.tables import Job, TrialRow
from app.knowledge import repository
from app.knowledge.forecast import Similar, as_similar
from app.knowledge.schemas import JobKnowledgeRead, SourceRead
from workers.engine.catalog import EMBEDDING_ROLE
from workers.engine.types import Fidelity, TaskKind

_NOTHING: dict[str, Any] = {
    "tasks": 0,
    "evaluations": 0,
    "configurations": 0,
    "metamodels": {},
    "neighbours": [],
    "seconds_saved": None,
}


def explain_job(session: Session, project_id: UUID, job_id: UUID) -> JobKnowledgeRead:
    """What the job knew when it began, and what that brought.

    Raises:
        NotFound: none of this project's.
    """
    found = jobs.find_job(session, project_id, job_id)
    if found is None:
        raise NotFound("No job with this id.")
    job: Job = found[0]
    pinned = repository.find_pinned(session, job)
    return JobKnowledgeRead(
        knowledge=job.spec.get("knowledge", "shared"),
        contribute=job.spec.get("contribute", "own"),
        is_warm=pinned is not None and pinned.blob_key is not None,
        sources=count_sources(job.spec["metric"], jobs.list_told_trials(session, job_id)),
        **(_NOTHING | (pinned.summary if pinned is not None else {})),
    )


def count_sources(metric: str, trials: Iterable[TrialRow]) -> list[SourceRead]:
    """What each source brought, given ended trials in the order in which they ended."""
    sources: dict[str, SourceRead] = {}
    least: dict[str, float] = {}
    best: float | None = None
    for row in trials:
        name = row.proposal.get("source", "")
        source = sources.setdefault(
            name, SourceRead(source=name, trials=0, seconds=0.0, best_score=None, improvements=0, gain=0.0)
        )
        trial = row.trial or {}
        source.trials += 1
        source.seconds += trial.get("seconds", 0.0)
        if row.loss is None or Fidelity(**row.proposal.get("fidelity", {})) != Fidelity():
            continue
        if row.loss < least.get(name, float("inf")):
            least[name] = row.loss
            source.best_score = trial.get("metrics", {}).get(metric)
        if best is None or row.loss < best:
            source.improvements += 1
            source.gain += 0.0 if best is None else best - row.loss
            best = row.loss
    return list(sources.values())


def list_similar(session: Session, project_id: UUID, task_id: UUID, limit: int) -> list[Similar]:
    """Visible tasks near one that the project may see, nearest first.

    Raises:
        NotFound: no such task, or it has not been placed among the others yet.
    """
    task = repository.find_visible_task(session, project_id, task_id)
    metamodel = repository.find_champion(session, EMBEDDING_ROLE)
    point = None if task is None or metamodel is None else repository.find_embedding(session, task_id, metamodel.id)
    if task is None or metamodel is None or point is None:
        raise NotFound("No task with this id, or none that has been placed among the others.")
    kinds = TaskKind(task.kind).alike
    near = repository.list_nearest(session, project_id, "shared", kinds, metamodel.id, point, limit + 1)
    near = [each for each in near if each.id != task_id][:limit]
    seen = repository.list_metafeatures(session, [each.id for each in near])
    return [as_similar(each, task.metafeatures, seen[each.id]) for each in near]
