"""Selects on datasets."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import ColumnElement, Row, func, select
from sqlalchemy.orm import Session

from app.datasets.tables import Dataset
from app.jobs.tables import Job, JobState
from app.pagination import PageRequest

Summary = Row[tuple[UUID, str, str, int, int, int, object]]
_UNFINISHED = (JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING)


def _is_live(project_id: UUID) -> tuple[ColumnElement[bool], ...]:
    return Dataset.project_id == project_id, Dataset.deleted_at.is_(None)


def find_dataset(session: Session, project_id: UUID, dataset_id: UUID, *, lock: bool = False) -> Dataset | None:
    """A dataset that is not deleted. `lock` keeps others from changing it, or starting a job with it, until commit."""
    query = select(Dataset).where(Dataset.id == dataset_id, *_is_live(project_id))
    return session.scalar(query.with_for_update() if lock else query)


def list_datasets(session: Session, project_id: UUID, page: PageRequest) -> list[Summary]:
    """Newest first, one more than the page, without the long columns."""
    query = (
        select(
            Dataset.id,
            Dataset.name,
            Dataset.format,
            Dataset.rows,
            func.jsonb_array_length(Dataset.columns).label("n_columns"),
            Dataset.stored_bytes,
            Dataset.created_at,
        )
        .where(*_is_live(project_id))
        .order_by(Dataset.id.desc())
        .limit(page.limit + 1)
    )
    if (after := page.after_id()) is not None:
        query = query.where(Dataset.id < after)
    return list(session.execute(query).all())


def count_unfinished_jobs(session: Session, dataset_id: UUID) -> int:
    """Jobs that still need the dataset."""
    query = select(func.count()).where(Job.dataset_id == dataset_id, Job.state.in_(_UNFINISHED))
    return session.scalar(query) or 0


def live_ids(session: Session, ids: list[UUID]) -> set[UUID]:
    """Which of these exist and are not deleted, in whatever project."""
    return set(session.scalars(select(Dataset.id).where(Dataset.id.in_(ids), Dataset.deleted_at.is_(None))))
