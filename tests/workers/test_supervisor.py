"""What a supervisor makes of a runner that ends, hangs, overstays, flees or loses its lease."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

import psycopg
import pytest
from sqlalchemy import text

from app.database import Database
from app.jobs.tables import Job, JobState
from app.models.tables import Model
from app.settings import Settings
from tests.waiting import wait_for
from workers import processes
from workers.nursery import Nursery
from workers.scratch import clear_scratch
from workers.supervisor import Supervisor


@contextmanager
def supervised(supervisor: Supervisor, job_id: UUID) -> Iterator[threading.Thread]:
    """The job in a thread, as a slot runs it; it must be over soon after the block."""
    thread = threading.Thread(target=supervisor.run, args=(job_id,), daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(20)
        assert not thread.is_alive()


def token_of(nursery: Nursery) -> str:
    """Of the runner that is warm now."""
    runner = nursery.take()
    nursery.keep(runner)
    return runner.token


def cancel(database: Database, job_id: UUID) -> None:
    """As the API does."""
    with database.transaction() as session:
        statement = "UPDATE jobs SET cancel_requested = true, state = 'cancelling' WHERE id = :id"
        session.execute(text(statement), {"id": job_id})


def test_a_runner_takes_the_next_job_when_the_last_has_ended_in_order(
    supervisor: Supervisor, nursery: Nursery, queue_job: Callable[..., UUID], read_job: Callable[[UUID], Job]
) -> None:
    token = token_of(nursery)
    one, two = queue_job("finish say nap"), queue_job("fail say")
    for job_id in (one, two, one):  # the last is a second message for a job that has ended
        supervisor.run(job_id)
    assert [read_job(job_id).state for job_id in (one, two)] == [JobState.SUCCEEDED, JobState.FAILED]
    assert token_of(nursery) == token
    assert supervisor.busy == 0


def test_what_a_job_left_running_is_gone_when_its_runner_is_kept(
    supervisor: Supervisor, nursery: Nursery, queue_job: Callable[..., UUID]
) -> None:
    token = token_of(nursery)
    supervisor.run(queue_job("flee finish say"))
    assert token_of(nursery) == token
    wait_for(lambda: len(processes.find_marked(token)) == 1)


@pytest.mark.parametrize("acts", ["flee hang", "flee deaf hang"])
def test_every_process_is_gone_and_the_job_cancelled_when_a_cancel_is_asked_for(
    acts: str,
    supervisor: Supervisor,
    nursery: Nursery,
    database: Database,
    queue_job: Callable[..., UUID],
    read_job: Callable[[UUID], Job],
) -> None:
    token, job_id = token_of(nursery), queue_job(acts)
    with supervised(supervisor, job_id):
        wait_for(lambda: len(processes.find_marked(token)) == 2)
        asked = time.monotonic()
        cancel(database, job_id)
        wait_for(lambda: read_job(job_id).state == JobState.CANCELLED)
        assert processes.find_marked(token) == []
    assert time.monotonic() - asked < 5  # a heartbeat and a grace period, tenfold quick, on a busy machine


@pytest.mark.parametrize(("acts", "state"), [("publish hang", JobState.SUCCEEDED), ("hang", JobState.FAILED)])
def test_a_job_ends_in_time_with_what_there_is_when_the_runner_overstays(
    acts: str,
    state: JobState,
    supervisor: Supervisor,
    database: Database,
    queue_job: Callable[..., UUID],
    read_job: Callable[[UUID], Job],
) -> None:
    job_id = queue_job(acts, seconds=2.0)
    supervisor.run(job_id)
    job = read_job(job_id)
    assert job.state == state
    assert 2.0 <= (job.finished_at - job.started_at).total_seconds() <= 1.05 * 2.0 + 1.0
    if state is JobState.FAILED:
        assert job.error["code"] == "budget_exhausted"
    else:
        with database.transaction() as session:
            assert session.query(Model).one().is_final
        assert job.reproducible is False


def test_a_job_fails_after_exactly_three_attempts_when_it_kills_its_runner(
    supervisor: Supervisor, queue_job: Callable[..., UUID], read_job: Callable[[UUID], Job]
) -> None:
    job_id = queue_job("die")
    seen = []
    for _ in range(4):
        supervisor.run(job_id)
        seen.append((read_job(job_id).state, read_job(job_id).attempt))
    assert seen == [("queued", 1), ("queued", 2), ("failed", 3), ("failed", 3)]
    assert read_job(job_id).error["code"] == "worker_lost"


def test_the_job_is_given_back_and_does_not_count_when_the_worker_is_asked_to_stop(
    supervisor: Supervisor, nursery: Nursery, queue_job: Callable[..., UUID], read_job: Callable[[UUID], Job]
) -> None:
    token, job_id = token_of(nursery), queue_job("flee hang")
    with supervised(supervisor, job_id):
        wait_for(lambda: len(processes.find_marked(token)) == 2)
        supervisor.stopping.set()
    assert (read_job(job_id).state, read_job(job_id).attempt) == (JobState.QUEUED, 0)
    assert processes.find_marked(token) == []
    supervisor.run(job_id)
    assert read_job(job_id).state == JobState.QUEUED


def test_everything_is_killed_and_nothing_written_when_somebody_else_has_the_job(
    supervisor: Supervisor,
    nursery: Nursery,
    database: Database,
    queue_job: Callable[..., UUID],
    read_job: Callable[[UUID], Job],
) -> None:
    token, job_id = token_of(nursery), queue_job("flee hang")
    with supervised(supervisor, job_id):
        wait_for(lambda: len(processes.find_marked(token)) == 2)
        with database.transaction() as session:
            session.execute(text("UPDATE jobs SET epoch = epoch + 2"))
    assert processes.find_marked(token) == []
    assert (read_job(job_id).state, read_job(job_id).epoch) == (JobState.RUNNING, 3)


def test_everything_is_killed_when_the_database_hangs_for_too_long(
    supervisor: Supervisor,
    nursery: Nursery,
    settings: Settings,
    queue_job: Callable[..., UUID],
    read_job: Callable[[UUID], Job],
) -> None:
    token, job_id = token_of(nursery), queue_job("flee hang")
    with psycopg.connect(settings.database_url.get_secret_value()) as blocker:
        with supervised(supervisor, job_id):
            wait_for(lambda: len(processes.find_marked(token)) == 2)
            blocker.execute("LOCK TABLE jobs")  # the next heartbeat hangs, it does not fail
            started = time.monotonic()
            wait_for(lambda: not processes.find_marked(token))
            took = time.monotonic() - started
        blocker.rollback()
    assert took >= settings.interval(settings.self_kill_s) - 1
    assert read_job(job_id).state == JobState.RUNNING  # the reaper's business


def test_another_runner_is_warmed_when_the_warm_one_dies(nursery: Nursery) -> None:
    first = nursery.take()
    nursery.keep(first)
    processes.send(first.pid, processes.signal.SIGKILL)
    wait_for(lambda: first.returncode is not None)
    second = nursery.take()
    assert second.pid != first.pid
    nursery.keep(second)


def test_only_folders_of_attempts_that_are_over_go_when_scratch_is_cleared(
    settings: Settings, database: Database, queue_job: Callable[..., UUID]
) -> None:
    running, ended = queue_job(""), queue_job("")
    with database.transaction() as session:
        session.execute(text("UPDATE jobs SET state = 'running', epoch = 3 WHERE id = :id"), {"id": running})
    names = (f"job-{running}-3", f"job-{running}-1", f"job-{ended}-3", "upload-1")
    for name in names:
        (settings.scratch / name).mkdir(parents=True)
    with database.transaction() as session:
        assert clear_scratch(session, settings) == 2
    assert {path.name for path in settings.scratch.iterdir()} == {names[0], names[3]}
