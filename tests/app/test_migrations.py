"""Migrations: up, down and up again with rows in place, and no drift."""

from __future__ import annotations

import threading

from sqlalchemy import inspect, select

from app import migrate
from app.database import Base, Database
from app.datasets.tables import Dataset
from app.jobs.events import append_event
from app.jobs.tables import Job
from app.projects.schemas import Quotas
from app.projects.service import create_project


def _fill(url: str) -> None:
    database = Database(url, pool_size=1)
    with database.transaction() as session:
        project = create_project(session, "p", Quotas(bytes=5))
        dataset = Dataset(project_id=project.id, name="d", format="csv", sha256="0", upload_bytes=1, blob_key="k")
        dataset.stored_bytes, dataset.rows, dataset.columns, dataset.profile, dataset.alerts = 1, 1, [], {}, []
        session.add(dataset)
        session.flush()
        job = Job(project_id=project.id, dataset_id=dataset.id, spec={"target": "y"})
        session.add(job)
        session.flush()
        append_event(session, job.id, "state", {"state": "queued"})
    database.dispose()


def _count_tables(url: str) -> int:
    database = Database(url, pool_size=1)
    try:
        return len([name for name in inspect(database.engine).get_table_names() if name != "alembic_version"])
    finally:
        database.dispose()


def test_schema_goes_and_comes_back_when_there_are_rows(empty_url: str) -> None:
    assert not migrate.is_current(empty_url)
    migrate.upgrade(empty_url)
    _fill(empty_url)
    migrate.downgrade(empty_url, "base")
    assert _count_tables(empty_url) == 0
    migrate.upgrade(empty_url)
    assert migrate.is_current(empty_url)
    assert _count_tables(empty_url) == len(Base.metadata.tables)
    _fill(empty_url)


def test_rows_stay_when_migrated_again(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    _fill(empty_url)
    migrate.upgrade(empty_url)
    database = Database(empty_url, pool_size=1)
    with database.transaction() as session:
        assert session.scalars(select(Job)).one().state == "queued"
    database.dispose()


def test_nothing_has_drifted_when_migrated(empty_url: str) -> None:
    migrate.upgrade(empty_url)
    assert migrate.find_drift(empty_url) == []


def test_starters_wait_for_each_other_when_they_migrate_at_once(empty_url: str) -> None:
    errors: list[BaseException] = []

    def start() -> None:
        try:
            migrate.upgrade(empty_url)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert migrate.is_current(empty_url)
