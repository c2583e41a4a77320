"""Jobs whose holder is gone, back to the queue: by the database's clock alone, once whoever else sweeps."""

from __future__ import annotations

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from app.jobs.leases import LEASED, interval, lose
from app.jobs.tables import Job, Worker

#: Advisory lock of the sweep: two dispatchers never sweep at once.
SWEEP_LOCK = 7_201_001


def requeue_expired(session: Session, *, lease_s: float, max_attempts: int, limit: int = 100) -> int:
    """Requeue, fail or cancel the jobs whose lease has ended; how many there were.

    A row that never had a heartbeat counts from its claim. Sleeps for one lease after PostgreSQL started, because its
    clients need that long to come back.
    """
    if not session.scalar(select(func.pg_try_advisory_xact_lock(SWEEP_LOCK))):
        return 0
    lease = interval(lease_s)
    now = func.clock_timestamp()
    if session.scalar(select(now < func.pg_postmaster_start_time() + lease)):
        return 0
    until = func.coalesce(Job.lease_until, Job.claimed_at + lease, Job.created_at + lease)
    used = func.extract("epoch", until - lease - func.coalesce(Job.claimed_at, until - lease))
    expired = session.execute(
        select(Job.id, Job.attempt, Job.cancel_requested, used)
        .where(Job.state.in_(LEASED), until < now)
        .order_by(Job.id)
        .limit(limit)
        .with_for_update(skip_locked=True, key_share=True)
    ).all()
    for job_id, attempt, cancel_requested, used_s in expired:
        lose(session, job_id, cancel_requested, attempt >= max_attempts, float(used_s))
    return len(expired)


def forget_workers(session: Session, *, after_s: float) -> None:
    """Remove workers that have not been seen for so long."""
    statement = text("DELETE FROM workers WHERE seen_at < clock_timestamp() - make_interval(secs => :after)")
    session.execute(statement, {"after": after_s})


def live_slots(session: Session, *, within_s: float) -> int:
    """Slots of the workers seen lately."""
    seen = Worker.seen_at > func.clock_timestamp() - interval(within_s)
    return int(session.scalar(select(func.coalesce(func.sum(Worker.slots), 0)).where(seen)) or 0)
