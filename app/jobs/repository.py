"""Selects on jobs, trials and events. Whatever a client sees is filtered by project."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, and_, column, func, select
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.orm import Session
from sqlalchemy.types import BigInteger, Uuid

from app.datasets.tables import Dataset
from app.jobs.tables import Job, JobEvent, JobPurpose, JobState, TrialRow
from app.models.tables import Model
from app.pagination import PageRequest

JobAndModel = Row[Job, UUID]  #: the id is None without a model
_JOBS: Select[Job, UUID] = (
    select(Job, Model.id).outerjoin(Model, Model.job_id == Job.id).where(Job.purpose == JobPurpose.SOLVE)
)


def find_dataset(session: Session, project_id: UUID, dataset_id: UUID) -> Dataset | None:
    """A dataset that is not deleted, nor will be until commit."""
    query = select(Dataset).where(
        Dataset.id == dataset_id, Dataset.project_id == project_id, Dataset.deleted_at.is_(None)
    )
    return session.scalar(query.with_for_update(read=True))


def find_job(session: Session, project_id: UUID, job_id: UUID) -> JobAndModel | None:
    """A job and its model's id."""
    return session.execute(_JOBS.where(Job.id == job_id, Job.project_id == project_id)).one_or_none()


def lock_job(session: Session, project_id: UUID, job_id: UUID) -> Job | None:
    """A job whose row nobody else changes until commit."""
    query = select(Job).where(Job.id == job_id, Job.project_id == project_id, Job.purpose == JobPurpose.SOLVE)
    return session.scalar(query.with_for_update(key_share=True).execution_options(populate_existing=True))


def list_jobs(
    session: Session, project_id: UUID, page: PageRequest, states: Collection[JobState], dataset_id: UUID | None
) -> list[JobAndModel]:
    """Newest first, one more than the page."""
    query = _JOBS.where(Job.project_id == project_id).order_by(Job.id.desc()).limit(page.limit + 1)
    if states:
        query = query.where(Job.state.in_(list(states)))
    if dataset_id is not None:
        query = query.where(Job.dataset_id == dataset_id)
    if (after := page.after_id()) is not None:
        query = query.where(Job.id < after)
    return list(session.execute(query))


def list_jobs_by_id(session: Session, ids: Collection[UUID]) -> list[JobAndModel]:
    """Jobs of any project: for the watch, whose waiters have been checked."""
    return list(session.execute(_JOBS.where(Job.id.in_(list(ids)))))


def count_queued(session: Session, project_id: UUID) -> int:
    """Queued jobs of a project."""
    query = select(func.count()).where(Job.project_id == project_id, Job.state == JobState.QUEUED)
    return int(session.scalar(query) or 0)


def has_unfinished_child(session: Session, job_id: UUID) -> bool:
    """Whether a job that replays this one's trials still may need them."""
    unfinished = (JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING)
    query = select(Job.id).where(Job.parent_job_id == job_id, Job.state.in_(unfinished)).limit(1)
    return session.scalar(query) is not None


def list_trials(session: Session, job_id: UUID, page: PageRequest) -> list[TrialRow]:
    """In order of asking, one more than the page."""
    query = select(TrialRow).where(TrialRow.job_id == job_id).order_by(TrialRow.number).limit(page.limit + 1)
    if (after := page.after_number()) is not None:
        query = query.where(TrialRow.number > after)
    return list(session.scalars(query))


def list_told_trials(session: Session, job_id: UUID) -> list[TrialRow]:
    """Ended trials in the order in which they ended."""
    query = select(TrialRow).where(TrialRow.job_id == job_id, TrialRow.tell_seq.is_not(None))
    return list(session.scalars(query.order_by(TrialRow.tell_seq)))


def list_best_trials(session: Session, job_id: UUID, limit: int) -> list[TrialRow]:
    """Fully evaluated trials, best first."""
    query = select(TrialRow).where(TrialRow.job_id == job_id, TrialRow.status == "succeeded", _is_full())
    query = query.where(TrialRow.loss.is_not(None)).order_by(TrialRow.loss, TrialRow.number).limit(limit)
    return list(session.scalars(query))


def _is_full() -> ColumnElement[bool]:
    fidelity = TrialRow.proposal["fidelity"]
    rows = func.coalesce(fidelity["rows"].as_float(), 1.0)
    return and_(rows >= 1.0, fidelity["folds"].astext.is_(None))


def find_model(session: Session, job_id: UUID) -> Model | None:
    """The job's model, if one was published."""
    return session.scalar(select(Model).where(Model.job_id == job_id))


def list_events(session: Session, job_id: UUID, after: int, limit: int) -> list[JobEvent]:
    """Events after a number, in order."""
    query = select(JobEvent).where(JobEvent.job_id == job_id, JobEvent.seq > after)
    return list(session.scalars(query.order_by(JobEvent.seq).limit(limit)))


def last_event_seqs(session: Session, ids: Collection[UUID]) -> dict[UUID, int]:
    """The newest event's number of each job that has any."""
    if not ids:
        return {}
    query = select(JobEvent.job_id, func.max(JobEvent.seq)).where(JobEvent.job_id.in_(list(ids)))
    return {row[0]: row[1] for row in session.execute(query.group_by(JobEvent.job_id))}


def list_events_since(session: Session, since: Mapping[UUID, int]) -> dict[UUID, list[JobEvent]]:
    """Of each job the events after its number, in order."""
    if not since:
        return {}
    ids = array(list(since.keys()), type_=Uuid())
    seqs = array(list(since.values()), type_=BigInteger())
    known = (
        func.unnest(ids, seqs)
        .table_valued(column("id", Uuid), column("seq", BigInteger), name="known")
        .render_derived()
    )
    query = select(JobEvent).join(known, (JobEvent.job_id == known.c.id) & (JobEvent.seq > known.c.seq))
    found: dict[UUID, list[JobEvent]] = defaultdict(list)
    for event in session.scalars(query.order_by(JobEvent.job_id, JobEvent.seq)):
        found[event.job_id].append(event)
    return found
