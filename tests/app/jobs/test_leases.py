"""Leases: what a claim takes, what the fence keeps out, what comes back when its holder is gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import InternalError

from app.database import Database
from app.jobs import journal, leases, recovery, service
from app.jobs.leases import Claim, Fenced
from app.jobs.tables import Job, JobState, TrialRow
from app.models.tables import Model
from app.projects.tables import Project
from tests.waiting import wait_for

TOLD = journal.Told(number=0, status="succeeded", trial={}, loss=0.1, blob_key=None)
BUNDLE = journal.Bundle(
    blob_key="jobs/a/1/model-0.zip",
    sha256="0" * 64,
    bytes=1,
    kind="binary",
    target="income",
    metric="roc_auc",
    score={},
    members=[],
    input_schema={},
    is_final=False,
)


@pytest.fixture
def within(database: Database) -> Callable[..., Any]:
    """Calls a function with a session, in a transaction of its own."""

    def call(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        with database.transaction() as session:
            return function(session, *args, **kwargs)

    return call


@pytest.fixture
def claim(within: Callable[..., Any]) -> Callable[..., Claim | None]:
    """Claims as a worker does."""

    def take(job_id: UUID, quota: int = 16) -> Claim | None:
        return within(leases.claim, job_id, worker="w", lease_s=60.0, running_quota=quota)

    return take


@pytest.fixture
def read(database: Database) -> Callable[[UUID], Job]:
    """The job's row."""

    def get(job_id: UUID) -> Job:
        with database.transaction() as session:
            return session.get_one(Job, job_id)

    return get


@pytest.fixture
def expire(database: Database, within: Callable[..., Any]) -> Callable[[UUID], int]:
    """Lets a job's lease run out, and sweeps."""

    def run_out(job_id: UUID) -> int:
        with database.transaction() as session:
            statement = "UPDATE jobs SET lease_until = clock_timestamp() - interval '1 s' WHERE id = :id"
            session.execute(text(statement), {"id": job_id})
        return within(recovery.requeue_expired, lease_s=0.01, max_attempts=3)

    return run_out


def test_the_second_of_two_messages_finds_nothing_when_the_first_was_claimed(
    queue_job: Callable[..., UUID], claim: Callable[..., Any]
) -> None:
    job_id = queue_job()
    first = claim(job_id)
    assert (first.epoch, first.attempt, first.budget) == (1, 1, {"seconds": 60.0, "trials": None})
    assert claim(job_id) is None


def test_a_claim_waits_when_the_project_runs_all_it_may(
    queue_job: Callable[..., UUID], claim: Callable[..., Any], within: Callable[..., Any], database: Database
) -> None:
    one, two, three = (queue_job() for _ in range(3))
    first = claim(one, quota=1)
    assert claim(two, quota=1) is None
    within(leases.finish, first, reproducible=True)
    assert claim(two, quota=1) is not None
    with database.transaction() as session:
        session.get_one(Project, session.get_one(Job, three).project_id).quotas = {"running_jobs": 5}
    assert claim(three, quota=1) is not None


def test_nothing_is_claimed_when_the_job_is_cancelled_or_ended(
    queue_job: Callable[..., UUID],
    claim: Callable[..., Any],
    within: Callable[..., Any],
    read: Callable[[UUID], Job],
    project_id: UUID,
) -> None:
    cancelled, ended = queue_job(), queue_job()
    within(service.cancel_job, project_id, cancelled)
    within(leases.fail, claim(ended), code="no_model", detail="nothing worked")
    assert claim(cancelled) is None
    assert claim(ended) is None
    assert read(ended).error == {"code": "no_model", "detail": "nothing worked"}


@pytest.mark.parametrize(
    "write",
    [
        lambda session, lease: leases.hold(session, lease),
        lambda session, lease: journal.record_ask(session, lease, 1, {}),
        lambda session, lease: journal.record_tell(session, lease, TOLD),
        lambda session, lease: journal.set_progress(session, lease, {"phase": "searching"}),
        lambda session, lease: journal.publish_model(session, lease, BUNDLE),
        lambda session, lease: journal.replay_parent(session, lease, []),
    ],
)
@pytest.mark.parametrize("loss", ["requeued", "cancelled", "ended"])
def test_every_write_is_refused_when_the_lease_is_lost(
    write: Callable[..., Any],
    loss: str,
    queue_job: Callable[..., UUID],
    claim: Callable[..., Any],
    within: Callable[..., Any],
    expire: Callable[[UUID], int],
    project_id: UUID,
    database: Database,
) -> None:
    job_id = queue_job()
    stale = claim(job_id)
    within(journal.record_ask, stale, 0, {})
    if loss == "requeued":
        expire(job_id)
        claim(job_id)
    elif loss == "cancelled":
        within(service.cancel_job, project_id, job_id)
    else:
        within(leases.finish, stale, reproducible=False)
    with pytest.raises(Fenced):
        within(write, stale)
    with database.transaction() as session:
        assert session.query(Model).count() == 0
        assert [row.status for row in session.query(TrialRow)] == [None]


