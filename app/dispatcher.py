"""Queued jobs to the broker, jobs without a holder back to the queue. It never exits because a server is away.

Several may run: the one that holds an advisory lock works, the others wait for it.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.exc import SQLAlchemyError

from app.blobs import Blobs
from app.broker import BROKER_ERRORS, Broker
from app.database import KEEPALIVE, Database
from app.garbage import collect_garbage
from app.jobs import queue, recovery
from app.jobs.events import QUEUE_CHANNEL
from app.knowledge import training
from app.settings import Settings

log = logging.getLogger(__name__)

#: Advisory lock of the dispatcher that works.
LEADER_LOCK = 7_201_002
DATABASE_ERRORS = (psycopg.Error, SQLAlchemyError)


def run(settings: Settings, stop: threading.Event | None = None) -> None:
    """Dispatch until `stop` is set, or until SIGTERM or SIGINT if there is no such event."""
    if stop is None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
    if settings.database_url is None or settings.broker_url is None:
        raise ValueError("The dispatcher needs WARMSTART_DATABASE_URL and WARMSTART_BROKER_URL.")
    Dispatcher(settings, stop).run()


class Dispatcher:
    """The loop and what it remembers between two rounds."""

    def __init__(self, settings: Settings, stop: threading.Event) -> None:
        assert settings.database_url
        assert settings.broker_url
        self._settings = settings
        self._stop = stop
        self._url = settings.database_url.get_secret_value()
        self._database = Database(self._url, pool_size=2)
        self._broker = Broker(settings.broker_url.get_secret_value())
        self._tick_s = settings.interval(1.0)
        self._lease_s = settings.interval(settings.lease_s)
        self._sweep_at = 0.0
        self._garbage_at = time.monotonic() + self._lease_s
        self._seen_at = time.monotonic()
        self._quiet_until = 0.0
        self._broker_away = False
        self._collector: threading.Thread | None = None

    def run(self) -> None:
        """Lead, follow, or wait for the database, until stopped."""
        delay_s = self._tick_s / 10
        while not self._stop.is_set():
            try:
                with self._listen() as connection:
                    delay_s = self._tick_s / 10
                    self._serve(connection)
            except DATABASE_ERRORS as error:
                log.warning("database away: %s", _brief(error))
                self._stop.wait(delay_s)
                delay_s = min(2 * delay_s, 5 * self._tick_s)
        self.close()

    def close(self) -> None:
        """Give its connections back."""
        self._broker.drop()
        self._database.dispose()

    @contextmanager
    def _listen(self) -> Iterator[psycopg.Connection]:
        with psycopg.connect(self._url, autocommit=True, **KEEPALIVE) as connection:
            connection.execute(f"LISTEN {QUEUE_CHANNEL}")
            yield connection

    def _serve(self, connection: psycopg.Connection) -> None:
        leads = False
        while not self._stop.is_set():
            if not leads:
                row = connection.execute("SELECT pg_try_advisory_lock(%s)", (LEADER_LOCK,)).fetchone()
                leads = bool(row and row[0])
            if leads:
                self.step()
            for _ in connection.notifies(timeout=self._tick_s, stop_after=1):
                break

    def step(self) -> None:
        """One round: sweep when it is time, send what the broker has room for."""
        now = time.monotonic()
        if now - self._seen_at > self._lease_s / 2:  # whoever else lost the database too needs time to come back
            self._quiet_until = now + self._lease_s
        if now >= max(self._sweep_at, self._quiet_until):
            self._sweep_at = now + self._settings.interval(self._settings.sweep_s)
            self.sweep()
        if now >= self._garbage_at:
            self._garbage_at = now + 10 * self._lease_s
            self._start_collector()
        self._send()
        self._seen_at = time.monotonic()

    def _start_collector(self) -> None:
        if self._collector is None or not self._collector.is_alive():
            self._collector = threading.Thread(target=self._collect, name="garbage", daemon=True)
            self._collector.start()

    def _collect(self) -> None:
        try:
            removed = collect_garbage(self._database, Blobs(self._settings.blobs), self._settings)
        except (*DATABASE_ERRORS, OSError) as error:
            log.warning("garbage stays for now: %s", _brief(error))
        else:
            log.debug("%d unneeded objects removed", removed)

    def sweep(self) -> None:
        """Requeue what has lost its lease."""
        with self._database.transaction() as session:
            lost = recovery.requeue_expired(session, lease_s=self._lease_s, max_attempts=self._settings.max_attempts)
        if lost:
            log.warning("%d jobs had lost their lease", lost)
        with self._database.transaction() as session:
            training.train_when_due(session, self._settings)

    def _send(self) -> None:
        try:
            self.dispatch()
        except BROKER_ERRORS as error:
            self._broker.drop()
            if not self._broker_away:
                log.warning("broker away: %s", _brief(error))
            self._broker_away = True
        else:
            if self._broker_away:
                log.info("broker is back")
            self._broker_away = False

    def dispatch(self) -> int:
        """Publish the next jobs; how many. The broker holds live slots + 2 messages at most."""
        length = self._broker.length()
        with self._database.transaction() as session:
            room = recovery.live_slots(session, within_s=self._lease_s) + 2 - length
            if room <= 0:
                return 0
            missing = length < queue.count_published(session)  # else every published job is still there
            waiting_s = self._settings.interval(self._settings.republish_s) if missing else 1e9
            quota = self._settings.quota_running_jobs
            ids = queue.next_jobs(session, room=room, running_quota=quota, waiting_s=waiting_s)
        if ids:
            self._broker.send(ids)
            with self._database.transaction() as session:
                queue.mark_published(session, ids)
        return len(ids)


def _brief(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
