"""Counts for /metrics and /readyz."""

from __future__ import annotations

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.jobs.tables import Job, JobEvent, JobState, Worker


def count_jobs(session: Session) -> dict[str, int]:
    """Jobs by state, every state present."""
    counts = {row[0]: row[1] for row in session.execute(select(Job.state, func.count()).group_by(Job.state))}
    return {state.value: counts.get(state.value, 0) for state in JobState}


def oldest_queued_s(session: Session) -> float:
    """Age of the oldest queued job; 0 without one."""
    age = func.extract("epoch", func.now() - func.min(Job.created_at))
    return float(session.scalar(select(age).where(Job.state == JobState.QUEUED)) or 0)


def count_workers(session: Session) -> tuple[int, int]:
    """Workers seen in the last minute, and their slots."""
    recent = Worker.seen_at > func.now() - text("interval '60 seconds'")
    row = session.execute(select(func.count(), func.coalesce(func.sum(Worker.slots), 0)).where(recent)).one()
    return int(row[0]), int(row[1])


def estimate_events(session: Session) -> int:
    """Job events stored, by the planner's estimate: a scrape must stay cheap."""
    query = text("SELECT greatest(reltuples, 0) FROM pg_class WHERE oid = to_regclass(:table)")
    return int(session.scalar(query, {"table": JobEvent.__tablename__}) or 0)
