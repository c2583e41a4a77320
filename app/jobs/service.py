"""What clients do with jobs. The API never talks to the broker: it commits rows and notifies the dispatcher."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func
from sqlalchemy.orm import Session

from app.blobs import Blobs
from app.datasets.tables import Dataset
from app.errors import Conflict, InvalidRequest, NotFound, QuotaExceeded
from app.jobs import queue, repository
from app.jobs.events import append_event, wake_dispatcher
from app.jobs.preflight import list_alerts, make_space, measure, predict_cost
from app.jobs.schemas import JobExtend, JobRead, JobSpec, JobValidation, Leaderboard, LeaderboardRow
from app.jobs.spec import resolve_spec
from app.jobs.tables import Job, JobState
from app.knowledge.repository import find_champion
from app.projects.repository import find_project
from app.projects.service import effective_quotas
from app.settings import Settings
from workers.engine.catalog import EMBEDDING_ROLE

_LEADERBOARD_ROWS = 1000


def submit_job(session: Session, project_id: UUID, spec: JobSpec, settings: Settings) -> JobRead:
    """Queue a job.

    Raises:
        InvalidRequest: the spec does not fit the dataset.
        QuotaExceeded: too many queued jobs.
    """
    dataset = _dataset(session, project_id, spec.dataset_id)
    resolved = resolve_spec(spec, dataset, settings)
    job = Job(project_id=project_id, dataset_id=dataset.id, name=spec.name, labels=resolved["labels"], spec=resolved)
    return _enqueue(session, job, settings)


@dataclass(frozen=True, kw_only=True)
class Question:
    """What it takes to ask past tasks about a job."""

    body: dict[str, Any]  #: for a predictor, which describes the task
    metamodel_id: UUID  #: of the embedding that places it
    learners: dict[str, str]  #: versions of those that the job may use, by name


def validate_job(
    session: Session, project_id: UUID, spec: JobSpec, settings: Settings, blobs: Blobs
) -> tuple[JobValidation, Question | None]:
    """What `submit_job` would do: the same errors, nothing queued; and what to ask past tasks, if any."""
    dataset = _dataset(session, project_id, spec.dataset_id)
    resolved = resolve_spec(spec, dataset, settings)
    found = JobValidation(
        spec=resolved,
        alerts=list_alerts(resolved, dataset, blobs),
        cost=predict_cost(resolved, dataset),
        knowledge=None,
    )
    champion = None if resolved["knowledge"] == "off" else find_champion(session, EMBEDDING_ROLE)
    if champion is None:
        return found, None
    size = measure(resolved, dataset)
    space = make_space(resolved, size)
    body = {
        "spec": resolved,
        "columns": dataset.columns,
        "blob_key": dataset.blob_key,
        "rows": size.rows,
        "metamodel": {"name": champion.name, "blob_key": champion.blob_key},
    }
    learners = {name: space.version_of(name) for name in space.learners}
    return found, Question(body=body, metamodel_id=champion.id, learners=learners)


def get_job(session: Session, project_id: UUID, job_id: UUID) -> JobRead:
    """A job.

    Raises:
        NotFound: none of this project's.
    """
    found = repository.find_job(session, project_id, job_id)
    if found is None:
        raise _not_found()
    return JobRead.from_row(*found)


def cancel_job(session: Session, project_id: UUID, job_id: UUID) -> JobRead:
    """Cancel a job for good; again changes nothing.

    Raises:
        Conflict: it has ended otherwise.
    """
    job = _lock(session, project_id, job_id)
    if job.state in (JobState.CANCELLED, JobState.CANCELLING):
        return get_job(session, project_id, job_id)
    if JobState(job.state).is_terminal:
        raise Conflict(f"The job has {job.state} already.", code="job_ended")
    job.cancel_requested = True
    if job.state == JobState.QUEUED:
        job.state, job.finished_at = JobState.CANCELLED, func.clock_timestamp()
    else:
        job.state = JobState.CANCELLING
    _changed(session, job)
    return get_job(session, project_id, job_id)


def extend_job(session: Session, project_id: UUID, job_id: UUID, body: JobExtend, settings: Settings) -> JobRead:
    """Raise the budget: of the job itself while it is queued or runs, else in a new job that replays its trials.

    Raises:
        InvalidRequest: nothing to add, or no such limit, or over the largest budget.
        Conflict: it is being cancelled, or its dataset is gone.
        QuotaExceeded: too many queued jobs.
    """
    job = _lock(session, project_id, job_id)
    spec = {**job.spec, "budget": _raised(job.spec["budget"], body, settings)}
    if job.state == JobState.CANCELLING:
        raise Conflict("The job is being cancelled; extend it once it is cancelled.", code="job_cancelling")
    if not JobState(job.state).is_terminal:
        job.spec = spec
        _changed(session, job, kind="budget", data={"budget": spec["budget"]})
        return get_job(session, project_id, job_id)
    if job.dataset_id is None or repository.find_dataset(session, project_id, job.dataset_id) is None:
        raise Conflict("The job's dataset has been deleted.", code="dataset_deleted")
    seconds = job.spec["budget"]["seconds"]
    child = Job(
        project_id=project_id,
        dataset_id=job.dataset_id,
        parent_job_id=job.id,
        name=job.name,
        labels=job.labels,
        spec=spec,
        used_s=job.used_s if seconds is None else min(job.used_s, seconds),
    )
    return _enqueue(session, child, settings)


def delete_job(session: Session, project_id: UUID, job_id: UUID) -> None:
    """Delete an ended job with its trials, events and model.

    Raises:
        Conflict: it has not ended, or a job that replays it has not.
    """
    job = _lock(session, project_id, job_id)
    if not JobState(job.state).is_terminal:
        raise Conflict(f"The job is {job.state}; cancel it first.", code="job_not_ended")
    if repository.has_unfinished_child(session, job.id):
        raise Conflict("A job that extends this one has not ended.", code="job_needed")
    session.delete(job)


def get_leaderboard(session: Session, project_id: UUID, job_id: UUID) -> Leaderboard:
    """Fully evaluated trials, best first, with their share in the model.

    Raises:
        NotFound: no such job.
    """
    job = get_job(session, project_id, job_id)
    model = repository.find_model(session, job_id)
    weights = {member["trial"]: float(member["weight"]) for member in (model.members if model else ())}
    rows: list[LeaderboardRow] = []
    for rank, row in enumerate(repository.list_best_trials(session, job_id, _LEADERBOARD_ROWS), start=1):
        trial, configuration = row.trial or {}, row.proposal["configuration"]
        rows.append(
            LeaderboardRow(
                rank=rank,
                trial=row.number,
                learner=configuration["learner"],
                loss=row.loss or 0.0,
                metrics=trial.get("metrics", {}),
                seconds=trial.get("seconds", 0.0),
                predict_ms_per_row=trial.get("predict_ms_per_row", 0.0),
                megabytes=trial.get("megabytes", 0.0),
                is_pareto=False,
                weight=weights.get(row.number, 0.0),
                configuration=configuration,
            )
        )
    for item in _pareto_front(rows):
        item.is_pareto = True
    return Leaderboard(metric=job.metric, model_id=job.model_id, items=rows)


def _pareto_front(rows: list[LeaderboardRow]) -> list[LeaderboardRow]:
    """Those that no other is at least as good as in loss, speed and size, and better in one."""
    front: list[tuple[tuple[float, ...], LeaderboardRow]] = []
    costs = [((row.loss, row.predict_ms_per_row, row.megabytes), row) for row in rows]
    for cost, row in sorted(costs, key=lambda pair: pair[0]):  # only who comes before can be better
        if not any(other != cost and all(a <= b for a, b in zip(other, cost, strict=True)) for other, _ in front):
            front.append((cost, row))
    return [row for _, row in front]


def _dataset(session: Session, project_id: UUID, dataset_id: UUID) -> Dataset:
    dataset = repository.find_dataset(session, project_id, dataset_id)
    if dataset is None:
        detail = "No dataset has this id."
        raise InvalidRequest(f"/dataset_id: {detail}", errors=[{"pointer": "/dataset_id", "detail": detail}])
    return dataset


def _enqueue(session: Session, job: Job, settings: Settings) -> JobRead:
    project = find_project(session, job.project_id, lock=True)
    allowed = effective_quotas(project, settings).queued_jobs if project else 0
    if repository.count_queued(session, job.project_id) >= allowed:
        raise QuotaExceeded(
            f"The project has {allowed} queued jobs, all that it may.",
            code="quota_queued_jobs",
            headers={"Retry-After": "30"},
        )
    queue.add_job(session, job)
    return JobRead.from_row(job, None)


def _changed(session: Session, job: Job, kind: str = "state", data: dict[str, Any] | None = None) -> None:
    job.version += 1
    session.flush()
    append_event(session, job.id, kind, data if data is not None else {"state": job.state})
    wake_dispatcher(session)
    session.flush()
    session.refresh(job)


def _raised(budget: dict[str, Any], body: JobExtend, settings: Settings) -> dict[str, Any]:
    added = body.model_dump(exclude_none=True)
    if not added:
        raise InvalidRequest("Give seconds, trials, or both.", errors=[{"pointer": "", "detail": "Nothing to add."}])
    for name in added:
        if budget[name] is None:
            detail = f"The job has no limit of {name}, so there is nothing to raise."
            raise InvalidRequest(f"/{name}: {detail}", errors=[{"pointer": f"/{name}", "detail": detail}])
    raised = {name: None if value is None else value + added.get(name, 0) for name, value in budget.items()}
    if (raised["seconds"] or 0) > settings.budget_max_s:
        detail = f"The whole budget may be {settings.budget_max_s:g} seconds at most."
        raise InvalidRequest(f"/seconds: {detail}", errors=[{"pointer": "/seconds", "detail": detail}])
    return raised


def _lock(session: Session, project_id: UUID, job_id: UUID) -> Job:
    job = repository.lock_job(session, project_id, job_id)
    if job is None:
        raise _not_found()
    return job


def _not_found() -> NotFound:
    return NotFound("No job with this id.")
