"""The dispatcher: whose job goes to the broker next, what it sends again, and what it survives."""

from __future__ import annotations

import json
import threading
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import redis
from sqlalchemy import text

from app.broker import BROKER_ERRORS, Broker
from app.database import Database
from app.dispatcher import LEADER_LOCK, Dispatcher, run
from app.jobs.events import wake_dispatcher
from app.jobs.queue import QUEUE, TASK
from app.jobs.tables import Job, JobState, Worker
from app.local.valkey import Valkey
from app.projects.tables import Project
from app.settings import Settings
from tests.waiting import wait_for


@pytest.fixture
def settings(database_url: str, broker_url: str, tmp_path: Path) -> Settings:
    """Of a dispatcher that has a broker; everything ten times as quick."""
    return Settings(database_url=database_url, broker_url=broker_url, data_dir=tmp_path / "data", tempo=0.1)


@pytest.fixture
def broker(valkey: Valkey) -> Iterator[redis.Redis]:
    """The broker itself, empty."""
    client = redis.Redis(unix_socket_path=str(valkey.socket))
    client.flushall()
    yield client
    client.flushall()
    client.close()


@pytest.fixture
def dispatcher(settings: Settings, database: Database, broker: redis.Redis) -> Iterator[Dispatcher]:
    """One that does a round when told to."""
    made = Dispatcher(settings, threading.Event())
    yield made
    made.close()


@pytest.fixture
def running(settings: Settings) -> Iterator[Callable[[Settings], threading.Event]]:
    """Starts dispatchers that run by themselves; all are stopped at the end."""
    started: list[tuple[threading.Event, threading.Thread]] = []

    def start(own: Settings) -> threading.Event:
        stop = threading.Event()
        thread = threading.Thread(target=run, args=(own, stop), daemon=True)
        thread.start()
        started.append((stop, thread))
        return stop

    yield start
    for stop, _ in started:
        stop.set()
    for _, thread in started:
        thread.join(15)
        assert not thread.is_alive()


@pytest.fixture
def make_project(database: Database, make_dataset: Callable[..., UUID]) -> Callable[..., tuple[UUID, UUID]]:
    """A project and a dataset of it."""

    def make(name: str, **quotas: int) -> tuple[UUID, UUID]:
        with database.transaction() as session:
            project = Project(name=name, quotas=quotas)
            session.add(project)
            session.flush()
        return project.id, make_dataset(project.id)

    return make


@pytest.fixture
def queue_jobs(database: Database) -> Callable[..., list[UUID]]:
    """Queues jobs of a project, oldest first."""

    def queue(owner: tuple[UUID, UUID], count: int, **changes: Any) -> list[UUID]:
        with database.transaction() as session:
            jobs = [Job(project_id=owner[0], dataset_id=owner[1], spec={}, **changes) for _ in range(count)]
            for job in jobs:
                session.add(job)
                session.flush()
                time.sleep(0.001)  # ids are ordered by milliseconds
            wake_dispatcher(session)
            return [job.id for job in jobs]

    return queue


@pytest.fixture
def set_slots(database: Database) -> Callable[[int], None]:
    """Makes so many slots live."""

    def put(count: int) -> None:
        with database.transaction() as session:
            session.merge(Worker(id="w", slots=count, version="0"))

    return put


def sent(broker: redis.Redis) -> list[UUID]:
    """Jobs whose messages wait, in the order in which workers will get them."""
    messages = [json.loads(message) for message in reversed(broker.lrange(QUEUE, 0, -1))]
    assert {message["headers"]["task"] for message in messages} <= {TASK}
    return [UUID(json.loads(b64decode(message["body"]))[0][0]) for message in messages]


def test_the_oldest_go_first_and_only_two_wait_when_no_worker_is_there(
    dispatcher: Dispatcher,
    broker: redis.Redis,
    make_project: Callable[..., tuple[UUID, UUID]],
    queue_jobs: Callable[..., list[UUID]],
    set_slots: Callable[[int], None],
) -> None:
    jobs = queue_jobs(make_project("one"), 10)
    assert dispatcher.dispatch() == 2
    assert sent(broker) == jobs[:2]
    assert dispatcher.dispatch() == 0
    set_slots(3)
    assert dispatcher.dispatch() == 3
    assert sent(broker) == jobs[:5]


