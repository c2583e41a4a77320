"""A supervisor over a real database whose runners do what a test tells them."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from app.database import Base, Database
from app.datasets.tables import Dataset
from app.jobs.tables import Job
from app.projects.tables import Project
from app.settings import Settings
from tests.workers.works import Works
from workers.nursery import Nursery
from workers.supervisor import Supervisor

#: A runner without an engine: what it does stands in the job's name.
_PLAYER = """
import json, os, signal, subprocess, sys, time
from uuid import UUID
from app.database import Base, Database
from app.jobs import journal, leases
from app.jobs.tables import Job

database = Database(os.environ["PLAYER_DATABASE_URL"], pool_size=1)

def publish(session, lease):
    bundle = dict.fromkeys(("blob_key", "sha256", "kind", "target", "metric"), "x")
    lists = {"bytes": 1, "score": {}, "members": [], "input_schema": {}, "is_final": False}
    journal.publish_model(session, lease, journal.Bundle(**bundle, **lists))

print("ready", flush=True)
for line in sys.stdin:
    message = json.loads(line)
    lease = leases.Lease(job_id=UUID(message["job_id"]), epoch=message["epoch"])
    with database.transaction() as session:
        acts = session.get_one(Job, lease.job_id).name.split()
    for act in acts:
        with database.transaction() as session:
            if act == "publish":
                publish(session, lease)
            elif act == "finish":
                leases.finish(session, lease, reproducible=True)
            elif act == "fail":
                leases.fail(session, lease, code="no_model", detail="as told")
        if act == "flee":  # a child in a session of its own, whose parent is gone
            script = "import subprocess; subprocess.Popen(['sleep', '300'], start_new_session=True)"
            subprocess.run([sys.executable, "-c", script], start_new_session=True)
        elif act == "deaf":
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        elif act == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif act == "hang":
            time.sleep(300)
        elif act == "nap":
            time.sleep(1)
        elif act == "say":
            print("committed", flush=True)
    print("ready", flush=True)
"""


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    """Everything ten times as quick."""
    return Settings(database_url=database_url, data_dir=tmp_path / "data", tempo=0.1, log_level="warning")


@pytest.fixture
def queue_job(database: Database) -> Callable[..., UUID]:
    """Queues a job; its name tells the runner what to do."""
    with database.transaction() as session:
        project = Project(name="works", quotas={})
        session.add(project)
        session.flush()
        columns: dict[str, Any] = dict.fromkeys(("name", "format", "sha256", "blob_key"), "x")
        numbers = dict.fromkeys(("upload_bytes", "stored_bytes", "rows"), 1)
        dataset = Dataset(project_id=project.id, **columns, **numbers, columns=[], profile={}, alerts=[])
        session.add(dataset)
        session.flush()

    def queue(acts: str, seconds: float | None = None) -> UUID:
        spec = {"budget": {"seconds": seconds, "trials": None}}
        with database.transaction() as session:
            job = Job(project_id=project.id, dataset_id=dataset.id, name=acts, spec=spec)
            session.add(job)
            session.flush()
            return job.id

    return queue


@pytest.fixture
def read_job(database: Database) -> Callable[[UUID], Job]:
    """The job's row."""

    def read(job_id: UUID) -> Job:
        with database.transaction() as session:
            return session.get_one(Job, job_id)

    return read


@pytest.fixture
def nursery(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Nursery]:
    """One warm player."""
    script = tmp_path / "player.py"
    script.write_text(textwrap.dedent(_PLAYER))
    monkeypatch.setenv("PLAYER_DATABASE_URL", settings.database_url.get_secret_value())
    opened = Nursery(1, (sys.executable, str(script)))
    opened.open()
    yield opened
    opened.close()


@pytest.fixture
def supervisor(settings: Settings, database: Database, nursery: Nursery) -> Supervisor:
    """Of a worker with one slot."""
    return Supervisor(settings, database, nursery, "test")


@pytest.fixture(scope="module")
def works(database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Works]:
    """One worker's insides for all tests here."""
    folder = tmp_path_factory.mktemp("works")
    settings = Settings(database_url=database_url, data_dir=folder / "data", tempo=0.1, worker_cores=2)
    database = Database(database_url, pool_size=5)
    with database.transaction() as session:
        session.execute(text(f"TRUNCATE {', '.join(Base.metadata.tables)} CASCADE"))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("WARMSTART_DATABASE_URL", database_url)
        environment.setenv("WARMSTART_DATA_DIR", str(folder / "data"))
        environment.setenv("WARMSTART_TEMPO", "0.1")
        environment.setenv("WARMSTART_WORKER_CORES", "2")
        environment.setenv("WARMSTART_LOG_LEVEL", "warning")
        nursery = Nursery(1)
        nursery.open()
        yield Works(settings, database, Supervisor(settings, database, nursery, "works"), nursery)
        nursery.close()
    database.dispose()
