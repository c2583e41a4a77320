"""A worker's row: how the dispatcher knows of free slots. Also the watchdog of a worker that hears nothing."""

from __future__ import annotations

import os
import signal
import threading
import time
from importlib.metadata import version

import structlog
from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert

from app.database import Database
from app.jobs.tables import Job, JobState, Worker
from app.settings import Settings
from workers.renewal import DATABASE_ERRORS
from workers.scratch import clear_scratch
from workers.supervisor import Supervisor

log = structlog.get_logger(__name__)

_DEAF_S = 90.0  # published jobs wait, a slot is free, and no claim for so long: start anew
_LEAVE_S = 10.0  # to end in order


class Presence:
    """Keeps the row fresh from a thread of its own.

    Args:
        settings: of the service.
        database: sessions.
        supervisor: whose slots these are.
        name: the row's id.
    """

    def __init__(self, settings: Settings, database: Database, supervisor: Supervisor, name: str) -> None:
        self._settings, self._database, self._supervisor, self._name = settings, database, supervisor, name
        self._gone = threading.Event()
        self._thread = threading.Thread(target=self._keep_fresh, name="presence", daemon=True)
        self._idle_since = time.monotonic()

    def start(self) -> None:
        """Show up, and stay."""
        self._thread.start()

    def leave(self) -> None:
        """Take the row away."""
        self._gone.set()
        if self._thread.is_alive():
            self._thread.join(timeout=5)
        try:
            with self._database.transaction() as session:
                session.execute(delete(Worker).where(Worker.id == self._name))
        except DATABASE_ERRORS as error:
            log.info("the worker's row stays until it is too old", error=str(error))

    def _keep_fresh(self) -> None:
        is_swept = False
        while True:
            try:
                self._refresh()
                if not is_swept:
                    self._sweep()
                    is_swept = True
            except DATABASE_ERRORS as error:
                log.warning("database away", error=str(error).splitlines()[0])
            if self._gone.wait(self._settings.interval(self._settings.heartbeat_s)):
                return

    def _refresh(self) -> None:
        row = {"slots": self._settings.worker_slots, "version": version("warmstart"), "seen_at": func.clock_timestamp()}
        statement = insert(Worker).values(id=self._name, **row)
        with self._database.transaction() as session:
            session.execute(statement.on_conflict_do_update(index_elements=[Worker.id], set_=row))
            waiting = session.scalar(
                select(func.count()).where(
                    Job.state == JobState.QUEUED,
                    Job.cancel_requested.is_(False),
                    Job.published_at < func.clock_timestamp() - func.make_interval(0, 0, 0, 0, 0, 0, self._deaf_s),
                )
            )
        self._watch(bool(waiting))

    def _sweep(self) -> None:
        with self._database.transaction() as session:
            stale = clear_scratch(session, self._settings)
        if stale:
            log.info("folders of attempts that are over removed", count=stale)

    @property
    def _deaf_s(self) -> float:
        return self._settings.interval(_DEAF_S)

    def _watch(self, is_waiting: bool) -> None:
        """End a worker that has a free slot and gets none of the jobs that were sent long ago."""
        now = time.monotonic()
        if not is_waiting or self._supervisor.busy >= self._settings.worker_slots:
            self._idle_since = now
        if now - max(self._idle_since, self._supervisor.heard_at) > self._deaf_s:
            log.error("jobs wait and nothing arrives: starting anew")
            os.kill(os.getpid(), signal.SIGTERM)  # running jobs are given back, and whoever started us does so again
            threading.Timer(_LEAVE_S, os._exit, (70,)).start()
            self._gone.set()
