"""Leases on jobs: claim, renew, end, give back. All on the database's clock, all fenced.

A claim raises `epoch`; whoever holds an older one changes nothing, whatever it believes. Callers commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Integer, cast, func, select, text, update
from sqlalchemy.orm import Session, aliased

from app.jobs.events import append_event, wake_dispatcher
from app.jobs.tables import Job, JobPurpose, JobState
from app.models.tables import Model
from app.projects.tables import Project

LEASED = (JobState.RUNNING, JobState.CANCELLING)


class Fenced(Exception):
    """The lease is no longer ours, or the job may no longer be written: it was cancelled, requeued or ended."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to write one job, until somebody else gets a higher epoch."""

    job_id: UUID
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Claim(Lease):
    """A lease just taken, and what its holder needs at once."""

    attempt: int
    used_s: float  #: budget used by earlier attempts
    budget: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Heartbeat:
    """What a renewal brings back."""

    cancel_requested: bool
    budget: dict[str, Any]  #: as it is now: `:extend` may have raised it


def interval(seconds: float) -> ColumnElement[Any]:
    """So many seconds as an SQL interval."""
    return func.make_interval(0, 0, 0, 0, 0, 0, seconds)


def claim(session: Session, job_id: UUID, *, worker: str, lease_s: float, running_quota: int) -> Claim | None:
    """Take a queued job; None if there is nothing to take, or its project runs as many jobs as it may.

    Args:
        session: committed by the caller at once.
        job_id: the job that a message named.
        worker: who takes it, for humans.
        lease_s: how long the lease holds without a heartbeat.
        running_quota: running jobs of a project that has no quota of its own.
    """
    lock = text("SELECT pg_advisory_xact_lock(hashtextextended(project_id::text, 1)) FROM jobs WHERE id = :id")
    session.execute(lock, {"id": job_id})  # claims of one project one after another, or two could pass the quota
    row = session.execute(
        update(Job)
        .where(Job.id == job_id, Job.state == JobState.QUEUED, Job.cancel_requested.is_(False))
        .where(_running_of_project() < _quota(running_quota))
        .values(
            state=JobState.RUNNING,
            attempt=Job.attempt + 1,
            epoch=Job.epoch + 1,
            lease_until=func.clock_timestamp() + interval(lease_s),
            worker=worker,
            claimed_at=func.clock_timestamp(),
            started_at=func.coalesce(Job.started_at, func.clock_timestamp()),
            version=Job.version + 1,
        )
        .returning(Job.epoch, Job.attempt, Job.used_s, Job.spec["budget"])
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:  # if only the quota is in the way, the dispatcher sends it again when there is room
        session.execute(_changes(job_id, published_at=None).where(Job.state == JobState.QUEUED))
        return None
    epoch, attempt, used_s, budget = row
    append_event(session, job_id, "state", {"state": JobState.RUNNING, "attempt": attempt})
    return Claim(job_id=job_id, epoch=epoch, attempt=attempt, used_s=used_s, budget=budget or {})


def heartbeat(session: Session, lease: Lease, *, lease_s: float) -> Heartbeat | None:
    """Renew the lease and hear what changed; None when fenced out: kill everything that works on the job."""
    row = session.execute(
        update(Job)
        .where(*_held(lease, LEASED))
        .values(lease_until=func.clock_timestamp() + interval(lease_s))
        .returning(Job.cancel_requested, Job.spec["budget"])
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return None if row is None else Heartbeat(cancel_requested=row[0], budget=row[1] or {})


def hold(session: Session, lease: Lease) -> None:
    """Lock the job's row until commit, so that what follows in this transaction is written under the lease.

    Raises:
        Fenced: not ours, or cancelled: nothing may be written any more.
    """
    held = select(Job.id).where(*_held(lease, (JobState.RUNNING,)), Job.cancel_requested.is_(False))
    if session.scalar(held.with_for_update(key_share=True)) is None:
        raise Fenced(f"job {lease.job_id} is not held at epoch {lease.epoch}")


def finish(session: Session, lease: Lease, *, reproducible: bool) -> bool:
    """The one commit that publishes a result. True also when it was made before and only the answer got lost."""
    ended = _end(session, lease, (JobState.RUNNING,), JobState.SUCCEEDED, reproducible=reproducible)
    if ended:
        session.execute(update(Model).where(Model.job_id == lease.job_id).values(is_final=True))
    return ended or _was_ended(session, lease, JobState.SUCCEEDED)


def fail(session: Session, lease: Lease, *, code: str, detail: str) -> bool:
    """End a job without success. `code` is stable and documented; `detail` is for a human."""
    error = {"code": code, "detail": detail}
    ended = _end(session, lease, (JobState.RUNNING,), JobState.FAILED, error=error)
    return ended or _was_ended(session, lease, JobState.FAILED)


def cancelled(session: Session, lease: Lease) -> bool:
    """End a job whose cancel was asked for, once its processes are gone."""
    ended = _end(session, lease, LEASED, JobState.CANCELLED)
    return ended or _was_ended(session, lease, JobState.CANCELLED)


def has_succeeded(session: Session, lease: Lease) -> bool:
    """Whether `finish` was committed under this lease."""
    return _was_ended(session, lease, JobState.SUCCEEDED)


def has_model(session: Session, lease: Lease) -> bool:
    """Whether any model of the job has been published."""
    return session.scalar(select(Model.id).where(Model.job_id == lease.job_id)) is not None


def give_back(session: Session, lease: Lease, *, counts: bool, max_attempts: int) -> bool:
    """Return a job before its lease ends: its processes are gone.

    Args:
        session: committed by the caller.
        lease: the one to give up.
        counts: whether the attempt counts: True after a crash, False when the worker is asked to stop.
        max_attempts: claims before the job fails.
    """
    row = session.execute(
        select(Job.id, Job.attempt, Job.cancel_requested, func.clock_timestamp() - Job.claimed_at)
        .where(*_held(lease, LEASED))
        .with_for_update(key_share=True)
    ).one_or_none()
    if row is None:
        return False
    _, attempt, cancel_requested, used = row
    lose(session, lease.job_id, cancel_requested, attempt >= max_attempts and counts, used.total_seconds())
    if not counts:
        session.execute(_changes(lease.job_id, attempt=Job.attempt - 1))
    return True


def lose(session: Session, job_id: UUID, cancel_requested: bool, give_up: bool, used_s: float) -> None:
    """Decide what becomes of a job whose holder is gone. The caller holds the row's lock."""
    if cancel_requested:
        state, error = JobState.CANCELLED, None
    elif give_up:
        detail = "The process that ran this job was lost at every attempt."
        state, error = JobState.FAILED, {"code": "worker_lost", "detail": detail}
    else:
        state, error = JobState.QUEUED, None
    values: dict[str, Any] = {"state": state, "error": error, "lease_until": None, "epoch": Job.epoch + 1}
    values |= {"used_s": Job.used_s + max(used_s, 0.0), "version": Job.version + 1}
    if state.is_terminal:
        values["finished_at"] = func.clock_timestamp()
    else:
        values |= {"worker": None, "published_at": None}
    session.execute(_changes(job_id, **values))
    append_event(session, job_id, "state", {"state": state} | ({"error": error} if error else {}))
    wake_dispatcher(session)


def _end(session: Session, lease: Lease, states: Iterable[JobState], state: JobState, **values: Any) -> bool:
    used = func.extract("epoch", func.clock_timestamp() - Job.claimed_at)
    ended = session.scalar(
        update(Job)
        .where(*_held(lease, states))
        .values(
            state=state,
            finished_at=func.clock_timestamp(),
            used_s=Job.used_s + used,
            lease_until=None,
            version=Job.version + 1,
            **values,
        )
        .returning(Job.id)
        .execution_options(synchronize_session=False)
    )
    if ended is None:
        return False
    error = values.get("error")
    append_event(session, lease.job_id, "state", {"state": state} | ({"error": error} if error else {}))
    wake_dispatcher(session)
    return True


def _was_ended(session: Session, lease: Lease, state: JobState) -> bool:
    return session.scalar(select(Job.id).where(*_held(lease, (state,)))) is not None


def _held(lease: Lease, states: Iterable[JobState]) -> tuple[ColumnElement[bool], ...]:
    return Job.id == lease.job_id, Job.epoch == lease.epoch, Job.state.in_(list(states))


def _changes(job_id: UUID, **values: Any) -> Any:
    return update(Job).where(Job.id == job_id).values(**values).execution_options(synchronize_session=False)


def _running_of_project() -> Any:
    other = aliased(Job)
    running = select(func.count()).where(
        other.project_id == Job.project_id, other.state.in_(LEASED), other.purpose == JobPurpose.SOLVE
    )
    return running.correlate(Job).scalar_subquery()


def _quota(default: int) -> Any:
    quota = select(cast(Project.quotas["running_jobs"].astext, Integer)).where(Project.id == Job.project_id)
    return func.coalesce(quota.correlate(Job).scalar_subquery(), default)
