"""The job's state machine against a model: two workers that keep every lease they ever had, cancels, lost leases.

A few thousand steps in CI; WARMSTART_CHAOS=full walks a hundred thousand.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test
from sqlalchemy import event, select, text

from app.database import Database
from app.errors import Conflict
from app.jobs import journal, leases, recovery, service
from app.jobs.leases import Claim, Fenced
from app.jobs.tables import Job, JobEvent, JobState, TrialRow
from app.models.tables import Model

STEPS, WALKS = 50, 2000 if os.environ.get("WARMSTART_CHAOS") == "full" else 30
MOST_ATTEMPTS = 3
WORKERS = st.sampled_from(["one", "two"])
ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class Expected:
    """What the row must say."""

    state: str = "queued"
    attempt: int = 0
    epoch: int = 0
    cancel: bool = False
    publications: int = 0
    trials: dict[int, int] = field(default_factory=dict)  #: number: epoch that told it, 0 in flight

    def is_held(self, lease: Claim, states: tuple[str, ...] = ("running", "cancelling")) -> bool:
        """Whether the lease counts."""
        return lease.epoch == self.epoch and self.state in states

    def is_writable(self, lease: Claim) -> bool:
        """Whether anything may be written under it."""
        return self.is_held(lease, ("running",)) and not self.cancel

    def lose(self, give_up: bool) -> None:
        """Its holder is gone."""
        self.state = "cancelled" if self.cancel else "failed" if give_up else "queued"
        self.epoch += 1


class JobMachine(RuleBasedStateMachine):
    """Rules are what API, workers and dispatcher do."""

    database: ClassVar[Database]
    queue_job: ClassVar[Callable[..., UUID]]
    project_id: ClassVar[UUID]
    jobs = Bundle("jobs")
    held = Bundle("held")  # every lease that was ever given

    def __init__(self) -> None:
        super().__init__()
        self.expected: dict[UUID, Expected] = {}
        self.touched: UUID | None = None

    def within(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """In a transaction of its own."""
        with self.database.transaction() as session:
            return function(session, *args, **kwargs)

    def of(self, job_id: UUID) -> Expected:
        """What the row of a job that is about to be touched must say."""
        self.touched = job_id
        return self.expected[job_id]

    @rule(target=jobs)
    def submit(self) -> UUID:
        job_id = type(self).queue_job()
        self.expected[job_id] = Expected()
        return job_id

    @rule(target=held, job_id=jobs, worker=WORKERS)
    def claim(self, job_id: UUID, worker: str) -> Any:
        expected = self.of(job_id)
        lease = self.within(leases.claim, job_id, worker=worker, lease_s=3600.0, running_quota=1000)
        if expected.state != "queued":
            assert lease is None
            return multiple()
        expected.state, expected.attempt, expected.epoch = "running", expected.attempt + 1, expected.epoch + 1
        assert (lease.attempt, lease.epoch) == (expected.attempt, expected.epoch)
        return lease

    @rule(lease=held)
    def beat(self, lease: Claim) -> None:
        expected = self.of(lease.job_id)
        beat = self.within(leases.heartbeat, lease, lease_s=3600.0)
        assert (beat is not None) == expected.is_held(lease)
        assert beat is None or beat.cancel_requested == expected.cancel

    @rule(lease=held, number=st.integers(0, 3))
    def ask(self, lease: Claim, number: int) -> None:
        expected = self.of(lease.job_id)
        if self._writes(journal.record_ask, lease, number, {"configuration": {"learner": "dummy"}}):
            expected.trials.setdefault(number, 0)

    @rule(lease=held, number=st.integers(0, 3))
    def tell(self, lease: Claim, number: int) -> None:
        expected = self.of(lease.job_id)
        told = journal.Told(number=number, status="succeeded", trial={"by": lease.epoch}, loss=0.5, blob_key=None)
        if self._writes(journal.record_tell, lease, told) and expected.trials.get(number) == 0:
            expected.trials[number] = lease.epoch

    @rule(lease=held)
    def publish(self, lease: Claim) -> None:
        bundle = journal.Bundle(
            blob_key=f"jobs/x/{lease.epoch}/model.zip",
            sha256="0" * 64,
            bytes=1,
            kind="binary",
            target="y",
            metric="roc_auc",
            score={},
            members=[],
            input_schema={},
            is_final=False,
        )
        if self._writes(journal.publish_model, lease, bundle):
            self.expected[lease.job_id].publications += 1

    @rule(lease=held)
    def finish(self, lease: Claim) -> None:
        self._ends(lease, "succeeded", ("running",), leases.finish, reproducible=True)

    @rule(lease=held)
    def fail(self, lease: Claim) -> None:
        self._ends(lease, "failed", ("running",), leases.fail, code="no_model", detail="")

    @rule(lease=held)
    def confirm_cancel(self, lease: Claim) -> None:
        if self.expected[lease.job_id].cancel:  # a supervisor does so only then
            self._ends(lease, "cancelled", ("running", "cancelling"), leases.cancelled)

    @rule(lease=held, counts=st.booleans())
    def give_back(self, lease: Claim, counts: bool) -> None:
        expected = self.of(lease.job_id)
        done = self.within(leases.give_back, lease, counts=counts, max_attempts=MOST_ATTEMPTS)
        assert done == expected.is_held(lease)
        if done:
            expected.lose(give_up=counts and expected.attempt >= MOST_ATTEMPTS)
            expected.attempt -= not counts

    @rule(job_id=jobs)
    def cancel(self, job_id: UUID) -> None:
        expected = self.of(job_id)
        if expected.state in ("succeeded", "failed"):
            with pytest.raises(Conflict):
                self.within(service.cancel_job, self.project_id, job_id)
            return
        self.within(service.cancel_job, self.project_id, job_id)
        if expected.state == "queued":
            expected.state, expected.cancel = "cancelled", True
        elif expected.state == "running":
            expected.state, expected.cancel = "cancelling", True

    @rule(job_id=jobs)
    def lose_worker(self, job_id: UUID) -> None:
        expected = self.of(job_id)
        with self.database.transaction() as session:
            statement = "UPDATE jobs SET lease_until = clock_timestamp() - interval '1 s' WHERE id = :id"
            session.execute(text(statement), {"id": job_id})
        is_lost = expected.state in ("running", "cancelling")
        assert self.within(recovery.requeue_expired, lease_s=0.001, max_attempts=MOST_ATTEMPTS) == is_lost
        if is_lost:
            expected.lose(give_up=expected.attempt >= MOST_ATTEMPTS)

    @invariant()
    def the_touched_row_is_as_expected(self) -> None:
        if self.touched is not None:
            with self.database.transaction() as session:
                self._check(session.get_one(Job, self.touched))

    def _check(self, job: Job) -> None:
        expected = self.expected[job.id]
        row = (job.state, job.attempt, job.epoch, job.cancel_requested)
        assert row == (expected.state, expected.attempt, expected.epoch, expected.cancel)

    def teardown(self) -> None:
        """Every row is as expected; every job has ended at most once, and its events are numbered without a gap."""
        with self.database.transaction() as session:
            models = {model.job_id: model for model in session.scalars(select(Model))}
            for job_id, expected in self.expected.items():
                self._check(session.get_one(Job, job_id))
                model = models.get(job_id)
                assert (model.version if model else 0) == expected.publications
                assert model is None or model.is_final == (expected.state == "succeeded")
                for number, epoch in expected.trials.items():
                    told = session.get_one(TrialRow, (job_id, number)).trial
                    assert (told["by"] if told else 0) == epoch
                events = session.scalars(select(JobEvent).where(JobEvent.job_id == job_id).order_by(JobEvent.seq)).all()
                assert [event.seq for event in events] == list(range(1, len(events) + 1))
                ends = [event.data["state"] for event in events if event.data.get("state") in ENDED]
                assert ends == ([expected.state] if JobState(expected.state).is_terminal else [])
            session.execute(text("TRUNCATE jobs CASCADE"))

    def _writes(self, function: Callable[..., Any], lease: Claim, *args: Any) -> bool:
        may = self.of(lease.job_id).is_writable(lease)
        try:
            self.within(function, lease, *args)
        except Fenced:
            assert not may
            return False
        assert may
        return True

    def _ends(self, lease: Claim, state: str, states: tuple[str, ...], end: Callable[..., bool], **more: Any) -> None:
        expected = self.of(lease.job_id)
        was_so = expected.is_held(lease, (state,))
        may = expected.is_held(lease, states)
        assert self.within(end, lease, **more) == (may or was_so)
        if may:
            expected.state = state


def _do_not_wait_for_the_disk(connection: Any, _: Any) -> None:
    """Durability is not what is tested here."""
    connection.execute("SET synchronous_commit = off")
    connection.commit()


@pytest.mark.chaos
@pytest.mark.timeout(0 if WALKS > 100 else 180)
def test_jobs_stay_in_known_states_whatever_two_workers_do(
    database: Database, queue_job: Callable[..., UUID], project_id: UUID
) -> None:
    machine = type("Machine", (JobMachine,), {})
    machine.database, machine.queue_job, machine.project_id = database, staticmethod(queue_job), project_id
    event.listen(database.engine, "connect", _do_not_wait_for_the_disk)
    database.dispose()
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=WALKS,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )
