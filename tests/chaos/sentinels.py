"""What each safeguard of the job engine is there for. Every one fails when its safeguard is taken away."""

from __future__ import annotations

from contextlib import suppress
from signal import SIGCONT, SIGSTOP

import psutil

from tests.chaos.client import slow
from tests.chaos.harness import LEASE_S, House


def long_job_keeps_its_lease(house: House, dataset_id: str) -> None:
    """A job that runs longer than a lease, and than a supervisor goes on without renewal, is claimed once."""
    job_id = house.client.submit(dataset_id, **slow(trials=12))
    house.wait_running(job_id)
    house.pause(LEASE_S + 0.5)
    assert house.attempts(job_id) == 1
    house.wait_ended([job_id], 60)
    assert house.attempts(job_id) == 1
    assert house.check([job_id])["succeeded"] == 1


def stopped_worker_writes_nothing(house: House, dataset_id: str) -> None:
    """A worker and its runner that sleep beyond their lease, and wake when another has the job, change nothing.

    The runner wakes first: a supervisor that wakes kills it at once, and the fence must hold without that.
    """
    job_id = house.client.submit(dataset_id, **slow(trials=16))
    name = house.wait_running(job_id, told=1)
    zombies = house.runners(name)
    house.signal_tree(name, SIGSTOP)
    try:
        house.wait(lambda: house.attempts(job_id) == 2, 60, 0.01)
        house.signal_tree(name, SIGCONT, itself=False)
        house.pause(4)
    finally:
        house.signal_tree(name, SIGCONT)
    house.wait_ended([job_id], 60)
    assert house.check([job_id])["succeeded"] == 1
    house.wait(lambda: not any(_runs(zombie) for zombie in zombies), 15)


def lost_worker_loses_no_job(house: House, dataset_id: str, seconds: float = 60.0) -> None:
    """A worker that is gone, with its runner, hands its job to another."""
    job_id = house.client.submit(dataset_id, **slow(trials=6))
    house.kill(house.wait_running(job_id, told=1))
    house.wait(lambda: house.attempts(job_id) == 2, seconds)
    house.wait_ended([job_id], 60)
    assert house.check([job_id])["succeeded"] == 1


def lost_messages_lose_no_job(house: House, dataset_id: str, seconds: float = 60.0, *, flush: bool = True) -> None:
    """Messages that vanish, with the whole broker or by a consumer that dies before it claims, are sent again."""
    busy = [house.client.submit(dataset_id, **slow(trials=12)) for _ in range(2)]  # until the messages are gone
    for job_id in busy:
        house.wait_running(job_id)
    ids = [house.client.submit(dataset_id) for _ in range(2)]
    broker = house.queue()
    house.wait(lambda: broker.llen("warmstart.jobs") == 2, 20, 0.01)
    if flush:
        broker.flushall()
    else:
        assert all(broker.brpop(["warmstart.jobs"], 1) for _ in range(2))
    broker.close()
    house.wait_ended(busy + ids, seconds)
    assert house.check(busy + ids)["succeeded"] == 4


def _runs(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
