"""Waiting for jobs to change: long polls and event streams, woken by one LISTEN connection a process.

A waiter holds neither a thread nor a connection. When a job changes it is read once, for all of its waiters. Lost
notifications cost a few seconds: every watched job is also looked at each `_POLL_S`.
"""

from __future__ import annotations

import asyncio
import json
import random
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
from app.jobs.tables import Job, JobEvent
from app.security import KEYS_CHANNEL, KeyRing
from app.settings import Settings
from app.system.metrics import WAITERS

_log = structlog.get_logger(__name__)

_POLL_S = 5.0  #: every watched job is looked at this often, notified or not
_QUIET_S = 0.002  #: pause between announcements of mere progress, for each waiter …
_QUIET_MAX_S = 5.0  #: … and at most
_CROWD = 50  #: more waiters than this are woken one after another …
_SPREAD_S = 0.001  #: … this far apart
_SETTLE_S = 0.02  #: notifications of this long are answered by one query
_TAIL = 500  #: events kept in memory for the streams of one job; older ones are read from the database
_PAGE = 500  #: events read at a time

_Result = TypeVar("_Result")


@dataclass
class Watched:
    """A job that somebody waits for, as last announced to its waiters."""

    job: JobRead | None = None  #: None: deleted, or not yet read
    body: bytes = b""  #: the job as JSON, made once for all waiters
    project_id: UUID | None = None
    latest: JobRead | None = None  #: as last read: what the next announcement will be
    is_read: bool = False
    floor: int = 0  #: events up to here are not in the tail
    tail: deque[JobEvent] = field(default_factory=deque)
    waiters: int = 0
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    announced_at: float = 0.0  #: in the loop's clock
    timer: asyncio.TimerHandle | None = None

    @property
    def last_seq(self) -> int:
        """The newest event known."""
        return self.tail[-1].seq if self.tail else self.floor

    def update(self, row: Job | None, model_id: UUID | None, events: list[JobEvent], last_seq: int) -> None:
        """Take in what was read; waiters hear of it at once, or soon if it is mere progress and they are many."""
        job = None if row is None else JobRead.from_row(row, model_id)
        if not self.is_read:
            self.floor = last_seq
        self.tail.extend(events)
        while len(self.tail) > _TAIL:
            self.floor = self.tail.popleft().seq
        before, self.latest = self.latest, job
        self.project_id = None if row is None else row.project_id
        is_urgent = not self.is_read or job is None or before is None or job.state != before.state
        self.is_read = True
        if is_urgent:
            self.announce()
        elif events or job is None or before is None or job.version != before.version:
            self._announce_soon()

    def announce(self) -> None:
        """Wake every waiter."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer, self.announced_at = None, asyncio.get_running_loop().time()
        self.job, self.body = self.latest, self.latest.model_dump_json().encode() if self.latest else b""
        self.changed.set()
        self.changed = asyncio.Event()

    def _announce_soon(self) -> None:
        loop = asyncio.get_running_loop()
        wait = self.announced_at + min(self.waiters * _QUIET_S, _QUIET_MAX_S) - loop.time()
        if wait <= 0:
            self.announce()
        elif self.timer is None:
            self.timer = loop.call_later(wait, self.announce)

    async def next_change(self, changed: asyncio.Event) -> None:
        """Wait for an announcement. Many waiters come back one after another, to leave room for other requests."""
        await changed.wait()
        if self.waiters > _CROWD:
            await asyncio.sleep(random.random() * self.waiters * _SPREAD_S)  # noqa: S311


class JobWatch:
    """The watched jobs of one process."""

    def __init__(self, database: Database, settings: Settings, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys
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
                    await watched.next_change(watched.changed)
        return watched

    def peek(self, job_id: UUID, project_id: UUID) -> Watched | None:
        """The job as last announced, if somebody waits for it and it is this project's: a poll without a query."""
        watched = self._watched.get(job_id)
        return watched if watched is not None and watched.job and watched.project_id == project_id else None

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
                            await watched.next_change(changed)
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
                if watched.timer is not None:
                    watched.timer.cancel()

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
            watched.update(*found.get(job_id, (None, None, [], watched.last_seq)))

    async def _read(self, work: Callable[[], _Result]) -> _Result:
        return await anyio.to_thread.run_sync(work, limiter=self._limiter)

    def _load(self, since: Mapping[UUID, int | None]) -> dict[UUID, tuple[Job, UUID, list[JobEvent], int]]:
        new = [job_id for job_id, seq in since.items() if seq is None]
        with self._database.transaction() as session:
            jobs = repository.list_jobs_by_id(session, list(since))  # first: no job may seem older than its events
            last = repository.last_event_seqs(session, new)
            events = repository.list_events_since(
                session, {job_id: seq for job_id, seq in since.items() if seq is not None}
            )
        return {job.id: (job, model_id, events.get(job.id, []), last.get(job.id, 0)) for job, model_id in jobs}

    def _load_events(self, job_id: UUID, after: int) -> list[JobEvent]:
        with self._database.transaction() as session:
            return repository.list_events(session, job_id, after, _PAGE)

    async def _listen(self) -> None:
        pause = 0.2
        while True:
            try:
                connect = psycopg.AsyncConnection.connect(self._database.url, autocommit=True, connect_timeout=5)
                async with await connect as connection:
                    await connection.execute(f"LISTEN {JOBS_CHANNEL}")
                    await connection.execute(f"LISTEN {KEYS_CHANNEL}")
                    self._keys.listen(True)
                    self._dirty.update(self._watched)  # whatever was missed while away
                    self._wake.set()
                    pause = 0.2
                    async for notification in connection.notifies():
                        self._notified(notification.channel, notification.payload)
            except (psycopg.Error, OSError) as error:
                _log.warning("listening for jobs was interrupted", error=str(error))
            finally:
                self._keys.listen(False)
            await asyncio.sleep(pause)
            pause = min(pause * 2, 5.0)

    def _notified(self, channel: str, payload: str) -> None:
        if channel == KEYS_CHANNEL:
            self._keys.forget(payload)
            return
        with suppress(ValueError):
            if (job_id := UUID(payload)) in self._watched:
                self._mark(job_id)
