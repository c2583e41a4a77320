"""Waiting for jobs to change: long polls and event streams, woken by one LISTEN connection a process.

A waiter holds neither a thread nor a connection. When a job changes it is read once, for all of its waiters. Lost
notifications cost a few seconds: every watched job is also looked at each `_POLL_S`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import anyio.to_thread
import psycopg
import structlog
from anyio import CapacityLimiter

from app.database import Database
from app.jobs import repository
from app.jobs.events import JOBS_CHANNEL
from app.jobs.schemas import JobRead
from app.jobs.tables import JobEvent
from app.settings import Settings
from app.system.metrics import WAITERS

_log = structlog.get_logger(__name__)

_POLL_S = 5.0  #: every watched job is looked at this often, notified or not
_SETTLE_S = 0.02  #: notifications of this long are answered by one query
_TAIL = 500  #: events kept in memory for the streams of one job; older ones are read from the database
_PAGE = 500  #: events read at a time

_Result = TypeVar("_Result")


@dataclass
class Watched:
    """A job that somebody waits for, as last read."""

    job: JobRead | None = None  #: None: deleted, or not yet read
    body: bytes = b""  #: the job as JSON, made once for all waiters
    is_read: bool = False
    floor: int = 0  #: events up to here are not in the tail
    tail: deque[JobEvent] = field(default_factory=deque)
    waiters: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def last_seq(self) -> int:
        """The newest event known."""
        return self.tail[-1].seq if self.tail else self.floor

    def update(self, job: JobRead | None, events: list[JobEvent], last_seq: int) -> None:
        """Take in what was read and wake the waiters if it is news."""
        is_news = not self.is_read or bool(events) or job is None or self.job is None or self.job.version != job.version
        if not self.is_read:
            self.floor = last_seq
        if is_news:
            self.job, self.body = job, job.model_dump_json().encode() if job else b""
        self.tail.extend(events)
        while len(self.tail) > _TAIL:
            self.floor = self.tail.popleft().seq
        self.is_read = True
        if is_news:
            self.changed.set()
            self.changed = asyncio.Event()


class JobWatch:
    """The watched jobs of one process."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._watched: dict[UUID, Watched] = {}
        self._dirty: set[UUID] = set()
        self._wake = asyncio.Event()
        self._limiter = CapacityLimiter(2)  # threads of ours, so that waiters never queue behind requests

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen and refresh until the block ends."""
        tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._refresh())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def wait_for(self, job_id: UUID, is_enough: Callable[[JobRead], bool], seconds: float) -> Watched:
        """Wait until the job is as wanted or is deleted, at most so long; the job as last read, either way."""
        with self._watch(job_id) as watched, suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not watched.is_read or (watched.job is not None and not is_enough(watched.job)):
                    await watched.changed.wait()
        return watched

    async def stream(self, job_id: UUID, after: int) -> AsyncIterator[list[JobEvent] | None]:
        """The job's events after a number, in order, as they come.

        An empty list is a heartbeat; None, the last item, says that the job has ended. Without it the time was up.
        """
        deadline = time.monotonic() + self._settings.sse_max_s
        with self._watch(job_id) as watched:
            while (left := deadline - time.monotonic()) > 0:
                changed = watched.changed
                events = await self._events_after(job_id, watched, after)
                if events:
                    after = events[-1].seq
                    yield events
                elif watched.is_read and (watched.job is None or watched.job.state.is_terminal):
                    yield None
                    return
                else:
                    try:
                        async with asyncio.timeout(min(left, self._settings.sse_heartbeat_s)):
                            await changed.wait()
                    except TimeoutError:
                        yield []

    async def has_events(self, job_id: UUID, after: int) -> bool:
        """Whether there are events after a number."""
        return bool(await self._read(lambda: self._load_events(job_id, after)))

    @staticmethod
    def encode(event: JobEvent) -> str:
        """An event's data as one line of JSON."""
        return json.dumps({**event.data, "at": event.created_at.isoformat()}, separators=(",", ":"))

    async def _events_after(self, job_id: UUID, watched: Watched, after: int) -> list[JobEvent]:
        if not watched.is_read:
            return []
        if after >= watched.floor:
            return [event for event in watched.tail if event.seq > after]
        return await self._read(lambda: self._load_events(job_id, after))

    @contextmanager
    def _watch(self, job_id: UUID) -> Iterator[Watched]:
        watched = self._watched.setdefault(job_id, Watched())
        watched.waiters += 1
        WAITERS.inc()
        if not watched.is_read:
            self._mark(job_id)
        try:
            yield watched
        finally:
            WAITERS.dec()
            watched.waiters -= 1
            if not watched.waiters:
                self._watched.pop(job_id, None)

    def _mark(self, job_id: UUID) -> None:
        self._dirty.add(job_id)
        self._wake.set()

    async def _refresh(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._settings.interval(_POLL_S)):  # wait_for can swallow a cancel
                    await self._wake.wait()
            except TimeoutError:
                self._dirty.update(self._watched)
            await asyncio.sleep(_SETTLE_S)
            self._wake.clear()
            ids, self._dirty = self._dirty & self._watched.keys(), set()
            if not ids:
                continue
            try:
                await self._read_into(ids)
            except Exception as error:  # nobody may ever wait in vain
                _log.warning("watched jobs can't be read", exc_info=error)
                self._dirty |= ids
                await asyncio.sleep(1)
                self._wake.set()

    async def _read_into(self, ids: set[UUID]) -> None:
        known = {job_id: self._watched[job_id] for job_id in ids}
        since = {job_id: watched.last_seq if watched.is_read else None for job_id, watched in known.items()}
        found = await self._read(lambda: self._load(since))
        for job_id, watched in known.items():
            watched.update(*found.get(job_id, (None, [], watched.last_seq)))

    async def _read(self, work: Callable[[], _Result]) -> _Result:
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    def _load(self, since: Mapping[UUID, int | None]) -> dict[UUID, tuple[JobRead, list[JobEvent], int]]:
        new = [job_id for job_id, seq in since.items() if seq is None]
        with self._database.transaction() as session:
            jobs = repository.list_jobs_by_id(session, list(since))  # first: no job may seem older than its events
            last = repository.last_event_seqs(session, new)
            events = repository.list_events_since(
                session, {job_id: seq for job_id, seq in since.items() if seq is not None}
            )
        return {
            job.id: (JobRead.from_row(job, model_id), events.get(job.id, []), last.get(job.id, 0))
            for job, model_id in jobs
        }

    def _load_events(self, job_id: UUID, after: int) -> list[JobEvent]:
        with self._database.transaction() as session:
            return repository.list_events(session, job_id, after, _PAGE)

    async def _listen(self) -> None:
        pause = 0.2
        while True:
            try:
                connection = await psycopg.AsyncConnection.connect(self._database.url, autocommit=True)
                async with connection:
                    await connection.execute(f"LISTEN {JOBS_CHANNEL}")
                    self._dirty.update(self._watched)  # whatever was missed while away
                    self._wake.set()
                    pause = 0.2
                    async for notification in connection.notifies():
                        self._notified(notification.payload)
            except (psycopg.Error, OSError) as error:
                _log.warning("listening for jobs was interrupted", error=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    def _notified(self, payload: str) -> None:
        with suppress(ValueError):
            if (job_id := UUID(payload)) in self._watched:
                self._mark(job_id)
