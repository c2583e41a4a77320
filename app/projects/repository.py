"""Selects on projects and keys."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.datasets.tables import Dataset
from app.jobs.tables import Job, JobPurpose, JobState
from app.models.tables import Model
from app.pagination import PageRequest
from app.projects.tables import ApiKey, Project


def find_project(session: Session, project_id: UUID, *, lock: bool = False) -> Project | None:
    """The project. `lock` makes others who lock it wait, so that quotas hold under concurrency."""
    query = select(Project).where(Project.id == project_id)
    return session.scalar(query.with_for_update(key_share=True) if lock else query)


def find_project_by_name(session: Session, name: str) -> Project | None:
    """The project of this name."""
    return session.scalar(select(Project).where(Project.name == name))


def list_projects(session: Session, page: PageRequest) -> list[Project]:
    """Newest first, one more than the page."""
    query = select(Project).order_by(Project.id.desc()).limit(page.limit + 1)
    if (after := page.after_id()) is not None:
        query = query.where(Project.id < after)
    return list(session.scalars(query))


def list_keys(session: Session, project_id: UUID, page: PageRequest) -> list[ApiKey]:
    """A project's keys, newest first, one more than the page."""
    query = select(ApiKey).where(ApiKey.project_id == project_id).order_by(ApiKey.id.desc()).limit(page.limit + 1)
    if (after := page.after_id()) is not None:
        query = query.where(ApiKey.id < after)
    return list(session.scalars(query))


def revoke_key(session: Session, project_id: UUID, key_id: UUID) -> ApiKey | None:
    """Revoke a key of this project; a second time changes nothing. None: no such key."""
    query = (
        update(ApiKey)
        .where(ApiKey.id == key_id, ApiKey.project_id == project_id)
        .values(revoked_at=func.coalesce(ApiKey.revoked_at, func.now()))
        .returning(ApiKey)
    )
    return session.scalar(query)


def count_jobs(session: Session, project_id: UUID) -> dict[str, int]:
    """Unfinished jobs by state; trainings are nobody's."""
    active = (JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING)
    mine = (Job.project_id == project_id, Job.purpose == JobPurpose.SOLVE)
    query = select(Job.state, func.count()).where(*mine, Job.state.in_(active))
    return {row[0]: row[1] for row in session.execute(query.group_by(Job.state))}


def sum_bytes(session: Session, project_id: UUID) -> int:
    """Bytes of a project's datasets and models."""
    datasets = select(func.coalesce(func.sum(Dataset.stored_bytes), 0)).where(
        Dataset.project_id == project_id, Dataset.deleted_at.is_(None)
    )
    models = select(func.coalesce(func.sum(Model.bytes), 0)).where(Model.project_id == project_id)
    return int(session.scalar(datasets) or 0) + int(session.scalar(models) or 0)