def test_only_the_new_holder_ends_a_job_when_it_was_requeued(
    queue_job: Callable[..., UUID],
    claim: Callable[..., Any],
    within: Callable[..., Any],
    expire: Callable[[UUID], int],
    read: Callable[[UUID], Job],
) -> None:
    job_id = queue_job()
    stale = claim(job_id)
    assert expire(job_id) == 1
    fresh = claim(job_id)
    assert within(leases.heartbeat, stale, lease_s=60.0) is None
    assert not within(leases.finish, stale, reproducible=True)
    assert not within(leases.fail, stale, code="no_model", detail="")
    assert not within(leases.cancelled, stale)
    assert not within(leases.give_back, stale, counts=True, max_attempts=3)
    assert within(leases.finish, fresh, reproducible=True)
    assert (read(job_id).state, read(job_id).epoch) == (JobState.SUCCEEDED, 3)


def test_finishing_again_is_fine_when_only_the_answer_got_lost(
    queue_job: Callable[..., UUID], claim: Callable[..., Any], within: Callable[..., Any], database: Database
) -> None:
    lease = claim(queue_job())
    within(journal.publish_model, lease, BUNDLE)
    assert within(leases.finish, lease, reproducible=True)
    assert within(leases.finish, lease, reproducible=True)
    with database.transaction() as session:
        assert session.query(Model).one().is_final


def test_nothing_is_published_and_the_last_model_stays_when_a_cancel_was_acknowledged(
    queue_job: Callable[..., UUID],
    claim: Callable[..., Any],
    within: Callable[..., Any],
    read: Callable[[UUID], Job],
    project_id: UUID,
    database: Database,
) -> None:
    job_id = queue_job()
    lease = claim(job_id)
    within(journal.publish_model, lease, BUNDLE)
    within(service.cancel_job, project_id, job_id)
    assert within(leases.heartbeat, lease, lease_s=60.0).cancel_requested
    assert not within(leases.finish, lease, reproducible=True)
    assert within(leases.cancelled, lease)
    assert read(job_id).state == JobState.CANCELLED
    with database.transaction() as session:
        model = session.query(Model).one()
        assert (model.version, model.is_final) == (1, False)


def test_a_job_fails_after_exactly_three_attempts_when_each_is_lost(
    queue_job: Callable[..., UUID],
    claim: Callable[..., Any],
    expire: Callable[[UUID], int],
    read: Callable[[UUID], Job],
) -> None:
    job_id = queue_job()
    for attempt in (1, 2, 3):
        assert claim(job_id).attempt == attempt
        expire(job_id)
    assert claim(job_id) is None
    assert read(job_id).state == JobState.FAILED
    assert read(job_id).error["code"] == "worker_lost"


def test_an_attempt_does_not_count_when_the_worker_was_asked_to_stop(
    queue_job: Callable[..., UUID],
    claim: Callable[..., Any],
    within: Callable[..., Any],
    read: Callable[[UUID], Job],
) -> None:
    job_id = queue_job()
    for _ in range(5):
        assert within(leases.give_back, claim(job_id), counts=False, max_attempts=3)
    assert (read(job_id).state, read(job_id).attempt, read(job_id).epoch) == (JobState.QUEUED, 0, 10)


def test_a_job_being_cancelled_is_cancelled_when_its_holder_is_lost(
    queue_job: Callable[..., UUID],
    claim: Callable[..., Any],
    within: Callable[..., Any],
    expire: Callable[[UUID], int],
    read: Callable[[UUID], Job],
    project_id: UUID,
) -> None:
    job_id = queue_job()
    claim(job_id)
    within(service.cancel_job, project_id, job_id)
    expire(job_id)
    assert read(job_id).state == JobState.CANCELLED
    assert read(job_id).finished_at is not None


def test_downtime_is_not_charged_to_the_budget_when_a_worker_is_lost(
    queue_job: Callable[..., UUID],
    claim: Callable[..., Any],
    within: Callable[..., Any],
    read: Callable[[UUID], Job],
    database: Database,
) -> None:
    job_id = queue_job()
    claim(job_id)
    with database.transaction() as session:  # claimed 10 s ago, last heartbeat 4 s ago with a lease of 1 s
        statement = """UPDATE jobs SET claimed_at = clock_timestamp() - interval '10 s',
                                       lease_until = clock_timestamp() - interval '3 s' WHERE id = :id"""
        session.execute(text(statement), {"id": job_id})
    assert within(recovery.requeue_expired, lease_s=1.0, max_attempts=3) == 1
    assert read(job_id).used_s == pytest.approx(6.0, abs=0.5)


