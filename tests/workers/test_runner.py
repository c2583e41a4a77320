"""Real runners: a job from its row to its model, taken up after a kill, extended, and what it leaves to knowledge."""

from __future__ import annotations

import dataclasses
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.database import Database
from app.jobs import journal, leases, service
from app.jobs.schemas import JobExtend
from app.jobs.tables import JobEvent, JobState
from app.knowledge.tables import KnowledgeEvaluation, KnowledgeTask
from app.models.tables import Model
from tests.waiting import wait_for
from tests.workers.works import TRIALS, Works, leaderboard
from workers import processes
from workers.journal import DatabaseJournal


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
