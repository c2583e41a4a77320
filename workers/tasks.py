"""The one task. It carries an id, and everything else is in the database."""

from __future__ import annotations

from uuid import UUID

from celery import Celery

from app.jobs.queue import TASK
from workers.supervisor import Supervisor


def register(app: Celery, supervisor: Supervisor) -> None:
    """Bind the task that messages name to a supervisor."""

    def run_job(job_id: str) -> None:
        supervisor.run(UUID(job_id))

    app.task(name=TASK, ignore_result=True)(run_job)
