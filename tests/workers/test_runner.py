"""Real runners: a job from its row to its model, taken up after a kill, extended, and what it leaves to knowledge."""

from __future__ import annotations

import dataclasses
import hashlib
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.blobs import Blobs
from app.database import Base, Database
from app.datasets.service import add_dataset, read_table, store_table
from app.datasets.upload import Upload
from app.jobs import journal, leases, service
from app.jobs.schemas import JobExtend, JobSpec
from app.jobs.tables import Job, JobEvent, JobState
from app.knowledge.tables import KnowledgeEvaluation, KnowledgeTask
from app.models.tables import Model
from app.projects.tables import Project
from app.settings import Settings
from tests.waiting import wait_for
from workers import processes
from workers.engine.bundle import open_bundle
from workers.journal import DatabaseJournal
from workers.nursery import Nursery
from workers.supervisor import Supervisor

PENGUINS = Path(__file__).parents[2] / "app" / "local" / "data" / "penguins.csv"
TRIALS = 5


class Works:
    """A supervisor in this process, a real runner in its own, a table in the database."""

    def __init__(self, settings: Settings, database: Database, supervisor: Supervisor, nursery: Nursery) -> None:
        self.settings, self.database, self.supervisor, self.nursery = settings, database, supervisor, nursery
        self.blobs = Blobs(settings.blobs)
        with database.transaction() as session:
            project = Project(name="works", quotas={})
            session.add(project)
            session.flush()
            self.project_id = project.id
        self.dataset_id = self._store(PENGUINS)

    def _store(self, source: Path) -> UUID:
        digest = hashlib.sha256(source.read_bytes()).hexdigest()
        upload = Upload(path=source, sha256=digest, bytes=source.stat().st_size, filename=source.name)
        parquet = self.settings.scratch / "table.parquet"
        parquet.parent.mkdir(parents=True, exist_ok=True)
        table = read_table(upload, parquet, self.settings, header=None)
        dataset = store_table(self.blobs, parquet, upload, table, project_id=self.project_id, name="penguins")
        with self.database.transaction() as session:
            add_dataset(session, dataset, self.settings)
        parquet.unlink()
        return dataset.id

    def submit(self, **changes: Any) -> UUID:
        """A job of a few quick trials; its seed decides everything."""
        spec = {
            "dataset_id": self.dataset_id,
            "target": "species",
            "budget": {"seconds": None, "trials": TRIALS},
            "algorithms": {"include": ["dummy", "linear", "naive_bayes", "nearest_neighbours"]},
            "validation": {"scheme": "kfold", "folds": 3},
            "seed": 7,
        }
        with self.database.transaction() as session:
            made = service.submit_job(session, self.project_id, JobSpec(**spec | changes), self.settings)
        return made.id

    def job(self, job_id: UUID) -> Job:
        """Its row."""
        with self.database.transaction() as session:
            return session.get_one(Job, job_id)

    def log(self, job_id: UUID) -> list[Any]:
        """Its trials' rows in order."""
        with self.database.transaction() as session:
            return journal.read_log(session, job_id)

    def predictions(self, job_id: UUID) -> list[Any]:
        """Of its model, whose bundle is what the row says, for every tenth row of the table."""
        with self.database.transaction() as session:
            model = session.query(Model).filter_by(job_id=job_id).one()
        path = self.blobs.path(model.blob_key)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256
        assert model.is_final
        names, *lines = [line.split(",") for line in PENGUINS.read_text().splitlines()]
        rows = [{k: v or None for k, v in zip(names, line, strict=True) if k != "species"} for line in lines[::10]]
        answer: list[Any] = open_bundle(path).predict(rows)["probabilities"]
        return answer


def leaderboard(rows: list[Any]) -> list[Any]:
    """What must be the same whenever the same seed runs."""
    return [(row.number, row.proposal, row.status, row.loss, row.trial["fold_losses"]) for row in rows]


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


@pytest.fixture(scope="module")
def undisturbed(works: Works) -> UUID:
    """A job that ran from claim to end."""
    job_id = works.submit()
    works.supervisor.run(job_id)
    return job_id


