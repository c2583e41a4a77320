"""One claimed job: hand it to a warm runner, renew its lease, read its flags, and end its processes when need be."""

from __future__ import annotations

import select
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import structlog
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.database import Database
from app.jobs import leases
from app.jobs.leases import Claim, Heartbeat
from app.settings import Settings
from workers.nursery import Nursery, Runner

log = structlog.get_logger(__name__)
Result = TypeVar("Result")

DATABASE_ERRORS = (psycopg.Error, SQLAlchemyError)
_MARGIN_S = 0.3  # to end a job that overstays, before it is late
_RETRY_S = 0.5


class Supervisor:
    """Runs jobs in warm runners. Thread-safe: every slot calls `run`.

    Args:
        settings: of the service.
        database: sessions for claims and heartbeats.
        nursery: where warm runners come from.
        name: of this worker, for humans.
    """

    def __init__(self, settings: Settings, database: Database, nursery: Nursery, name: str) -> None:
        self.settings, self.database, self._nursery, self._name = settings, database, nursery, name
        self.stopping = threading.Event()  #: set: give running jobs back and take no more
        self.claimed_at = time.monotonic()
        self.busy = 0
        self._count = threading.Lock()

    def run(self, job_id: UUID) -> None:
        """Claim the job if it is still to be had, and see it through."""
        if self.stopping.is_set():
            return
        runner = self._nursery.take()
        try:
            claim = self._claim(job_id)
        except DATABASE_ERRORS:
            self._nursery.keep(runner)
            log.exception("claim failed; the dispatcher will send the job again", job_id=str(job_id))
            return
        if claim is None:
            self._nursery.keep(runner)
            return
        with self._count:
            self.busy += 1
            self.claimed_at = time.monotonic()
        try:
            _Watch(self, runner, claim).run()
        finally:
            runner.kill()
            self._nursery.replace()
            with self._count:
                self.busy -= 1

    def _claim(self, job_id: UUID) -> Claim | None:
        with self.database.transaction() as session:
            return leases.claim(
                session,
                job_id,
                worker=self._name,
                lease_s=self.settings.interval(self.settings.lease_s),
                running_quota=self.settings.quota_running_jobs,
            )

    def write(self, action: Callable[[Session], Result], until: float) -> Result | None:
        """One transaction, tried until it works or the time has come; None then."""
        while True:
            try:
                with self.database.transaction() as session:
                    return action(session)
            except DATABASE_ERRORS as error:
                if time.monotonic() > until:
                    log.error("the database stays away", error=str(error))
                    return None
                time.sleep(self.settings.interval(_RETRY_S))


class _Watch:
    """A job while it runs."""

    def __init__(self, supervisor: Supervisor, runner: Runner, claim: Claim) -> None:
        self.supervisor, self.runner, self.claim = supervisor, runner, claim
        self.settings = supervisor.settings
        self.claimed = self.renewed = time.monotonic()
        self.budget: dict[str, Any] = claim.budget
        self.log = log.bind(job_id=str(claim.job_id), attempt=claim.attempt, epoch=claim.epoch)

    def run(self) -> None:
        """To the job's end, or to the end of our part in it."""
        self.log.info("job claimed", runner=self.runner.process.pid)
        self.runner.start(
            {
                "job_id": str(self.claim.job_id),
                "epoch": self.claim.epoch,
                "used_s": self.claim.used_s,
                "claimed": self.claimed,
            }
        )
        while self._goes_on():
            continue

    def _goes_on(self) -> bool:
        """Wait for the next thing to happen and deal with it; False when our part is over."""
        if self._ends_within(self._pause()):
            self._after_end()
        elif self.supervisor.stopping.is_set():
            self._give_back(counts=False)
        elif self._is_late() and not self._is_extended():
            self._end_late()
        else:
            return self._beat()
        return False

    def _pause(self) -> float:
        """Seconds to the next heartbeat, or to the deadline if that comes first."""
        pause = self.settings.interval(self.settings.heartbeat_s)
        deadline = self._deadline()
        return pause if deadline is None else max(0.0, min(pause, deadline - time.monotonic()))

    def _ends_within(self, seconds: float) -> bool:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self.supervisor.stopping.is_set():
            if select.select([self.runner.pidfd], [], [], min(left, 0.5))[0]:
                return True
        return not self.runner.is_alive()

    def _beat(self) -> bool:
        """Renew the lease and do what it says; False when our part is over."""
        try:
            beat = self._renew()
        except DATABASE_ERRORS as error:
            if time.monotonic() - self.renewed > self.settings.interval(self.settings.self_kill_s):
                self.log.error("no heartbeat for too long: giving up", error=str(error))
                self.runner.kill()
                return False
            return True
        if beat is None:
            self.log.warning("fenced out: somebody else has the job, or it has ended")
            self.runner.kill()
            return False
        self.renewed, self.budget = time.monotonic(), beat.budget
        if beat.cancel_requested:
            self.runner.kill(self.settings.interval(self.settings.cancel_grace_s))
            self._write(lambda session: leases.cancelled(session, self.claim))
            self.log.info("job cancelled")
            return False
        return True

    def _renew(self) -> Heartbeat | None:
        with self.supervisor.database.transaction() as session:
            return leases.heartbeat(session, self.claim, lease_s=self.settings.interval(self.settings.lease_s))

    def _deadline(self) -> float | None:
        seconds = self.budget.get("seconds")
        return None if seconds is None else self.claimed - self.claim.used_s + 1.05 * seconds + 1.0 - _MARGIN_S

    def _is_late(self) -> bool:
        deadline = self._deadline()
        return deadline is not None and time.monotonic() >= deadline

    def _is_extended(self) -> bool:
        """Whether the budget was raised since the last heartbeat."""
        try:
            beat = self._renew()
        except DATABASE_ERRORS:
            return False
        if beat is not None:
            self.budget = beat.budget
        return not self._is_late()

    def _end_late(self) -> None:
        """The runner has overstayed: what it has published is the result."""
        self.runner.kill()
        self.log.warning("deadline passed; the last published model is the result")
        self._write(self._finish_with_what_there_is)

    def _finish_with_what_there_is(self, session: Session) -> bool:
        if leases.has_model(session, self.claim):
            return leases.finish(session, self.claim, reproducible=False)
        detail = "The budget ended before any model was ready. Give more seconds, or fewer rows or columns."
        return leases.fail(session, self.claim, code="budget_exhausted", detail=detail)

    def _after_end(self) -> None:
        """The runner has ended: by itself after the last commit, or by something that counts as a lost attempt."""
        self.runner.kill()
        code = self.runner.process.returncode
        if code == 0:
            self.log.info("job ended", seconds=round(time.monotonic() - self.claimed, 2))
            return
        self.log.warning("runner ended early", code=code)
        self._give_back(counts=True)

    def _give_back(self, *, counts: bool) -> None:
        self.runner.kill()
        most = self.settings.max_attempts
        self._write(lambda session: leases.give_back(session, self.claim, counts=counts, max_attempts=most))

    def _write(self, action: Callable[[Session], bool]) -> None:
        until = time.monotonic() + self.settings.interval(self.settings.self_kill_s)
        self.supervisor.write(action, until)