def test_projects_take_turns_when_one_has_queued_many(
    dispatcher: Dispatcher,
    broker: redis.Redis,
    make_project: Callable[..., tuple[UUID, UUID]],
    queue_jobs: Callable[..., list[UUID]],
    set_slots: Callable[[int], None],
) -> None:
    many, few = queue_jobs(make_project("one"), 8), queue_jobs(make_project("two"), 2)
    set_slots(3)
    dispatcher.dispatch()
    assert sent(broker) == [many[0], few[0], many[1], few[1], many[2]]


def test_a_project_that_runs_nothing_comes_first_when_another_runs_much(
    dispatcher: Dispatcher,
    broker: redis.Redis,
    make_project: Callable[..., tuple[UUID, UUID]],
    queue_jobs: Callable[..., list[UUID]],
) -> None:
    busy = make_project("busy")
    queue_jobs(busy, 4, state=JobState.RUNNING)
    waiting, late = queue_jobs(busy, 3), queue_jobs(make_project("late"), 1)
    dispatcher.dispatch()
    assert sent(broker) == [late[0], waiting[0]]


def test_a_project_gets_no_more_messages_when_it_runs_all_it_may(
    dispatcher: Dispatcher,
    broker: redis.Redis,
    make_project: Callable[..., tuple[UUID, UUID]],
    queue_jobs: Callable[..., list[UUID]],
    set_slots: Callable[[int], None],
) -> None:
    owner = make_project("small", running_jobs=2)
    queue_jobs(owner, 1, state=JobState.RUNNING)
    jobs = queue_jobs(owner, 5)
    set_slots(8)
    dispatcher.dispatch()
    assert sent(broker) == jobs[:1]


def test_the_more_urgent_goes_first_and_the_cancelled_not_at_all_when_priorities_differ(
    dispatcher: Dispatcher,
    broker: redis.Redis,
    make_project: Callable[..., tuple[UUID, UUID]],
    queue_jobs: Callable[..., list[UUID]],
) -> None:
    owner = make_project("one")
    queue_jobs(owner, 1, cancel_requested=True)
    plain, urgent = queue_jobs(owner, 1), queue_jobs(owner, 1, priority=-1)
    dispatcher.dispatch()
    assert sent(broker) == urgent + plain


def test_jobs_are_sent_again_when_the_broker_was_emptied(
    dispatcher: Dispatcher,
    broker: redis.Redis,
    make_project: Callable[..., tuple[UUID, UUID]],
    queue_jobs: Callable[..., list[UUID]],
    settings: Settings,
) -> None:
    jobs = queue_jobs(make_project("one"), 2)
    dispatcher.dispatch()
    broker.flushall()
    assert dispatcher.dispatch() == 0  # a worker may have taken them just now
    time.sleep(settings.interval(settings.republish_s) + 0.1)
    assert dispatcher.dispatch() == 2
    assert sent(broker) == jobs


def test_nothing_is_sent_twice_when_messages_only_wait_for_a_slot(
    dispatcher: Dispatcher,
    broker: redis.Redis,
    make_project: Callable[..., tuple[UUID, UUID]],
    queue_jobs: Callable[..., list[UUID]],
    set_slots: Callable[[int], None],
    settings: Settings,
) -> None:
    jobs = queue_jobs(make_project("one"), 2)
    dispatcher.dispatch()
    time.sleep(settings.interval(settings.republish_s) + 0.1)
    set_slots(4)
    assert dispatcher.dispatch() == 0
    assert sent(broker) == jobs


