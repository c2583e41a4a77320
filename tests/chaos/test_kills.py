"""SIGKILL at random moments over every part (reliability.md, test 1)."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress

import pytest

from tests.chaos.client import slow
from tests.chaos.harness import IS_FULL, MARKS, House, template
from tests.pace import SLOWNESS

pytestmark = MARKS
JOBS, KILLS, MEAN_S = (200, 100, 2.0) if IS_FULL else (20, 30, 1.0)
WEIGHTS = {"api": 4, "dispatcher": 4, "predictor": 1, "valkey": 4, "postgres": 3, "worker": 2, "runner": 3, "trial": 9}
STUCK_S = 120


class Killer(threading.Thread):
    """Sends SIGKILL at random moments; the main thread tends. Only signals from here: children follow their thread."""

    def __init__(self, house: House, kills: int, mean_s: float, seed: int, weights: dict[str, float]) -> None:
        super().__init__(name="killer", daemon=True)
        self._house, self._kills, self._mean_s, self._weights = house, kills, mean_s, weights
        self._rng = random.Random(seed)
        self.done: Counter[str] = Counter()
        self.error: BaseException | None = None

    def run(self) -> None:
        """Kill."""
        try:
            while self.done.total() < self._kills:
                time.sleep(self._rng.expovariate(1 / self._mean_s))
                kind = self._rng.choices(list(self._weights), list(self._weights.values()))[0]
                if (pid := self._victim(kind)) is not None:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                        self.done[kind] += 1
        except BaseException as error:  # shown by the test
            self.error = error

    def _victim(self, kind: str) -> int | None:
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            if candidates := self._candidates(kind):
                return self._rng.choice(candidates)
            time.sleep(0.01)
        return None

    def _candidates(self, kind: str) -> list[int]:
        parts = [part for part in self._house.parts.values() if part.name.rstrip("0123456789") == kind]
        if kind == "trial":
            return self._house.trials()
        if kind == "runner":
            workers = [part for part in self._house.parts.values() if part.name.startswith("worker") and part.is_alive]
            return [runner for worker in workers for runner in self._house.runners(worker.name) if template(runner)]
        return [part.process.pid for part in parts if part.process is not None and part.is_alive]


@pytest.mark.parametrize("seed", [1, 2, 3] if IS_FULL else [1])
def test_every_job_ends_once_when_parts_are_killed(seed: int, house: House, dataset_id: str) -> None:
    killer = Killer(house, KILLS, MEAN_S * SLOWNESS, seed, WEIGHTS)
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
