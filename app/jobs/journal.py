"""What a running job writes: asks, tells, progress, models. Each function first takes the fence (`leases.hold`).

The log of a job is its `trials` rows in order of their sequence numbers; a resumed job replays it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.jobs.events import append_event
from app.jobs.leases import Lease, hold
from app.jobs.tables import Job, TrialRow
from app.models.tables import Model


@dataclass(frozen=True, kw_only=True)
class Told:
    """What became of a proposal, as its row keeps it."""

    number: int
    status: str
    trial: dict[str, Any]
    loss: float | None
    blob_key: str | None


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A stored model, about to be published."""

    blob_key: str
    sha256: str
    bytes: int
    kind: str
    target: str
    metric: str
    score: dict[str, Any]
    members: list[Any]
    input_schema: dict[str, Any]
    is_final: bool


def record_ask(session: Session, lease: Lease, number: int, proposal: dict[str, Any]) -> None:
    """Note that a proposal is about to run. Again for the same number: nothing changes.

    Raises:
        Fenced: the lease is lost or the job was cancelled.
    """
    hold(session, lease)
    row = {"job_id": lease.job_id, "number": number, "proposal": proposal, "ask_seq": _next_seq(session, lease.job_id)}
    session.execute(insert(TrialRow).values(row).on_conflict_do_nothing())


def record_tell(session: Session, lease: Lease, told: Told, progress: dict[str, Any] | None = None) -> None:
    """Note what became of a proposal; its artefacts are stored already. A finished trial is never told twice.

    Raises:
        Fenced: the lease is lost or the job was cancelled.
    """
    hold(session, lease)
    changed = session.scalar(
        update(TrialRow)
        .where(TrialRow.job_id == lease.job_id, TrialRow.number == told.number, TrialRow.status.is_(None))
        .values(
            status=told.status,
            trial=told.trial,
            loss=told.loss,
            blob_key=told.blob_key,
            tell_seq=_next_seq(session, lease.job_id),
            told_at=func.clock_timestamp(),
        )
        .returning(TrialRow.number)
        .execution_options(synchronize_session=False)
    )
    if changed is None:
        return
    values = {"version": Job.version + 1} | ({} if progress is None else {"progress": progress})
    session.execute(_changes(lease.job_id, **values))
    event = {"number": told.number, "status": told.status, "loss": told.loss, "learner": _learner(told)}
    append_event(session, lease.job_id, "trial", event)


def set_progress(session: Session, lease: Lease, progress: dict[str, Any]) -> None:
    """Replace the progress and tell listeners.

    Raises:
        Fenced: the lease is lost or the job was cancelled.
    """
    hold(session, lease)
    session.execute(_changes(lease.job_id, progress=progress, version=Job.version + 1))
    append_event(session, lease.job_id, "progress", progress)


def publish_model(session: Session, lease: Lease, bundle: Bundle) -> None:
    """Make a stored bundle the job's model. Nothing is published once a cancel was acknowledged.

    Raises:
        Fenced: the lease is lost or the job was cancelled.
    """
    hold(session, lease)
    job = session.execute(select(Job.project_id, Job.dataset_id).where(Job.id == lease.job_id)).one()
    values = vars(bundle) | {"updated_at": func.clock_timestamp()}
    keys = {"project_id": job.project_id, "dataset_id": job.dataset_id, "job_id": lease.job_id}
    statement = insert(Model).values(keys | values)
    model_id = session.scalar(
        statement.on_conflict_do_update(
            index_elements=[Model.job_id], set_=values | {"version": Model.version + 1}
        ).returning(Model.id)
    )
    session.execute(_changes(lease.job_id, version=Job.version + 1))
    event = {"model_id": str(model_id), "score": bundle.score, "is_final": bundle.is_final}
    append_event(session, lease.job_id, "model", event)


def read_log(session: Session, job_id: UUID) -> list[TrialRow]:
    """The job's asks and tells in order of asking; those in flight have no `status`."""
    return list(session.scalars(select(TrialRow).where(TrialRow.job_id == job_id).order_by(TrialRow.ask_seq)))


def replay_parent(session: Session, lease: Lease, parent: list[TrialRow]) -> None:
    """Make the parent's finished trials the first entries of this job's log, unless the log has begun.

    Raises:
        Fenced: the lease is lost or the job was cancelled.
    """
    hold(session, lease)
    if session.scalar(select(func.count()).where(TrialRow.job_id == lease.job_id)):
        return
    for number, row in enumerate(parent):
        session.add(
            TrialRow(
                job_id=lease.job_id,
                number=number,
                ask_seq=2 * number + 1,
                tell_seq=2 * number + 2,
                proposal=row.proposal,
                status=row.status,
                trial=row.trial,
                loss=row.loss,
                blob_key=row.blob_key,
                told_at=func.clock_timestamp(),
            )
        )


def _next_seq(session: Session, job_id: UUID) -> int:
    last = func.greatest(func.max(TrialRow.ask_seq), func.max(TrialRow.tell_seq))
    return (session.scalar(select(last).where(TrialRow.job_id == job_id)) or 0) + 1


def _learner(told: Told) -> str | None:
    learner = told.trial.get("proposal", {}).get("configuration", {}).get("learner")
    return None if learner is None else str(learner)


def _changes(job_id: UUID, **values: Any) -> Any:
    return update(Job).where(Job.id == job_id).values(**values).execution_options(synchronize_session=False)