def test_a_job_is_sent_at_once_when_it_is_queued(
    running: Callable[[Settings], threading.Event],
    settings: Settings,
    broker: redis.Redis,
    make_project: Callable[..., tuple[UUID, UUID]],
    queue_jobs: Callable[..., list[UUID]],
) -> None:
    running(settings.model_copy(update={"tempo": 10.0}))  # looks by itself only every 10 s
    owner = make_project("one")
    first = queue_jobs(owner, 1)
    wait_for(lambda: sent(broker) == first, 30)
    started = time.monotonic()
    second = queue_jobs(owner, 1)
    wait_for(lambda: sent(broker) == first + second)
    assert time.monotonic() - started < 5


def test_another_takes_over_when_the_dispatcher_that_works_ends(
    running: Callable[[Settings], threading.Event],
    settings: Settings,
    database: Database,
    broker: redis.Redis,
    make_project: Callable[..., tuple[UUID, UUID]],
    queue_jobs: Callable[..., list[UUID]],
) -> None:
    def leaders() -> list[int]:
        statement = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = :lock"
        with database.transaction() as session:
            return list(session.scalars(text(statement), {"lock": LEADER_LOCK}))

    first = running(settings)
    [leader] = wait_for(leaders)
    running(settings)
    first.set()
    wait_for(lambda: len(leaders()) == 1 and leaders() != [leader])
    jobs = queue_jobs(make_project("one"), 1)
    wait_for(lambda: sent(broker) == jobs)


def test_it_goes_on_when_its_connections_are_cut(
    running: Callable[[Settings], threading.Event],
    settings: Settings,
    database: Database,
    broker: redis.Redis,
    make_project: Callable[..., tuple[UUID, UUID]],
    queue_jobs: Callable[..., list[UUID]],
) -> None:
    owner = make_project("one")
    running(settings)
    first = queue_jobs(owner, 1)
    wait_for(lambda: sent(broker) == first)
    with database.transaction() as session:
        session.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND query <> ''")
        )
    broker.flushall()
    wait_for(lambda: sent(broker) == first, 20)


def test_lost_jobs_come_back_when_the_broker_is_away(
    running: Callable[[Settings], threading.Event],
    settings: Settings,
    database: Database,
    make_project: Callable[..., tuple[UUID, UUID]],
    queue_jobs: Callable[..., list[UUID]],
    tmp_path: Path,
) -> None:
    url = f"redis+socket://{tmp_path}/nobody.sock"
    with pytest.raises(BROKER_ERRORS):
        Broker(url).length()
    [lost] = queue_jobs(make_project("one"), 1, state=JobState.RUNNING, epoch=1, attempt=1)
    with database.transaction() as session:
        session.execute(text("UPDATE jobs SET lease_until = clock_timestamp() - interval '1 s'"))
    own = settings.model_copy(update={"broker_url": type(settings.broker_url)(url), "lease_s": 1.0})
    running(own)

    def is_back() -> bool:
        with database.transaction() as session:
            return session.get_one(Job, lost).state == JobState.QUEUED

    wait_for(is_back)


def test_a_sweep_waits_one_lease_when_the_dispatcher_was_held_up(
    settings: Settings,
    database: Database,
    broker: redis.Redis,
    make_project: Callable[..., tuple[UUID, UUID]],
    queue_jobs: Callable[..., list[UUID]],
) -> None:
    own = settings.model_copy(update={"lease_s": 5.0})  # 0.5 s here
    held_up = Dispatcher(own, threading.Event())
    held_up.step()
    [lost] = queue_jobs(make_project("one"), 1, state=JobState.RUNNING, epoch=1, attempt=1)
    with database.transaction() as session:
        session.execute(text("UPDATE jobs SET lease_until = clock_timestamp() - interval '1 s'"))

    def state() -> str:
        with database.transaction() as session:
            return session.get_one(Job, lost).state

    time.sleep(1.6)  # longer than half a lease, and than the pause between sweeps
    held_up.step()
    assert state() == JobState.RUNNING
    for _ in range(20):
        time.sleep(0.1)
        held_up.step()
    assert state() == JobState.QUEUED
    held_up.close()
