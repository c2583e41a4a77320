"""A project with a dataset, and jobs in its queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest

from app.database import Database
from app.jobs.tables import Job
from app.projects.tables import Project


@pytest.fixture
def project_id(database: Database) -> UUID:
    """A project without quotas of its own."""
    with database.transaction() as session:
        project = Project(name="engine room", quotas={})
        session.add(project)
        session.flush()
        return project.id


@pytest.fixture
def queue_job(database: Database, project_id: UUID, make_dataset: Callable[..., UUID]) -> Callable[..., UUID]:
    """Queues a job without the API; its id."""
    dataset_id = make_dataset(project_id)

    def queue(owner: UUID = project_id, **changes: Any) -> UUID:
        spec = {"budget": {"seconds": 60.0, "trials": None}, "kind": "binary", "metric": "roc_auc", "target": "income"}
        with database.transaction() as session:
            job = Job(project_id=owner, dataset_id=dataset_id, spec=spec, **changes)
            session.add(job)
            session.flush()
            return job.id

    return queue