def test_a_job_leaves_a_model_its_log_and_knowledge_when_it_succeeds(works: Works, undisturbed: UUID) -> None:
    job = works.job(undisturbed)
    assert (job.state, job.reproducible, job.error) == (JobState.SUCCEEDED, True, None)
    assert len(works.predictions(undisturbed)) == 35
    rows = works.log(undisturbed)
    assert [row.number for row in rows] == list(range(TRIALS))
    assert all(works.blobs.path(row.blob_key).exists() for row in rows if row.loss is not None)
    with works.database.transaction() as session:
        events = session.query(JobEvent).filter_by(job_id=undisturbed).order_by(JobEvent.seq).all()
        evaluations = session.query(KnowledgeEvaluation).filter_by(job_id=undisturbed).count()
        tasks = session.query(KnowledgeTask).count()
    assert [event.data["state"] for event in events if event.type == "state"] == ["queued", "running", "succeeded"]
    assert sum(event.type == "trial" for event in events) == TRIALS
    assert (tasks, evaluations) == (1, TRIALS)
    assert not list(works.settings.scratch.glob("job-*"))


def test_a_job_ends_as_if_nothing_had_happened_when_its_runner_is_killed_half_way(
    works: Works, undisturbed: UUID
) -> None:
    job_id = works.submit()
    runner = works.nursery.take()
    works.nursery.keep(runner)
    thread = threading.Thread(target=works.supervisor.run, args=(job_id,), daemon=True)
    thread.start()
    wait_for(lambda: sum(row.status is not None for row in works.log(job_id)) >= 2, 60)
    processes.send(runner.pid, signal.SIGKILL)
    thread.join(30)
    told = {row.number: row.told_at for row in works.log(job_id) if row.status is not None}
    assert (works.job(job_id).state, works.job(job_id).attempt) == (JobState.QUEUED, 1)
    assert 2 <= len(told) < TRIALS
    assert processes.find_marked(runner.token) == []
    works.supervisor.run(job_id)
    job, rows = works.job(job_id), works.log(job_id)
    assert (job.state, job.attempt, job.reproducible) == (JobState.SUCCEEDED, 2, True)
    assert all(row.told_at == told[row.number] for row in rows if row.number in told)  # none ran again
    assert leaderboard(rows) == leaderboard(works.log(undisturbed))
    assert works.predictions(job_id) == works.predictions(undisturbed)


def test_an_extended_job_begins_with_its_parents_trials(works: Works, undisturbed: UUID) -> None:
    with works.database.transaction() as session:
        more = JobExtend(trials=2)
        child = service.extend_job(session, works.project_id, undisturbed, more, works.settings).id
    works.supervisor.run(child)
    rows = works.log(child)
    assert works.job(child).state == JobState.SUCCEEDED
    assert leaderboard(rows[:TRIALS]) == leaderboard(works.log(undisturbed))
    assert [row.number for row in rows] == list(range(TRIALS + 2))


def test_a_job_fails_with_the_engines_code_and_the_runner_goes_on_when_the_table_is_gone(
    works: Works, undisturbed: UUID
) -> None:
    job_id = works.submit()
    runner = works.nursery.take()
    works.nursery.keep(runner)
    path = works.blobs.path(f"datasets/{works.dataset_id}/table.parquet")
    away = path.rename(path.with_name("away.parquet"))
    try:
        works.supervisor.run(job_id)
    finally:
        away.rename(path)
    job = works.job(job_id)
    assert (job.state, job.error["code"]) == (JobState.FAILED, "unusable_task")
    again = works.submit(budget={"seconds": None, "trials": 1})
    works.supervisor.run(again)
    assert works.job(again).state == JobState.SUCCEEDED
    assert runner.returncode is None


class AnswerLost(Database):
    """A database whose first commit is made, but whose answer does not arrive."""

    lost = False

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """The real transaction, then once an error."""
        with super().transaction() as session:
            yield session
        if not self.lost:
            self.lost = True
            raise OperationalError("COMMIT", {}, Exception("connection lost"))


def test_a_last_commit_is_made_once_when_its_answer_is_lost(works: Works, undisturbed: UUID, database_url: str) -> None:
    job_id = works.submit(seed=8)
    with works.database.transaction() as session:
        claim = leases.claim(session, job_id, worker="works", lease_s=60, running_quota=10)
        columns = {field.name: getattr(Model, field.name) for field in dataclasses.fields(journal.Bundle)}
        made = session.execute(select(*columns.values()).where(Model.job_id == undisturbed)).one()
    assert claim is not None
    database = AnswerLost(database_url, pool_size=1)
    writer = DatabaseJournal(database, works.blobs, works.settings, claim)
    writer.final = journal.Bundle(**dict(zip(columns, made, strict=True)))
    writer.finish(reproducible=True)
    assert database.lost
    database.dispose()
    assert works.job(job_id).state == JobState.SUCCEEDED
    with works.database.transaction() as session:
        assert session.query(Model).filter_by(job_id=job_id).one().version == 1
        assert session.query(JobEvent).filter_by(job_id=job_id, type="model").count() == 1
