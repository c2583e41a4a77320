"""Events of a job, written in the transaction that made them happen; listeners are woken when it commits."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.jobs.tables import JobEvent

#: NOTIFY channels: payload of the first is a job id, of the second empty.
JOBS_CHANNEL = "warmstart_jobs"
QUEUE_CHANNEL = "warmstart_queue"


def append_event(session: Session, job_id: UUID, kind: str, data: dict[str, Any]) -> None:
    """Add the next event. The caller holds the job's row lock (it has just updated the row), so numbers never clash."""
    last = session.scalar(select(func.max(JobEvent.seq)).where(JobEvent.job_id == job_id)) or 0
    session.add(JobEvent(job_id=job_id, seq=last + 1, type=kind, data=data))
    session.execute(text("SELECT pg_notify(:channel, :payload)"), {"channel": JOBS_CHANNEL, "payload": str(job_id)})


def wake_dispatcher(session: Session) -> None:
    """Tell the dispatcher that the queue has changed; delivered when the transaction commits."""
    session.execute(text("SELECT pg_notify(:channel, '')"), {"channel": QUEUE_CHANNEL})
