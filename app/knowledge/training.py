"""Trainings: jobs of low priority that train metamodels on what is shared; and which version is in use."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.errors import Conflict, NotFound
from app.jobs import queue
from app.jobs.tables import Job, JobPurpose, JobState
from app.knowledge.tables import KnowledgeTask, Metamodel, MetamodelState
from app.pagination import PageRequest
from app.settings import Settings

_PRIORITY: Final = 100  # after every job of the same project
_UNFINISHED: Final = (JobState.QUEUED, JobState.RUNNING, JobState.CANCELLING)
_LOCK: Final = 0x57415255  # arbitrary: of several that ask at once, one is heard


def request_training(session: Session, project_id: UUID, settings: Settings) -> Job:
    """Queue a training, unless one waits or runs: then that one."""
    session.execute(select(func.pg_advisory_xact_lock(_LOCK)))
    unfinished = select(Job).where(Job.purpose == JobPurpose.TRAIN, Job.state.in_(_UNFINISHED))
    if (known := session.scalars(unfinished.limit(1)).one_or_none()) is not None:
        return known
    job = Job(
        project_id=project_id,
        purpose=JobPurpose.TRAIN,
        priority=_PRIORITY,
        name="train metamodels",
        labels={},
        spec={"budget": {"seconds": settings.train_seconds, "trials": None}},
    )
    queue.add_job(session, job)
    return job


def train_when_due(session: Session, settings: Settings) -> Job | None:
    """Queue a training if enough tasks were shared since the last one; on behalf of who shared last."""
    if not settings.train_every_tasks:
        return None
    last = select(func.max(Job.created_at)).where(Job.purpose == JobPurpose.TRAIN).scalar_subquery()
    fresh = select(KnowledgeTask.project_id).where(
        KnowledgeTask.is_shared,
        KnowledgeTask.project_id.is_not(None),
        last.is_(None) | (KnowledgeTask.created_at > last),
    )
    owners = session.scalars(fresh.order_by(KnowledgeTask.created_at)).all()
    if len(owners) < settings.train_every_tasks or owners[-1] is None:
        return None
    return request_training(session, owners[-1], settings)


def list_trainings(session: Session, page: PageRequest) -> list[Job]:
    """Newest first, one more than the page."""
    query = select(Job).where(Job.purpose == JobPurpose.TRAIN).order_by(Job.id.desc()).limit(page.limit + 1)
    if (after := page.after_id()) is not None:
        query = query.where(Job.id < after)
    return list(session.scalars(query))


def find_training(session: Session, job_id: UUID) -> Job:
    """A training.

    Raises:
        NotFound: no such training.
    """
    job = session.scalars(select(Job).where(Job.id == job_id, Job.purpose == JobPurpose.TRAIN)).one_or_none()
    if job is None:
        raise NotFound("No training with this id.")
    return job


def promote(session: Session, metamodel_id: UUID) -> Metamodel:
    """Use a version, be it a challenger or one of before; the champion of its role is retired.

    What it has not placed yet, the next jobs place.

    Raises:
        NotFound: no such version.
        Conflict: tasks that it learned from are gone.
    """
    metamodel = session.scalars(select(Metamodel).where(Metamodel.id == metamodel_id).with_for_update()).one_or_none()
    if metamodel is None:
        raise NotFound("No metamodel with this id.")
    if metamodel.learned_from.get("forgotten"):
        raise Conflict("A project that taught it was deleted or no longer shares.", code="metamodel_retired")
    make_champion(session, metamodel)
    return metamodel


def make_champion(session: Session, metamodel: Metamodel) -> None:
    """In the caller's transaction."""
    champion = select(Metamodel).where(Metamodel.role == metamodel.role, Metamodel.state == MetamodelState.CHAMPION)
    for before in session.scalars(champion.with_for_update()):
        before.state = MetamodelState.RETIRED
    session.flush()
    metamodel.state, metamodel.promoted_at = MetamodelState.CHAMPION, func.clock_timestamp()
    session.flush()
    session.refresh(metamodel)
