"""The queue: a job into it, and which jobs go to the broker next."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from app.jobs.events import append_event, wake_dispatcher
from app.jobs.tables import Job, JobState

#: The broker's queue, and the name of the task that its messages start.
QUEUE = "warmstart.jobs"
TASK = "workers.run_job"

# The project that runs and waits least comes first, each with its oldest job; none gets more than it may run.
_NEXT = text("""
SELECT job.id
FROM projects AS project
CROSS JOIN LATERAL (
    SELECT count(*) AS busy FROM jobs
    WHERE project_id = project.id AND purpose = 'solve'
      AND (state IN ('running', 'cancelling')
           OR (state = 'queued' AND NOT cancel_requested AND published_at >= clock_timestamp() - :waiting))
) AS load
CROSS JOIN LATERAL (
    SELECT id, row_number() OVER (ORDER BY priority, id) AS place FROM jobs
    WHERE project_id = project.id AND state = 'queued' AND NOT cancel_requested
      AND (published_at IS NULL OR published_at < clock_timestamp() - :waiting)
    ORDER BY priority, id
    LIMIT :room
) AS job
WHERE job.place + load.busy <= coalesce((project.quotas ->> 'running_jobs')::int, :quota)
ORDER BY job.place + load.busy, job.id
LIMIT :room
""")


def add_job(session: Session, job: Job) -> None:
    """Queue a job, with its first event, and wake the dispatcher."""
    session.add(job)
    session.flush()
    append_event(session, job.id, "state", {"state": JobState.QUEUED.value})
    wake_dispatcher(session)
    session.flush()
    session.refresh(job)


def next_jobs(session: Session, *, room: int, running_quota: int, waiting_s: float) -> Sequence[UUID]:
    """At most `room` jobs to publish, in order.

    Args:
        session: only read.
        room: messages that the broker may still take.
        running_quota: running jobs of a project that has no quota of its own.
        waiting_s: a job published longer ago than this is taken for lost and published again.
    """
    interval = session.scalar(select(func.make_interval(0, 0, 0, 0, 0, 0, waiting_s)))
    parameters = {"room": room, "quota": running_quota, "waiting": interval}
    return session.scalars(_NEXT, parameters).all()


def count_published(session: Session) -> int:
    """Jobs that were published and not claimed yet: so many messages the broker should hold."""
    published = (Job.state == JobState.QUEUED, Job.cancel_requested.is_(False), Job.published_at.is_not(None))
    return session.scalar(select(func.count()).select_from(Job).where(*published)) or 0


def mark_published(session: Session, ids: Sequence[UUID]) -> None:
    """Remember when the messages of these jobs were sent. One that was claimed meanwhile stays as it is."""
    session.execute(
        update(Job)
        .where(Job.id.in_(ids), Job.state == JobState.QUEUED)
        .values(published_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )
