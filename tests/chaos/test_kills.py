"""SIGKILL at random moments over every part (reliability.md, test 1)."""

from __future__ import annotations

import os
import random

import pytest

from tests.chaos.harness import House, Killer, slow

pytestmark = [pytest.mark.chaos, pytest.mark.xdist_group("chaos"), pytest.mark.timeout(600)]

IS_FULL = os.environ.get("WARMSTART_CHAOS") == "full"
JOBS, KILLS, MEAN_S = (200, 100, 2.0) if IS_FULL else (20, 30, 1.0)
WEIGHTS = {"api": 4, "dispatcher": 4, "predictor": 1, "valkey": 4, "postgres": 3, "worker": 2, "runner": 3, "trial": 9}
STUCK_S = 120


@pytest.mark.parametrize("seed", [1, 2, 3] if IS_FULL else [1])
@pytest.mark.timeout(0 if IS_FULL else 300)
def test_every_job_ends_once_when_parts_are_killed(seed: int, house: House, dataset_id: str) -> None:
    killer = Killer(house, KILLS, MEAN_S, seed, WEIGHTS)
    rng = random.Random(seed)
    killer.start()
    ids = []
    for _ in range(JOBS):
        spec = slow(trials=2) if rng.random() < 0.3 else {}
        ids.append(house.client.submit(dataset_id, **spec | {"seed": rng.randrange(1000)}))
        house.pause(rng.uniform(0, 1.8 * KILLS * MEAN_S / JOBS))
    house.wait(lambda: not killer.is_alive(), 600)
    assert killer.error is None
    house.wait_ended(ids, STUCK_S)
    counts = house.check(ids)
    reasons = house.rows(
        "SELECT DISTINCT error ->> 'code' FROM jobs WHERE state = 'failed' AND id = ANY(%s::uuid[])", ids
    )
    print(f"seed {seed}: {dict(killer.done)} killed; {dict(counts)}; {house.client.refusals} times 503")
    assert killer.done.total() >= KILLS
    assert reasons in ([], [("worker_lost",)])
    assert counts["succeeded"] >= 0.8 * JOBS