@pytest.mark.parametrize("missing", ["lease_until", "lease_until, claimed_at"])
def test_a_job_comes_back_when_it_never_had_a_heartbeat(
    missing: str,
    queue_job: Callable[..., UUID],
    claim: Callable[..., Any],
    within: Callable[..., Any],
    read: Callable[[UUID], Job],
    database: Database,
) -> None:
    job_id = queue_job()
    claim(job_id)
    with database.transaction() as session:
        nulls = ", ".join(f"{name.strip()} = NULL" for name in missing.split(","))
        session.execute(text(f"UPDATE jobs SET {nulls} WHERE id = :id"), {"id": job_id})
    assert within(recovery.requeue_expired, lease_s=0.001, max_attempts=3) == 1
    assert read(job_id).state == JobState.QUEUED


def test_a_job_comes_back_when_its_holder_fell_asleep_in_the_midst_of_a_write(
    queue_job: Callable[..., UUID],
    claim: Callable[..., Any],
    within: Callable[..., Any],
    read: Callable[[UUID], Job],
    database: Database,
) -> None:
    lease = claim(job_id := queue_job())
    with database.transaction() as session:
        statement = "UPDATE jobs SET lease_until = clock_timestamp() - interval '1 s' WHERE id = :id"
        session.execute(text(statement), {"id": job_id})
    sleeper = Database(database.url, pool_size=1, idle_s=1.0)
    session = sleeper.open()
    leases.hold(session, lease)  # the row is locked, and nothing more is said
    assert within(recovery.requeue_expired, lease_s=0.01, max_attempts=3) == 0
    wait_for(lambda: within(recovery.requeue_expired, lease_s=0.01, max_attempts=3) == 1, 10)
    assert read(job_id).state == JobState.QUEUED
    with pytest.raises(InternalError, match="idle-in-transaction"):
        session.execute(text("SELECT 1"))
    session.close()
    sleeper.dispose()


def test_a_second_sweep_does_nothing_when_one_is_going_on(database: Database, within: Callable[..., Any]) -> None:
    with database.transaction() as session:
        session.execute(text(f"SELECT pg_advisory_xact_lock({recovery.SWEEP_LOCK})"))
        assert within(recovery.requeue_expired, lease_s=0.001, max_attempts=3) == 0


def test_a_sweep_sleeps_when_postgresql_has_just_started(
    queue_job: Callable[..., UUID],
    claim: Callable[..., Any],
    within: Callable[..., Any],
    read: Callable[[UUID], Job],
    database: Database,
) -> None:
    job_id = queue_job()
    claim(job_id)
    with database.transaction() as session:
        session.execute(text("UPDATE jobs SET lease_until = clock_timestamp() - interval '1 day'"))
    assert within(recovery.requeue_expired, lease_s=86_400.0, max_attempts=3) == 0
    assert read(job_id).state == JobState.RUNNING


def test_a_trial_is_told_once_when_the_commit_is_tried_again(
    queue_job: Callable[..., UUID], claim: Callable[..., Any], within: Callable[..., Any], database: Database
) -> None:
    lease = claim(queue_job())
    for _ in range(2):
        within(journal.record_ask, lease, 0, {"configuration": {"learner": "dummy"}})
    within(journal.record_tell, lease, TOLD)
    within(journal.record_tell, lease, journal.Told(number=0, status="failed", trial={}, loss=None, blob_key=None))
    with database.transaction() as session:
        row = session.query(TrialRow).one()
        assert (row.ask_seq, row.tell_seq, row.status, row.loss) == (1, 2, "succeeded", 0.1)


def test_a_parents_trials_begin_the_log_once_when_a_job_goes_on_from_it(
    queue_job: Callable[..., UUID], claim: Callable[..., Any], within: Callable[..., Any]
) -> None:
    parent, child = claim(queue_job()), claim(queue_job())
    for number in (0, 1):
        within(journal.record_ask, parent, number, {"configuration": {"learner": "dummy"}})
    within(journal.record_tell, parent, TOLD)
    finished = [row for row in within(journal.read_log, parent.job_id) if row.status]
    for _ in range(2):
        within(journal.replay_parent, child, finished)
    assert [(row.number, row.status) for row in within(journal.read_log, child.job_id)] == [(0, "succeeded")]
