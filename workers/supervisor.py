"""One claimed job: hand it to a warm runner, keep its lease, heed its flags, and end its processes when need be."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from enum import Enum, auto
from uuid import UUID

import structlog
from sqlalchemy.orm import Session

from app.database import Database
from app.jobs import leases
from app.jobs.leases import Claim
from app.settings import Settings
from workers.nursery import COMMITTED, READY, Nursery, Runner
from workers.renewal import DATABASE_ERRORS, Renewal
from workers.scratch import job_folder

log = structlog.get_logger(__name__)

_MARGIN_S = 0.3  # to end a job that overstays, before it is late
_RETRY_S = 0.5
_LOOK_S = 0.25  # between two looks at what the renewal has brought
_LEAVE_S = 20.0  # for what a runner does after the last commit


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
        self.heard_at = time.monotonic()  #: when the last message came, or the last job ended
        self.busy = 0  #: slots with a message
        self._count = threading.Lock()

    def run(self, job_id: UUID) -> None:
        """Claim the job if it is still to be had, and see it through."""
        self._note(1)
        try:
            if not self.stopping.is_set():
                self._take(job_id, self._nursery.take())
        finally:
            self._note(-1)

    def _take(self, job_id: UUID, runner: Runner) -> None:
        before = time.monotonic()
        try:
            claim = self._claim(job_id)
        except DATABASE_ERRORS:
            log.exception("claim failed; the dispatcher will send the job again", job_id=str(job_id))
            claim = None
        is_reusable = True
        try:
            if claim is not None:
                is_reusable = False
                is_reusable = _Watch(self, runner, claim, before).run()
        finally:
            if is_reusable:
                self._nursery.keep(runner)
            else:
                runner.kill()
                self._nursery.replace()

    def _claim(self, job_id: UUID) -> Claim | None:
        with self.database.transaction() as session:
            return leases.claim(
                session,
                job_id,
                worker=self._name,
                lease_s=self.settings.interval(self.settings.lease_s),
                running_quota=self.settings.quota_running_jobs,
            )

    def _note(self, change: int) -> None:
        with self._count:
            self.busy += change
            self.heard_at = time.monotonic()

    def write(self, action: Callable[[Session], bool]) -> bool:
        """One transaction, tried until it works or nothing but the reaper can help; what it returned, or False."""
        until = time.monotonic() + self.settings.interval(self.settings.self_kill_s)
        while True:
            try:
                with self.database.transaction() as session:
                    return action(session)
            except DATABASE_ERRORS as error:
                if time.monotonic() > until:
                    log.error("the database stays away", error=str(error).splitlines()[0])
                    return False
                time.sleep(self.settings.interval(_RETRY_S))


class _Verdict(Enum):
    """Why our part in a job is over."""

    COMMITTED = auto()  # the runner has written the end
    DIED = auto()  # the runner has ended without that
    CANCELLED = auto()
    LATE = auto()
    STOPPING = auto()  # the worker is asked to end
    FENCED = auto()  # somebody else has the job
    CUT_OFF = auto()  # no heartbeat for too long: somebody else may have it soon


class _Watch:
    """A job while it runs."""

    def __init__(self, supervisor: Supervisor, runner: Runner, claim: Claim, claimed: float) -> None:
        self.supervisor, self.runner, self.claim, self.claimed = supervisor, runner, claim, claimed
        self.settings = supervisor.settings
        self.renewal = Renewal(self.settings, supervisor.database, claim, claimed)
        self.log = log.bind(job_id=str(claim.job_id), attempt=claim.attempt, epoch=claim.epoch)

    def run(self) -> bool:
        """To the job's end, or to the end of our part in it; whether the runner can take another."""
        self.log.info("job claimed", runner=self.runner.pid)
        claim = self.claim
        message = {"job_id": str(claim.job_id), "epoch": claim.epoch, "used_s": claim.used_s, "claimed": self.claimed}
        self.runner.start(message)
        self.renewal.start()
        try:
            verdict = self._wait()
            self.log.info("job over", verdict=verdict.name.lower(), seconds=round(time.monotonic() - self.claimed, 2))
            if verdict is _Verdict.COMMITTED:
                return self._let_leave()
            self.runner.kill(self._grace_s(verdict))
            self._close(verdict)
            return False
        finally:
            self.renewal.stop()
            shutil.rmtree(job_folder(self.settings, claim), ignore_errors=True)

    def _wait(self) -> _Verdict:
        """What happens first."""
        look_s = min(_LOOK_S, self.settings.interval(self.settings.heartbeat_s) / 2)
        while True:
            left = self._left_s()
            word = self.runner.listen(look_s if left is None else max(0.0, min(look_s, left)))
            if word == COMMITTED:
                return _Verdict.COMMITTED
            if self.runner.returncode is not None:
                return _Verdict.DIED
            if (verdict := self._look()) is not None:
                return verdict

    def _look(self) -> _Verdict | None:
        renewal, left = self.renewal, self._left_s()
        if renewal.is_fenced:  # also when the runner has just committed, which it says at once
            return _Verdict.COMMITTED if self.runner.listen(_LOOK_S) == COMMITTED else _Verdict.FENCED
        if renewal.is_cancelled:
            return _Verdict.CANCELLED
        if self.supervisor.stopping.is_set():
            return _Verdict.STOPPING
        if left is not None and left <= 0:
            return _Verdict.LATE
        is_cut_off = time.monotonic() - renewal.renewed > self.settings.interval(self.settings.self_kill_s)
        return _Verdict.CUT_OFF if is_cut_off else None

    def _left_s(self) -> float | None:
        """Seconds to 1.05 x budget + 1 s, less a margin; None without a limit."""
        seconds = self.renewal.budget.get("seconds")
        if seconds is None:
            return None
        return float(self.claimed - self.claim.used_s + 1.05 * seconds + 1.0 - _MARGIN_S - time.monotonic())

    def _let_leave(self) -> bool:
        """Give the runner time to write what it leaves to knowledge."""
        until = time.monotonic() + _LEAVE_S
        while not self.supervisor.stopping.is_set() and time.monotonic() < until and self.runner.returncode is None:
            if self.runner.listen(_LOOK_S) == READY:
                return self.runner.is_reusable()
        return False

    def _grace_s(self, verdict: _Verdict) -> float:
        graced = (_Verdict.CANCELLED, _Verdict.STOPPING)
        return self.settings.interval(self.settings.cancel_grace_s) if verdict in graced else 0.0

    def _close(self, verdict: _Verdict) -> None:
        """Write what has become of the job; its processes are gone. Nothing if it is no longer ours."""
        if verdict is _Verdict.CANCELLED:
            self.supervisor.write(lambda session: leases.cancelled(session, self.claim))
        elif verdict is _Verdict.LATE:
            self.supervisor.write(self._finish_with_what_there_is)
        elif verdict in (_Verdict.DIED, _Verdict.STOPPING):
            most, counts = self.settings.max_attempts, verdict is _Verdict.DIED
            self.supervisor.write(
                lambda session: leases.give_back(session, self.claim, counts=counts, max_attempts=most)
            )

    def _finish_with_what_there_is(self, session: Session) -> bool:
        """The runner has overstayed: what it has published is the result."""
        if leases.has_model(session, self.claim):
            return leases.finish(session, self.claim, reproducible=False)
        detail = "The budget ended before any model was ready. Give more seconds, or fewer rows or columns."
        return leases.fail(session, self.claim, code="budget_exhausted", detail=detail)
