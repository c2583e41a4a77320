"""Jobs, their trials (the log of asks and tells), their events, and the workers that run them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from app.database import Base
from app.ids import new_id


class JobState(StrEnum):
    """queued -> running -> succeeded | failed | cancelled, with cancelling on the way."""

    QUEUED = "queued"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will change any more."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


class JobPurpose(StrEnum):
    """What a job is for. Both kinds are queued, leased and fenced alike."""

    SOLVE = "solve"  #: a client's task
    TRAIN = "train"  #: metamodels on what is known


class Job(Base):
    """A request to solve a task within a budget. This row is the truth; messages only carry its id."""

    __tablename__ = "jobs"
    __table_args__ = (
        CheckConstraint(
            "state IN ('queued', 'running', 'cancelling', 'succeeded', 'failed', 'cancelled')", name="state_known"
        ),
        CheckConstraint("purpose <> 'solve' OR dataset_id IS NOT NULL", name="has_dataset"),
        Index("ix_jobs_training", "id", postgresql_where=text("purpose = 'train'")),
        Index("ix_jobs_queued", "project_id", "priority", "id", postgresql_where=text("state = 'queued'")),
        Index("ix_jobs_leased", "lease_until", postgresql_where=text("state IN ('running', 'cancelling')")),
        Index("ix_jobs_project_id", "project_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True, default=new_id)
    project_id: Mapped[UUID] = mapped_column(ForeignKey("projects.id", ondelete="CASCADE"))
    purpose: Mapped[str] = mapped_column(default=JobPurpose.SOLVE, server_default=text("'solve'"))
    #: None in jobs that train metamodels
    dataset_id: Mapped[UUID | None] = mapped_column(ForeignKey("datasets.id", ondelete="CASCADE"), index=True)
    parent_job_id: Mapped[UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), index=True)
    name: Mapped[str | None]
    labels: Mapped[dict[str, Any]] = mapped_column(default=dict)
    spec: Mapped[dict[str, Any]]  #: the request, every default filled in, dataset's column kinds pinned
    state: Mapped[str] = mapped_column(default=JobState.QUEUED)
    priority: Mapped[int] = mapped_column(default=0)  #: lower first
    attempt: Mapped[int] = mapped_column(default=0)
    epoch: Mapped[int] = mapped_column(default=0)  #: fencing token: raised by every claim and every requeue
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    published_at: Mapped[datetime | None]  #: when the dispatcher last sent a message for it
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    claimed_at: Mapped[datetime | None]  #: of the present attempt
    started_at: Mapped[datetime | None]  #: of the first claim
    finished_at: Mapped[datetime | None]
    used_s: Mapped[float] = mapped_column(default=0.0)  #: budget used by earlier attempts
    reproducible: Mapped[bool | None]  #: None until finished
    error: Mapped[dict[str, Any] | None]  #: {"code", "detail"} of a failed job
    #: {"phase", "trials", "best": {"metric", "score", "learner"}, ...}: what a progress display needs
    progress: Mapped[dict[str, Any]] = mapped_column(default=dict)
    version: Mapped[int] = mapped_column(default=1)  #: raised by every visible change; the ETag


class TrialRow(Base):
    """A proposal and what became of it. ask_seq and tell_seq are the log that a resumed job replays."""

    __tablename__ = "trials"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)  #: in order of asking
    ask_seq: Mapped[int]  #: place in the job's log
    tell_seq: Mapped[int | None]  #: place in the job's log; NULL while in flight
    proposal: Mapped[dict[str, Any]]
    status: Mapped[str | None]  #: `workers.engine.types.TrialStatus`; NULL while in flight
    trial: Mapped[dict[str, Any] | None]  #: everything else of `workers.engine.types.Trial`
    loss: Mapped[float | None]
    blob_key: Mapped[str | None]  #: out-of-fold predictions and perhaps fold models
    asked_at: Mapped[datetime] = mapped_column(server_default=func.now())
    told_at: Mapped[datetime | None]


class JobEvent(Base):
    """What happened to a job, for SSE. Written in the transaction that made it happen."""

    __tablename__ = "job_events"

    job_id: Mapped[UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)  #: 1, 2, 3, … a job; the SSE id
    type: Mapped[str]  #: state, trial, model, progress
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Worker(Base):
    """A live worker slot holder. The dispatcher counts slots of those seen lately."""

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(primary_key=True)
    slots: Mapped[int]
    version: Mapped[str]
    seen_at: Mapped[datetime] = mapped_column(server_default=func.now())
