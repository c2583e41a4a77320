"""Celery's side of a worker: a free slot is found at once, and what it can't take waits where others can."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import redis

from app.broker import Broker
from app.jobs.queue import QUEUE
from app.local.valkey import Valkey

#: A worker whose jobs take 0.3 s and say when they began and ended.
_WORKER = """
import sys, time
import redis
from app.jobs.queue import TASK
from app.settings import Settings
from workers.celery_app import make_app

url, socket = sys.argv[1:]
broker, app = redis.Redis(unix_socket_path=socket), make_app(Settings(broker_url=url))

def run_job(job_id):
    broker.rpush("begun", time.time())
    time.sleep(0.3)
    broker.rpush("ended", time.time())

app.task(name=TASK, ignore_result=True)(run_job)
app.worker_main(["worker", "--loglevel", "error", "--without-gossip", "--without-mingle"])
"""


@pytest.fixture
def queue(valkey: Valkey) -> Iterator[redis.Redis]:
    """The broker with one such worker, which has done a job already."""
    client = redis.Redis(unix_socket_path=str(valkey.socket))
    client.flushall()
    arguments = [sys.executable, "-c", _WORKER, valkey.url, str(valkey.socket)]
    process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _send(valkey.url, 1)
    _wait_for(client, "ended", 1, 60)
    client.delete("begun", "ended")
    yield client
    process.kill()
    process.wait()
    client.flushall()
    client.close()


def _send(url: str, count: int) -> None:
    broker = Broker(url)
    broker.length()
    broker.send(["job"] * count)  # type: ignore[list-item]
    broker.drop()


def _wait_for(client: redis.Redis, name: str, count: int, seconds: float) -> list[float]:
    until = time.monotonic() + seconds
    while client.llen(name) < count:
        assert time.monotonic() < until
        time.sleep(0.01)
    return [float(moment) for moment in client.lrange(name, 0, -1)]


def test_the_next_job_begins_at_once_and_the_rest_waits_in_the_broker_when_a_slot_is_busy(
    queue: redis.Redis, valkey: Valkey
) -> None:
    _send(valkey.url, 6)
    _wait_for(queue, "begun", 1, 10)
    assert queue.llen(QUEUE) == 5
    ended = _wait_for(queue, "ended", 6, 30)
    begun = _wait_for(queue, "begun", 6, 1)
    gaps = sorted(after - before for before, after in zip(ended, begun[1:], strict=False))
    assert gaps[0] >= 0  # one at a time
    assert gaps[len(gaps) // 2] < 0.3  # up to a second, if nothing turned the loop
