"""What nobody needs any more: forgotten answers, blobs that no row names, workers that are gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from sqlalchemy import delete, func, select

from app.blobs import Blobs
from app.database import Database
from app.datasets.service import collect_orphans
from app.idempotency import IdempotencyKey
from app.jobs import recovery
from app.jobs.leases import interval
from app.jobs.tables import Job
from app.models.tables import Model
from app.settings import Settings

#: An interrupted write may still be going on for this long: the slowest upload.
TEMPORARY_AGE_S = 86_400.0
_BATCH = 500


def collect_garbage(database: Database, blobs: Blobs, settings: Settings) -> int:
    """Remove it; how many objects went. What is younger than ten leases may still get its row, and stays."""
    age_s = 10 * settings.interval(settings.lease_s)
    with database.transaction() as session:
        recovery.forget_workers(session, after_s=age_s)
        old = IdempotencyKey.created_at < func.clock_timestamp() - interval(settings.idempotency_ttl_s)
        session.execute(delete(IdempotencyKey).where(old))
    removed = blobs.delete_temporary(older_than_s=TEMPORARY_AGE_S) + collect_orphans(database, blobs)
    for names in _batches(blobs.children("jobs")):
        models = _models(database, names)
        for name in names:
            removed += _collect_job(blobs, name, name in models, models.get(name), age_s)
    return removed


def _collect_job(blobs: Blobs, name: str, exists: bool, model_key: str | None, age_s: float) -> int:
    folder = f"jobs/{name}"
    if not exists:
        if blobs.age_s(folder) < age_s:
            return 0
        blobs.delete_tree(folder)
        return 1
    epochs = (f"{folder}/{child}" for child in blobs.children(folder) if child.isdigit())
    keys = [f"{epoch}/{child}" for epoch in epochs for child in blobs.children(epoch)]
    old = [key for key in keys if key != model_key and blobs.age_s(key) >= age_s]
    for key in old:
        blobs.delete(key)
    return len(old)


def _models(database: Database, names: list[str]) -> dict[str, str | None]:
    """By job id as text: the key of its model, None without one. Jobs that are gone are absent."""
    ids = [UUID(name) for name in names]
    statement = select(Job.id, Model.blob_key).outerjoin(Model, Model.job_id == Job.id).where(Job.id.in_(ids))
    with database.transaction() as session:
        return {str(job_id): key for job_id, key in session.execute(statement)}


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    known = sorted(names)
    for start in range(0, len(known), _BATCH):
        yield known[start : start + _BATCH]
