"""Whether the service is fit to serve, and what it counts."""

from __future__ import annotations

import shutil

from prometheus_client import generate_latest
from sqlalchemy.exc import SQLAlchemyError

from app.database import Database
from app.migrate import is_current
from app.settings import Settings
from app.system import metrics, repository
from app.system.schemas import Readiness

_FREE_BYTES = 200_000_000  #: less than this on the blobs' disk: not ready


def check_readiness(database: Database, settings: Settings) -> Readiness:
    """Database reachable, migrations current, room on the disk."""
    try:
        migrations = "ok" if is_current(database) else "migrations are missing: run `warmstart migrate`"
        reachable = "ok"
    except SQLAlchemyError as error:
        reachable, migrations = f"unreachable ({type(error).__name__})", "unknown"
    free = shutil.disk_usage(settings.blobs).free
    disk = "ok" if free > _FREE_BYTES else f"only {free // 1_000_000} MB free"
    return Readiness(
        ready=reachable == migrations == disk == "ok", database=reachable, migrations=migrations, disk=disk
    )


def render_metrics(database: Database) -> bytes:
    """The Prometheus text format. Without a database, the counts of this process alone."""
    try:
        with database.transaction() as session:
            for state, count in repository.count_jobs(session).items():
                metrics.JOBS.labels(state).set(count)
            metrics.QUEUE_AGE.set(repository.oldest_queued_s(session))
            workers, slots = repository.count_workers(session)
            metrics.WORKERS.set(workers)
            metrics.SLOTS.set(slots)
            metrics.EVENTS.set(repository.estimate_events(session))
        metrics.DATABASE_UP.set(1)
    except SQLAlchemyError:
        metrics.DATABASE_UP.set(0)
    return generate_latest(metrics.REGISTRY)
